-- Runs of the Assistants family under way: in the background, or shown as they come.
local clock = require "perilune.sys.clock"
local jobs = require "perilune.agent.job"
local loop = require "perilune.agent.loop"
local names = require "perilune.serve.names"
local notes = require "perilune.store.notes"
local objects = require "perilune.serve.shape.assistants.objects"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local run_ends = require "perilune.serve.run_ends"
local run_jobs = require "perilune.serve.run_jobs"
local run_streams = require "perilune.serve.shape.assistants.stream"
local steps = require "perilune.store.steps"
local thread_runs = require "perilune.serve.thread_runs"
local threads = require "perilune.store.threads"
local errors = require "perilune.std.errors"

local M = {}

local must = errors.must

local EXPIRES_SECONDS = 600


-- Whose run it is pays, also where somebody else goes on with it.
local function payer(exchange, run)
  return function(model, name)
    if run.account == exchange.key.account then
      return exchange:bill(model, name, { run_id = run.id, asked = run.asked and run.asked.model })
    end
    return exchange.server:bill_account(run, model, name)
  end
end


---The job of a new run.
---@param exchange perilune.Exchange
---@param thread { id: string } filled in before the job begins
---@param request perilune.serve.RunRequest
---@return perilune.Job
function M.new_job(exchange, thread, request)
  local account, run_id, messages = exchange.key.account, exchange:run_id(), {}
  for position, one in ipairs(request.messages) do
    messages[position] = one.message
  end
  return run_jobs.job(exchange.app, thread, request.asked, {
    run_id = run_id, account = account, metadata = request.metadata, messages = messages[1] and messages or nil,
    expires_at = clock.wall() + (exchange.server.options.run_expires_seconds or EXPIRES_SECONDS),
    wrap = payer(exchange, { id = run_id, account = account, asked = request.asked }),
  })
end


-- The key may not be the one that has asked, and an assistant may have another model by now.
local function check_model(exchange, called, name)
  exchange:model_named(called)
  if not names.is_label(exchange.app, "models", called) then
    exchange:model_named(name)
  end
end


-- The job that goes on with a run which waited.
local function job_of(exchange, row)
  local options, thread = { account = row.account, wrap = payer(exchange, row) }, { id = row.thread_id }
  if row.asked then
    local job = run_jobs.job(exchange.app, thread, row.asked, options)
    check_model(exchange, row.asked.model or job.model_name, job.model_name)
    return job
  end
  return jobs.new(exchange.app, thread, registry.find(exchange.app, row.assistant), nil, options)
end


-- What is said of the messages that a run began with.
local function note_messages(exchange, row, request)
  for position, one in ipairs(request and request.messages or {}) do
    if one.metadata then
      must(notes.set_metadata(exchange.server.db, row.thread_id, row.seq + position - 1, one.metadata))
    end
  end
end


local function copy(row)
  local copied = {}
  for name, value in pairs(row) do
    copied[name] = value
  end
  return copied
end


---@class perilune.serve.RunBeginning
---@field request? perilune.serve.RunRequest of a new run
---@field row? perilune.RunRow of one that is gone on with
---@field thread? perilune.ThreadRow that was made for the run, to be shown first

-- How the turn begins, as jobs.run wants it.
local function begin_of(beginning)
  return beginning.row and run_jobs.take_over(beginning.row.id) or loop.begin
end


---Begins a run in the background, or goes on with one; answers its object once that is written.
---@param exchange perilune.Exchange
---@param job perilune.Job
---@param beginning perilune.serve.RunBeginning
function M.start(exchange, job, beginning)
  local begin, row = begin_of(beginning), nil
  exchange:lend_ticket(job)
  jobs.start(job, function(...)
    local turn = begin(...)
    row = copy(turn.row)
    return turn
  end)
  note_messages(exchange, row, beginning.request)
  row.metadata = beginning.row and beginning.row.metadata or row.metadata
  exchange:reply(200, objects.run(row, { status = "queued" }))
end


-- What the encoder of a run's stream begins with; nobody else writes to the run or its thread meanwhile.
local function encoder_of(exchange, turn, beginning)
  local db, row = exchange.server.db, copy(turn.row)
  row.metadata = beginning.row and beginning.row.metadata or row.metadata
  note_messages(exchange, row, beginning.request)
  local open
  if beginning.row then
    local shown = thread_runs.steps(db, row)
    local last = shown[#shown]
    open = last and last.type == "tool_calls" and last.status == "in_progress" and last or nil
  end
  return run_streams.new {
    run = row, next_seq = must(threads.get(db, row.thread_id)).next_seq, step = open, now = clock.wall,
    usage_of = function(step_seq)
      return thread_runs.usage_by_step(db, row)[step_seq]
    end,
    next_step = turn.model_seq or #must(steps.list(db, row)) + 1, -- a call of the model may have begun
  }
end


local function send(out, list)
  for _, event in ipairs(list) do
    out:send(event.data, event.name)
  end
end


-- The end: as the row has it. A run whose end could not be written has none.
local function finish(exchange, out, encoder, failure)
  local db = exchange.server.db
  local row = run_ends.row_now(db, encoder.run)
  row.metadata = must(notes.run(db, row.id)).metadata or row.metadata
  local shown = thread_runs.show(db, row)
  if failure and not row.finished_at then
    return out:fail(failure)
  end
  send(out, encoder:finish(row, shown))
  out:send("[DONE]", "done")
end


---Runs a job and shows it as it comes.
---@param exchange perilune.Exchange
---@param job perilune.Job
---@param beginning perilune.serve.RunBeginning
function M.stream(exchange, job, beginning)
  local encoder, failure
  function job.on_begin(turn)
    encoder = encoder_of(exchange, turn, beginning)
    job.emit { type = "begun" }
  end
  local stream <close> = jobs.stream(job, begin_of(beginning))
  local out <close> = exchange:events()
  for event in stream do
    if event.type == "error" then
      failure = event.error
    elseif event.type == "attempt_discarded" and encoder:has_content() then
      return out:fail(event.error)
    elseif event.type == "begun" and beginning.thread then
      out:send(objects.thread(beginning.thread), "thread.created")
    end
    if not encoder then -- it has not begun
      return out:fail(failure)
    end
    send(out, event.type == "begun" and not beginning.row and encoder:created() or encoder:feed(event))
  end
  finish(exchange, out, encoder, failure)
end


-- Somebody was faster: the run was decided about, cancelled, or has ended otherwise.
local is_late = { decided = true, ended_run = true, active_run = true, run_lost = true }


local function late(raised)
  return is_late[errors.wrap(raised).code] and problem.new {
    status = 400, type = "invalid_request_error", code = "invalid_value", is_retryable = false,
    message = "The run does not wait for that any more: it was decided about, cancelled, or has ended meanwhile.",
  } or nil
end


---Decides about calls of a run that waits, and answers with what comes of it.
---@param exchange perilune.Exchange
---@param row perilune.RunRow
---@param decisions { seq: integer, decision: table }[]
---@param is_streamed boolean
function M.go_on(exchange, row, decisions, is_streamed)
  local job = job_of(exchange, row)
  exchange.reword = late
  must(steps.decide(exchange.server.db, row, decisions))
  M.answer(exchange, job, { row = row }, is_streamed)
end


---Answers with a run, in the way that was asked for.
---@param exchange perilune.Exchange
---@param job perilune.Job
---@param beginning perilune.serve.RunBeginning
---@param is_streamed boolean
function M.answer(exchange, job, beginning, is_streamed)
  return (is_streamed and M.stream or M.start)(exchange, job, beginning)
end


return M
