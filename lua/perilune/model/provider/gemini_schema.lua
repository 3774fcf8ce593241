-- JSON Schema as Gemini takes it: references are inlined, types are in capitals, `oneOf` is `anyOf` and stands alone, `const`
-- is an `enum`; what Gemini refuses (additionalProperties, formats, values that are no texts in an enum) is left out or said
-- in the description. A schema that contains itself is cut where it does.
local json = require "perilune.json"

local M = {}

---References inlined in one schema; the rest become plain objects.
M.INLINED_MAX = 1000

---How deep `allOf` may stand in `allOf`.
M.ALL_DEPTH_MAX = 8

local null = json.null

local types = {
  string = "STRING", number = "NUMBER", integer = "INTEGER", boolean = "BOOLEAN", array = "ARRAY", object = "OBJECT", null = "NULL",
}

local formats = {
  STRING = { ["date-time"] = true, enum = true }, NUMBER = { float = true, double = true },
  INTEGER = { int32 = true, int64 = true },
}

local copied = {
  "title", "description", "nullable", "default", "example", "pattern", "minimum", "maximum", "minItems", "maxItems",
  "minLength", "maxLength", "minProperties", "maxProperties",
}

local convert


local function list(value)
  return type(value) == "table" and value or {}
end


-- "#/$defs/day" -> the schema it points to; nil when there is none.
local function resolve(root, reference)
  local pointer = type(reference) == "string" and reference:match("^#(.*)$")
  local target = pointer and root
  for token in (pointer or ""):gmatch("/([^/]*)") do
    local key = token:gsub("~1", "/"):gsub("~0", "~")
    target = type(target) == "table" and (target[key] or target[math.tointeger(key)]) or nil
  end
  return type(target) == "table" and target or nil
end


local function convert_reference(context, schema)
  local reference = schema["$ref"]
  local target = resolve(context.root, reference)
  if not target or context.open[reference] or context.inlined >= M.INLINED_MAX then
    return { type = "OBJECT", description = schema.description }
  end
  context.open[reference], context.inlined = true, context.inlined + 1
  local converted = convert(context, target)
  context.open[reference] = nil
  converted.description = schema.description or converted.description
  return converted
end


-- `allOf` as one schema: of a field that comes twice the last one counts, properties and required names add up.
local function merge_all(context, schema)
  local merged = {}
  local function add(from, depth)
    from = from["$ref"] and resolve(context.root, from["$ref"]) or from
    for _, part in ipairs(depth < M.ALL_DEPTH_MAX and list(from.allOf) or {}) do
      if type(part) == "table" then
        add(part, depth + 1)
      end
    end
    for key, value in pairs(from) do
      if key == "properties" and type(value) == "table" then
        merged.properties = merged.properties or json.keep_order({}, value)
        for name, property in pairs(value) do
          merged.properties[name] = property
        end
      elseif key == "required" and type(value) == "table" then
        merged.required = table.move(value, 1, #value, #list(merged.required) + 1, merged.required or {})
      elseif key ~= "allOf" then
        merged[key] = value
      end
    end
  end
  add(schema, 0)
  return merged
end


-- The types without null, and whether null was among them.
local function read_types(given)
  local found, is_nullable = {}, false
  for _, name in ipairs(type(given) == "table" and given or { given }) do
    if name == "null" then
      is_nullable = true
    else
      found[#found + 1] = types[name]
    end
  end
  return found, is_nullable
end


local function guess_type(schema)
  if schema.properties then
    return "OBJECT"
  end
  return (schema.items or schema.prefixItems) and "ARRAY" or "STRING"
end


local function add_enum(result, schema)
  local values = schema.const ~= nil and { schema.const } or schema.enum
  local texts, others = {}, {}
  for _, value in ipairs(list(values)) do
    if type(value) == "string" then
      texts[#texts + 1] = value
    elseif value == null then
      result.nullable = true
    else
      others[#others + 1] = json.encode(value)
    end
  end
  if #texts > 0 and #others == 0 then
    result.type, result.enum = "STRING", texts
  elseif #others > 0 then
    for position, value in ipairs(texts) do
      texts[position] = json.encode(value)
    end
    local all = table.concat(table.move(others, 1, #others, #texts + 1, texts), ", ")
    result.description = (result.description and result.description .. " " or "") .. "(one of: " .. all .. ")"
  end
end


local function add_object(context, result, schema)
  local names = {}
  for name, property in pairs(list(schema.properties)) do
    result.properties = result.properties or json.keep_order({}, schema.properties)
    result.properties[name], names[name] = convert(context, property), true
  end
  local required = {}
  for _, name in ipairs(list(schema.required)) do
    required[#required + 1] = names[name] and name or nil
  end
  result.required = #required > 0 and required or nil
end


-- Alternatives stand alone: what was said beside them is said in each. `is_nullable` may come from one of them.
local function one_of(context, schema, alternatives, is_nullable)
  local converted = {}
  for _, alternative in ipairs(alternatives) do
    if type(alternative) == "table" and alternative.type == "null" then
      is_nullable = true
    else
      local one = convert(context, alternative, schema.type)
      one.description = one.description or schema.description
      converted[#converted + 1] = one
    end
  end
  for _, one in ipairs(converted) do
    one.nullable = is_nullable or one.nullable
  end
  return #converted > 1 and { anyOf = converted } or converted[1] or { type = "NULL" }
end


local function add_items(context, result, schema)
  if type(schema.items) == "table" then
    result.items = convert(context, schema.items)
  elseif type(schema.prefixItems) == "table" and #schema.prefixItems > 0 then
    result.items = one_of(context, {}, schema.prefixItems, false)
  else
    result.items = { type = "STRING" }
  end
end


---@param context { root: table, open: table<string, true>, inlined: integer }
---@param schema any
---@param outer_type any the type that was said around an alternative
---@return table
convert = function(context, schema, outer_type)
  if type(schema) ~= "table" then
    return { type = types[outer_type] or "STRING" }
  elseif schema["$ref"] then
    return convert_reference(context, schema)
  elseif type(schema.allOf) == "table" then
    return convert(context, merge_all(context, schema), outer_type)
  end
  local found, is_nullable = read_types(schema.type or outer_type)
  local alternatives = schema.anyOf or schema.oneOf
  if type(alternatives) == "table" and not schema.properties then
    return one_of(context, schema, alternatives, is_nullable)
  elseif #found > 1 then
    local each = {}
    for position, name in ipairs(found) do
      each[position] = { type = name:lower() }
    end
    return one_of(context, { description = schema.description }, each, is_nullable)
  end
  local result = { type = found[1] or is_nullable and "NULL" or guess_type(schema), nullable = is_nullable and found[1] and true or nil }
  for _, name in ipairs(copied) do
    if schema[name] ~= nil and schema[name] ~= null then
      result[name] = schema[name]
    end
  end
  result.format = formats[result.type] and formats[result.type][schema.format] and schema.format or nil
  add_enum(result, schema)
  if result.type == "OBJECT" then
    add_object(context, result, schema)
  elseif result.type == "ARRAY" then
    add_items(context, result, schema)
  end
  return result
end


---A schema in Gemini's words.
---@param schema any a table, or JSON text as json.raw
---@return table?
---@return perilune.Error?
function M.convert(schema)
  local encoded, err = json.encode(schema) -- one shape for both; tables that contain themselves end here
  if not encoded then
    return nil, err
  end
  local root = json.decode(encoded, { repair = true, ordered = true })
  return convert({ root = root, open = {}, inlined = 0 }, root)
end


return M
