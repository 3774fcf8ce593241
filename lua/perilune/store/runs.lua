-- Runs: turns of an assistant on a thread, one active at a time. Each function is one batch, durable when it returns, and
-- what appends to a run is refused by the database once the run has ended or has passed to another owner.
local batches = require "perilune.store.run_batch"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"
local run_begin = require "perilune.store.run_begin"
local run_row = require "perilune.store.run_row"
local steps = require "perilune.store.steps"

local M = {}

local LIST_MAX = 1000

---A run whose process was gone this often is not tried again: it may be what ends the process.
M.CRASHES_MAX = 3

M.decode = run_row.decode
M.begin = run_begin.begin

local decode = run_row.decode


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


---The runs that a run has called as tools, by the keys of their threads: what they used.
---@param db perilune.Database
---@param run { id: string }
---@return table<string, perilune.RunRow>|nil
---@return perilune.Error?
function M.list_called(db, run)
  local list, err = db:read("run_list_called", { id = run.id })
  list, err = rows.each(list, err, decode)
  local by_key = {}
  for _, row in ipairs(list or {}) do
    by_key[row.thread_key] = row
  end
  return list and by_key, err
end


---Every run that has not ended, the oldest first.
---@param db perilune.Database
---@return perilune.RunRow[]|nil
---@return perilune.Error?
function M.list_open(db)
  local list, err = db:read("run_list_open")
  return rows.each(list, err, decode)
end


---Takes a run over whose process is gone, or that waits for nobody any more: the database gives it to one only. A run that was
---running when its process ended for the third time is closed instead.
---@param db perilune.Database
---@param id string
---@param owner string
---@param is_alive fun(owner: string): boolean
---@return perilune.RunRow|nil
---@return perilune.Error?
function M.claim(db, id, owner, is_alive)
  local run, err = M.get(db, id)
  if not run then
    return nil, err
  elseif run.finished_at then
    return nil, errors.new { kind = "conflict", code = "ended_run", message = ("the run %s is %s already"):format(id, run.status) }
  elseif run.lease_owner and is_alive(run.lease_owner) then
    return nil, run_row.in_the_way(run, is_alive)
  end
  local has_crashed = run.lease_owner ~= nil and run.status == "running"
  if run.cancel_at or has_crashed and run.crashes + 1 >= M.CRASHES_MAX then
    local is_cancelled = run.cancel_at ~= nil
    local ending = is_cancelled and { status = "cancelled" } or { status = "failed", error = run_row.interrupted(run, "quarantined") }
    local batch = {}
    run_row.add_interrupt(batch, run, rows.now(), ending)
    local done, problem = db:write(batch)
    return nil, not done and problem.code ~= "expectation" and problem or errors.new { -- else somebody has ended it just now
      kind = "conflict", code = is_cancelled and "ended_run" or "quarantined",
      message = is_cancelled and ("the run %s was cancelled"):format(id) or run_row.interrupted(run, "quarantined").message,
    }
  end
  local taken
  taken, err = db:write { { "run_claim", {
    id = id, epoch = run.lease_epoch, owner = owner, crashed = has_crashed, now = rows.now(),
  }, expect = 1 } }
  if not taken then
    if err.code == "expectation" then
      err = errors.new { kind = "conflict", code = "active_run", message = ("another process has taken the run %s"):format(id) }
    end
    return nil, err
  end
  run.lease_owner, run.lease_epoch, run.status = owner, run.lease_epoch + 1, "running"
  run.crashes = run.crashes + (has_crashed and 1 or 0)
  return run
end


-- A batch that found the run taken away, or asked to end, is an error that says so.
local function refused(db, run, err)
  if err.code ~= "expectation" then
    return nil, err
  end
  local now = M.get(db, run.id)
  if now and not now.finished_at and now.lease_epoch == run.lease_epoch and now.cancel_at then
    return nil, errors.new {
      kind = "cancelled", code = "run_cancelled", reason = "user_requested", message = ("the run %s was cancelled"):format(run.id),
    }
  end
  return nil, errors.new {
    kind = "conflict", code = "run_lost", cause = err,
    message = ("the run %s has ended, or another process has taken it over"):format(run.id),
  }
end


---Moves a run on, in one batch; see store/run_batch.lua for what it can hold. What begins has had no effect yet when this returns;
---what has finished is durable.
---@param db perilune.Database
---@param run perilune.RunRow
---@param change perilune.RunChange
---@return integer[]|nil seqs of the steps that begin, or wait
---@return perilune.Error?
function M.advance(db, run, change)
  local batch, first = batches.build(run, change, rows.now())
  if not batch then
    return nil, first
  end
  local results, err = db:write(batch)
  if not results then
    return refused(db, run, err)
  end
  local seqs = {}
  for position = 1, #(change.started or {}) do
    seqs[position] = results[first + position - 1][1].seq
  end
  if change.ended then
    run.status = change.ended.status
  elseif change.parked then
    run.status, run.lease_owner = change.parked.status, nil
  end
  return seqs
end


---Asks a run to end. One that no living process owns ends at once; else no effect of it begins from now on, and its owner ends it.
---@param db perilune.Database
---@param id string
---@param is_alive fun(owner: string): boolean
---@return perilune.RunRow|nil run as it is now
---@return perilune.Error?
function M.cancel(db, id, is_alive)
  local asked, err = db:write { { "run_ask_cancel", { id = id, now = rows.now() } } }
  if not asked then
    return nil, err
  end
  local run
  run, err = M.get(db, id)
  if not run or run.finished_at or run.lease_owner and is_alive(run.lease_owner) then
    return run, err
  end
  local batch = {}
  run_row.add_interrupt(batch, run, rows.now(), { status = "cancelled" })
  local done
  done, err = db:write(batch)
  if not done and err.code ~= "expectation" then
    return nil, err
  end
  return M.get(db, id)
end


---Ends a run that no living process owns, as failed; nothing happens when somebody has taken it meanwhile.
---@param db perilune.Database
---@param run perilune.RunRow
---@return true|nil
---@return perilune.Error?
function M.interrupt(db, run)
  local batch = {}
  run_row.add_interrupt(batch, run, rows.now())
  local done, err = db:write(batch)
  if not done and err.code ~= "expectation" then
    return nil, err
  end
  return true
end


---Lets go of the runs of a process that ends in good order: others may go on with them, and that it ended is no crash.
---@param db perilune.Database
---@param owner string
---@return true|nil
---@return perilune.Error?
function M.let_go(db, owner)
  local done, err = db:write { { "run_let_go", { owner = owner } } }
  return done and true, err
end


---Ends the runs that have waited longer than they may: for outputs, or for a process that goes on with them.
---@param db perilune.Database
---@param is_alive fun(owner: string): boolean
---@return integer|nil count
---@return perilune.Error?
function M.expire(db, is_alive)
  local now = rows.now()
  local list, err = db:read("run_list_overdue", { now = now })
  if not list then
    return nil, err
  end
  local count = 0
  for _, run in ipairs(list) do
    if not (run.lease_owner and is_alive(run.lease_owner)) then
      local batch = {}
      run_row.add_interrupt(batch, run, now, { status = "expired" })
      local done
      done, err = db:write(batch)
      if not done and err.code ~= "expectation" then
        return nil, err
      end
      count = count + (done and 1 or 0)
    end
  end
  return count
end


---Decides about a tool call that waits: approve (or run it again, where its outcome is unknown), reject with a reason, or its output
---from outside. The first decision counts.
---@param db perilune.Database
---@param id string
---@param call_id string
---@param decision { kind: "approve"|"reject"|"output", reason: string?, output: any }
---@return integer|nil left how many calls of the run still wait
---@return perilune.Error?
function M.decide(db, id, call_id, decision)
  local list, err = steps.list(db, id)
  if not list then
    return nil, err
  end
  local found, left = nil, 0
  for _, step in ipairs(list) do
    if step.status == "waiting" and not step.decision then
      found = found or step.call_id == call_id and step
      left = left + 1
    end
  end
  if not found then
    return nil, errors.new {
      kind = "not_found", code = "call", message = ("no call '%s' of the run %s waits for a decision"):format(call_id, id),
    }
  end
  decision.at = clock.wall()
  local text
  text, err = rows.encode(decision)
  if not text then
    return nil, err
  end
  local done
  done, err = db:write { { "step_decide", { run_id = id, seq = found.seq, decision = text }, expect = 1 } }
  if not done and err.code == "expectation" then
    err = errors.new { kind = "conflict", code = "decided", message = ("the call '%s' was decided already"):format(call_id) }
  end
  return done and left - 1 or nil, err
end


return M
