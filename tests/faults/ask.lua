-- Asks a question of one or two providers and says all that became of it, as plain data: in the process of the tests, or in one of
-- its own, whose world is another.
local apps = require "perilune.app"
local assistants = require "perilune.agent.assistant"
local clock = require "perilune.sys.clock"
local events = require "perilune.testing.events"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local requests = require "perilune.model.request"
local task = require "perilune.sys.task"
local threads = require "perilune.agent.thread"
local tool = require "perilune.tool"

local M = {}

M.NAMES = { "openai/gpt-4o-mini", "groq/llama-3.1-8b-instant" }

local LONG_BYTES = 8 << 20

local SERVE = [[
package.path = %q
require("tests.faults.ask").serve()
]]


---@class tests.faults.Question
---@field urls string[] of the first provider, and of the second where there is one
---@field key string one of its own: breakers and pauses belong to a key
---@field is_streamed boolean
---@field settings table of the application: timeouts, retry, ...
---@field is_warm? boolean ask twice; only the second answer counts
---@field is_long? boolean
---@field has_tools? boolean an assistant asks, on a thread

---An application whose providers are these addresses.
---@param question tests.faults.Question
---@return perilune.App
function M.app(question)
  local values = {
    OPENAI_API_KEY = question.key, GROQ_API_KEY = question.key, OPENAI_BASE_URL = question.urls[1], GROQ_BASE_URL = question.urls[2],
  }
  local settings = { db = ":memory:", env = function(name) return values[name] end }
  for name, value in pairs(question.settings) do
    settings[name] = value
  end
  return apps.new(settings)
end


---One model over the providers of a question.
---@param app perilune.App
---@param question tests.faults.Question
---@return table model
function M.model(app, question)
  return (app:model({ table.unpack(M.NAMES, 1, #question.urls) }))
end


---The question itself.
---@param question { is_streamed: boolean, is_long: boolean? }
---@return perilune.Request
function M.request(question)
  local text = "Count." .. (question.is_long and ("x"):rep(LONG_BYTES) or "")
  return assert(requests.new(text, { stream = question.is_streamed }))
end


local function plain_error(err)
  if not err then
    return nil
  end
  local attempts = {}
  for position, attempt in ipairs(err.attempts or {}) do
    attempts[position] = {
      provider = attempt.provider, reason = attempt.reason, retry_in = attempt.retry_in, error = plain_error(attempt.error),
    }
  end
  return {
    kind = err.kind, code = err.code, status = err.status, message = err.message, maybe_billed = err.maybe_billed or false,
    retry_after = err.retry_after, attempts = attempts,
  }
end


local function plain_rows(rows)
  local list = {}
  for position, row in ipairs(rows) do
    list[position] = {
      provider = row.provider, model = row.model, outcome = row.outcome,
      tokens = row.prompt_tokens and row.prompt_tokens + row.completion_tokens or nil,
    }
  end
  return list
end


-- What became of a question, out of its events.
local function outcome_of(list, answer, rows)
  local of_answer, attempts = {}, {}
  for _, event in ipairs(list) do
    if event.type ~= "attempt" then
      of_answer[#of_answer + 1] = event
    end
  end
  for position, attempt in ipairs(answer.attempts) do
    attempts[position] = {
      provider = attempt.provider, reason = attempt.reason, retry_in = attempt.retry_in, error = plain_error(attempt.error),
    }
  end
  return {
    content = answer.content, provider = answer.provider, finish_reason = answer.finish_reason, error = plain_error(answer.error),
    attempts = attempts, rows = plain_rows(rows), problem = events.problem(of_answer),
  }
end


local function ask_model(model, question)
  local stream <close> = model:stream(M.request(question))
  local list = {}
  for event in stream do
    list[#list + 1] = event
  end
  return outcome_of(list, stream:so_far(), stream.rows)
end


local function ask_provider(app, question)
  local model = M.model(app, question)
  if question.is_warm then
    local first = ask_model(model, question)
    assert(not first.error, first.error and first.error.message)
  end
  return ask_model(model, question)
end


-- The tool of the questions that have one, and what came of its calls.
local function ask_assistant(app, question)
  local done = { run = 0, wrong = 0, ids = {} }
  local add = tool.define {
    name = "add", description = "Adds two numbers", parameters = { a = "integer", b = "integer" },
    run = function(arguments)
      done.run = done.run + 1
      return arguments.a + arguments.b
    end,
  }
  local assistant = assistants.new {
    name = "adder", model = M.NAMES[1], fallbacks = { table.unpack(M.NAMES, 2, #question.urls) }, tools = { add },
    provider_specific_params = not question.is_streamed and { stream = false } or nil,
  }
  local stream <close> = threads.open(app, "a thread"):stream(assistant, "What is 1 + 2?")
  local content, calls, provider, err = "", 0, nil, nil
  for event in stream do
    if event.type == "tool_result" then
      done.wrong = done.wrong + (event.is_error and 1 or 0)
      done.ids[#done.ids + 1] = calls .. " " .. event.id
    elseif event.type == "start" then
      provider, calls = event.provider, calls + 1
    elseif event.type == "error" then
      err = event.error
    end
    content = content .. (event.type == "text" and event.text or "")
  end
  local checked = app:database():check()
  app:close()
  return { content = content, provider = provider, error = plain_error(err), tools = done, attempts = {}, rows = {}, problem = checked[1] }
end


---Asks.
---@param question tests.faults.Question
---@return table outcome content, provider, error, attempts, rows, problem (of the events), seconds, tools
function M.ask(question)
  local app = M.app(question)
  local started = clock.mono()
  local outcome = question.has_tools and ask_assistant(app, question) or ask_provider(app, question)
  outcome.seconds = clock.mono() - started
  return outcome
end


---Asks all of them at once; the outcomes are in their order.
---@param list tests.faults.Question[]
---@return table[] outcomes
function M.ask_all(list)
  local outcomes = {}
  local group <close> = task.group()
  for position, question in ipairs(list) do
    group:spawn(function()
      outcomes[position] = M.ask(question)
    end)
  end
  group:wait()
  return outcomes
end


---The other end of `ask_in`: questions on standard input, outcomes on standard output.
function M.serve()
  local list = assert(json.decode(assert(proc.read_stdin())))
  assert(proc.write(1, assert(json.encode(M.ask_all(list)))))
end


---Asks all of them in a process of its own.
---@param program tests.Program its environment is the process's
---@param list tests.faults.Question[]
---@return table[] outcomes
function M.ask_in(program, list)
  local result = program:run { "run", "-e", SERVE:format(programs.path("?.lua")), stdin = assert(json.encode(list)) }
  assert(result.status == 0, result.stderr)
  return assert(json.decode(result.stdout))
end


return M
