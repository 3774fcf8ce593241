-- Values for a JSON Schema, taken out of a question: how the offline model fills the arguments of a tool. No language
-- is understood here: quoted texts, words after "in", "for", "of", capitalised words, numbers, and enum values that
-- occur.
local json = require "perilune.json"
local tables = require "perilune.std.tables"

local M = {}

-- Schemas that nest deeper get an empty value.
M.DEPTH_MAX = 8

local leading = { ["in"] = true, ["for"] = true, of = true, at = true, to = true, about = true, from = true }
local articles = { the = true, a = true, an = true, my = true }


local function trim(word)
  return (word:gsub("^[%p]+", ""):gsub("[%p]+$", ""))
end


-- The words after a leading word: a run of capitalised ones, else one word.
local function words_after(words, position)
  while words[position] and articles[words[position]:lower()] do
    position = position + 1
  end
  local run = {}
  while words[position] and words[position]:find("^%u") do
    run[#run + 1] = trim(words[position])
    local ends_here = words[position]:find("[,.;:!?]$")
    position = position + 1
    if ends_here then
      break
    end
  end
  if #run > 0 then
    return table.concat(run, " ")
  end
  return words[position] and trim(words[position]) or nil
end


-- Candidates for texts, the best first, without repeats.
local function text_candidates(question)
  local found, seen, words = {}, {}, {}
  local function add(candidate)
    if candidate and candidate ~= "" and not seen[candidate:lower()] then
      seen[candidate:lower()] = true
      found[#found + 1] = candidate
    end
  end
  for quoted in question:gmatch('"([^"]+)"') do
    add(quoted)
  end
  for word in question:gmatch("%S+") do
    words[#words + 1] = word
  end
  for position, word in ipairs(words) do
    if leading[word:lower()] then
      add(words_after(words, position + 1))
    end
  end
  for position = 2, #words do
    if words[position]:find("^%u") and not words[position]:find("^I%f[%A]") then
      add(trim(words[position]))
    end
  end
  return found
end


-- What a question offers; each candidate is used once.
local function new_pool(question)
  local numbers = {}
  for number in question:gmatch("%-?%d+%.?%d*") do
    numbers[#numbers + 1] = tonumber(number)
  end
  local words = {}
  for word in question:gmatch("%w+") do
    words[word:lower()] = true
  end
  return { question = question, texts = text_candidates(question), numbers = numbers, words = words }
end


local function occurs(pool, value)
  local lower = tostring(value):lower()
  return pool.words[lower] or (lower:find("%W") and pool.question:lower():find(lower, 1, true) ~= nil) or false
end


local function fill_enum(pool, values)
  for _, value in ipairs(values) do
    if occurs(pool, value) then
      return value, true
    end
  end
  return values[1], false
end


local fill


local function fill_object(pool, schema, depth)
  local properties = type(schema.properties) == "table" and schema.properties or {}
  local needed, object = {}, {}
  for _, name in ipairs(type(schema.required) == "table" and schema.required or {}) do
    needed[name] = true
  end
  for _, name in ipairs(tables.sorted_keys(properties)) do
    local property = type(properties[name]) == "table" and properties[name] or {}
    if needed[name] then
      object[name] = fill(pool, property, depth + 1)
    elseif type(property.enum) == "table" then
      local value, is_said = fill_enum(pool, property.enum)
      object[name] = is_said and value or nil
    end
  end
  return object
end


-- The next number; rounded when it must be whole, and 1 when the question has none.
local function fill_number(pool, schema, is_integer)
  local number = table.remove(pool.numbers, 1) or schema.minimum or 1
  return is_integer and math.floor(number) or number
end


local by_type = {
  object = fill_object,
  string = function(pool)
    return table.remove(pool.texts, 1) or pool.question
  end,
  integer = function(pool, schema)
    return fill_number(pool, schema, true)
  end,
  number = function(pool, schema)
    return fill_number(pool, schema, false)
  end,
  boolean = function(pool)
    return not (pool.words.no or pool.words["not"] or pool.words.without)
  end,
  array = function(pool, schema, depth)
    local items = type(schema.items) == "table" and schema.items or { type = "string" }
    return json.array { fill(pool, items, depth + 1) }
  end,
  null = function()
    return json.null
  end,
}


function fill(pool, schema, depth)
  if type(schema.enum) == "table" and #schema.enum > 0 then
    return (fill_enum(pool, schema.enum))
  elseif schema.const ~= nil then
    return schema.const
  end
  local kind = schema.type
  kind = type(kind) == "table" and kind[1] or kind or (schema.properties and "object") or "string"
  local filler = by_type[kind] or by_type.string
  return depth < M.DEPTH_MAX and filler(pool, schema, depth) or {}
end


---A value that fits a schema as well as the question allows.
---@param schema any a JSON Schema: a table, or raw JSON
---@param question string
---@return any
function M.fill(schema, question)
  if json.is_raw(schema) then
    schema = json.decode(tostring(schema))
  end
  return fill(new_pool(question), type(schema) == "table" and schema or { type = "object" }, 0)
end


return M
