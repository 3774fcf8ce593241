-- The errors of failover itself: why a target was passed over, and what is said when nobody has answered.
local errors = require "perilune.std.errors"

local M = {}

local sentences = {
  open = "it failed too often and is left alone for now", parked = "its key was refused or used up",
  cooling = "it asked to be left alone", queue_full = "too many requests wait for its key (max_inflight)",
  queue_timeout = "its key has too many requests under way (max_inflight)",
}


---Why a target was not asked.
---@param target perilune.Target
---@param why "open"|"parked"|"cooling"|"queue_full"|"queue_timeout"
---@param seconds? number until asking makes sense
---@return perilune.Error
function M.skipped(target, why, seconds)
  local again = seconds and (" (again in %.3g s)"):format(seconds) or ""
  return errors.new {
    kind = "overloaded", code = why, provider = target.name, model = target.model, retryable = true, retry_after = seconds,
    message = sentences[why] .. again,
  }
end


local function all_failed(attempts, last)
  local parts, retry_after, is_retryable, maybe_billed = {}, nil, false, false
  for _, attempt in ipairs(attempts) do
    local err = attempt.error
    if attempt.reason ~= "retried" then -- the last word of each target
      parts[#parts + 1] = ("%s/%s: %s"):format(attempt.provider, attempt.model, tostring(err))
    end
    retry_after = err.retry_after and math.min(err.retry_after, retry_after or math.huge) or retry_after
    is_retryable, maybe_billed = is_retryable or err.retryable or false, maybe_billed or err.maybe_billed or false
  end
  return errors.new {
    kind = "all_failed", message = "All chat providers failed. Errors: " .. table.concat(parts, "; "), cause = last,
    status = last.status, retryable = is_retryable, maybe_billed = maybe_billed, retry_after = retry_after,
  }
end


local function is_of_one_target(attempts)
  local first = attempts[1]
  for _, attempt in ipairs(attempts) do
    if attempt.provider ~= first.provider or attempt.model ~= first.model then
      return false
    end
  end
  return true
end


---The error that a question ends in, with all attempts. The error of a single target, and one that nobody else could have helped
---with, stands for itself.
---@param last perilune.Error
---@param attempts table[]
---@param is_final boolean nobody else could have helped
---@return perilune.Error
function M.final(last, attempts, is_final)
  local final
  if is_final or is_of_one_target(attempts) then
    final = {}
    for name, value in pairs(last) do
      final[name] = value
    end
    final = errors.new(final) -- a copy: the attempts hold the error itself
  else
    final = all_failed(attempts, last)
  end
  final.attempts = attempts
  return final
end


return M
