-- One target asked once, for failover: what it says is held back until the commit point, and what came of it is told to the
-- target's endpoint, exactly once. An empty answer is a failure, unless it calls tools or says why it is empty.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.trial", __index = methods }

local commits = {
  thinking = true, refusal = true, tool_call_start = true, tool_call_delta = true, tool_call = true, item = true, image = true,
  audio = true,
}

-- An empty answer with one of these reasons is what the model had to say.
local explains_emptiness = { length = true, content_filter = true, refusal = true, tool_calls = true }


---Asks.
---@param candidate perilune.Candidate
---@param ticket perilune.FailoverAttempt? what the endpoint gave for this; nil for a model that has none
---@param request perilune.Request
---@param limits perilune.Limits?
---@return table trial
function M.start(candidate, ticket, request, limits)
  return setmetatable({
    candidate = candidate, ticket = ticket, inner = candidate.model:stream(request, limits), held = {}, held_n = 0,
    started = clock.mono(),
  }, metatable)
end


local function empty_answer(target)
  return errors.new {
    kind = "empty_response", message = "the answer was empty", provider = target.name, model = target.model,
    retryable = true, maybe_billed = true,
  }
end


---Reads up to the commit point, the first event with content. Nil: it is reached, `held` has the events up to there; else why
---there is no answer.
---@return perilune.Error?
function methods:read()
  local held, n = self.held, self.held_n
  while true do
    local event = self.inner:pull()
    local kind = event and event.type
    if not event then
      return errors.new { kind = "internal", message = "the stream ended without a last event" }
    elseif kind == "error" then
      return event.error
    elseif kind == "stop" and not explains_emptiness[event.reason] then
      return empty_answer(self.candidate.target)
    end
    n = n + 1
    held[n], self.held_n = event, n
    if commits[kind] or kind == "text" and event.text:find("%S") then
      if self.ticket then
        self.ticket:content()
      end
      return nil
    elseif kind == "stop" then
      self:succeed()
      return nil
    end
  end
end


---Milliseconds since it began.
---@return integer
function methods:duration()
  return math.floor((clock.mono() - self.started) * 1000 + 0.5)
end


---The answer is complete.
function methods:succeed()
  if self.ticket then
    self.ticket:succeed()
    self.ticket = nil
  end
end


---There is no answer, or only a part of one: lets go of it, and tells the endpoint what the rule says.
---@param err perilune.Error
---@param rule perilune.FailoverRule
function methods:fail(err, rule)
  self.inner:close()
  local ticket, endpoint = self.ticket, self.candidate.endpoint
  self.ticket = nil
  if not ticket then
    return
  elseif rule.strike then
    ticket:fail(tostring(err))
  else
    ticket:drop()
  end
  if rule.park then
    endpoint:park(err.retry_after or rule.park, tostring(err))
  elseif rule.cool or err.retry_after then
    endpoint:cool(err.retry_after or rule.cool, tostring(err))
  end
end


---Lets go of it without a verdict.
function methods:close()
  self.inner:close()
  if self.ticket then
    self.ticket:drop()
    self.ticket = nil
  end
end


return M
