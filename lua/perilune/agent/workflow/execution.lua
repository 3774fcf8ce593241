-- Executions of a workflow. Each runs as a task of the one process that owns its row; whoever else holds it sees the row. An
-- execution whose process is gone is taken over by the next one that waits for it.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local flows = require "perilune.agent.workflow.flow"
local proc = require "perilune.sys.proc"
local records = require "perilune.agent.workflow.record"
local steps = require "perilune.store.workflow_steps"
local task = require "perilune.sys.task"
local workflows = require "perilune.store.workflows"

local M = {}

local must = errors.must

local methods = {}
local metatable = { __name = "perilune.Execution", __index = methods }

-- How often an execution of another process is looked at.
local LOOK_SECONDS = 0.5

-- The last write of an execution that is cancelled.
local CONCLUDE_SECONDS = 10


---@class perilune.Execution
---@field id string the caller's
---@field workflow string its name
---@field status "running"|"sleeping"|"waiting"|"completed"|"failed"|"cancelled" as it was last looked at
---@field input any
---@field result any
---@field error? table
---@field created_at number
---@field finished_at? number

-- What is known of executions in this process: the definitions, and those that run here.
---@param app perilune.App
---@return { definitions: table<string, perilune.Workflow>, live: table<string, perilune.Execution>, locked: table, changed: perilune.TaskSignal }
function M.registry(app)
  app.workflows = app.workflows or { definitions = {}, live = {}, locked = {}, changed = task.signal() }
  return app.workflows
end


-- One task at a time opens an execution: `local _ <close> = locked(registry, key)`.
local function locked(registry, key)
  while registry.locked[key] do
    registry.changed:wait()
  end
  registry.locked[key] = true
  return setmetatable({}, { __close = function()
    registry.locked[key] = nil
    registry.changed:wake()
  end })
end


local function key_of(name, id)
  return name .. "\0" .. id
end


local function show(self, row)
  self.row = row
  for _, name in ipairs { "status", "input", "result", "error", "created_at", "finished_at" } do
    self[name] = row[name]
  end
  return self
end


---@param app perilune.App
---@param row perilune.WorkflowRow
---@return perilune.Execution
function M.of_row(app, row)
  return show(setmetatable({ app = app, id = row.id, workflow = row.name, key = key_of(row.name, row.id) }, metatable), row)
end


---Looks again: `status`, `result` and the other fields are as they are now.
---@return perilune.Execution self
function methods:refresh()
  return show(self, must(workflows.get(self.app:database(), self.workflow, self.id)))
end


-- The end of an execution, as the database is told. One whose process is about to end is let go.
local function conclude(self, ok, result)
  local record, db = self.record, self.app:database()
  record.is_over = true
  self.failure = record.lost
  local err = record.divergence or not ok and errors.wrap(result) or nil
  if not ok and (task.current():state() ~= "active" or err.code == "exit") then
    self.failure = self.failure or err
  end
  if not self.failure then
    local result_text
    if not err then
      result_text, err = workflows.encode(("the result of the workflow %s"):format(self.workflow), result)
    end
    self.raised = err
    local ending = { status = err and "failed" or "completed", result_text = result_text, error = err }
    self.failure = select(2, workflows.finish(db, record.row, ending))
  end
  if self.failure then
    workflows.release(db, record.row)
  end
  self:registry().live[self.key] = nil
end


-- The task of an execution. It is one of the places where an error ends: in the row, and in whoever waits.
local function work(self, definition)
  task.shield(CONCLUDE_SECONDS, conclude, self, pcall(definition.body, flows.new(self.record), self.record.row.input))
end


-- Runs an execution that is ours.
local function begin(self, definition, row, list)
  self.record = records.new(self.app:database(), show(self, row).row, list)
  self:registry().live[self.key] = self
  self.task = self.app:background():spawn(work, self, definition)
  return self
end


function methods:registry()
  return M.registry(self.app)
end


-- Does a process work on it? One that is ours and does not live here has lost its task.
local function has_owner(row)
  local owner = row.lease_owner
  return owner ~= nil and owner ~= must(proc.self()) and proc.is_alive(owner)
end


-- Runs an execution here that nobody runs any more. Whoever calls this has locked it.
local function take_over(self, definition)
  local db = self.app:database()
  local is_ours, row = workflows.claim(db, self.row, must(proc.self()))
  must(is_ours, row)
  if is_ours then
    return begin(self, definition, row, must(steps.list(db, row)))
  end
  return show(self, row)
end


-- A new execution, or the one of that id; it is ours from here on if nobody else runs it.
local function open(app, definition, id, input_text)
  local db = app:database()
  local row, err = workflows.create(db, { name = definition.name, id = id, input_text = input_text, owner = must(proc.self()) })
  if row then
    return begin(M.of_row(app, row), definition, row, {})
  elseif err.kind ~= "conflict" then
    error(err, 0)
  end
  return M.of_row(app, must(workflows.get(db, definition.name, id)))
end


---The execution of that id, begun if there is none. One that nobody runs any more goes on here.
---@param app perilune.App
---@param definition perilune.Workflow
---@param id string
---@param input_text string? JSON; nil: whatever it began with
---@return perilune.Execution
function M.start(app, definition, id, input_text)
  local registry, key = M.registry(app), key_of(definition.name, id)
  local _ <close> = locked(registry, key)
  local self = registry.live[key] or open(app, definition, id, input_text)
  if input_text and input_text ~= self.row.input_text then
    error(errors.new {
      kind = "conflict", code = "other_input",
      message = ("there is a workflow %s with the id '%s' already, and its input is another one"):format(definition.name, id),
    }, 0)
  elseif not (self.row.finished_at or registry.live[key] or has_owner(self.row)) then
    take_over(self, definition)
  end
  return self
end


-- What it came to; raises what made it fail.
local function outcome(self)
  if self.status == "completed" then
    return self.result
  elseif self.status == "cancelled" then
    error(workflows.cancelled(self.row), 0)
  end
  error(self.raised or errors.new(self.error), 0)
end


-- Waits for news of an execution that is not ours, or makes it ours.
local function await_others(self)
  local registry = self:registry()
  local definition = registry.definitions[self.workflow]
  if has_owner(self.row) then
    task.sleep(LOOK_SECONDS)
  elseif definition then
    local _ <close> = locked(registry, self.key)
    self:refresh()
    if not (self.finished_at or registry.live[self.key] or has_owner(self.row)) then
      take_over(self, definition)
    end
    return
  else
    error(errors.new {
      kind = "conflict", code = "workflow_orphaned",
      message = ("no process runs the workflow %s with the id '%s': run the script that defines it"):format(self.workflow, self.id),
    }, 0)
  end
  self:refresh()
end


local function await(self)
  while not self.finished_at do
    local live = self:registry().live[self.key] or self.task and self
    if live then
      live.task:wait()
      self.raised = live.raised
      if not self:refresh().finished_at and live.failure then
        error(live.failure, 0)
      end
    else
      await_others(self)
    end
  end
  return outcome(self)
end


---Waits until the execution has ended: its result, or raises what made it fail. A time that runs out here does not end it.
---@param timeout? number seconds
---@return any
function methods:wait(timeout)
  if timeout ~= nil then
    check.value("execution:wait: timeout", timeout, "number")
    return task.deadline(timeout, await, self)
  end
  return await(self)
end


---Ends the execution: no step of it begins from now on, wherever it runs. One that has ended stays as it is.
---@return perilune.Execution self
function methods:cancel()
  local row = must(workflows.cancel(self.app:database(), self.row))
  local live = self:registry().live[self.key]
  if live then
    live.task:cancel()
  end
  return show(self, row)
end


---What it has done and does, in the order in which it began.
---@return perilune.WorkflowStepRow[]
function methods:steps()
  return must(steps.list(self.app:database(), self.row))
end


local function decide(self, where, name, decision, is_meant)
  local db = self.app:database()
  self:refresh()
  for _, step in ipairs(self:steps()) do
    if step.name == name and is_meant(self, step) and not self.finished_at then
      must(steps.decide(db, self.row, step, decision))
      local live = self:registry().live[self.key]
      if live then
        live.record.changed:wake()
      end
      return self
    end
  end
  error(errors.new {
    kind = "not_found", code = "step", message = ("%s: no step '%s' of the workflow %s with the id '%s' waits for that"):format(
      where, name, self.workflow, self.id),
  }, 0)
end


local function is_question(_, step)
  return step.kind == "ask" and step.status == "waiting"
end


-- It began, and the process that began it is gone.
local function is_unknown(self, step)
  return step.kind == "step" and (step.status == "unknown" or step.status == "started" and not step.idempotent
    and not self:registry().live[self.key] and not has_owner(self.row))
end


---Answers a question of flow:ask. The first answer counts.
---@param name string of the question
---@param value any JSON
---@return perilune.Execution self
function methods:answer(name, value)
  check.string("execution:answer: the name", name)
  return decide(self, "execution:answer", name, { result = value }, is_question)
end


---Says what is to become of a step whose outcome is unknown: it is done again, or this was its result.
---@param name string of the step
---@param decision { again: true?, result: any }
---@return perilune.Execution self
function methods:resolve(name, decision)
  check.string("execution:resolve: the name", name)
  check.options("execution:resolve", decision, { again = "boolean", result = true })
  if decision.again and decision.result ~= nil then
    check.fail("execution:resolve: it is done again, or it has a result")
  end
  return decide(self, "execution:resolve", name, decision, is_unknown)
end


return M
