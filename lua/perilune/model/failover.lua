-- Failover over the targets of a plan: one is asked, and when it fails before the commit point (the first event with content that
-- is handed to the caller) the same one is asked again, or the next, as model/policy.lua says. After it a failure is final and
-- visible: nobody gets half of one answer and half of another, unless `on_interrupt = "restart"` asks for a new answer in its place.
--
-- A run is a small state machine: `step` is the method that gives the next event. Everything that was tried, and everything that
-- was passed over, is told in `attempt` events. Whatever waits in here (a pause before a repetition, a queue) ends when the stream
-- is closed by somebody else.
local clock = require "perilune.sys.clock"
local failover = require "perilune.sys.failover"
local hedge = require "perilune.model.hedge"
local log = require "perilune.sys.log"
local policy = require "perilune.model.policy"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local trials = require "perilune.model.trial"
local verdict = require "perilune.model.verdict"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.failover", __index = methods }

-- Requests for one question, unless more targets are listed or more attempts are asked for.
M.ATTEMPTS_MAX = 4
-- How long the queue of a busy key is waited in before the next target is asked.
M.QUEUE_SECONDS = 30
-- A first token that is slower than this moves on, where there is somewhere to go.
M.FIRST_CONTENT_SECONDS = 30

local HASTY = { first_content = M.FIRST_CONTENT_SECONDS }

local run = {}
run.__index = run


---@class perilune.Limits of one attempt, in seconds
---@field first_content? number
---@field total? number

---A model over the targets of a plan.
---@param plan perilune.Plan
---@param settings? table retry, max_retries, hedge, on_interrupt
---@return table model
function M.new(plan, settings)
  settings = settings or {}
  local retry = policy.retry(settings)
  return setmetatable({
    plan = plan, retry = retry, attempts_max = math.max(M.ATTEMPTS_MAX, retry.max_attempts, plan.listed_n or 0),
    hedge = settings.hedge, restarts = settings.on_interrupt == "restart",
  }, metatable)
end


---Asks. The first target's request is on its way when this returns, unless it must queue.
---@param request perilune.Request
---@param limits perilune.Limits? total: for the whole question
---@return perilune.Stream
function methods:stream(request, limits)
  local self_run = setmetatable({
    stage = self, request = request, order = self.plan:order(), position = 0, tried = 0, times = 0, attempts = {}, rows = {},
    out = {}, out_n = 0, given = 0, deadline = limits and limits.total and clock.mono() + limits.total or math.huge,
  }, run)
  failover.note_request()
  if self.plan.wanted then -- who was named first cannot be asked
    self_run:report_unusable()
  end
  self_run:ask_next(false)
  local outer = stream.new(function()
    return self_run:next()
  end, function()
    self_run:close()
  end)
  outer.rows, self_run.outer = self_run.rows, outer
  return outer
end


function run:next()
  while not self.is_closed do
    if self.given < self.out_n then
      self.given = self.given + 1
      return self.out[self.given]
    elseif self.is_over then
      return nil
    end
    local event = self:step()
    if event then
      return event
    end
  end
end


function run:give(event)
  self.out_n = self.out_n + 1
  self.out[self.out_n] = event
end


-- Seconds that the caller still waits.
function run:remaining()
  return math.min(task.remaining() or math.huge, self.deadline - clock.mono())
end


-- What this run waits with, so that whoever closes it can end the wait.
function run:pause_of()
  self.pause = self.pause or failover.pause()
  return self.pause
end


-- Asking

function run:report(candidate, reason, err, more)
  local target = candidate.target
  local attempt = more or {}
  attempt.type, attempt.reason, attempt.provider, attempt.model = "attempt", reason, target.name, target.model
  attempt.error, attempt.status = err, err and err.status
  self.attempts[#self.attempts + 1] = attempt
  self:give(attempt)
  log.write("debug", "failover", ("%s/%s %s: %s"):format(target.name, target.model, reason, tostring(err)))
end


-- Asks a candidate, when its endpoint lets us. False: it does not, or (second result) it would have to be waited for.
function run:ask(candidate, is_forced, may_wait)
  local endpoint, ticket = candidate.endpoint, nil
  if endpoint then
    local why, seconds
    ticket, why, seconds = endpoint:start(is_forced, 0)
    if why == "queue_timeout" then
      if not may_wait then
        return false, true
      end
      local patience = math.max(0, math.min(M.QUEUE_SECONDS, self:remaining()))
      ticket, why, seconds = endpoint:start(is_forced, patience, self:pause_of())
    end
    if self.is_closed then
      return false
    elseif not ticket then
      self:report(candidate, "skipped", verdict.skipped(candidate.target, why, seconds))
      return false
    end
  end
  self.tried, self.times = self.tried + 1, self.times + 1
  self.trial = trials.start(candidate, ticket, self.request, self:limits())
  table.move(self.trial.inner.rows, 1, #self.trial.inner.rows, #self.rows + 1, self.rows)
  self.step = (self.racers or self.stage.hedge and self.order[self.position + 1]) and hedge.step or run.read
  return true
end


function run:limits()
  local limits = self.order[self.position + 1] and HASTY or nil
  if self.deadline == math.huge then
    return limits
  end
  return { first_content = limits and limits.first_content, total = math.max(0.001, self.deadline - clock.mono()) }
end


-- Asks the next candidate that may be asked; without one the question has failed.
function run:ask_next(may_wait)
  self.times = 0
  while not self.is_closed do
    local candidate = self.order[self.position + 1]
    if not candidate then
      return self:give_up()
    end
    self.position = self.position + 1
    local is_asked, is_busy = self:ask(candidate, false, may_wait)
    if is_asked then
      return
    elseif is_busy then
      self.position = self.position - 1
      self.step = run.ask_next_now
      return
    end
  end
end


function run:ask_next_now()
  self:ask_next(true)
end


-- No candidate is left. When all were passed over, the one that may be asked soonest is asked all the same: a guess that everybody
-- is down must not become the reason why nobody answers.
function run:give_up()
  local best, wait
  if self.tried == 0 then
    for position, attempt in ipairs(self.attempts) do
      local seconds = attempt.error.retry_after or 0
      if self.order[position] and not attempt.error.code:find("^queue") and (not wait or seconds < wait) then
        best, wait = self.order[position], seconds
      end
    end
  end
  if not best or not self:ask(best, true, true) then
    self:fail(self.attempts[#self.attempts].error, false)
  end
end


-- Reading

-- Up to the commit point.
function run:read()
  local err = self.trial:read()
  if not err then
    self:commit()
  elseif not self.is_closed then
    self:judge(err)
  end
end


function run:commit()
  self:end_retry()
  local trial = self.trial
  self.out, self.out_n, self.given = trial.held, trial.held_n, 0
  self.step = run.pass
end


-- After it.
function run:pass()
  local event = self.trial.inner:pull()
  local kind = event and event.type
  if kind == "stop" then
    self.trial:succeed()
  elseif kind == "error" and not self.is_closed then
    return self:interrupted(event)
  elseif not event then
    self.is_over = true
  end
  return event
end


-- The answer was cut after the commit point.
function run:interrupted(event)
  local err, trial = event.error, self.trial
  local rule = policy.rule(err)
  trial:fail(err, rule)
  self.trial = nil
  if not self.stage.restarts or not rule.goes_on or self.tried >= self.stage.attempts_max or self:remaining() <= 0 then
    event.error.attempts = self.attempts
    return event
  end
  local target = trial.candidate.target
  self.out, self.out_n, self.given = {}, 0, 0
  self:report(trial.candidate, "interrupted", err, { duration_ms = trial:duration() })
  self:give { type = "attempt_discarded", provider = target.name, model = target.model, error = err }
  if not self.order[self.position + 1] then
    self.position = self.position - 1 -- nobody else: the same again
  end
  self.step = run.ask_next_now
end


-- Failing

-- How long to wait before the target that failed is asked again; nil: it is not.
function run:pause_before_retry(rule, err)
  local stage = self.stage
  local retry, left = stage.retry, #self.order - self.position
  if not rule.again or self.times >= retry.max_attempts or err.maybe_billed and not retry.maybe_billed
    or self.tried + left >= stage.attempts_max then -- who was not asked yet goes first
    return nil
  end
  local seconds = policy.wait(err, rule, self.times, retry)
  if seconds and seconds < self:remaining() and failover.begin_retry() then
    self.is_retry = true
    return seconds
  end
end


function run:end_retry()
  if self.is_retry then
    self.is_retry = nil
    failover.end_retry()
  end
end


-- The target at hand failed before the commit point: again, next, or the end.
function run:judge(err)
  local trial, rule = self.trial, policy.rule(err)
  self.trial = nil
  self:end_retry()
  trial:fail(err, rule)
  local seconds = self:pause_before_retry(rule, err)
  local more = { duration_ms = trial:duration(), retry_in = seconds }
  self:report(trial.candidate, seconds and "retried" or "failed", err, more)
  if seconds then
    self.step = run.repeat_after_pause
  elseif rule.context and self.stage.plan.context and not self.is_larger then
    self.order, self.position, self.is_larger, self.step = self.stage.plan.context, 0, true, run.ask_next_now
  elseif rule.goes_on and self.order[self.position + 1] and self.tried < self.stage.attempts_max and self:remaining() > 0 then
    self:report_unusable()
    self.step = run.ask_next_now
  else
    self:report_unusable()
    self:fail(err, not rule.goes_on)
  end
end


-- Those of the plan that could not be asked at all belong to the story once it goes on.
function run:report_unusable()
  if not self.has_told_unusable then
    self.has_told_unusable = true
    for _, attempt in ipairs(self.stage.plan.skipped or {}) do
      self.attempts[#self.attempts + 1] = attempt
      self:give(attempt)
    end
  end
end


function run:repeat_after_pause()
  local attempt = self.attempts[#self.attempts]
  self:pause_of():wait(attempt.retry_in)
  if not self.is_closed and not self:ask(self.order[self.position], true, true) then
    self:ask_next(true)
  end
end


-- The last event. What was held back of answers that failed stays back: nothing has begun for whoever reads.
function run:fail(err, is_final)
  self:give { type = "error", error = verdict.final(err, self.attempts, is_final) }
  self.is_over = true
end


function run:close()
  self.is_closed = true
  self:end_retry()
  if self.pause then
    self.pause:wake()
  end
  if self.trial then
    self.trial:close()
  end
  for _, racer in ipairs(self.racers or {}) do
    racer.trial:close()
  end
end


return M
