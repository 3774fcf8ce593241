-- When a provider wants to be asked again, in seconds: out of the headers of its answer, its rate limits, or the words of its error.
local failover = require "perilune.sys.failover"

local M = {}

-- Errors of these kinds say when it is worth another try; with others a number would be an accident.
local waits = { rate_limit = true, overloaded = true, quota = true, server = true }


-- What is used up must be full again: the latest of those.
local function reset_of(limits)
  local seconds
  for _, limit in pairs(limits or {}) do
    if limit.remaining == 0 and limit.reset_seconds then
      seconds = math.max(seconds or 0, limit.reset_seconds)
    end
  end
  return seconds
end


---@param err perilune.Error
---@param headers table<string, string> names in lower case
---@param limits? table<string, perilune.RateLimit>
---@return number? seconds
function M.of(err, headers, limits)
  if not waits[err.kind] then
    return nil
  end
  local ms, seconds = headers["retry-after-ms"], headers["retry-after"]
  return ms and failover.retry_after(ms, "retry-after-ms")
    or seconds and failover.retry_after(seconds, "retry-after")
    or err.retry_after
    or (err.kind == "rate_limit" or err.kind == "quota") and reset_of(limits)
    or failover.retry_after(err.message, "message")
end


return M
