-- Executions of workflows; their steps are store/workflow_steps.lua. Each function is one batch, durable when it returns, and what
-- moves an execution on is refused by the database once it has ended or has passed to another owner.
local batches = require "perilune.store.run_batch"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local rows = require "perilune.store.rows"

local M = {}

local LIST_MAX = 1000

---An execution whose process was gone this often is not tried again: it may be what ends the process.
M.CRASHES_MAX = 3

---What is kept of one step or execution: an input, a result.
M.VALUE_BYTES_MAX = 8 * 1024 * 1024

local json_columns = { "input", "result", "error" }
local time_columns = { "wake_at", "created_at", "finished_at" }


---@class perilune.WorkflowRow
---@field no integer
---@field name string of the workflow
---@field id string of the execution, the caller's
---@field status "running"|"sleeping"|"waiting"|"completed"|"failed"|"cancelled"
---@field input? any
---@field input_text? string the same as it is stored: JSON with sorted keys, to compare
---@field result? any
---@field error? table
---@field lease_owner? string the process that runs it
---@field lease_epoch integer
---@field crashes integer times its process was gone while it ran
---@field wake_at? number while it sleeps
---@field created_at number
---@field finished_at? number

local function decode(row)
  row.input_text = row.input
  return rows.decode(row, json_columns, time_columns)
end


---Begins an execution. One of that name and id that exists already is an error of kind `conflict`.
---@param db perilune.Database
---@param new { name: string, id: string, input_text: string?, owner: string }
---@return perilune.WorkflowRow|nil
---@return perilune.Error?
function M.create(db, new)
  local now = rows.now()
  local results, err = db:write { { "workflow_create", {
    name = new.name, id = new.id, input = new.input_text, owner = new.owner, now = now,
  } } }
  if not results then
    return nil, err
  end
  return decode {
    no = results[1][1].no, name = new.name, id = new.id, status = "running", input = new.input_text, lease_owner = new.owner,
    lease_epoch = 1, crashes = 0, created_at = now,
  }
end


---@param db perilune.Database
---@param name string
---@param id string
---@return perilune.WorkflowRow|nil
---@return perilune.Error?
function M.get(db, name, id)
  local list, err = db:read("workflow_get", { name = name, id = id })
  local row
  row, err = rows.one(list, err, "workflow", ("%s with the id '%s'"):format(name, id))
  if not row then
    return nil, err
  end
  return decode(row)
end


---The executions with that id: one for each workflow that has it.
---@param db perilune.Database
---@param id string
---@return perilune.WorkflowRow[]|nil
---@return perilune.Error?
function M.find(db, id)
  local list, err = db:read("workflow_find", { id = id })
  return rows.each(list, err, decode)
end


---The newest first.
---@param db perilune.Database
---@param options? { name: string?, status: string?, limit: integer?, after: integer? } after: `no` of the last one of the previous page
---@return perilune.WorkflowRow[]|nil
---@return perilune.Error?
function M.list(db, options)
  options = options or {}
  local list, err = db:read("workflow_list", {
    name = options.name, status = options.status, after = options.after, limit = math.min(options.limit or 20, LIST_MAX),
  })
  return rows.each(list, err, decode)
end


---Every execution that has not ended, the oldest first.
---@param db perilune.Database
---@return perilune.WorkflowRow[]|nil
---@return perilune.Error?
function M.list_open(db)
  local list, err = db:read("workflow_list_open")
  return rows.each(list, err, decode)
end


---@param row perilune.WorkflowRow
---@return perilune.Error
function M.cancelled(row)
  return errors.new {
    kind = "cancelled", code = "workflow_cancelled", reason = "user_requested",
    message = ("the workflow %s with the id '%s' was cancelled"):format(row.name, row.id),
  }
end


-- Ends an execution from outside: { status, error? }. False when it has moved on meanwhile.
local function finish_from_outside(db, row, ending)
  local done, err = db:write {
    { "workflow_steps_give_up", { no = row.no } },
    { "workflow_end", {
      no = row.no, epoch = row.lease_epoch, status = ending.status, error = batches.encode_error(ending.error), now = rows.now(),
    }, expect = 1 },
  }
  if done then
    return true
  elseif err.code == "expectation" then
    return false
  end
  return nil, err
end


---Takes an execution over that nobody runs any more: the database gives it to one only. One that was running when its process ended
---for the third time is closed instead. The second value is the execution as it is now.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param owner string
---@return boolean|nil is_ours
---@return perilune.WorkflowRow|perilune.Error row
function M.claim(db, row, owner)
  local has_crashed = row.lease_owner ~= nil and row.status == "running"
  local done, err
  if has_crashed and row.crashes + 1 >= M.CRASHES_MAX then
    local message = ("the process that ran this ended in the middle of it, %d times: it is not tried again"):format(row.crashes + 1)
    done, err = finish_from_outside(db, row, {
      status = "failed", error = { kind = "internal", code = "quarantined", message = message },
    })
  else
    done, err = db:write { { "workflow_claim", {
      no = row.no, epoch = row.lease_epoch, owner = owner, crashed = has_crashed,
    }, expect = 1 } }
  end
  if not done and err and err.code ~= "expectation" then
    return nil, err
  end
  local now
  now, err = M.get(db, row.name, row.id)
  if not now then
    return nil, err
  end
  return not not done and not now.finished_at, now
end


---Cancels an execution, whoever runs it: no step of it begins from now on. One that has ended stays as it is.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@return perilune.WorkflowRow|nil row as it is now
---@return perilune.Error?
function M.cancel(db, row)
  while not row.finished_at do
    local done, err = finish_from_outside(db, row, { status = "cancelled" })
    if done == nil then
      return nil, err
    end
    row, err = M.get(db, row.name, row.id)
    if not row then
      return nil, err
    end
  end
  return row
end


---Why the database takes nothing more from who owned this execution.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@return perilune.Error
function M.refusal(db, row)
  local now, err = M.get(db, row.name, row.id)
  if now and now.status == "cancelled" then
    return M.cancelled(row)
  end
  return errors.new {
    kind = "conflict", code = "workflow_lost", cause = err,
    message = ("the workflow %s with the id '%s' has ended, or another process has taken it over"):format(row.name, row.id),
  }
end


---Writes a batch that only the owner may write. One that found the execution ended, or taken away, is an error that says so.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param batch perilune.StoreCall[]
---@return perilune.StoreResult[]|nil
---@return perilune.Error?
function M.write(db, row, batch)
  local results, err = db:write(batch)
  if not results and err.code == "expectation" then
    err = M.refusal(db, row)
  end
  return results, err
end


---The parameters of a statement that only the owner may run, completed.
---@param row perilune.WorkflowRow
---@param params table
---@return table params
function M.owned(row, params)
  params.no, params.owner, params.epoch = row.no, row.lease_owner, row.lease_epoch
  return params
end


---Ends an execution.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param ending { status: "completed"|"failed", result_text: string?, error: perilune.Error? }
---@return true|nil
---@return perilune.Error?
function M.finish(db, row, ending)
  local done, err = M.write(db, row, {
    { "workflow_steps_give_up", { no = row.no } },
    { "workflow_finish", M.owned(row, {
      status = ending.status, result = ending.result_text, error = batches.encode_error(ending.error), now = rows.now(),
    }), expect = 1 },
  })
  return done and true, err
end


---Writes where an execution stands.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@param stand perilune.WorkflowStand
---@return true|nil
---@return perilune.Error?
function M.stand(db, row, stand)
  local done, err = M.write(db, row, { { "workflow_stand", M.owned(row, {
    status = stand.status, wake_at = rows.milliseconds(stand.wake_at),
  }), expect = 1 } })
  return done and true, err
end


---Lets go of an execution, so that another process can take it over without counting a crash.
---@param db perilune.Database
---@param row perilune.WorkflowRow
---@return true|nil
---@return perilune.Error?
function M.release(db, row)
  local done, err = db:write { { "workflow_release", M.owned(row, {}) } }
  return done and true, err
end


---JSON for a column, or an error that says whose value it is.
---@param what string "the result of the step 'mail'"
---@param value any
---@return string|nil text nil for nil
---@return perilune.Error?
function M.encode(what, value)
  if value == nil then
    return nil
  end
  local text, err = json.encode(value)
  if text and #text > M.VALUE_BYTES_MAX then
    text, err = nil, errors.new { kind = "schema", message = ("it has %d bytes of at most %d"):format(#text, M.VALUE_BYTES_MAX) }
  end
  if not text then
    return nil, errors.new { kind = "schema", code = "value", message = ("%s cannot be kept: %s"):format(what, err.message), cause = err }
  end
  return text
end


return M
