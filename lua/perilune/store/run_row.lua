-- What the functions about runs share: a run as Lua wants it, why one is in the way, and the end of one whose process is gone.
local batches = require "perilune.store.run_batch"
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"

local M = {}

local json_columns = { "error", "usage", "output", "metadata", "asked" }
local time_columns = { "lease_until", "created_at", "started_at", "finished_at", "cancel_at", "expires_at" }


---@class perilune.RunRow
---@field id string
---@field thread_id string
---@field assistant? string
---@field model? string
---@field status string
---@field lease_owner? string the process that runs it
---@field lease_epoch integer
---@field parent? string the run that called this one as a tool
---@field crashes integer times its process was gone while it ran
---@field cancel_at? number asked to end
---@field input_seq? integer the message that began it
---@field output? any the answer, where a schema was asked for
---@field metadata? table
---@field account? string whose it is; nil: this machine's scripts'
---@field asked? table what a request asked for, to go on with it and to show it again
---@field expires_at? number a run that waits for outputs until then is expired
---@field error? table
---@field usage? perilune.Usage
---@field cost_nano? integer
---@field created_at number
---@field started_at? number
---@field finished_at? number

---A row as Lua wants it, in place.
---@param row table
---@return perilune.RunRow|nil
---@return perilune.Error?
function M.decode(row)
  return rows.decode(row, json_columns, time_columns, rows.ORDERED)
end


---Why a run failed whose process is gone.
---@param run perilune.RunRow
---@param code "interrupted"|"quarantined"
---@return table
function M.interrupted(run, code)
  local message = code == "quarantined"
    and ("the process that ran this ended in the middle of it, %d times: it is not tried again"):format(run.crashes + 1)
    or "the process that ran this ended in the middle of it"
  return { kind = "internal", code = code, message = message }
end


---Closes the run of a process that is gone, in front of a batch.
---@param batch perilune.StoreCall[]
---@param run perilune.RunRow
---@param now integer
---@param ending? { status: string, error: table? }
function M.add_interrupt(batch, run, now, ending)
  ending = ending or { status = "failed", error = M.interrupted(run, "interrupted") }
  batch[#batch + 1] = { "run_interrupt", {
    id = run.id, epoch = run.lease_epoch, status = ending.status, now = now, error = batches.encode_error(ending.error),
  }, expect = 1 }
  batch[#batch + 1] = { "steps_give_up", { run_id = run.id } }
end


---Why a second run is refused; nil when the first has ended meanwhile.
---@param run perilune.RunRow?
---@param is_alive fun(owner: string): boolean
---@return perilune.Error?
function M.in_the_way(run, is_alive)
  if not run then
    return nil
  elseif not run.lease_owner then
    return errors.new {
      kind = "conflict", code = "waiting_run", details = { run_id = run.id, run = run },
      message = ("the run %s of this thread is %s: decide (perilune runs approve|reject, run:submit), or cancel it")
        :format(run.id, run.status),
    }
  elseif is_alive(run.lease_owner) then
    return errors.new {
      kind = "conflict", code = "active_run", details = { run_id = run.id, run = run },
      message = ("the thread %s has an active run already (%s): wait for it, or cancel it"):format(run.thread_id, run.id),
    }
  end
  return errors.new {
    kind = "conflict", code = "interrupted_run", details = { run_id = run.id, run = run },
    message = ("the run %s of this thread was interrupted: resume it, or cancel it"):format(run.id),
  }
end


return M
