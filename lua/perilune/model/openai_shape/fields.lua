-- Values of a body in OpenAI's shape as they must be, or an error that names the place as OpenAI does, in its message and as its `param`:
-- `messages[0].content[2]`, counted from 0. null is the same as absent.
local json = require "perilune.json"
local shape = require "perilune.model.shape"

local M = {}

local null = json.null


-- An error that knows its place.
local function at(where, err)
  err.param = where
  return nil, err
end


---`nil, err` of kind configuration.
---@param where string the place
---@param problem string a format
---@return nil
---@return perilune.Error
function M.refuse(where, problem, ...)
  return at(where, select(2, shape.refuse(where, problem, ...)))
end


-- What a value is in JSON's words.
local function word(value)
  if value == null then
    return "null"
  elseif type(value) == "table" then
    return json.is_array(value) and "a list" or "an object"
  end
  return "a " .. type(value)
end


---A table without its nulls; `nil, err` when it is none, or has a field that is not known.
---@param where string
---@param value any
---@param known? table<string, any>
---@return table?
---@return perilune.Error?
function M.object(where, value, known)
  if value == nil then
    return M.refuse(where, "is missing")
  elseif type(value) ~= "table" then
    return M.refuse(where, "must be an object, not %s", word(value))
  end
  local present = {}
  for name, one in pairs(value) do
    if one ~= null then
      present[name] = one
    end
  end
  if known then
    local is_right, err = shape.check_known(where, "field", present, known)
    if not is_right then
      return at(where, err)
    end
  end
  return present
end


---Each of a list by `decode(where, one)`.
---@param where string
---@param list any
---@param decode fun(where: string, one: any): any, perilune.Error?
---@return table?
---@return perilune.Error?
function M.each(where, list, decode)
  if type(list) ~= "table" or #list == 0 and next(list) ~= nil then
    return M.refuse(where, "must be a list, not %s", word(list))
  end
  local decoded = {}
  for position, one in ipairs(list) do
    local err
    decoded[position], err = decode(("%s[%d]"):format(where, position - 1), one)
    if decoded[position] == nil then
      return nil, err
    end
  end
  return decoded
end


return M
