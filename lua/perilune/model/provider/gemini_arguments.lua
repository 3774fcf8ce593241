-- Arguments of a call that Vertex streams field by field: paths ("$.days[1].high") with values, strings in pieces. They are
-- put together into one object. What does not fit is left out: the call's validation shows it to the model.
local json = require "perilune.json"

local M = {}

---A deeper path, and an array with a hole, are a broken stream.
M.PATH_MAX = 32

local methods = {}
local metatable = { __name = "perilune.model.provider.gemini_arguments", __index = methods }


---An empty object of arguments.
---@return table arguments its `value` is what came so far
function M.new()
  return setmetatable({ value = {}, open = {} }, metatable)
end


-- "$.a[1]['b c']" -> { "a", 2, "b c" }; nil when it is no path.
local function parse(path)
  local keys, position = {}, 2
  if path:sub(1, 1) ~= "$" then
    return nil
  end
  while position <= #path do
    local name, after = path:match("^%.([^.%[]+)()", position)
    if not name then
      name, after = path:match("^%['([^']*)'%]()", position)
    end
    if not name then
      name, after = path:match('^%["([^"]*)"%]()', position)
    end
    local index
    if not name then
      index, after = path:match("^%[(%d%d?%d?%d?)%]()", position)
    end
    if not after or #keys >= M.PATH_MAX then
      return nil
    end
    keys[#keys + 1] = name or math.tointeger(index) + 1
    position = after
  end
  return #keys > 0 and keys or nil
end


-- The table that the last key belongs to; missing ones are made on the way.
local function find_parent(root, keys)
  local node = root
  for position, key in ipairs(keys) do
    local is_index = type(key) == "number"
    if is_index ~= json.is_array(node) or is_index and key > #node + 1 then
      return nil
    elseif position == #keys then
      return node
    end
    if node[key] == nil then
      node[key] = type(keys[position + 1]) == "number" and json.array() or {}
    end
    node = node[key]
    if type(node) ~= "table" then
      return nil
    end
  end
end


local function value_of(piece)
  if type(piece.stringValue) == "string" then
    return piece.stringValue
  elseif type(piece.numberValue) == "number" then
    return piece.numberValue
  elseif type(piece.boolValue) == "boolean" then
    return piece.boolValue
  end
  return piece.nullValue ~= nil and json.null or nil
end


---Takes pieces: `{ jsonPath, stringValue|numberValue|boolValue|nullValue, willContinue? }`.
---@param pieces any[]
function methods:add(pieces)
  for _, piece in ipairs(pieces) do
    local path = type(piece) == "table" and type(piece.jsonPath) == "string" and piece.jsonPath
    local keys, value = path and parse(path), path and value_of(piece)
    local parent = keys and find_parent(self.value, keys)
    if parent and value ~= nil then
      local key = keys[#keys]
      local before = self.open[path] and type(parent[key]) == "string" and type(value) == "string" and parent[key] or ""
      parent[key] = type(value) == "string" and before .. value or value
      self.open[path] = piece.willContinue == true or nil
    end
  end
end


return M
