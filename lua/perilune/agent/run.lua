-- Runs as scripts see them: what came of one, and the ways to go on with one that waits, or whose process ended.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local events = require "perilune.store.events"
local messages = require "perilune.store.messages"
local proc = require "perilune.sys.proc"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local task = require "perilune.sys.task"
local usage = require "perilune.store.usage"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Run", __index = methods }

---What runs can do; agent/resumption.lua adds `resume`.
M.methods = methods

-- How often a run of another process is looked at.
local LOOK_SECONDS = 0.1

-- Messages that are read at once.
local PAGE = 100

local is_open = { queued = true, running = true }


---@class perilune.Run
---@field id string
---@field status "completed"|"incomplete"|"failed"|"cancelled"|"waiting_approval"|"waiting_tool"|"running"
---@field content string
---@field message? perilune.Message
---@field reasoning? string
---@field tool_calls table[]
---@field output? any of an assistant with an output schema
---@field usage? perilune.Usage of the whole run
---@field cost? integer nano-dollars; nil when a price is not known
---@field steps integer model calls and tool calls
---@field provider? string
---@field model? string
---@field error? table
---@field why? string of an incomplete run: the limit that it reached
---@field waiting? { id: string, name: string, arguments: string, waits_for: string }[] calls that wait for a decision

---What came of a turn.
---@param turn table
---@param status string
---@param answer perilune.Response?
---@param more table
---@return perilune.Run
function M.of(turn, status, answer, more)
  local ending = turn:ending(status)
  answer = answer or {}
  return setmetatable({
    id = turn.row.id, thread_id = turn.row.thread_id, status = status, content = answer.content or "",
    message = answer.to_message and answer:to_message(), reasoning = answer.reasoning, refusal = answer.refusal,
    tool_calls = answer.tool_calls or {}, usage = turn.usage, cost = ending.cost_nano, steps = turn.steps, provider = answer.provider,
    model = answer.model, finish_reason = answer.finish_reason, assistant = turn.assistant.name, output = more.output, why = more.why,
    waiting = more.waiting, app = turn.job.app,
  }, metatable)
end


-- The last thing that the assistant said in a run: its messages lie side by side, from the one that began it.
local function last_message(db, row)
  local first_seq = row.input_seq or (row.asked or {}).first_seq
  local after, last = (first_seq or 1) - 1, nil
  while true do
    local list, err = messages.list(db, row.thread_id, { after = after, limit = PAGE })
    if not list then
      error(err, 0)
    end
    for _, stored in ipairs(list) do
      if stored.run_id == row.id then
        last = stored.role == "assistant" and stored.message or last
      elseif stored.run_id and (last or first_seq) then
        return last -- the next run has begun
      end
      after = stored.seq
    end
    if #list < PAGE then
      return last
    end
  end
end


local function waiting_of(db, row)
  local waiting = {}
  for _, step in ipairs(steps.list(db, row) or {}) do
    if step.status == "waiting" and not step.decision then
      waiting[#waiting + 1] = { id = step.call_id, name = step.name, arguments = step.input, waits_for = step.waits_for }
    end
  end
  return waiting[1] and waiting or nil
end


-- Fills an object from its row.
local function fill(self, row)
  local db = self.app:database()
  local message = last_message(db, row) or {}
  for name, value in pairs { status = row.status, error = row.error, usage = row.usage, cost = row.cost_nano, output = row.output } do
    self[name] = value
  end
  self.thread_id, self.assistant, self.model, self.created_at = row.thread_id, row.assistant, row.model, row.created_at
  self.content = type(message.content) == "string" and message.content or ""
  self.message, self.reasoning, self.tool_calls = message.role and message or nil, message.reasoning, message.tool_calls or {}
  self.waiting = not row.finished_at and waiting_of(db, row) or nil
  return self
end


---The run of that id.
---@param app perilune.App
---@param id string
---@return perilune.Run
function M.get(app, id)
  local row, err = runs.get(app:database(), id)
  if not row then
    error(err, 0)
  end
  return fill(setmetatable({ id = id, app = app }, metatable), row)
end


---Reads its row again.
---@return perilune.Run self
function methods:refresh()
  local row, err = runs.get(self.app:database(), self.id)
  if not row then
    error(err, 0)
  end
  return fill(self, row)
end


-- Is it under way? Reads its row alone; one that is deleted meanwhile is gone.
local function is_under_way(self)
  local row, err = runs.get(self.app:database(), self.id)
  if errors.is(err, "not_found") then
    self.is_gone = true
    return false
  elseif not row then
    error(err, 0)
  end
  self.status = row.status
  return is_open[row.status] == true
end


---Waits until it has ended, or waits for a person.
---@param seconds? number
---@return perilune.Run self
function methods:wait(seconds)
  local until_at = seconds and clock.mono() + seconds
  while is_under_way(self) do
    if until_at and clock.mono() >= until_at then
      local message = ("the run %s is still %s after %s s"):format(self.id, self.status, seconds)
      error(errors.new { kind = "timeout", code = "run", message = message }, 0)
    elseif self.ended then
      self.ended:wait(LOOK_SECONDS)
    else
      task.sleep(LOOK_SECONDS)
    end
  end
  return self:refresh()
end


---Its events after that number, as they come, up to the last one of a run that has ended, that waits, or that is deleted meanwhile:
---`for event in run:events(after)`. Also those of a run of another process, and of another day.
---@param after? integer the `seq` of the last event that is known; 0 by default
---@return fun(): table?
function methods:events(after)
  local db, seen, list, position = self.app:database(), after or 0, {}, 0
  return function()
    while true do
      position = position + 1
      if list[position] then
        seen = list[position].seq
        return list[position]
      end
      local was_open = is_under_way(self)
      local found, err = events.list(db, self, seen)
      if not found then
        error(err, 0)
      end
      list, position = found, 0
      if not list[1] and not was_open then
        if not self.is_gone then
          self:refresh()
        end
        return nil
      elseif not list[1] then
        task.sleep(LOOK_SECONDS)
      end
    end
  end
end


---Its steps: model calls and tool calls.
---@return perilune.StepRow[]
function methods:list_steps()
  local list, err = steps.list(self.app:database(), self)
  return list or error(err, 0)
end


---Its attempts: one row for each request to a provider.
---@return perilune.AttemptRow[]
function methods:attempts()
  local list, err = usage.attempts(self.app:database(), self)
  return list or error(err, 0)
end


-- Decisions

local function decide(self, call_id, decision)
  local left, err = runs.decide(self.app:database(), self.id, call_id, decision)
  if not left then
    error(err, 0)
  end
  self:refresh()
  return left
end


-- The calls to decide about: the one that is named, or all that wait.
local function calls_of(self, where, call_id)
  if call_id ~= nil then
    check.string(where .. ": the id of the call", call_id)
    return { call_id }
  end
  local ids = {}
  for position, call in ipairs(self:refresh().waiting or {}) do
    ids[position] = call.id
  end
  return ids
end


---Lets a call begin that waits (or begin again, when its outcome is not known); without an id all that wait. Then `resume` goes on.
---@param call_id? string
---@return integer left how many calls still wait
function methods:approve(call_id)
  local left = 0
  for _, id in ipairs(calls_of(self, "run:approve", call_id)) do
    left = decide(self, id, { kind = "approve" })
  end
  return left
end


---Does not let it begin; the model is told, with the reason.
---@param call_id? string
---@param reason? string
---@return integer left
function methods:reject(call_id, reason)
  local left = 0
  for _, id in ipairs(calls_of(self, "run:reject", call_id)) do
    left = decide(self, id, { kind = "reject", reason = reason })
  end
  return left
end


---Gives the outputs of calls that are answered from outside.
---@param outputs table<string, any> by the id of the call
---@return integer left
function methods:submit(outputs)
  local left = 0
  for call_id, output in pairs(check.value("run:submit: the outputs", outputs, "table")) do
    left = decide(self, call_id, { kind = "output", output = output })
  end
  return left
end


---Asks it to end. What has begun is recorded with its outcome; nothing begins any more.
---@return perilune.Run self
function methods:cancel()
  local row, err = runs.cancel(self.app:database(), self.id, proc.is_alive)
  if not row then
    error(err, 0)
  end
  local turn = M.live[self.id]
  if turn then
    turn:cancel("user_requested")
  end
  return fill(self, row)
end


---The tasks of the runs that are under way in this process, by id.
---@type table<string, perilune.Task>
M.live = setmetatable({}, { __mode = "v" })


return M
