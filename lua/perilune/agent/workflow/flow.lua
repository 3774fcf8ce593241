-- What the function of a workflow gets: every piece of work it does is a named step, which is stored before it begins and again with
-- its result. When the function runs again, from the top, what is finished is not done a second time.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"
local workflows = require "perilune.store.workflows"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Flow", __index = methods }

-- Steps that may run side by side in one gather.
local GATHER_MAX = 100

local SLEEP_SECONDS_MAX = 10 * 366 * 86400

local step_options = { idempotent = "boolean", retry = "table" }

local retry_options = { max_attempts = "integer", backoff = "number", max_backoff = "number" }


---@class perilune.Flow
---@field id string of the execution
---@field name string of the workflow
---@field input any

---@param record perilune.WorkflowRecord
---@return perilune.Flow
function M.new(record)
  local row = record.row
  return setmetatable({ id = row.id, name = row.name, input = row.input, record = record, counts = {} }, metatable)
end


-- A piece of work: what was passed to flow:step, checked. `level` as for check.fail.
local function take_work(self, where, level, name, ...)
  local at = type((...)) == "table" and 2 or 1
  local options, run = at == 2 and (...) or nil, (select(at, ...))
  level = level + 1
  if type(name) ~= "string" then
    check.fail(where .. ": the first argument is the name of the step, a string", level)
  elseif type(run) ~= "function" then
    check.fail(("%s: the step '%s' needs a function"):format(where, name), level)
  end
  options = check.options(where, options, step_options, level)
  local retry = check.options(where .. ": retry", options.retry, retry_options, level)
  local work = {
    name = name, run = run, arguments = table.pack(select(at + 1, ...)), idempotent = options.idempotent,
    max_attempts = retry.max_attempts or 1, backoff = retry.backoff or 1, max_backoff = retry.max_backoff or 60,
  }
  if work.max_attempts < 1 or work.backoff < 0 or work.max_backoff < 0 then
    check.fail(where .. ": retry: max_attempts is at least 1, backoff and max_backoff are seconds", level)
  end
  local list = work.arguments.n > 0 and json.array { table.unpack(work.arguments, 1, work.arguments.n) } or nil
  local err
  work.input_text, err = workflows.encode(("%s: what is passed to the step '%s'"):format(where, name), list)
  if err then
    check.fail(err.message, level)
  end
  work.step = self.record:take(where, "step", name, work.input_text, level)
  return work
end


-- What a function came to: text of JSON, or an error; and whether that is final. Raises again what ends the task and not only the step.
local function outcome(name, ok, result, problem)
  if ok and result == nil and errors.is(problem) then
    return nil, problem
  elseif ok then -- it has had its effect, even when its result cannot be kept
    local result_text, err = workflows.encode(("the result of the step '%s'"):format(name), result)
    return result_text, err, true
  end
  task.check()
  local err = errors.wrap(result)
  if err.code == "exit" then
    error(err, 0)
  end
  return nil, err
end


-- A step that failed is tried again later.
local function put_off(record, work, step, err)
  local pause = math.min(work.backoff * 2 ^ (step.failures - 1), work.max_backoff)
  log.write("info", "workflow", ("the step '%s' of %s %s failed, attempt %d of %d, again in %g s: %s"):format(
    work.name, record.row.name, record.row.id, step.failures, work.max_attempts, pause, err.message))
  step.status, step.error, step.due_at = "ready", err, clock.wall() + pause
  record:change(step)
end


-- Runs the function of a step that is stored as started, and stores what comes of it.
local function attempt(record, work, step)
  local thread = coroutine.running()
  record.in_step[thread] = true
  local results = table.pack(pcall(work.run, table.unpack(work.arguments, 1, work.arguments.n)))
  record.in_step[thread] = nil
  local result_text, err, is_final = outcome(work.name, table.unpack(results, 1, 3))
  if not err then
    return record:finish(step, { status = "finished", result_text = result_text })
  end
  step.failures = step.failures + 1
  if is_final or step.failures >= work.max_attempts then
    return record:finish(step, { status = "failed", error = err })
  end
  put_off(record, work, step, err)
end


local go_on = {}


-- It began in a process that is gone.
function go_on.started(record, work, step)
  if step.idempotent then
    record.open[step] = true
    return attempt(record, work, step)
  end
  step.status = "unknown"
  record:change(step)
end


function go_on.unknown(record, work, step)
  log.write("warn", "workflow", ("%s %s waits: its process ended while the step '%s' ran, and nobody knows whether that had its "
    .. "effect (perilune workflows resume)"):format(record.row.name, record.row.id, work.name))
  record:wait_for_decision(step)
end


function go_on.ready(record, work, step)
  record:wait_until_due(step)
  step.status, step.due_at = "started", nil
  record:change(step)
  attempt(record, work, step)
end


-- Brings a step to its end, from wherever it stands.
local function bring_to_end(record, work)
  local step = work.step
  if not step then
    step = record:start {
      kind = "step", name = work.name, status = "started", idempotent = work.idempotent, input_text = work.input_text,
    }
    attempt(record, work, step)
  end
  while not step.finished_at do
    go_on[step.status](record, work, step)
  end
  return step
end


local function result_of(step)
  if step.status == "failed" then
    error(errors.is(step.error) and step.error or errors.new(step.error), 0)
  end
  return step.result
end


---Does a piece of work once: `flow:step(name, [options,] f, ...)` runs f(...) and keeps what it returns (one value, as JSON). Names are
---unique within an execution. With `idempotent = true` a step is run again when the process ended in it; else somebody decides.
---@param name string
---@param ... any `{ idempotent = bool, retry = { max_attempts, backoff, max_backoff } }`?, the function, its arguments
---@return any
function methods:step(name, ...)
  local work = take_work(self, "flow:step", 2, name, ...)
  return result_of(bring_to_end(self.record, work))
end


---Does several steps side by side: `flow:gather{ { name, f, ... }, ... }`. All of them come to their end; then the first error, in the
---order of the list, is raised.
---@param list table[]
---@return any[] results in the order of the list
function methods:gather(list)
  check.list("flow:gather", list, "table")
  if #list > GATHER_MAX then
    check.fail(("flow:gather: at most %d steps"):format(GATHER_MAX))
  end
  local works, results = {}, {}
  for position, one in ipairs(list) do
    works[position] = take_work(self, ("flow:gather: [%d]"):format(position), 2, table.unpack(one, 1, one.n))
  end
  local group <close> = task.group()
  for _, work in ipairs(works) do
    group:spawn(function()
      work.step = bring_to_end(self.record, work)
    end)
  end
  group:wait()
  for position, work in ipairs(works) do
    results[position] = result_of(work.step)
  end
  return results
end


-- The name of what the function did not name: "sleep 1", "sleep 2".
local function numbered(self, what)
  self.counts[what] = (self.counts[what] or 0) + 1
  return ("%s %d"):format(what, self.counts[what])
end


---Sleeps; the time to wake up is stored, so that a restart waits for the rest only.
---@param name string|number may be left out
---@param seconds? number
function methods:sleep(name, seconds)
  if seconds == nil then
    name, seconds = numbered(self, "sleep"), name
  end
  check.string("flow:sleep: the name", name)
  check.value("flow:sleep: the seconds", seconds, "number")
  if not (seconds >= 0 and seconds <= SLEEP_SECONDS_MAX) then
    check.fail(("flow:sleep: between 0 and %d seconds"):format(SLEEP_SECONDS_MAX))
  end
  local record = self.record
  local input_text = json.encode(seconds)
  local step = record:take("flow:sleep", "sleep", name, input_text, 2)
  step = step or record:start {
    kind = "sleep", name = name, status = "waiting", due_at = clock.wall() + seconds, input_text = input_text,
  }
  if not step.finished_at then
    record:wait_until_due(step)
    record:finish(step, { status = "finished" })
  end
end


---Asks a person, and waits for the answer: execution:answer(name, value), or `perilune workflows answer ID NAME VALUE`.
---@param name string
---@param question? any what is asked; JSON
---@return any
function methods:ask(name, question)
  check.string("flow:ask: the name", name)
  local input_text, err = workflows.encode("flow:ask: the question", question)
  if err then
    check.fail(err.message)
  end
  local record = self.record
  local step = record:take("flow:ask", "ask", name, input_text, 2)
  step = step or record:start { kind = "ask", name = name, status = "waiting", input_text = input_text }
  if not step.finished_at then
    log.write("info", "workflow", ("%s %s waits for an answer to '%s' (perilune workflows answer)"):format(self.name, self.id, name))
    record:wait_for_decision(step)
  end
  return step.result
end


-- A value that is the same whenever the function runs.
local function value_of(self, what, input_text, compute)
  local name = numbered(self, what)
  local step = self.record:take("flow:" .. what, "value", name, input_text, 3)
  if step then
    return step.result
  end
  local value = compute()
  self.record:add_value(name, input_text, value)
  return value
end


---The time, in seconds since 1970; the same when the function runs again.
---@return number
function methods:now()
  return (value_of(self, "now", nil, clock.wall))
end


-- A whole number of 53 bits, from nobody's sequence.
local function random_bits()
  return string.unpack("<I7", token.random(7)) & (1 << 53) - 1
end


---A random number, the same when the function runs again: of [0, 1), or a whole one from 1 to m, or from m to n.
---@param m? integer
---@param n? integer
---@return number
function methods:random(m, n)
  if m == nil then
    return (value_of(self, "random", nil, function() return random_bits() * 2.0 ^ -53 end))
  end
  if n == nil then
    m, n = 1, m
  end
  check.value("flow:random", m, "integer")
  check.value("flow:random", n, "integer")
  if m > n or n - m < 0 or n - m >= 1 << 53 then
    check.fail("flow:random: the range is empty, or too wide")
  end
  return (value_of(self, "random", json.encode { m, n }, function() return m + random_bits() % (n - m + 1) end))
end


---What a service is told, so that it does the same thing once however often it is asked: depends on the execution and the name only.
---@param name string of a step
---@return string
function methods:idempotency_key(name)
  check.string("flow:idempotency_key: the name", name)
  return token.sha256(json.encode { self.name, self.id, name }):sub(1, 32)
end


---Writes a line to the log; not again when the function only goes through what it has done before.
---@param message string
---@param fields? table
function methods:log(message, fields)
  if self.record:is_replay() then
    return
  end
  local fields_text, err
  if fields then
    fields_text, err = json.encode(fields)
  end
  log.write("info", "workflow", ("%s %s: %s%s"):format(self.name, self.id, message, err and " (fields: " .. err.message .. ")" or ""),
    fields_text)
end


return M
