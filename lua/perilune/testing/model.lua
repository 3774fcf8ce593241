-- A scripted model, for tests of agents without a network: each call gets the next answer of a list. An answer is a text, or a
-- table { text=, thinking=, tool_calls = { { name=, arguments=, id=? } }, error=, delay=, events= }, or a function of the request.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local usages = require "perilune.model.usage"

local M = {}

local methods = {}
local metatable = { __name = "perilune.testing.model", __index = methods }


---@param answers (string|table|fun(request: table): string|table)[]
---@return table model `model.requests` are the requests it got
function M.new(answers)
  return setmetatable({ answers = answers, requests = {} }, metatable)
end


-- A text word by word, as providers stream it.
local function add_words(events, kind, text)
  for word in text:gmatch("%S+%s*") do
    events[#events + 1] = { type = kind, text = word }
  end
end


local function events_of(answer, number)
  if answer.events then
    return answer.events
  end
  local events = { { type = "start", model = "scripted", provider = "testing", id = "answer_" .. number } }
  add_words(events, "thinking", answer.thinking or "")
  add_words(events, "text", answer.text or "")
  for index, call in ipairs(answer.tool_calls or {}) do
    local arguments = type(call.arguments) == "table" and assert(json.encode(call.arguments)) or call.arguments or "{}"
    local id = call.id or ("call_%d_%d"):format(number, index)
    events[#events + 1] = { type = "tool_call_start", index = index - 1, id = id, name = call.name }
    events[#events + 1] = { type = "tool_call", index = index - 1, id = id, name = call.name, arguments = arguments }
  end
  if answer.error then
    events[#events + 1] = { type = "error", error = errors.new(answer.error) }
    return events
  end
  events[#events + 1] = { type = "usage", usage = usages.estimate(10, #events) }
  events[#events + 1] = { type = "stop", reason = answer.tool_calls and "tool_calls" or "stop", raw = "stop" }
  return events
end


---@param request perilune.Request
---@return perilune.Stream
function methods:stream(request)
  local number = #self.requests + 1
  self.requests[number] = request
  local answer = self.answers[number] or error(("the scripted model has no answer for request %d"):format(number), 2)
  if type(answer) == "function" then
    answer = answer(request)
  end
  if type(answer) == "string" then
    answer = { text = answer }
  end
  local events, position = events_of(answer, number), 0
  local answered = stream.new(function()
    position = position + 1
    if answer.delay then
      task.sleep(answer.delay)
    end
    return events[position]
  end)
  answered.rows[1] = { provider = "testing", model = "scripted", outcome = "ok", started_at = 0 }
  return answered
end


return M
