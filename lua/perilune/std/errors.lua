-- Error objects: one shape, a closed list of kinds. C makes them too (script/args.c) with the same metatable.
local metatable = require("perilune.sys.task").error_metatable

local M = {}

--- Every kind of error there is (docs/model.md).
M.kinds = {
  "configuration", "connection", "timeout", "tls", "api", "authentication", "permission", "not_found", "model_not_found",
  "rate_limit", "quota", "context_length", "content_filter", "overloaded", "server", "bad_response", "stream_interrupted",
  "empty_response", "tool", "media", "schema", "cancelled", "budget", "all_failed", "database", "conflict", "internal",
}

local is_kind = {}
for _, kind in ipairs(M.kinds) do
  is_kind[kind] = true
end


---@class perilune.Error
---@field kind string one of the closed list
---@field message string what happened, where, and what to do
---@field code? string|integer short and stable: "first_byte", "tool_use_failed"
---@field param? string the option or field that is to blame
---@field type? string the provider's own type of error
---@field status? integer HTTP status; absent when the error came inside a 200
---@field request_id? string
---@field provider? string
---@field model? string
---@field retryable? boolean the same request may succeed later
---@field maybe_billed? boolean the provider may have charged for it
---@field retry_after? number seconds
---@field details? any
---@field attempts? table[] every target tried
---@field cause? any

---Makes an error object out of a table of fields; it becomes the object.
---@param fields table
---@return perilune.Error
function M.new(fields)
  if not is_kind[fields.kind] then
    error("unknown error kind " .. tostring(fields.kind), 2)
  end
  return setmetatable(fields, metatable)
end


---Is `value` an error object (of this kind, when one is given)?
---@param value any
---@param kind? string
---@return boolean
function M.is(value, kind)
  return getmetatable(value) == metatable and (kind == nil or value.kind == kind)
end


---The value of a call that answers nil and an error when it fails; raises the error.
---@generic T
---@param value T?
---@param err perilune.Error?
---@return T
function M.must(value, err)
  if value == nil then
    error(err, 0)
  end
  return value
end


---An error object, whatever was raised: strings and other values become `internal` errors.
---@param value any
---@param kind? string the kind for what is not an error object yet
---@return perilune.Error
function M.wrap(value, kind)
  if M.is(value) then
    return value
  elseif value == "not enough memory" then
    return M.new { kind = "budget", code = "memory", message = "the memory limit of the scripts is reached (run --memory MB)" }
  end
  return M.new { kind = kind or "internal", message = tostring(value) }
end


return M
