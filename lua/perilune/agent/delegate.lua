-- Assistants as tools: what a model hands to the tool becomes a question to another assistant, on a thread of its own, and its answer
-- the result. The thread's key comes from the call, so that a call that is made again after a crash finds the run that it began and
-- goes on with it. What it uses counts for the run that called it and is paid by the same account, and its budget is what that run has
-- left. The thread goes with the one of the run that called.
local assistants = require "perilune.agent.assistant"
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local resumption = require "perilune.agent.resumption"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local threads = require "perilune.agent.thread"
local tool = require "perilune.tool"
local tool_calls = require "perilune.agent.tool_calls"

local M = {}

---How deep runs may call runs.
M.DEPTH_MAX = 8

local NANO = 1e9

local option_types = { name = "string", description = "string", timeout = "number", approval = "string|function" }


-- What is left of the caller's budget.
local function budget_left(turn)
  local left, budget = {}, turn.budget
  left.tokens = budget.tokens and math.max(1, budget.tokens - (turn.usage and turn.usage.total_tokens or 0))
  left.cost = budget.cost and math.max(1e-9, budget.cost - turn.cost / NANO)
  left.seconds = budget.seconds and math.max(0.001, budget.seconds - turn:seconds())
  left.tool_calls = budget.tool_calls and math.max(1, budget.tool_calls - turn.called)
  return left
end


-- The run that this call began before its process ended; nil when it had not begun.
local function earlier(app, thread)
  local list, err = runs.list(app:database(), { thread = thread, limit = 1 })
  if not list then
    error(err, 0)
  end
  return list[1] and run_object.get(app, list[1].id)
end


local function answer_of(run)
  if run.status == "completed" then
    return run.output ~= nil and run.output or run.content
  elseif run.waiting then
    return nil, errors.new { kind = "tool", message = ("the run %s of the assistant waits for a decision"):format(run.id) }
  end
  local why = run.error and run.error.message or run.why or run.status
  return nil, errors.new { kind = "tool", message = ("the assistant did not come to an answer: %s"):format(why) }
end


-- Whoever goes on with the run alone, after a decision, asks as the client did who asked the caller.
local function asked_of(turn, assistant)
  local asked = turn.row.asked
  return asked and { api = "call", model = asked.model, assistant = assistant.name } or nil
end


local function ask(assistant, arguments, context)
  local turn = context.turn
  if turn.depth + 1 > M.DEPTH_MAX then
    local message = ("assistants call each other more than %d deep"):format(M.DEPTH_MAX)
    return nil, errors.new { kind = "budget", code = "depth", message = message }
  end
  local app = turn.job.app
  local thread = threads.open(app, tool_calls.thread_key(context.idempotency_key))
  local run, options = earlier(app, thread), {
    budget = budget_left(turn), depth = turn.depth + 1, parent = turn.row.id, account = turn.row.account, wrap = turn.job.wrap,
    asked = asked_of(turn, assistant),
  }
  if not run then
    run = jobs.run(jobs.new(app, thread, assistant, arguments.input, options))
  elseif run.status == "running" or run.status == "queued" then
    run = resumption.resume(run, assistant, options)
  end
  turn:add_usage({ { cost_nano = run.cost, outcome = "ok" } }, run.usage)
  return answer_of(run)
end


---A tool that asks this assistant: for the tools of another one. It is the method `as_tool` of assistants.
---@param assistant perilune.Assistant
---@param options? { name: string?, description: string?, timeout: number?, approval: string|function|nil }
---@return perilune.Tool
function M.tool(assistant, options)
  options = check.options("assistant:as_tool", options, option_types)
  return tool.define {
    name = options.name or (assistant.name:gsub("[^%w_-]", "_"):sub(1, 64)),
    description = options.description or assistant.description or ("Ask the assistant %s."):format(assistant.name),
    parameters = { input = "string: the question or the task, with all that the assistant must know" },
    idempotent = true, timeout = options.timeout, approval = options.approval,
    run = function(arguments, context)
      return ask(assistant, arguments, context)
    end,
  }
end


assistants.methods.as_tool = M.tool

return M
