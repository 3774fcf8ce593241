-- Steps: the journal of a run. A row says that a model call or a tool begins; the same row, later, what came of it. These
-- are the statements; they run in the batches of store/runs.lua.
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"

local M = {}

local json_columns = { "input", "result", "decision" }
local time_columns = { "started_at", "finished_at" }


---@class perilune.StepRow
---@field seq integer counts from 1
---@field kind "model"|"tool"|"summary"
---@field status "waiting"|"started"|"finished"|"unknown" unknown: it began, and nobody knows whether it had its effect
---@field waits_for? "approval"|"output"|"outcome"
---@field decision? { kind: "approve"|"reject"|"output", reason: string?, output: any }
---@field name? string
---@field call_id? string
---@field idempotent boolean
---@field input? any
---@field result? any
---@field started_at number
---@field finished_at? number

---@param run perilune.RunRow
---@param step perilune.NewStep
---@param now integer
---@return perilune.StoreCall|nil call returns its `seq`
---@return perilune.Error?
function M.start_call(run, step, now)
  local input, err = rows.encode(step.input)
  if err then
    return nil, err
  end
  return { step.waits_for and "step_wait" or "step_start", {
    run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, kind = step.kind, waits_for = step.waits_for, name = step.name,
    call_id = step.call_id, idempotent = step.idempotent or false, input = input, now = now,
  }, expect = 1 }
end


---@param run perilune.RunRow
---@param seq integer
---@param result any
---@param now integer
---@return perilune.StoreCall|nil
---@return perilune.Error?
function M.finish_call(run, seq, result, now)
  local text, err = rows.encode(result)
  if err then
    return nil, err
  end
  return { "step_finish", {
    run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, seq = seq, result = text, now = now,
  }, expect = 1 }
end


local function decode(row)
  row.idempotent = row.idempotent == 1
  return rows.decode(row, json_columns, time_columns)
end


---Has anybody decided about a call of a run?
---@param db perilune.Database
---@param run string|{ id: string }
---@return boolean|nil
---@return perilune.Error?
function M.was_decided(db, run)
  local list, err = M.list(db, run)
  for _, step in ipairs(list or {}) do
    if step.decision then
      return true
    end
  end
  return list and false, err
end


---@param db perilune.Database
---@param run string|{ id: string }
---@return perilune.StepRow[]|nil
---@return perilune.Error?
function M.list(db, run)
  local list, err = db:read("step_list", { run_id = rows.id(run) })
  return rows.each(list, err, decode)
end


---Decides about several tool calls that wait, in one batch: all of these decisions count, or none does because one of the calls was
---decided about meanwhile.
---@param db perilune.Database
---@param run string|{ id: string }
---@param decisions { seq: integer, decision: table }[]
---@return true|nil
---@return perilune.Error?
function M.decide(db, run, decisions)
  local id, batch, now = rows.id(run), {}, rows.now() / 1000
  for position, one in ipairs(decisions) do
    one.decision.at = now
    local text, err = rows.encode(one.decision)
    if not text then
      return nil, err
    end
    batch[position] = { "step_decide", { run_id = id, seq = one.seq, decision = text }, expect = 1 }
  end
  local done, err = db:write(batch)
  if done then
    return true
  elseif err.code == "expectation" then
    err = errors.new { kind = "conflict", code = "decided", message = "a call was decided about meanwhile", cause = err }
  end
  return nil, err
end


return M
