-- Runs: turns of an assistant on a thread, one active at a time. Each function is one batch, durable when it returns, and
-- what appends to a run is refused by the database once the run has ended or has passed to another owner.
local errors = require "perilune.std.errors"
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local steps = require "perilune.store.steps"
local text = require "perilune.std.text"
local token = require "perilune.sys.token"
local usage = require "perilune.store.usage"

local M = {}

local LIST_MAX = 1000
-- A run that ends between two looks makes room: how often that is believed.
local BEGIN_TRIES = 3

local json_columns = { "error", "usage" }
local time_columns = { "lease_until", "created_at", "started_at", "finished_at" }
local error_fields = {
  "kind", "code", "type", "status", "request_id", "provider", "model", "retryable", "maybe_billed", "retry_after",
}

local has_ended = { completed = true, failed = true, cancelled = true, expired = true, incomplete = true }


---@class perilune.RunRow
---@field id string
---@field thread_id string
---@field assistant? string
---@field model? string
---@field status string
---@field lease_owner? string the process that runs it
---@field lease_epoch integer
---@field error? table
---@field usage? perilune.Usage
---@field cost_nano? integer
---@field created_at number
---@field started_at? number
---@field finished_at? number

local function decode(row)
  return rows.decode(row, json_columns, time_columns)
end


-- What is kept of an error object: what a reader of the row needs, nothing that holds on to a response.
local function encode_error(err)
  if err == nil then
    return nil
  end
  local kept = { message = text.to_utf8(tostring(err.message or err)) }
  for _, name in ipairs(error_fields) do
    kept[name] = err[name]
  end
  return rows.encode(kept)
end


-- A batch that found the run taken away is a conflict that says so.
local function lost(run, results, err)
  if not results and err.code == "expectation" then
    return nil, errors.new {
      kind = "conflict", code = "run_lost", cause = err,
      message = ("the run %s has ended, or another process has taken it over"):format(run.id),
    }
  end
  return results, err
end


-- Closes the run of a process that is gone, in front of a batch.
local function add_interrupt(batch, run, now)
  local message = "the process that ran this ended in the middle of it"
  batch[#batch + 1] = { "run_interrupt", {
    id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, now = now,
    error = encode_error { kind = "internal", code = "interrupted", message = message },
  }, expect = 1 }
  batch[#batch + 1] = { "steps_give_up", { run_id = run.id } }
end


-- The batch that begins `run`; the second value is where it returns the message's seq. A first step begins in it too.
local function begin_batch(run, input, step, dead, now)
  local batch = {}
  if dead then
    add_interrupt(batch, dead, now)
  end
  batch[#batch + 1] = { "run_create", {
    id = run.id, thread_id = run.thread_id, assistant = run.assistant, model = run.model, owner = run.lease_owner, now = now,
  }, expect = 1 }
  local position, err
  if input then
    local calls
    calls, err = messages.calls(run.thread_id, input, { run = run, now = now })
    position = #batch + 1
    table.move(calls or {}, 1, #(calls or {}), position, batch)
  end
  if step and not err then
    batch[#batch + 1], err = steps.start_call(run, step, now)
  end
  if err then
    return nil, nil, err
  end
  return batch, position
end


-- Who has the thread: nil when nobody has it any more, or a run whose owner is gone. An error when its owner is alive.
local function find_dead(db, thread_id, is_alive)
  local active, err = db:read("run_active", { thread_id = thread_id })
  if not active then
    return nil, err
  end
  local run = active[1]
  if run and (not run.lease_owner or is_alive(run.lease_owner)) then
    return nil, errors.new {
      kind = "conflict", code = "active_run", details = { run_id = run.id },
      message = ("the thread %s has an active run already (%s): wait for it, or cancel it"):format(thread_id, run.id),
    }
  end
  return run
end


---Begins a run, with the message that the user adds, in one batch. A second active run on the thread is a conflict, unless the
---process that had it is gone: then that run is closed as failed (code "interrupted") in the same batch. A `step` is begun with it.
---@param db perilune.Database
---@param options { thread: string|{ id: string }, input: perilune.Message?, assistant: string?, model: string?, owner: string, step: perilune.NewStep? }
---@param is_alive fun(owner: string): boolean
---@return perilune.RunRow|nil run with `seq`, the number of the message, and `step_seq`
---@return perilune.Error?
function M.begin(db, options, is_alive)
  local now = rows.now()
  local run = {
    id = token.id("run"), thread_id = rows.id(options.thread), assistant = options.assistant, model = options.model,
    status = "running", lease_owner = options.owner, lease_epoch = 1, created_at = now / 1000, started_at = now / 1000,
  }
  local dead, problem
  for _ = 1, BEGIN_TRIES do
    local batch, position, err = begin_batch(run, options.input, options.step, dead, now)
    if not batch then
      return nil, err
    end
    local results
    results, err = db:write(batch)
    if results then
      run.seq = position and results[position][1].seq
      run.step_seq = options.step and results[#results][1].seq
      return run
    end
    local statement = err.details and err.details.statement
    if err.code == "expectation" and statement == "run_create" then
      return rows.missing("thread", run.thread_id)
    elseif err.kind ~= "conflict" then
      return nil, err
    end
    dead, problem = find_dead(db, run.thread_id, is_alive)
    if problem then
      return nil, problem
    end
    problem = err
  end
  return nil, problem
end


---@param db perilune.Database
---@param id string
---@return perilune.RunRow|nil
---@return perilune.Error?
function M.get(db, id)
  local list, err = db:read("run_get", { id = id })
  local row
  row, err = rows.one(list, err, "run", id)
  if not row then
    return nil, err
  end
  return decode(row)
end


---The newest first.
---@param db perilune.Database
---@param options? { thread: string|{ id: string }|nil, limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.RunRow[]|nil
---@return perilune.Error?
function M.list(db, options)
  options = options or {}
  local params = { after = options.after, limit = math.min(options.limit or 20, LIST_MAX) }
  local name = "run_list"
  if options.thread then
    name, params.thread_id = "run_list_of_thread", rows.id(options.thread)
  end
  local list, err = db:read(name, params)
  return rows.each(list, err, decode)
end


-- Adds the message and the attempts of `ending`; the second value is where the batch returns the message's seq.
local function add_outcome(batch, run, ending, step_seq, now)
  local position
  if ending.message then
    local calls, err = messages.calls(run.thread_id, ending.message, { run = run, status = ending.message_status, now = now })
    if not calls then
      return nil, nil, err
    end
    position = #batch + 1
    table.move(calls, 1, #calls, position, batch)
  end
  local ok, err = usage.add_calls(batch, run.id, ending.attempts or {}, step_seq)
  return ok, position, err
end


---@class perilune.NewStep
---@field kind "model"|"tool"
---@field name? string
---@field call_id? string
---@field idempotent? boolean
---@field input? any

---@class perilune.StepEnding
---@field seq integer
---@field result? any
---@field message? perilune.Message goes into the thread
---@field message_status? "complete"|"partial"
---@field attempts? perilune.AttemptRow[]

---@class perilune.RunEnding
---@field status "completed"|"failed"|"cancelled"|"expired"|"incomplete"
---@field message? perilune.Message
---@field message_status? "complete"|"partial"
---@field error? perilune.Error
---@field usage? perilune.Usage
---@field cost_nano? integer nil: a price is not known
---@field attempts? perilune.AttemptRow[]

local function add_finished(batch, run, ending, now)
  local call, err = steps.finish_call(run, ending.seq, ending.result, now)
  if not call then
    return nil, err
  end
  batch[#batch + 1] = call
  local _, problem
  _, _, problem = add_outcome(batch, run, ending, ending.seq, now)
  return not problem, problem
end


-- The last statements of a run that is not completed also give up the steps that are still open.
local function add_ended(batch, run, ending, now)
  if not has_ended[ending.status] then
    error(("runs.advance: %q is not the status of a run that has ended"):format(tostring(ending.status)), 3)
  end
  local _, _, err = add_outcome(batch, run, ending, nil, now)
  local usage_text, error_text
  if not err then
    usage_text, err = rows.encode(ending.usage)
  end
  if not err then
    error_text, err = encode_error(ending.error)
  end
  if err then
    return nil, err
  end
  if ending.status ~= "completed" then
    batch[#batch + 1] = { "steps_give_up", { run_id = run.id } }
  end
  batch[#batch + 1] = { "run_finish", {
    id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, status = ending.status, error = error_text, usage = usage_text,
    cost_nano = ending.cost_nano, now = now,
  }, expect = 1 }
  return true
end


-- The batch of a change, and where it returns the seqs of the steps that it starts.
local function change_batch(run, change, now)
  local batch = {}
  for _, ending in ipairs(change.finished or {}) do
    local ok, err = add_finished(batch, run, ending, now)
    if not ok then
      return nil, err
    end
  end
  local first = #batch + 1
  for position, step in ipairs(change.started or {}) do
    local call, err = steps.start_call(run, step, now)
    if not call then
      return nil, err
    end
    batch[first + position - 1] = call
  end
  if change.ended then
    local ok, err = add_ended(batch, run, change.ended, now)
    if not ok then
      return nil, err
    end
  end
  return batch, first
end


---Moves a run on, in one batch: steps that have finished (with their messages and attempts), steps that begin, and the end of
---the run. What begins has had no effect yet when this returns; what has finished is durable.
---@param db perilune.Database
---@param run perilune.RunRow
---@param change { finished: perilune.StepEnding[]?, started: perilune.NewStep[]?, ended: perilune.RunEnding? }
---@return integer[]|nil seqs of the steps that begin
---@return perilune.Error?
function M.advance(db, run, change)
  local batch, first = change_batch(run, change, rows.now())
  if not batch then
    return nil, first
  end
  local results, err = lost(run, db:write(batch))
  if not results then
    return nil, err
  end
  local seqs = {}
  for position = 1, #(change.started or {}) do
    seqs[position] = results[first + position - 1][1].seq
  end
  if change.ended then
    run.status = change.ended.status
  end
  return seqs
end


return M
