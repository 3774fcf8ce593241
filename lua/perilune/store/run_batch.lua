-- One step of a run's life as one batch: what has finished, what begins, what waits, and where the run stands after it. All of it is
-- written or nothing.
local events = require "perilune.store.events"
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local steps = require "perilune.store.steps"
local text = require "perilune.std.text"
local usage = require "perilune.store.usage"

local M = {}

local error_fields = {
  "kind", "code", "type", "status", "request_id", "provider", "model", "retryable", "maybe_billed", "retry_after",
}

local has_ended = { completed = true, failed = true, cancelled = true, expired = true, incomplete = true }


---@class perilune.NewStep
---@field kind "model"|"tool"|"summary"
---@field name? string
---@field call_id? string
---@field idempotent? boolean
---@field input? any
---@field waits_for? "approval"|"output" it does not begin before somebody has decided

---@class perilune.StepEnding
---@field seq integer
---@field result? any
---@field message? perilune.Message goes into the thread
---@field message_status? "complete"|"partial"
---@field attempts? perilune.AttemptRow[]
---@field reply? perilune.Message goes into the thread after it

---@class perilune.RunEnding
---@field status "completed"|"failed"|"cancelled"|"expired"|"incomplete"
---@field message? perilune.Message
---@field message_status? "complete"|"partial"
---@field error? perilune.Error
---@field usage? perilune.Usage
---@field cost_nano? integer nil: a price is not known
---@field output? any
---@field attempts? perilune.AttemptRow[]

---@class perilune.RunChange in the order in which it is written
---@field finished? perilune.StepEnding[]
---@field results? { id: string, body: string }[] tool results that are too long for a request
---@field lost? { seq: integer, attempt: perilune.AttemptRow }[] model calls whose answer is lost
---@field held? integer[] tool calls of which nobody knows whether they had their effect: they wait for a decision
---@field begun? integer[] steps that waited, or are done again
---@field started? perilune.NewStep[]
---@field summary? { upto_seq: integer, body: string }
---@field handed_to? { assistant: string, model: string }
---@field events? table[]
---@field parked? { status: "waiting_approval"|"waiting_tool", usage: perilune.Usage?, cost_nano: integer? }
---@field ended? perilune.RunEnding

---What is kept of an error object: what a reader of the row needs, nothing that holds on to a response.
---@param err perilune.Error|table|nil
---@return string|nil
function M.encode_error(err)
  if err == nil then
    return nil
  end
  local kept = { message = text.to_utf8(tostring(err.message or err)) }
  for _, name in ipairs(error_fields) do
    kept[name] = err[name]
  end
  return rows.encode(kept)
end


-- The statements are only appended when all could be made.
local function append(batch, calls, err)
  if not calls then
    return nil, err
  end
  table.move(calls, 1, #calls, #batch + 1, batch)
  return true
end


-- Adds the message and the attempts of an ending.
local function add_outcome(batch, run, ending, step_seq, now)
  if ending.message then
    local ok, err = append(batch, messages.calls(run.thread_id, ending.message, { run = run, status = ending.message_status, now = now }))
    if not ok then
      return nil, err
    end
  end
  if ending.reply then
    local ok, err = append(batch, messages.calls(run.thread_id, ending.reply, { run = run, now = now }))
    if not ok then
      return nil, err
    end
  end
  return usage.add_calls(batch, run.id, ending.attempts or {}, step_seq)
end


local adders = {}


function adders.finished(batch, run, ending, now)
  local call, err = steps.finish_call(run, ending.seq, ending.result, now)
  if not call then
    return nil, err
  end
  batch[#batch + 1] = call
  return add_outcome(batch, run, ending, ending.seq, now)
end


function adders.results(batch, run, result, now)
  batch[#batch + 1] = { "result_add", { id = result.id, run_id = run.id, body = result.body, now = now } }
  return true
end


function adders.lost(batch, run, lost)
  batch[#batch + 1] = {
    "step_lose", { run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, seq = lost.seq }, expect = 1,
  }
  return usage.add_calls(batch, run.id, { lost.attempt }, lost.seq)
end


function adders.held(batch, run, seq)
  batch[#batch + 1] = { "step_hold", {
    run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, seq = seq, waits_for = "outcome",
  }, expect = 1 }
  return true
end


function adders.begun(batch, run, seq, now)
  batch[#batch + 1] = { "step_begin", {
    run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, seq = seq, now = now,
  }, expect = 1 }
  return true
end


function adders.started(batch, run, step, now)
  local call, err = steps.start_call(run, step, now)
  batch[#batch + 1] = call
  return call ~= nil, err
end


-- The last statements of a run that is not completed also give up the steps that are still open.
local function add_ended(batch, run, ending, now)
  if not has_ended[ending.status] then
    error(("runs.advance: %q is not the status of a run that has ended"):format(tostring(ending.status)), 4)
  end
  local ok, err = add_outcome(batch, run, ending, nil, now)
  local usage_text, error_text, output
  if ok then
    usage_text, err = rows.encode(ending.usage)
  end
  if not err then
    error_text, err = M.encode_error(ending.error)
  end
  if not err then
    output, err = rows.encode(ending.output)
  end
  if err then
    return nil, err
  end
  if ending.status ~= "completed" then
    batch[#batch + 1] = { "steps_give_up", { run_id = run.id } }
  end
  batch[#batch + 1] = { "run_finish", {
    id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, status = ending.status, error = error_text, usage = usage_text,
    cost_nano = ending.cost_nano, output = output, now = now,
  }, expect = 1 }
  return true
end


-- What stands at the end of a batch: summary, hand-over, events, and where the run stands.
local function add_rest(batch, run, change, now)
  local guard = { id = run.id, owner = run.lease_owner, epoch = run.lease_epoch }
  if change.summary then
    batch[#batch + 1] = { "summary_add", {
      thread_id = run.thread_id, upto_seq = change.summary.upto_seq, run_id = run.id, body = change.summary.body, now = now,
    } }
  end
  if change.handed_to then
    guard.assistant, guard.model = change.handed_to.assistant, change.handed_to.model
    batch[#batch + 1] = { "run_hand_over", guard, expect = 1 }
  end
  if change.events then
    local call, err = events.add_call(run, change.events, now)
    if not call then
      return nil, err
    end
    batch[#batch + 1] = call
  end
  if change.parked then
    local usage_text, err = rows.encode(change.parked.usage)
    if err then
      return nil, err
    end
    batch[#batch + 1] = { "run_park", {
      id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, status = change.parked.status, usage = usage_text,
      cost_nano = change.parked.cost_nano,
    }, expect = 1 }
  end
  if change.ended then
    return add_ended(batch, run, change.ended, now)
  end
  return true
end


---The batch of a change.
---@param run perilune.RunRow
---@param change perilune.RunChange
---@param now integer milliseconds
---@return perilune.StoreCall[]|nil
---@return integer|perilune.Error first_or_err where it returns the seqs of `started`
function M.build(run, change, now)
  local batch, first = {}, 1
  for _, part in ipairs { "finished", "results", "lost", "held", "begun", "started" } do
    first = part == "started" and #batch + 1 or first
    for _, item in ipairs(change[part] or {}) do
      local ok, err = adders[part](batch, run, item, now)
      if not ok then
        return nil, err
      end
    end
  end
  local ok, err = add_rest(batch, run, change, now)
  if not ok then
    return nil, err
  end
  return batch, first
end


return M
