-- What an execution has recorded, while its function runs: every change goes to the database before anything depends on it. Once the
-- database has refused one, or the function did something else than it did before, the record takes nothing more: each use of it
-- raises the same error, whatever the function does about it.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local steps = require "perilune.store.workflow_steps"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"
local workflows = require "perilune.store.workflows"

local M = {}

local methods = {}
local metatable = { __name = "perilune.agent.workflow.record", __index = methods }

---One execution has at most this many steps.
M.STEPS_MAX = 10000

local NAME_BYTES_MAX = 256

-- No database tells us what another process writes into it: a question looks this often for its answer.
local LOOK_SECONDS = 0.5

-- A sleep looks this often whether the clock was set, and whether it was cancelled from elsewhere.
local NAP_SECONDS = 60

local INPUT_BYTES_SHOWN = 80


---@class perilune.WorkflowRecord
---@field row perilune.WorkflowRow
---@field changed perilune.TaskSignal somebody of this process has answered
---@field is_over boolean the function has returned
---@field lost? perilune.Error the database takes nothing more
---@field divergence? perilune.Error the function did not do what it did before

---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param list perilune.WorkflowStepRow[] what is there already
---@return perilune.WorkflowRecord
function M.new(db, row, list)
  local recorded = {}
  for _, step in ipairs(list) do
    recorded[step.name] = step
  end
  return setmetatable({
    db = db, row = row, recorded = recorded, count = #list, unseen = #list, used = {}, open = {}, changed = task.signal(),
    in_step = setmetatable({}, { __mode = "k" }), is_over = false,
  }, metatable)
end


-- The value, unless the database refused: that ends the execution in this process.
local function must(self, value, err)
  if not value then
    self.lost = self.lost or err
    error(err, 0)
  end
  return value
end


local function describe(kind, input_text)
  return ("a %s%s"):format(kind, input_text and " with " .. text.truncate(input_text, INPUT_BYTES_SHOWN) or "")
end


-- The same name again must mean the same thing.
local function compare(self, step, kind, input_text)
  if step.kind ~= kind or step.input_text ~= input_text then
    self.divergence = errors.new {
      kind = "conflict", code = "nondeterminism",
      message = ("the workflow %s does not do what it did before: '%s' was %s, and is now %s"):format(
        self.row.name, step.name, describe(step.kind, step.input_text), describe(kind, input_text)),
    }
    error(self.divergence, 0)
  end
  self.unseen = self.unseen - 1
end


-- Where the function may not begin anything. `level` as for check.fail.
local function check_use(self, where, name, level)
  local problem = self.lost or self.divergence
  if problem then
    error(problem, 0)
  elseif self.is_over then
    check.fail(where .. ": the execution has ended", level)
  elseif self.in_step[coroutine.running()] then
    check.fail(where .. ": not inside of a step; a step is one piece of work", level)
  elseif name == "" or #name > NAME_BYTES_MAX or not utf8.len(name) then
    check.fail(("%s: a name is 1 to %d bytes of text"):format(where, NAME_BYTES_MAX), level)
  elseif self.used[name] then
    check.fail(("%s: the name '%s' is used already; in a loop give each its own: '%s 1', '%s 2'"):format(where, name, name, name), level)
  end
end


---Takes a name. What is recorded under it comes back; nil: it is new.
---@param where string "flow:step"
---@param kind "step"|"sleep"|"ask"|"value"
---@param name string
---@param input_text string?
---@param level integer whose call to blame: 2 is the caller of the function that calls this
---@return perilune.WorkflowStepRow?
function methods:take(where, kind, name, input_text, level)
  check_use(self, where, name, level + 2)
  self.used[name] = true
  local step = self.recorded[name]
  if step then
    compare(self, step, kind, input_text)
  elseif self.count >= M.STEPS_MAX then
    error(errors.new {
      kind = "budget", code = "workflow_steps", message = ("%s: an execution has at most %d steps"):format(where, M.STEPS_MAX),
    }, 0)
  else
    self.count = self.count + 1
  end
  return step
end


---Does the function only go through what it has done before?
---@return boolean
function methods:is_replay()
  return self.unseen > 0
end


-- Where the execution stands, by what goes on in it; nil when that is no news.
local function stand(self)
  local is_running, is_waiting, wake_at = false, false, nil
  for step in pairs(self.open) do
    if step.status == "unknown" or step.kind == "ask" then
      is_waiting = true
    elseif step.due_at then
      wake_at = math.min(wake_at or math.huge, step.due_at)
    else
      is_running = true
    end
  end
  local status = "running"
  if not is_running and next(self.open) then
    status = is_waiting and "waiting" or "sleeping"
  end
  wake_at = status ~= "running" and wake_at or nil
  if status == self.row.status and wake_at == self.row.wake_at then
    return nil
  end
  self.row.status, self.row.wake_at = status, wake_at
  return { status = status, wake_at = wake_at }
end


---Stores that a step begins, or waits.
---@param new { kind: string, name: string, status: string, idempotent: boolean?, due_at: number?, input_text: string? }
---@return perilune.WorkflowStepRow
function methods:start(new)
  self.open[new] = true
  local step = must(self, steps.start(self.db, self.row, new, stand(self)))
  self.open[new], self.open[step] = nil, true
  return step
end


---Stores what has become of a step that is not over.
---@param step perilune.WorkflowStepRow
function methods:change(step)
  self.open[step] = true
  must(self, steps.change(self.db, self.row, step, stand(self)))
end


---Stores what came of a step, finally.
---@param step perilune.WorkflowStepRow
---@param ending { status: "finished"|"failed", result_text: string?, error: perilune.Error? }
function methods:finish(step, ending)
  self.open[step] = nil
  must(self, steps.finish(self.db, self.row, step.seq, ending, stand(self)))
  step.status, step.finished_at, step.error = ending.status, clock.wall(), ending.error
  step.result = ending.result_text and json.decode(ending.result_text) -- as it reads the next time
end


---Stores a value.
---@param name string
---@param input_text string?
---@param value any
function methods:add_value(name, input_text, value)
  must(self, steps.add_value(self.db, self.row, { name = name, input_text = input_text, result_text = assert(json.encode(value)) }))
end


-- Stores that the execution stands still because of this step.
local function hold(self, step)
  self.open[step] = true
  local news = stand(self)
  if news then
    must(self, workflows.stand(self.db, self.row, news))
  end
end


local function look(self, step)
  local now = must(self, steps.look(self.db, self.row, step.seq))
  local is_news = now.status ~= step.status
  for name, value in pairs(is_news and now or {}) do
    step[name] = value
  end
  return is_news
end


---Waits until the time of a step has come.
---@param step perilune.WorkflowStepRow
function methods:wait_until_due(step)
  if (step.due_at or 0) > clock.wall() then
    hold(self, step)
  end
  local left = (step.due_at or 0) - clock.wall() -- the clock may have been set while that was written
  while left > 0 do
    task.sleep(math.min(left, NAP_SECONDS))
    left = step.due_at - clock.wall()
    if left > 0 then
      look(self, step)
    end
  end
end


---Waits until somebody has decided about a step, in this process or in another.
---@param step perilune.WorkflowStepRow
function methods:wait_for_decision(step)
  hold(self, step)
  local group <close> = task.group()
  group:spawn(function()
    while true do
      task.sleep(LOOK_SECONDS)
      self.changed:wake()
    end
  end)
  while not look(self, step) do
    self.changed:wait()
  end
  self.open[step] = nil
  group:cancel()
end


return M
