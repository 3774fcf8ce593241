-- JSON values as JSON Schema sees them: their kinds, their equality, and how a message shows them and where they are.
local json = require "perilune.json"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

M.SHOWN_BYTES_MAX = 60 -- of a value in a message

M.types = { "string", "number", "integer", "boolean", "object", "array", "null" }

local null = json.null


---"array", "object", "string", "number", "boolean", "null", or nil for what JSON has not.
---@param value any
---@return string|nil
function M.kind_of(value)
  local kind = type(value)
  if kind == "table" then
    return json.is_array(value) and "array" or "object"
  elseif value == null or value == nil then
    return "null"
  elseif kind == "string" or kind == "number" or kind == "boolean" then
    return kind
  end
end


---Has the value this type of JSON Schema? 1.0 is an integer.
---@param value any
---@param name string
---@return boolean
function M.has_type(value, name)
  local kind = M.kind_of(value)
  return kind == name or name == "integer" and kind == "number" and value % 1 == 0
end


---One step of a path: ".name", "[0]" (an index counts from 0), or "['two words']".
---@param key string|integer
---@return string
function M.step(key)
  if type(key) == "number" then
    return ("[%d]"):format(key - 1)
  elseif key:find("^[%a_][%w_]*$") then
    return "." .. key
  end
  return ("['%s']"):format(text.truncate(key, M.SHOWN_BYTES_MAX))
end


---A value as a message shows it: short, JSON-like.
---@param value any
---@return string
function M.show(value)
  local kind = M.kind_of(value)
  if kind == "string" then
    return '"' .. text.truncate(text.to_utf8(value), M.SHOWN_BYTES_MAX):gsub('[%c"\\]', "\\%0") .. '"'
  elseif kind == "array" then
    return ("an array of %d"):format(#value)
  elseif kind == "object" then
    return "an object"
  elseif kind == "null" then
    return "null"
  end
  return kind and tostring(value) or "a " .. type(value)
end


---Equal JSON values have equal texts: keys in order, 1.0 like 1, strings with their length so that nothing can be mistaken.
---@param value any
---@return string
function M.canonical(value)
  local kind = M.kind_of(value)
  if kind == "array" or kind == "object" then
    local parts = {}
    if kind == "array" then
      for i = 1, #value do
        parts[i] = M.canonical(value[i])
      end
    else
      for i, key in ipairs(tables.sorted_keys(value)) do
        parts[i] = M.canonical(key) .. M.canonical(value[key])
      end
    end
    return kind:sub(1, 1) .. #parts .. "(" .. table.concat(parts, ",") .. ")"
  elseif kind == "string" then
    return #value .. ":" .. value
  elseif kind == "number" then
    return ("n%s"):format(math.tointeger(value) or ("%.17g"):format(value))
  end
  return kind == "null" and "null" or tostring(value)
end


-- What a schema must hold

---Raises through the context unless the operand of a keyword is a list. Returns it.
---@param context table
---@param keyword string
---@param operand any
---@return any[]
function M.need_list(context, keyword, operand)
  if type(operand) ~= "table" or not json.is_array(operand) and next(operand) ~= nil then
    context.fail(keyword .. " must be an array")
  end
  return operand
end


---The same for an object.
---@param context table
---@param keyword string
---@param operand any
---@return table<string, any>
function M.need_map(context, keyword, operand)
  if M.kind_of(operand) ~= "object" then
    context.fail(keyword .. " must be an object")
  end
  return operand
end


---The same for a list of strings.
---@param context table
---@param keyword string
---@param operand any
---@return string[]
function M.need_names(context, keyword, operand)
  for _, name in ipairs(M.need_list(context, keyword, operand)) do
    if type(name) ~= "string" then
      context.fail(keyword .. " must be an array of strings")
    end
  end
  return operand
end


return M
