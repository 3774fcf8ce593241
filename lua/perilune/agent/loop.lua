-- The agent loop: one run of an assistant on a thread, as a state machine over rows. Before every effect (a model call, a
-- tool) a row says that it begins; after it a row says what came of it. Scripts and the server go through here alike.
local assistants = require "perilune.agent.assistant"
local context = require "perilune.agent.context"
local errors = require "perilune.std.errors"
local log = require "perilune.sys.log"
local messages = require "perilune.store.messages"
local proc = require "perilune.sys.proc"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"
local tool = require "perilune.tool"
local usages = require "perilune.model.usage"

local M = {}

-- Seconds a write may take although the run was cancelled meanwhile.
local WRITE_SECONDS = 30

local turn = {}
local turn_metatable = { __name = "perilune.agent.turn", __index = turn }

-- Events of a model that the caller sees; `usage` and `stop` come once, at the end of the run.
local passes = {
  start = true, attempt = true, attempt_discarded = true, text = true, thinking = true, refusal = true, tool_call_start = true,
  tool_call_delta = true, tool_call = true, image = true, audio = true, citation = true,
}


local function must(value, err)
  if not value then
    error(err, 0)
  end
  return value
end


-- A write is waited for to the end: a cancel in the middle of it would leave us not knowing whether it happened.
local function commit(f, ...)
  return must(task.shield(WRITE_SECONDS, f, ...))
end


---@class perilune.Job
---@field db table
---@field thread { id: string }
---@field assistant perilune.Assistant
---@field model table what streams: docs/model.md
---@field model_name string
---@field input? string|table[] what the user says; nil continues with what the thread holds
---@field emit fun(event: table) gets every event; may wait

---@class perilune.Run
---@field id string
---@field status "completed"|"incomplete"|"failed"|"cancelled"
---@field content string
---@field message perilune.Message
---@field reasoning? string
---@field tool_calls table[]
---@field usage perilune.Usage of the whole run
---@field cost? integer nano-dollars; nil when a price is not known
---@field steps integer model calls and tool calls
---@field provider string
---@field model string

---Runs the assistant until it has answered. Raises what made it fail; by then the run's last rows are written.
---@param job perilune.Job
---@return perilune.Run
function M.run(job)
  local input = job.input ~= nil and { role = "user", content = job.input } or nil
  local row = commit(runs.begin, job.db, {
    thread = job.thread, input = input, assistant = job.assistant.name, model = job.model_name, owner = proc.self(),
    step = { kind = "model", name = job.model_name },
  }, proc.is_alive)
  local self <close> = setmetatable({
    job = job, row = row, assistant = job.assistant, model_seq = row.step_seq, steps = 0, repairs = 0, is_settled = false,
    has_price = true, cost = 0,
  }, turn_metatable)
  return self:go()
end


function turn:go()
  local job, assistant = self.job, self.assistant
  self.stored = {}
  for _, stored in ipairs(must(messages.window(job.db, job.thread, assistant.history.messages))) do
    self.stored[#self.stored + 1] = stored.message
  end
  self.instructions = assistants.instructions(assistant, { thread = job.thread, run = self.row, assistant = assistant })
  for step = 1, assistant.max_steps do
    local answer, finished = self:ask()
    if not answer.has_tool_calls then
      return self:complete("completed", answer, finished)
    end
    self:call_tools(answer.tool_calls, finished, step < assistant.max_steps)
    self.last = answer
  end
  return self:complete("incomplete", self.last)
end


-- Model calls

function turn:request()
  local request = { stream = true, messages = context.build(self.stored, self.instructions) }
  for name, value in pairs(self.assistant.request) do
    request[name] = value
  end
  if #self.assistant.tool_list > 0 then
    request.tools = self.assistant.tool_list
  end
  return request
end


function turn:take_usage(stream)
  for _, row in ipairs(stream.rows) do
    if row.cost_nano then
      self.cost = self.cost + row.cost_nano
    elseif row.outcome == "ok" then
      self.has_price = false
    end
  end
  local answer = stream:so_far()
  self.usage = usages.add(self.usage, answer.usage)
  return answer
end


-- The model call whose step has begun; returns the answer and the end of its step, which goes into the next batch.
function turn:ask()
  local job = self.job
  self.steps = self.steps + 1
  local stream <close> = job.model:stream(self:request())
  self.stream = stream
  for event in stream do
    if passes[event.type] then
      job.emit(event)
    end
  end
  local answer = self:take_usage(stream)
  if answer.error then
    error(answer.error, 0)
  end
  self.stream = nil
  local message = answer:to_message()
  self.stored[#self.stored + 1] = message
  return answer, { seq = self.model_seq, message = message, attempts = stream.rows }
end


function turn:model_step()
  return { kind = "model", name = self.job.model_name }
end


-- Tool calls

function turn:tool_context(call, seq)
  local row = self.row
  return {
    thread = self.job.thread, run = row, call_id = call.id, emit = self.job.emit,
    idempotency_key = token.sha256(row.id .. ":" .. seq):sub(1, 32),
    log = function(text)
      log.write("info", "tool", ("%s: %s"):format(call.name, text))
    end,
  }
end


local function unknown_tool(name, list)
  local names = {}
  for position, one in ipairs(list) do
    names[position] = one.name
  end
  local text = ("there is no tool called '%s'; the tools are: %s"):format(name, table.concat(names, ", "))
  return { is_error = true, content = "Error: " .. text, error = errors.new { kind = "tool", code = "unknown", message = text } }
end


function turn:call_tool(call, seq)
  local job, found = self.job, self.assistant.tools[call.name]
  local result
  if found then
    result = tool.call(found, call.arguments, self:tool_context(call, seq))
  else
    result = unknown_tool(call.name, self.assistant.tool_list)
  end
  local message = {
    role = "tool", tool_call_id = call.id, name = call.name, content = result.content, is_error = result.is_error or nil,
  }
  commit(runs.advance, job.db, self.row, { finished = { { seq = seq, message = message, result = { is_error = result.is_error } } } })
  self.steps = self.steps + 1
  job.emit { type = "tool_result", id = call.id, name = call.name, content = result.content, is_error = result.is_error or nil }
  return message, result.error
end


-- A mistake of the model's is told to it; too many of them, or a tool's own error when the assistant says so, end the run.
function turn:judge(err)
  if not err then
    return
  elseif err.code == "arguments" or err.code == "unknown" then
    self.repairs = self.repairs + 1
    if self.repairs > self.assistant.max_repairs then
      error(err, 0)
    end
  elseif self.assistant.on_tool_error == "raise" then
    error(err, 0)
  end
end


-- Runs the functions side by side, at most `limit` at a time.
local function side_by_side(count, limit, f)
  local following = 1
  local function work()
    while following <= count do
      local position = following
      following = following + 1
      f(position)
    end
  end
  if count == 1 then
    return work()
  end
  local group <close> = task.group()
  for _ = 1, math.min(count, limit) do
    group:spawn(work)
  end
  group:wait()
end


-- The calls of one answer. One batch stores the answer and says that its tools begin; each result is stored when it is there;
-- one more says that the next model call begins.
function turn:call_tools(calls, finished, goes_on)
  local steps, results, failures = {}, {}, {}
  for position, call in ipairs(calls) do
    local found = self.assistant.tools[call.name]
    steps[position] = {
      kind = "tool", name = call.name, call_id = call.id, input = call.arguments, idempotent = found ~= nil and found.idempotent,
    }
  end
  local seqs = commit(runs.advance, self.job.db, self.row, { finished = { finished }, started = steps })
  side_by_side(#calls, self.assistant.tool_concurrency, function(position)
    results[position], failures[position] = self:call_tool(calls[position], seqs[position])
  end)
  for position = 1, #calls do
    self.stored[#self.stored + 1] = results[position]
    self:judge(failures[position])
  end
  if goes_on then
    self.model_seq = commit(runs.advance, self.job.db, self.row, { started = { self:model_step() } })[1]
  end
end


-- Endings

function turn:usage_row()
  return { usage = self.usage, cost_nano = self.has_price and self.usage and self.cost or nil }
end


function turn:complete(status, answer, finished)
  local job, row = self.job, self.row
  local ending = self:usage_row()
  ending.status = status
  commit(runs.advance, job.db, row, { finished = { finished }, ended = ending })
  self.is_settled = true
  if self.usage then
    job.emit { type = "usage", usage = self.usage }
  end
  if status == "completed" then
    job.emit { type = "stop", reason = answer.finish_reason, raw = answer.finish_reason_raw }
  else
    job.emit { type = "stop", reason = "other", raw = "max_steps" }
  end
  return {
    id = row.id, status = status, content = answer.content, message = answer:to_message(), reasoning = answer.reasoning,
    refusal = answer.refusal, tool_calls = answer.tool_calls, usage = self.usage, cost = ending.cost_nano, steps = self.steps,
    provider = answer.provider, model = answer.model, finish_reason = answer.finish_reason,
  }
end


-- What a run leaves that did not come to its end: the text that had arrived, marked as partial, and why it stopped.
function turn:settle(err)
  local ending = self:usage_row()
  ending.error = err
  ending.status = errors.is(err, "cancelled") and "cancelled" or "failed"
  if self.stream then
    local answer = self:take_usage(self.stream)
    ending.attempts = self.stream.rows
    if answer.content ~= "" then
      ending.message = { role = "assistant", content = answer.content }
      ending.message_status = "partial"
    end
  end
  local saved, problem = runs.advance(self.job.db, self.row, { ended = ending })
  if not saved then
    log.write("error", "agent", ("the end of run %s could not be stored: %s"):format(self.row.id, tostring(problem)))
  end
end


function turn_metatable:__close(err)
  if not self.is_settled then
    self.is_settled = true
    task.shield(WRITE_SECONDS, turn.settle, self, errors.wrap(err))
  end
end


return M
