-- What a run is made of, and running it so that others can end it: by its id (run:cancel), or by a token.
local cancellation = require "perilune.model.cancellation"
local channel = require "perilune.std.channel"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local loop = require "perilune.agent.loop"
local proc = require "perilune.sys.proc"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"

local M = {}

-- Events that wait to be read; above it the run waits, and with it the provider.
local EVENTS_WAITING_MAX = 16


local is_last = { stop = true, error = true }


local function ignore() end


local function as_it_is(it)
  return it
end


---@class perilune.RunOptions
---@field on_event? fun(event: table)
---@field person? fun(call: table, waits_for: string): table? decides at once about calls that wait
---@field cancel? perilune.CancelToken
---@field metadata? table
---@field budget? table
---@field depth? integer
---@field parent? string
---@field messages? perilune.Message[] see perilune.Job, also for the following ones
---@field hands_back? boolean
---@field run_id? string
---@field account? string
---@field asked? table
---@field expires_at? number
---@field wrap? fun(model: table, name: string): table what goes around every model of the job, and of the runs that it calls
---@field adapt? fun(assistant: perilune.Assistant): perilune.Assistant how the job changes those that it hands over to
---@field at_work? string the name of the one that begins, where it is not the assistant that is asked

---A job: an assistant, a thread, and what the user says.
---@param app perilune.App
---@param thread { id: string }
---@param assistant perilune.Assistant
---@param input? string|table[]
---@param options? perilune.RunOptions
---@return perilune.Job
function M.new(app, thread, assistant, input, options)
  options = options or {}
  local wrap = options.wrap or as_it_is
  local function model_of(other)
    local model, name = app:model_of(other)
    return wrap(model, name), name
  end
  local model, name = model_of(assistant)
  return {
    app = app, db = app:database(), thread = thread, assistant = assistant, input = input, model = model, model_name = name,
    emit = options.on_event or ignore, person = options.person or app.person, cancel = options.cancel, metadata = options.metadata,
    budget = options.budget, depth = options.depth, parent = options.parent, messages = options.messages,
    hands_back = options.hands_back, run_id = options.run_id, account = options.account, asked = options.asked,
    expires_at = options.expires_at, model_of = model_of, wrap = wrap, adapt = options.adapt or as_it_is, at_work = options.at_work,
    summary_model_of = function(other)
      return wrap(app:model { other.history.model })
    end,
  }
end


-- Woken when a run is under way no more.
local left = task.signal()


-- Drives a turn; whoever knows its id can end it meanwhile.
local function drive(begin, job, handle)
  local turn <close> = begin(job)
  local id = turn.row.id
  run_object.live[id] = handle
  local leaving <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    run_object.live[id] = nil
    left:wake()
  end })
  if job.on_begin then
    job.on_begin(turn)
  end
  return loop.go(turn)
end


---Runs a job to its end, or until it waits for a person. Raises what made it fail.
---@param job perilune.Job
---@param begin? fun(job: perilune.Job): table how its turn begins; by default a new run
---@return perilune.Run
function M.run(job, begin)
  local token, handle = job.token, job.handle
  if not token then
    token, handle = cancellation.pair()
    job.token = token
  end
  local place = job.cancel and job.cancel:enter(handle)
  local leaving <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    if place then
      job.cancel:leave(place)
    end
  end })
  return cancellation.run(token, drive, begin or loop.begin, job, handle)
end


-- The task of a streamed run. It is one of the places where an error ends: as the last event of the stream.
local function produce(events, job, begin)
  local ok, result = pcall(M.run, job, begin)
  local err = not ok and errors.wrap(result) or nil
  if job.on_end then
    job.on_end(ok and result or nil, err)
  end
  if err then
    task.shield(10, events.put, events, { type = "error", error = err })
  end
  events:close()
end


---The same as a stream of events. Closing it cancels the run.
---@param job perilune.Job
---@param begin? fun(job: perilune.Job): table
---@return perilune.Stream
function M.stream(job, begin)
  local events = channel.new(EVENTS_WAITING_MAX)
  job.emit = function(event)
    events:put(event)
  end
  job.token, job.handle = cancellation.pair()
  task.spawn(produce, events, job, begin)
  return stream.new(function()
    local event = events:get()
    if event and is_last[event.type] then
      while events:get() do end -- whoever sees the end finds the run ended
    end
    return event
  end, function()
    job.handle:cancel()
    while events:get() do end -- until the run has written its last row
  end)
end


-- The task of a run in the background: its error is in its row, and in its last event.
local function work(job, begin, ended)
  local ok, err = pcall(M.run, job, begin)
  if not ok and job.on_failure then
    job.on_failure(errors.wrap(err))
  end
  if job.on_over then
    job.on_over()
  end
  ended:wake()
end


---How many runs are under way in this process.
---@return integer
function M.count()
  local count = 0
  for _ in pairs(run_object.live) do
    count = count + 1
  end
  return count
end


---Waits until no run is under way in this process, at most so long; false: some are.
---@param seconds number
---@return boolean
function M.wait_idle(seconds)
  local until_at = clock.mono() + seconds
  while next(run_object.live) ~= nil and clock.mono() < until_at do
    left:wait(until_at - clock.mono())
  end
  return next(run_object.live) == nil
end


---Leaves the runs that are under way in this process to the next one: nothing of them begins here any more, and they end.
---@param app perilune.App
function M.let_go(app)
  errors.must(runs.let_go(app:database(), proc.self()))
  for _, handle in pairs(run_object.live) do
    handle:cancel("shutdown")
  end
end


---Begins a run in the background; returns it once its first rows are stored. Raises why it could not begin.
---@param job perilune.Job
---@param begin? fun(job: perilune.Job): table
---@return perilune.Run
function M.start(job, begin)
  local begun, ended, id, failure = task.signal(), task.signal(), nil, nil
  function job.on_begin(turn)
    id = turn.row.id
    begun:wake()
  end
  function job.on_failure(err)
    failure = err
    begun:wake()
  end
  task.spawn(work, job, begin, ended)
  while not id and not failure do
    begun:wait()
  end
  if not id then
    error(failure, 0)
  end
  local run = run_object.get(job.app, id)
  run.ended = ended
  return run
end


return M
