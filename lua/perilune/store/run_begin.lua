-- Beginning a run: what is said first, the run and its first step in one batch.
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local run_row = require "perilune.store.run_row"
local steps = require "perilune.store.steps"
local token = require "perilune.sys.token"

local M = {}

-- A run that ends between two looks makes room: how often that is believed.
local BEGIN_TRIES = 3

-- Messages of one batch: it holds the write lock.
local INPUTS_MAX = 200


-- The messages that a run begins with, in front of what else its first batch holds; the position of the first one's seq.
local function add_inputs(batch, run, options, now)
  local position
  for _, input in ipairs(options.inputs or {}) do
    local calls, err = messages.calls(run.thread_id, input, { run = run, now = now })
    if not calls then
      return nil, err
    end
    position = position or #batch + 1
    table.move(calls, 1, #calls, #batch + 1, batch)
  end
  return position
end


-- The batch that begins `run`; the second value is where it returns the first message's seq. A first step begins in it too.
local function begin_batch(run, options, now)
  local batch, columns = {}, {}
  if options.replaces then
    run_row.add_interrupt(batch, options.replaces, now)
  end
  for _, name in ipairs { "metadata", "asked" } do
    local err
    columns[name], err = rows.encode(options[name])
    if err then
      return nil, nil, err
    end
  end
  batch[#batch + 1] = { "run_create", {
    id = run.id, thread_id = run.thread_id, assistant = run.assistant, model = run.model, owner = run.lease_owner,
    has_input = options.inputs ~= nil and options.inputs[1] ~= nil, parent = run.parent, metadata = columns.metadata, now = now,
    account = run.account, asked = columns.asked, expires_at = rows.milliseconds(run.expires_at), input_seq = options.first_seq,
  }, expect = 1 }
  local position, err = add_inputs(batch, run, options, now)
  if options.step and not err then
    batch[#batch + 1], err = steps.start_call(run, options.step, now)
  end
  if err then
    return nil, nil, err
  end
  return batch, position
end


-- Of more messages than fit one batch: the first ones, in batches of their own, while no run is active; returns the others, and the
-- number of the first one.
local function write_first_ones(db, thread_id, inputs)
  local last, first_seq = #inputs - INPUTS_MAX, nil
  for first = 1, last, INPUTS_MAX do
    local batch = {}
    for position = first, math.min(first + INPUTS_MAX - 1, last) do
      local calls, err = messages.calls(thread_id, inputs[position], { now = rows.now(), is_idle = true })
      if not calls then
        return nil, nil, err
      end
      table.move(calls, 1, #calls, #batch + 1, batch)
    end
    local results, err = db:write(batch)
    if not results then
      return nil, nil, err
    end
    first_seq = first_seq or results[1][1].seq
  end
  return table.move(inputs, last + 1, #inputs, 1, {}), first_seq
end


---Begins a run, with the messages that are added, in one batch. A second active run on the thread is a conflict, whose code
---says what is in the way: `active_run`, `waiting_run` (on a person), or `interrupted_run` (its process is gone), which `replaces`
---closes as failed in the same batch. A `step` is begun with it.
---@param db perilune.Database
---@param options { thread: string|{ id: string }, inputs: perilune.Message[]?, assistant: string?, model: string?, owner: string,
---step: perilune.NewStep?, replaces: perilune.RunRow?, parent: string?, metadata: table?, id: string?, account: string?, asked: table?,
---expires_at: number? }
---@param is_alive fun(owner: string): boolean
---@return perilune.RunRow|nil run with `seq`, the number of the first message, and `step_seq`
---@return perilune.Error?
function M.begin(db, options, is_alive)
  local now = rows.now()
  local run = {
    id = options.id or token.id("run"), thread_id = rows.id(options.thread), assistant = options.assistant, model = options.model,
    status = "running", lease_owner = options.owner, lease_epoch = 1, created_at = now / 1000, started_at = now / 1000,
    parent = options.parent, metadata = options.metadata, crashes = 0, account = options.account, asked = options.asked,
    expires_at = options.expires_at,
  }
  local problem
  if options.inputs and #options.inputs > INPUTS_MAX then
    options.inputs, options.first_seq, problem = write_first_ones(db, run.thread_id, options.inputs)
    if not options.inputs then
      return nil, problem
    end
  end
  for _ = 1, BEGIN_TRIES do
    local batch, position, err = begin_batch(run, options, now)
    if not batch then
      return nil, err
    end
    local results
    results, err = db:write(batch)
    if results then
      run.seq = options.first_seq or position and results[position][1].seq
      run.input_seq = run.seq
      run.step_seq = options.step and results[#results][1].seq
      return run
    end
    local statement = err.details and err.details.statement
    if err.code == "expectation" and statement == "run_create" then
      return rows.missing("thread", run.thread_id)
    elseif err.kind ~= "conflict" then
      return nil, err
    end
    local active, read_error = db:read("run_active", { thread_id = run.thread_id })
    if not active then
      return nil, read_error
    end
    problem = run_row.in_the_way(active[1] and run_row.decode(active[1]), is_alive)
    if problem then
      return nil, problem
    end
    problem, options.replaces = err, nil
  end
  return nil, problem
end


return M
