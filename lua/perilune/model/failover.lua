-- Failover over a list of models: the next one is tried when one fails before the commit point, the first event with
-- content that is handed to the caller. After it a failure is final and visible: nobody gets half of one answer and half
-- of another. Empty answers are failures too, unless they call tools or say why they are empty.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local stream = require "perilune.model.stream"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.failover", __index = methods }

-- The caller's own mistakes, and answers that every provider should give alike, stay where they are.
local stays = {
  api = true, context_length = true, content_filter = true, cancelled = true, configuration = true, media = true,
  schema = true, budget = true, internal = true, tool = true,
}

local commits = {
  thinking = true, refusal = true, tool_call_start = true, tool_call_delta = true, tool_call = true, item = true, image = true,
  audio = true,
}

-- An empty answer with one of these reasons is what the model had to say.
local explains_emptiness = { length = true, content_filter = true, refusal = true, tool_calls = true }


---@param candidates { model: table, target: perilune.Target }[] in the order they are tried
---@return table model
function M.new(candidates)
  return setmetatable({ candidates = candidates }, metatable)
end


local function commits_with(event)
  return commits[event.type] or (event.type == "text" and event.text:find("%S") ~= nil)
end


local function empty_answer(target)
  return errors.new {
    kind = "empty_response", message = "the answer was empty", provider = target.name, model = target.model,
    retryable = true, maybe_billed = true,
  }
end


local function all_failed(attempts)
  local parts = {}
  for position, attempt in ipairs(attempts) do
    parts[position] = ("%s/%s: %s"):format(attempt.provider, attempt.model, tostring(attempt.error))
  end
  local last = attempts[#attempts].error
  return errors.new {
    kind = "all_failed", message = "All chat providers failed. Errors: " .. table.concat(parts, "; "), attempts = attempts,
    cause = last, status = last.status, retryable = last.retryable, retry_after = last.retry_after,
  }
end


local run = {}
run.__index = run


function run:start_next()
  self.position = self.position + 1
  self.candidate = self.candidates[self.position]
  self.started = clock.mono()
  self.inner = self.candidate.model:stream(self.request)
  self.held, self.held_n, self.given = {}, 0, 0
  for _, row in ipairs(self.inner.rows) do
    self.rows[#self.rows + 1] = row
  end
end


-- The candidate failed before the commit point: the event that says so, and whether there is another to try.
function run:give_up(err)
  local target = self.candidate.target
  self.inner:close()
  local attempt = {
    type = "attempt", reason = "failed", provider = target.name, model = target.model, error = err, status = err.status,
    duration_ms = math.floor((clock.mono() - self.started) * 1000 + 0.5),
  }
  self.attempts[#self.attempts + 1] = attempt
  if self.candidates[self.position + 1] and not stays[err.kind] then
    self:start_next()
    return attempt
  end
  if #self.attempts > 1 then
    err = all_failed(self.attempts)
  end
  -- What is known of the answer (its model, what it used) goes out before the error; white space does not.
  local told = {}
  for position = 1, self.held_n do
    local event = self.held[position]
    if event.type == "start" or event.type == "usage" then
      told[#told + 1] = event
    end
  end
  told[#told + 1] = { type = "error", error = err }
  self.held, self.held_n = told, #told
  self.is_committed = true
  return self:next()
end


-- Holds events back until one commits; returns the first event to hand out.
function run:before_commit()
  while true do
    local event = self.inner:pull()
    if not event then
      return self:give_up(errors.new { kind = "internal", message = "the stream ended without a last event" })
    elseif event.type == "error" then
      return self:give_up(event.error)
    elseif event.type == "stop" and not explains_emptiness[event.reason] then
      return self:give_up(empty_answer(self.candidate.target))
    end
    self.held_n = self.held_n + 1
    self.held[self.held_n] = event
    if event.type == "stop" or commits_with(event) then
      self.is_committed = true
      return self:next()
    end
  end
end


function run:next()
  if not self.is_committed then
    return self:before_commit()
  elseif self.given < self.held_n then
    self.given = self.given + 1
    return self.held[self.given]
  end
  return self.inner:pull()
end


---@param request perilune.Request
---@return perilune.Stream
function methods:stream(request)
  local state = setmetatable({
    candidates = self.candidates, request = request, position = 0, attempts = {}, rows = {}, is_committed = false,
  }, run)
  state:start_next()
  local outer = stream.new(function()
    return state:next()
  end, function()
    state.inner:close()
  end)
  outer.rows = state.rows
  return outer
end


return M
