-- One turn of a run while a process owns it: what it knows, how it writes, how it ends. The loop (agent/loop.lua) drives it. Everything
-- that is written goes through `advance`; nothing is shown as done before it is durable.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local journal = require "perilune.agent.journal"
local limits = require "perilune.agent.limits"
local log = require "perilune.sys.log"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local team = require "perilune.agent.team"
local tokens = require "perilune.model.tokens"
local usages = require "perilune.model.usage"

local M = {}

---Seconds a write may take although the run was cancelled meanwhile.
M.WRITE_SECONDS = 30

local turn = {}
local metatable = { __name = "perilune.agent.turn", __index = turn }


---@class perilune.Job what a turn is made of
---@field app perilune.App
---@field db perilune.Database
---@field thread { id: string }
---@field assistant perilune.Assistant
---@field model table what streams: docs/model.md
---@field model_name string
---@field model_of fun(assistant: perilune.Assistant): table, string for hand-overs
---@field adapt fun(assistant: perilune.Assistant): perilune.Assistant what the job changes of those that it hands over to
---@field at_work? string who begins, by name; the assistant where nobody is named
---@field wrap fun(model: table, name: string): table goes around the models of runs that this one calls too
---@field input? string|table[] what the user says; nil continues with what the thread holds
---@field messages? perilune.Message[] in the place of `input`: several messages, results of calls that were handed back among them
---@field hands_back? boolean calls that are answered from outside end the run; their results are messages of a later one
---@field run_id? string the run's id, where the caller has one already
---@field account? string whose run it is
---@field asked? table kept with the run: what a request asked for
---@field expires_at? number wall-clock time until which it may wait for outputs
---@field emit fun(event: table) gets every event; may wait
---@field person? fun(call: table, waits_for: string): table? asked at once about a call that waits; nil: nobody is there
---@field budget? table what is left of a caller's budget
---@field depth? integer how many runs called this one as a tool
---@field parent? string the run that did
---@field metadata? table

---@param job perilune.Job
---@param row perilune.RunRow owned by this process
---@return table turn
function M.new(job, row)
  local budget = {}
  for name, value in pairs(job.assistant.budget) do
    budget[name] = value
  end
  for name, value in pairs(job.budget or {}) do
    budget[name] = math.min(value, budget[name] or math.huge)
  end
  local self = setmetatable({
    job = job, row = row, budget = budget, depth = job.depth or 0, asked = 0, called = 0, steps = 0, repairs = 0, output_repairs = 0,
    cost = 0, has_price = true, rounds_alike = 0, has_asked = {}, journal = journal.new(), started = clock.mono(), is_settled = false,
  }, metatable)
  team.put_to_work(self, team.find(job.assistant, row.assistant) or job.assistant)
  return self
end


-- Showing

---Notes an event for those who read the run later.
---@param event table
function turn:note(event)
  self.journal:add(event)
end


---Shows an event at once; it is stored with the next batch.
---@param event table
function turn:emit(event)
  self.journal:add(event)
  self.job.emit(event)
end


---Notes an event that is shown when the batch that says so is durable.
---@param event table
function turn:show(event)
  self.journal:add(event)
  local shown = self.shown or {}
  shown[#shown + 1] = event
  self.shown = shown
end


-- Writing

local begins = { "begun", "started", "held" }


-- What has finished is kept although the run was asked to end; nothing begins any more.
local function keep_finished(self, change, err)
  if change.finished or change.results then
    for _, part in ipairs(begins) do
      change[part] = nil
    end
    local saved, problem = task.shield(M.WRITE_SECONDS, runs.advance, self.job.db, self.row, change)
    if not saved then
      error(problem, 0)
    end
  end
  error(err, 0)
end


---Writes a change of the run, and waits for it to the end: a cancel in the middle would leave us not knowing whether it happened.
---@param change perilune.RunChange
---@return integer[] seqs of the steps that begin
function turn:advance(change)
  local shown = self.shown
  self.shown = nil
  change.events = self.journal:take()
  local seqs, err = task.shield(M.WRITE_SECONDS, runs.advance, self.job.db, self.row, change)
  if not seqs then
    if err.code == "run_cancelled" then
      keep_finished(self, change, err)
    end
    error(err, 0)
  end
  for _, event in ipairs(shown or {}) do
    self.job.emit(event)
  end
  return seqs
end


---Seconds since this process began with it.
---@return number
function turn:seconds()
  return clock.mono() - self.started
end


---@return perilune.NewStep
function turn:model_step()
  return { kind = "model", name = self.model_name }
end


---Adds what a model call used.
---@param attempts perilune.AttemptRow[]
---@param usage perilune.Usage?
function turn:add_usage(attempts, usage)
  for _, row in ipairs(attempts) do
    if row.cost_nano then
      self.cost = self.cost + row.cost_nano
    elseif row.outcome == "ok" then
      self.has_price = false
    end
  end
  self.usage = usages.add(self.usage, usage)
end


---Is this the error of a tool that ends the run?
---@param err perilune.Error?
---@return boolean
function turn:is_fatal(err)
  if not err then
    return false
  elseif err.code == "arguments" or err.code == "unknown" then
    return self.repairs >= self.assistant.max_repairs
  end
  return self.assistant.on_tool_error == "raise"
end


---What begins when this call is stored: the next model call, when it was the last of its batch and nothing speaks against it.
---@param item table a tool call
---@return perilune.NewStep[]?
function turn:step_after(item)
  local repairs = 0
  for _, other in ipairs(self.pending) do
    local err = other.err
    if other ~= item and other.state ~= "done" or self:is_fatal(err) or self.toolset.transfers[other.call.name] then
      return nil
    end
    repairs = repairs + (err and (err.code == "arguments" or err.code == "unknown") and 1 or 0)
  end
  if self.repairs + repairs > self.assistant.max_repairs or self.assistant.stop_when or limits.reached(self)
    or limits.is_nearly_a_circle(self) then
    return nil
  end
  return { self:model_step() }
end


-- Ending

function turn:ending(status)
  return { status = status, usage = self.usage, cost_nano = self.has_price and self.usage and self.cost or nil }
end


---Ends the run with an answer.
---@param status "completed"|"incomplete"
---@param answer perilune.Response?
---@param options? { finished: perilune.StepEnding?, why: string?, output: any }
---@return perilune.Run
function turn:complete(status, answer, options)
  options = options or {}
  local ending = self:ending(status)
  ending.output = options.output
  if self.usage then
    self:show { type = "usage", usage = self.usage }
  end
  if status == "completed" then
    self:show { type = "stop", reason = answer.finish_reason, raw = answer.finish_reason_raw }
  else
    self:show { type = "stop", reason = "other", raw = options.why }
  end
  self.is_settled = true
  self:advance { finished = options.finished and { options.finished } or nil, ended = ending }
  return run_object.of(self, status, answer, { output = options.output, why = options.why })
end


---Lets go of a run that waits for somebody.
---@param waiting table[] tool calls
---@return perilune.Run
function turn:park(waiting)
  local status, calls = "waiting_tool", {}
  for position, item in ipairs(waiting) do
    status = item.waits_for == "approval" and "waiting_approval" or status
    calls[position] = { id = item.call.id, name = item.call.name, arguments = item.call.arguments, waits_for = item.waits_for }
  end
  self:show { type = "waiting", calls = calls }
  self:show { type = "stop", reason = "other", raw = status }
  self.is_settled = true
  self:advance { parked = self:ending(status) }
  return run_object.of(self, status, self.last, { waiting = calls })
end


---Ends a run whose last answer calls tools of the caller's: it is the caller's turn.
---@param waiting table[] tool calls
---@return perilune.Run
function turn:hand_back(waiting)
  local calls = {}
  for position, item in ipairs(waiting) do
    calls[position] = item.call
  end
  local run = self:complete("completed", self.last)
  run.tool_calls = calls
  return run
end


-- What of an answer that broke off was used: as the provider said, or counted here.
local function used(self, answer)
  local bytes = #answer.content + #(answer.reasoning or "")
  return answer.usage or bytes > 0 and tokens.estimated(self.sent, bytes) or nil
end


-- What a run leaves that did not come to its end: the text that had arrived, marked as partial, and why it stopped.
local function settle(self, err)
  local ending = self:ending(errors.is(err, "cancelled") and "cancelled" or "failed")
  ending.error = err
  if self.stream then
    local answer = self.stream:so_far()
    self:add_usage(self.stream.rows, used(self, answer))
    ending.usage, ending.attempts = self.usage, self.stream.rows
    ending.cost_nano = self.has_price and self.usage and self.cost or nil
    if answer.content ~= "" and not self.held then
      ending.message = { role = "assistant", content = answer.content }
      ending.message_status = "partial"
    end
  end
  self:note { type = "error", error = err }
  local saved, problem = runs.advance(self.job.db, self.row, { ended = ending, events = self.journal:take() })
  if not saved and problem.code ~= "run_lost" then
    log.write("error", "agent", ("the end of run %s could not be stored: %s"):format(self.row.id, tostring(problem)))
  end
end


function metatable:__close(err)
  if not self.is_settled then
    self.is_settled = true
    task.shield(M.WRITE_SECONDS, settle, self, errors.wrap(err))
  end
end


return M
