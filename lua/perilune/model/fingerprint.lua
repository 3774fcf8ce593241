-- What was asked, as plain data that can be stored, compared and hashed: no functions, no secrets, and no media but their hashes.
-- Two requests that ask the same thing become the same data, whoever made them.
local json = require "perilune.json"
local log = require "perilune.sys.log"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"
local token = require "perilune.sys.token"

local M = {}

local DEPTH_MAX = 120 -- as deep as JSON is written, with room for what is around it
local MEDIA_BYTES_MAX = 4096 -- longer base64 is kept by its hash
local VALUE_BYTES_MAX = 60 -- of a value in a message
local BEFORE_BYTES = 20 -- how much of what is equal is shown before a difference

-- How the answer is brought and waited for is no part of the question.
local is_manner = { stream = true, timeout = true, request_id = true, cancel = true, keeps_pieces = true }

local tool_fields = { "name", "description", "parameters", "strict" }


-- Long base64, with or without the beginning of a data address.
local function is_media(value)
  return #value > MEDIA_BYTES_MAX and value:find("^[%w+/=_-]+$", (value:match("^data:[%w%-+./;=]*,()"))) ~= nil
end


local function clean(value, shrinks)
  value = log.redact(value)
  if shrinks and is_media(value) then
    return ("sha256:%s (%d bytes)"):format(token.sha256(value), #value)
  end
  return value
end


local copy -- defined below, because lists and objects hold values


local function copy_table(value, shrinks, depth)
  if depth > DEPTH_MAX then
    return "…"
  elseif json.is_array(value) then
    local list = json.array {}
    for position = 1, #value do
      local one = copy(rawget(value, position), shrinks, depth + 1)
      list[position] = one == nil and json.null or one
    end
    return list
  end
  local object = {}
  for key, one in next, value do
    object[clean(tostring(key), false)] = copy(one, shrinks, depth + 1)
  end
  return object
end


function copy(value, shrinks, depth)
  local kind = type(value)
  if kind == "string" then
    return clean(value, shrinks)
  elseif kind == "table" then
    return copy_table(value, shrinks, depth)
  elseif json.is_raw(value) then
    return copy(json.decode(tostring(value)), shrinks, depth)
  elseif kind == "number" and (value ~= value or math.abs(value) == math.huge) then
    return tostring(value)
  elseif kind == "number" or kind == "boolean" or value == json.null then
    return value
  end
end


---A copy of a value that JSON can say: secrets are replaced, functions left out.
---@param value any
---@return any
function M.plain(value)
  return copy(value, false, 1)
end


local function plain_tool(tool)
  local plain = {}
  for _, name in ipairs(tool_fields) do
    plain[name] = tool[name]
  end
  return plain
end


---What a request asks, without how the answer is brought.
---@param request perilune.Request
---@return table
function M.of_request(request)
  local asked = {}
  for option, value in pairs(request) do
    if not is_manner[option] then
      asked[option] = value
    end
  end
  if request.tools then
    asked.tools = {}
    for position, tool in ipairs(request.tools) do
      asked.tools[position] = plain_tool(tool)
    end
  end
  return copy(asked, true, 1)
end


---What the body of an HTTP request asks: JSON as its value, a text as it is, other bytes by their hash.
---@param body string?
---@return any
function M.of_body(body)
  if not body or body == "" then
    return nil
  elseif not utf8.len(body) then
    return ("sha256:%s (%d bytes)"):format(token.sha256(body), #body)
  end
  local value = json.decode(body)
  return copy(type(value) == "table" and value or body, true, 1)
end


---The same for the same data, whatever the order of its keys.
---@param asked any nil: nothing beside the address
---@return string hash
function M.hash(asked)
  local written, err = json.encode(asked == nil and json.null or asked, { repair = true })
  if not written then
    error(err, 0)
  end
  return token.sha256(written)
end


local function describe(value, from)
  if value == nil then
    return "nothing"
  elseif type(value) == "table" then
    value = assert(json.encode(value, { repair = true }))
    from = 1
  elseif type(value) ~= "string" then
    return value == json.null and "null" or tostring(value)
  end
  local first = math.max(1, from - BEFORE_BYTES)
  while first > 1 and (value:byte(first) or 0) & 0xC0 == 0x80 do
    first = first - 1 -- not into the middle of a character
  end
  return ('"%s%s"'):format(first > 1 and "…" or "", text.truncate(value:sub(first), VALUE_BYTES_MAX))
end


-- The first byte that differs.
local function first_difference(a, b)
  if type(a) ~= "string" or type(b) ~= "string" then
    return 1
  end
  local position = 1
  while position <= #a and a:byte(position) == b:byte(position) do
    position = position + 1
  end
  return position
end


local function note(found, path, recorded, asked)
  found.count = found.count + 1
  if not found.path then
    local from = first_difference(recorded, asked)
    found.path, found.at, found.recorded, found.asked = path, from, describe(recorded, from), describe(asked, from)
  end
end


local function compare(found, path, recorded, asked)
  if type(recorded) ~= "table" or type(asked) ~= "table" then
    if recorded ~= asked or math.type(recorded) ~= math.type(asked) then
      note(found, path == "" and "the whole" or path, recorded, asked)
    end
    return
  elseif json.is_array(recorded) and json.is_array(asked) then
    for position = 1, math.max(#recorded, #asked) do
      compare(found, ("%s[%d]"):format(path, position), recorded[position], asked[position])
    end
    return
  end
  local names = {}
  for _, object in ipairs { recorded, asked } do
    for name in pairs(object) do
      names[name] = true
    end
  end
  for _, name in ipairs(tables.sorted_keys(names)) do
    local inner = type(name) == "string" and (path == "" and name or path .. "." .. name) or ("%s[%s]"):format(path, name)
    compare(found, inner, recorded[name], asked[name])
  end
end


-- Where the text of an event is that comes in pieces.
local piece_of = { text = "text", thinking = "text", refusal = "text", tool_call_delta = "arguments" }


-- The pieces of each text among the events: { [name] = { at = positions, pieces = texts, field = where they are } }.
local function texts_of(events)
  local texts = {}
  for position, event in ipairs(events) do
    local field = piece_of[event.type]
    if field and type(event[field]) == "string" then
      local name = ("%s %s %s"):format(event.type, event.choice or 0, event.index or 0)
      local found = texts[name] or { at = {}, pieces = {}, field = field }
      texts[name] = found
      table.insert(found.at, position)
      table.insert(found.pieces, event[field])
    end
  end
  return texts
end


---Replaces secrets that are spread over several events: the whole text goes into the first of them.
---@param events table[] plain; changed
---@return table<integer, true> empty positions of events with nothing left in them
function M.redact_pieces(events)
  local empty = {}
  for _, found in pairs(texts_of(events)) do
    local whole = table.concat(found.pieces)
    local redacted = log.redact(whole)
    if redacted ~= whole then
      events[found.at[1]][found.field] = redacted
      for position, event in ipairs(events) do
        empty[position] = event.type == "logprobs" or empty[position] -- they spell the text
      end
      for order = 2, #found.at do
        empty[found.at[order]] = true
      end
    end
  end
  return empty
end


---@class perilune.Difference
---@field count integer how many values differ
---@field path? string where the first one is: "messages[2].content"
---@field at? integer the first byte there that differs
---@field recorded? string what is recorded there, cut
---@field asked? string what was asked, cut

---How two requests differ.
---@param recorded any
---@param asked any
---@return perilune.Difference
function M.difference(recorded, asked)
  local found = { count = 0 }
  compare(found, "", recorded, asked)
  return found
end


return M
