-- The two table helpers that the rest of the Lua side shares. Tables are read raw.
local M = {}


---The keys of a table in byte order, so that what is made of them does not depend on the hash seed. Keys that are not
---strings come last, by their text.
---@param t table
---@return any[]
function M.sorted_keys(t)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if (type(a) == "string") == (type(b) == "string") then
      return tostring(a) < tostring(b)
    end
    return type(a) == "string"
  end)
  return keys
end


---A set of the values of a list: { "a", "b" } becomes { a = true, b = true }.
---@param list any[]
---@return table<any, true>
function M.set(list)
  local set = {}
  for _, value in ipairs(list) do
    set[value] = true
  end
  return set
end


return M
