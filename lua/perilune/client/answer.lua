-- An answer on its way to a client's caller: the outermost stage around a model. It ends the answer when its time is over or its
-- token is cancelled, remembers who answers, and counts the answer when it has ended.
local cancellation = require "perilune.model.cancellation"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local models = require "perilune.client.models"
local proc = require "perilune.sys.proc"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local M = {}

local run = {}
run.__index = run

-- The stages below know the time of the question too, and may say that it is over this much earlier.
local CLOSE_SECONDS = 0.01
local runs_out = { timeout = true, all_failed = true }


local function milliseconds(seconds)
  return math.floor(seconds * 1000 + 0.5)
end


-- What all attempts of the question used: each is a cost of its own. Whoever says nothing of attempts has the usage of the answer.
local function used(rows, usage)
  local prompt, completion, cost, is_told = 0, 0, 0, false
  for _, row in ipairs(rows) do
    if row.prompt_tokens then
      is_told = true
      prompt, completion = prompt + row.prompt_tokens, completion + row.completion_tokens
    end
    if row.prompt_tokens or row.outcome == "ok" then
      cost = cost and row.cost_nano and cost + row.cost_nano
    end
  end
  if usage and not is_told then
    return usage.prompt_tokens, usage.completion_tokens, usage.cost
  end
  return prompt, completion, cost
end


-- Counts the answer, once.
function run:finish(outcome)
  if self.is_over then
    return
  end
  self.is_over = true
  if self.alarm then
    self.alarm:wake()
  end
  local seconds, usage = clock.mono() - self.started, self.usage
  self.outer.rows = self.inner.rows
  self.outer.stats = {
    client_request_id = self.id, latency_ms = milliseconds(seconds),
    time_to_first_token_ms = self.first_content and milliseconds(self.first_content), retry_count = self.retries,
    prompt_tokens = usage and usage.prompt_tokens, completion_tokens = usage and usage.completion_tokens,
    total_tokens = usage and usage.total_tokens,
  }
  local prompt, completion, cost = used(self.outer.rows, usage)
  self.client.counts:add {
    outcome = outcome, seconds = seconds, first_content = self.first_content, retries = self.retries,
    failovers = self.failovers, prompt_tokens = prompt, completion_tokens = completion, cost = cost,
  }
end


-- Tells people who answers; a name comes from outside and may hold anything.
local function print_provider(client, provider, model)
  provider, model = tostring(provider):gsub("%c", "?"), tostring(model):gsub("%c", "?")
  local line = "\27[36m%s\27[0m:\27[33m%s\27[0m\n"
  if client.app.settings.env "NO_COLOR" then
    line = "%s:%s\n"
  end
  proc.write(2, line:format(provider, model))
end


-- Somebody is asked, or answers: after one that was given up it is another.
local function went_on(self)
  if self.has_given_up then
    self.has_given_up, self.failovers = false, self.failovers + 1
  end
end


-- The answer has begun: nobody else gives it any more.
local function begin(self)
  local start, client = self.start or {}, self.client
  self.has_begun = true
  went_on(self)
  client.last_provider, client.last_model = start.provider, start.model
  if client.options.print_provider_info then
    print_provider(client, start.provider or "?", start.model or "?")
  end
end


-- What an event means here; every other type passes by.
local on = {
  start = function(self, event)
    self.start = event
  end,
  attempt = function(self, event)
    self.attempts[#self.attempts + 1] = event
    if event.reason == "retried" then
      went_on(self)
      self.retries = self.retries + 1
    elseif event.reason == "failed" or event.reason == "interrupted" then
      went_on(self)
      self.has_given_up = true
    end
  end,
  attempt_discarded = function(self) -- the answer begins again
    self.has_begun, self.first_content, self.usage = false, nil, nil
  end,
  usage = function(self, event)
    self.usage = event.usage
  end,
  stop = function(self)
    if not self.has_begun then
      begin(self)
    end
    self:finish("ok")
  end,
  error = function(self, event)
    event.error.client_request_id = self.id
    self:finish(event.error.kind == "cancelled" and "cancelled" or "failed")
  end,
}

local is_content = {
  text = true, thinking = true, refusal = true, tool_call_start = true, tool_call = true, image = true, audio = true,
}


-- What a stage below had to say of a time that was over for it at the same moment is a cause, no other error.
local function too_late(self, event)
  local cause = event and event.error
  return { type = "error", error = errors.new {
    kind = "timeout", code = "deadline", retryable = true, maybe_billed = true, cause = cause,
    attempts = cause and cause.attempts or self.attempts,
    message = ("the answer was not complete after %g s"):format(self.seconds),
  } }
end


local function is_time_over(self, event)
  return self.is_late or self.seconds and event and event.type == "error" and runs_out[event.error.kind]
    and clock.mono() - self.started > self.seconds - CLOSE_SECONDS
end


function run:next()
  local event = self.inner:pull()
  if is_time_over(self, event) then
    event = too_late(self, event)
  elseif not event then
    return nil
  end
  local handler = on[event.type]
  if handler then
    handler(self, event)
  elseif not self.has_begun and is_content[event.type] then
    self.first_content = clock.mono() - self.started
    begin(self)
  end
  return event
end


function run:close()
  self.inner:close()
  self:finish("cancelled")
end


-- Ends the answer when its time is over.
function run:watch()
  self.alarm = task.signal()
  task.spawn(function()
    if not self.is_over and not self.alarm:wait(self.seconds) then
      self.is_late = true
      self.inner:close()
    end
  end)
end


-- Asks, unless a token says that nobody wants to know any more.
local function ask(client, request, options, seconds)
  for _, holder in ipairs { options, client.options } do
    if holder.cancel and holder.cancel:is_cancelled() then
      return stream.from_list { { type = "error", error = cancellation.error(holder.cancel.reason) } }
    end
  end
  local inner = models.get(client, options.model):stream(request, seconds and { total = seconds })
  for _, holder in ipairs { options, client.options } do
    if holder.cancel then
      inner:with_cancellation(holder.cancel)
    end
  end
  return inner
end


---Asks. What comes of it is counted in `client.counts`.
---@param client perilune.Client
---@param request perilune.Request
---@param options table of the question: model, timeout, cancel
---@return perilune.Stream
function M.start(client, request, options)
  local seconds = options.timeout or client.options.timeout
  local self = setmetatable({
    client = client, id = request.request_id or token.id "req", started = clock.mono(), retries = 0, failovers = 0,
    attempts = {}, seconds = seconds,
  }, run)
  self.inner = ask(client, request, options, seconds)
  self.outer = stream.new(function()
    return self:next()
  end, function()
    self:close()
  end)
  self.outer.rows = self.inner.rows
  if seconds then
    self:watch()
  end
  return self.outer
end


return M
