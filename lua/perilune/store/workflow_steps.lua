-- Steps of an execution: its journal. A row is written before a step begins, and again with what came of it; see store/workflows.lua.
local batches = require "perilune.store.run_batch"
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"
local workflows = require "perilune.store.workflows"

local M = {}

local json_columns = { "input", "result", "error" }
local time_columns = { "due_at", "started_at", "finished_at" }


---@class perilune.WorkflowStepRow
---@field seq integer counts from 1
---@field kind "step"|"sleep"|"ask"|"value"
---@field name string
---@field status "ready"|"started"|"waiting"|"unknown"|"finished"|"failed"
---@field idempotent boolean
---@field failures integer attempts that raised
---@field due_at? number the end of a sleep, or when it is tried again
---@field input? any
---@field input_text? string
---@field result? any
---@field error? table
---@field started_at number
---@field finished_at? number

---Where an execution stands, written along with a change of its steps.
---@class perilune.WorkflowStand
---@field status "running"|"sleeping"|"waiting"
---@field wake_at? number

local function decode(row)
  row.input_text, row.idempotent = row.input, row.idempotent == 1
  return rows.decode(row, json_columns, time_columns)
end


---@param db perilune.Database
---@param row perilune.WorkflowRow
---@return perilune.WorkflowStepRow[]|nil
---@return perilune.Error?
function M.list(db, row)
  local list, err = db:read("workflow_step_list", { no = row.no })
  return rows.each(list, err, decode)
end


---One step as it is now, with what other processes have written. An error when the execution has ended, or is another's.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param seq integer
---@return perilune.WorkflowStepRow|nil
---@return perilune.Error?
function M.look(db, row, seq)
  local list, err = db:read("workflow_step_look", workflows.owned(row, { seq = seq }))
  if not list then
    return nil, err
  elseif not list[1] then
    return nil, workflows.refusal(db, row)
  end
  return decode(list[1])
end


-- One change of a step as a batch, with where the execution stands from then on.
local function change(row, name, params, stand)
  local batch = { { name, workflows.owned(row, params), expect = 1 } }
  if stand then
    batch[2] = { "workflow_stand", workflows.owned(row, { status = stand.status, wake_at = rows.milliseconds(stand.wake_at) }) }
  end
  return batch
end


---Stores that a step begins, or waits, before it does.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param step { kind: string, name: string, status: string, idempotent: boolean?, due_at: number?, input_text: string? }
---@param stand? perilune.WorkflowStand
---@return perilune.WorkflowStepRow|nil
---@return perilune.Error?
function M.start(db, row, step, stand)
  local now = rows.now()
  local results, err = workflows.write(db, row, change(row, "workflow_step_start", {
    kind = step.kind, name = step.name, status = step.status, idempotent = step.idempotent or false,
    due_at = rows.milliseconds(step.due_at), input = step.input_text, now = now,
  }, stand))
  if not results then
    return nil, err
  end
  return {
    seq = results[1][1].seq, kind = step.kind, name = step.name, status = step.status, idempotent = step.idempotent or false,
    failures = 0, due_at = step.due_at, input_text = step.input_text, started_at = now / 1000,
  }
end


---Stores what has become of a step that is not over: `step` as it is to be.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param step perilune.WorkflowStepRow
---@param stand? perilune.WorkflowStand
---@return true|nil
---@return perilune.Error?
function M.change(db, row, step, stand)
  local done, err = workflows.write(db, row, change(row, "workflow_step_change", {
    seq = step.seq, status = step.status, failures = step.failures, due_at = rows.milliseconds(step.due_at),
    error = batches.encode_error(step.error),
  }, stand))
  return done and true, err
end


---Stores what came of a step, finally; `result_text` is JSON.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param seq integer
---@param ending { status: "finished"|"failed", result_text: string?, error: perilune.Error? }
---@param stand? perilune.WorkflowStand
---@return true|nil
---@return perilune.Error?
function M.finish(db, row, seq, ending, stand)
  local done, err = workflows.write(db, row, change(row, "workflow_step_end", {
    seq = seq, status = ending.status, result = ending.result_text, error = batches.encode_error(ending.error), now = rows.now(),
  }, stand))
  return done and true, err
end


---Stores a value that must be the same when the execution is gone through again.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param step { name: string, input_text: string?, result_text: string }
---@return true|nil
---@return perilune.Error?
function M.add_value(db, row, step)
  local done, err = workflows.write(db, row, change(row, "workflow_value_add", {
    name = step.name, input = step.input_text, result = step.result_text, now = rows.now(),
  }))
  return done and true, err
end


---What a person says about a step: the answer to a question, what came of a step whose outcome is unknown, or that it is to be
---done again. Nothing is written when the execution, or the step, has moved on since it was read.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param step perilune.WorkflowStepRow
---@param decision { again: boolean?, result: any }
---@return true|nil
---@return perilune.Error?
function M.decide(db, row, step, decision)
  local text, err = rows.encode(decision.result)
  if err then
    return nil, err
  end
  local done
  done, err = db:write { { "workflow_step_decide", {
    no = row.no, epoch = row.lease_epoch, seq = step.seq, was = step.status, status = decision.again and "ready" or "finished",
    result = text, finished_at = not decision.again and rows.now() or nil,
  }, expect = 1 } }
  if not done and err.code == "expectation" then
    err = errors.new {
      kind = "conflict", code = "decided", message = ("the step '%s' has been decided about, or has gone on"):format(step.name),
    }
  end
  return done and true, err
end


return M
