-- A scripted model, for tests of agents without a network: each request gets the next answer of a list. It stands in for everything
-- from the socket up to failover, so its errors are those of the real stages, and it keeps the limits that it is given.
local call = require "perilune.model.call"
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local faults = require "perilune.testing.faults"
local json = require "perilune.json"
local meter = require "perilune.model.meter"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"
local usages = require "perilune.model.usage"

local M = {}

local methods = {}
local metatable = { __name = "perilune.testing.model", __index = methods }

local WHERE = "perilune.testing.model"
local ANSWER_BYTES_MAX = 60 -- of an answer in a message
local PROMPT_TOKENS = 10 -- of every request, unless the answer says otherwise

local option_types = { repeat_last = "boolean", name = "string", model_name = "string" }

local answer_types = {
  text = "string", thinking = "string", refusal = "string", tool_calls = "table", events = "table", finish_reason = "string",
  usage = "table", delay = "number", word_delay = "number", error = "table", fault = "string", retry_after = "number", limit = "number",
}

local call_types = { name = "string", arguments = "string|table", id = "string" }


---@class perilune.testing.ScriptedAnswer
---@field text? string comes word by word
---@field thinking? string
---@field refusal? string
---@field tool_calls? { name: string, arguments: table|string|nil, id: string? }[]
---@field finish_reason? string default "stop", or "tool_calls"
---@field usage? { prompt_tokens: integer?, completion_tokens: integer? } default: 10 tokens read, one written for each word
---@field delay? number seconds before the answer begins
---@field word_delay? number seconds before each further word
---@field fault? string how it ends: "rate_limit", "cut", "stall", ... (perilune.testing.faults)
---@field retry_after? number seconds, said with the fault
---@field limit? number silence is noticed after so many seconds; default the limits of a real request
---@field error? table how it ends, as the fields of an error object: { kind = "server", message = ... }
---@field events? table[] all of it, as it is

---@class perilune.testing.Model
---@field requests perilune.Request[] what it was asked
---@field name string the provider's name in events; default "testing"
---@field model_name string default "scripted"


local function check_calls(where, calls, level)
  check.list(where .. ": tool_calls", calls, "table", level + 1)
  for position, one in ipairs(calls) do
    local place = ("%s: tool_calls[%d]"):format(where, position)
    check.options(place, one, call_types, level + 1)
    if not one.name then
      check.fail(place .. " has no name", level + 1)
    end
  end
end


-- Raises unless it is an answer; a text becomes one.
local function check_answer(where, answer, level)
  if type(answer) == "string" then
    return { text = answer }
  end
  check.options(where, answer, answer_types, level + 1)
  if answer.fault then
    check.choice(where .. ": fault", answer.fault, faults.names())
  end
  if answer.error then
    check.choice(where .. ": error.kind", answer.error.kind, errors.kinds)
  end
  check_calls(where, answer.tool_calls or {}, level + 1)
  return answer
end


---A model that answers from a list: texts, tables (perilune.testing.ScriptedAnswer), or functions of the request that return one of these.
---`repeat_last = true` goes on with the last one when the list is over.
---@param script { [integer]: string|perilune.testing.ScriptedAnswer|fun(request: perilune.Request, number: integer): any, repeat_last: boolean?,
---name: string?, model_name: string? }
---@return perilune.testing.Model
function M.new(script)
  check.value(WHERE .. ": the script", script, "table")
  local options, answers = {}, {}
  for key, value in pairs(script) do
    (math.type(key) == "integer" and answers or options)[key] = value
  end
  check.options(WHERE, options, option_types)
  check.list(WHERE .. ": the answers", answers, "string|table|function")
  for position, answer in ipairs(answers) do
    local where = ("%s: answer %d"):format(WHERE, position)
    answers[position] = type(answer) == "function" and answer or check_answer(where, answer, 2)
  end
  return setmetatable({
    answers = answers, requests = {}, repeat_last = options.repeat_last or false, name = options.name or "testing",
    model_name = options.model_name or "scripted",
  }, metatable)
end


function metatable:__tostring()
  return self.name .. "/" .. self.model_name
end


-- Making events

-- A text word by word, as providers stream it; returns how many words.
local function add_words(events, kind, said, delay)
  local count = 0
  for word in (said or ""):gmatch("%S*%s*") do
    if word ~= "" then
      events[#events + 1] = { wait = delay, event = { type = kind, text = word } }
      count = count + 1
    end
  end
  return count
end


local function add_calls(events, calls, number)
  for index, one in ipairs(calls or {}) do
    local arguments = type(one.arguments) == "table" and assert(json.encode(one.arguments)) or one.arguments or "{}"
    local id = one.id or ("call_%d_%d"):format(number, index)
    events[#events + 1] = { event = { type = "tool_call_start", index = index - 1, id = id, name = one.name } }
    events[#events + 1] = { event = { type = "tool_call", index = index - 1, id = id, name = one.name, arguments = arguments } }
  end
  return calls and #calls or 0
end


local function usage_of(answer, written)
  local said = answer.usage
  if not said then
    return usages.estimate(PROMPT_TOKENS, written)
  end
  local prompt, completion = said.prompt_tokens or 0, said.completion_tokens or 0
  return {
    prompt_tokens = prompt, completion_tokens = completion, total_tokens = prompt + completion,
    prompt_tokens_details = said.prompt_tokens_details or {}, completion_tokens_details = said.completion_tokens_details or {},
  }
end


-- How an answer fails, when it does.
local function error_of(answer, has_content)
  local err
  if answer.error then
    local fields = {}
    for name, value in pairs(answer.error) do
      fields[name] = value
    end
    fields.message = fields.message or "the script says so"
    err = errors.new(fields)
  elseif answer.fault then
    err = faults.error(answer.fault, has_content)
  end
  if err then
    err.retry_after = err.retry_after or answer.retry_after
  end
  return err
end


-- The steps of an answer: an event and how long to wait before it.
local function steps_of(self, answer, number)
  local steps = {}
  if answer.events then
    for position, event in ipairs(answer.events) do
      steps[position] = { event = event }
    end
    return steps
  end
  steps[1] = { event = { type = "start", model = self.model_name, provider = self.name, id = "answer_" .. number } }
  local written = add_words(steps, "thinking", answer.thinking, answer.word_delay)
    + add_words(steps, "text", answer.text, answer.word_delay) + add_words(steps, "refusal", answer.refusal, answer.word_delay)
    + add_calls(steps, answer.tool_calls, number)
  local err = error_of(answer, written > 0)
  if answer.fault == "stall" then
    steps[#steps + 1] = { wait = math.huge }
  elseif err then
    steps[#steps + 1] = { event = { type = "error", error = err } }
  else
    local reason = answer.finish_reason or answer.tool_calls and "tool_calls" or "stop"
    steps[#steps + 1] = { event = { type = "usage", usage = usage_of(answer, written) } }
    steps[#steps + 1] = { event = { type = "stop", reason = reason, raw = reason } }
  end
  steps[1].wait = answer.delay
  return steps
end


-- Playing them

-- The limit that is met first from here on: its name, its seconds, and when they are over.
local function limit_of(play)
  local limits, now = play.limits, clock.mono()
  local code, seconds, from
  if play.position > 2 then -- something came after `start`
    code, seconds, from = "idle", play.limit or call.timeouts.idle, now
  else
    code, seconds, from = "first_content", play.limit or limits.first_content or call.timeouts.first_byte, play.started
  end
  if limits.total and play.started + limits.total < from + seconds then
    return "total", limits.total, play.started + limits.total
  end
  return code, seconds, from + seconds
end


-- Waits; returns the error of the limit that was met first, or true when nobody listens any more.
local function wait(play, seconds)
  local code, limit, ends = limit_of(play)
  local left = math.max(0, ends - clock.mono())
  if play.signal:wait(math.min(seconds, left)) then
    return nil, true
  end
  return seconds > left and faults.late(code, limit) or nil
end


local function next_event(play)
  play.position = play.position + 1
  local step = play.steps[play.position]
  if step and step.wait then
    local err, is_closed = wait(play, step.wait)
    if is_closed then
      return nil
    elseif err then
      err.provider, err.model = play.model.name, play.model.model_name
      return { type = "error", error = err }
    end
  end
  local event = step and step.event
  if event and event.type == "error" then
    event.error.provider = event.error.provider or play.model.name
    event.error.model = event.error.model or play.model.model_name
  end
  return event
end


local function count_of(number, what)
  return ("%d %s%s"):format(number, what, number == 1 and "" or "s")
end


local function beyond(self, number)
  return {
    events = { {
      type = "error",
      error = errors.new {
        kind = "configuration", code = "script_over",
        message = ("the scripted model %s has %s, and this is request %d: add an answer, or repeat_last = true"):format(self,
          count_of(#self.answers, "answer"), number),
      },
    } },
  }
end


---Answers with the next of the list.
---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local number = #self.requests + 1
  self.requests[number] = request
  local answer = self.answers[number] or self.repeat_last and self.answers[#self.answers] or beyond(self, number)
  if type(answer) == "function" then
    answer = check_answer(("%s: what the function for answer %d returned"):format(WHERE, number), answer(request, number), 2)
  end
  local play = {
    model = self, steps = steps_of(self, answer, number), position = 0, limits = limits or {}, limit = answer.limit,
    started = clock.mono(), signal = task.signal(),
  }
  local source = { stream = function()
    return stream.new(function()
      return next_event(play)
    end, function()
      play.signal:wake()
    end)
  end }
  return meter.new(source, { name = self.name, model = self.model_name }):stream(request, limits)
end


---Raises unless it was asked exactly as often as it has answers.
function methods:expect_done()
  local asked, has = #self.requests, #self.answers
  local following = self.answers[asked + 1]
  if following then
    local what = type(following) == "function" and "a function"
      or text.truncate(following.text or following.fault or json.encode(following, { repair = true }) or "?", ANSWER_BYTES_MAX)
    check.fail(("the scripted model %s was asked %s and has %s; the next would be: %s"):format(self, count_of(asked, "time"),
      count_of(has, "answer"), what))
  elseif asked > has and not self.repeat_last then
    check.fail(("the scripted model %s was asked %s and has only %s"):format(self, count_of(asked, "time"), count_of(has, "answer")))
  end
end


return M
