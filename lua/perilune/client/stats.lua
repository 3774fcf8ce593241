-- What the questions of a client came to: how many, how they ended, what they used and how long they took. A question counts when
-- its answer has ended. One that its caller gave up is counted, but says nothing of success.
local failover = require "perilune.sys.failover"

local M = {}

local methods = {}
local metatable = { __name = "perilune.client.stats", __index = methods }

local counted = {
  "requests", "successes", "failures", "cancelled", "retries", "failovers", "prompt_tokens", "completion_tokens", "total_tokens",
}

local percentiles = { "mean", "p50", "p95", "p99", "max" }

local by_outcome = { ok = "successes", failed = "failures", cancelled = "cancelled" }


---@return table stats
function M.new()
  local self = setmetatable({}, metatable)
  self:reset()
  return self
end


---Begins anew.
function methods:reset()
  for _, name in ipairs(counted) do
    self[name] = 0
  end
  self.cost = 0 -- nil once a price is not known
  self.latency, self.first_content = failover.histogram(), failover.histogram()
end


---@class perilune.client.Ended a question that has ended
---@field outcome "ok"|"failed"|"cancelled"
---@field seconds number
---@field first_content? number seconds
---@field retries integer
---@field failovers integer
---@field prompt_tokens integer
---@field completion_tokens integer
---@field cost? integer nano-dollars; nil when it is not known

---Counts one question.
---@param ended perilune.client.Ended
function methods:add(ended)
  local outcome = by_outcome[ended.outcome]
  self.requests = self.requests + 1
  self[outcome] = self[outcome] + 1
  self.retries, self.failovers = self.retries + ended.retries, self.failovers + ended.failovers
  self.prompt_tokens = self.prompt_tokens + ended.prompt_tokens
  self.completion_tokens = self.completion_tokens + ended.completion_tokens
  self.total_tokens = self.prompt_tokens + self.completion_tokens
  self.cost = self.cost and ended.cost and self.cost + ended.cost
  if ended.first_content then
    self.first_content:add(ended.first_content)
  end
  if ended.outcome == "ok" then
    self.latency:add(ended.seconds)
  end
end


-- A histogram in milliseconds; nothing in it, no numbers.
local function milliseconds(histogram)
  local summary, found = histogram:summary(), {}
  if summary.count > 0 then
    for _, name in ipairs(percentiles) do
      found[name] = summary[name] * 1000
    end
  end
  return found
end


---@class perilune.ClientStats
---@field requests integer
---@field successes integer
---@field failures integer
---@field cancelled integer given up by the caller: closed before the end, or cancelled
---@field success_rate? number of those that were not given up, 0 to 1; nil when there are none
---@field retries integer times that a target was asked again
---@field failovers integer times that another target was asked
---@field prompt_tokens integer
---@field completion_tokens integer
---@field total_tokens integer
---@field cost? integer nano-dollars; nil when the price of an answer is not known
---@field latency { mean: number?, p50: number?, p95: number?, p99: number?, max: number? } milliseconds, of whole successful answers
---@field time_to_first_token { mean: number?, p50: number?, p95: number?, p99: number?, max: number? } milliseconds

---The numbers so far.
---@return perilune.ClientStats
function methods:summary()
  local summary = {}
  for _, name in ipairs(counted) do
    summary[name] = self[name]
  end
  local judged = self.successes + self.failures
  summary.success_rate = judged > 0 and self.successes / judged or nil
  summary.cost = self.cost
  summary.latency, summary.time_to_first_token = milliseconds(self.latency), milliseconds(self.first_content)
  return summary
end


return M
