-- What the checks of shapes share: an error that names the place, and a suggestion for a mistyped name.
local errors = require "perilune.std.errors"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}


---`nil, err` of kind configuration.
---@param where string
---@param problem string a format
---@return nil
---@return perilune.Error
function M.refuse(where, problem, ...)
  return nil, errors.new { kind = "configuration", message = where .. ": " .. problem:format(...), retryable = false }
end


---Refuses the first key of `value`, in order, that is not a known one.
---@param where string
---@param what string "field", "option"
---@param value table
---@param known table<string, any>
---@return boolean?
---@return perilune.Error?
function M.check_known(where, what, value, known)
  local unknown = {}
  for key in pairs(value) do
    if known[key] == nil then
      unknown[#unknown + 1] = tostring(key)
    end
  end
  if #unknown == 0 then
    return true
  end
  table.sort(unknown)
  local close = text.suggest(unknown[1], tables.sorted_keys(known))
  return M.refuse(where, "unknown %s '%s'%s", what, unknown[1], close and (", did you mean '" .. close .. "'?") or "")
end


return M
