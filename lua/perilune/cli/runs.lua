-- perilune runs: what assistants did, and what they wait for.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local people = require "perilune.cli.person"
local proc = require "perilune.sys.proc"
local run_objects = require "perilune.agent.runs"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local threads = require "perilune.store.threads"
local timeline = require "perilune.cli.timeline"
local usage = require "perilune.store.usage"

local M = {
  usage = "runs list | show RUN | approve RUN [CALL...] | reject RUN CALL... | submit RUN CALL OUTPUT | resume RUN | cancel RUN",
  summary = [[
Lists runs, draws one as a timeline, and decides about those that wait: approve or reject tool calls (approve without CALL
means all of them), hand in the output of a call that is answered from outside, resume a run whose process is gone, or cancel
it. A run goes on, here, as soon as nothing of it waits any more, and its answer is printed.

What goes on needs its assistant. One that is not a row of the database is defined by a script: name it with --script. The
script is run as `perilune serve` runs it, with no arguments; it should define and not talk.]],
  options = {
    { names = { "--thread", "-t" }, key = "thread", value = "KEY", of = { "list" }, help = "only those of this thread" },
    {
      names = { "--status" }, key = "status", value = "STATUS", of = { "list" },
      help = "only those with this status, or `open`, or `waiting`",
    },
    { names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1, of = { "list" }, help = "how many (20)" },
    { names = { "--reason" }, key = "reason", value = "TEXT", of = { "reject" }, help = "why, for the model" },
    {
      names = { "--script" }, key = "script", value = "FILE", of = { "approve", "reject", "submit", "resume" },
      help = "run this first: it defines the assistants",
    },
  },
  examples = {
    "list --thread trip-to-paris", "show run_abc", "list --status waiting", "approve run_abc --script agents.lua",
    'reject run_abc call_1 --reason "too expensive"',
  },
}

local PAGE = 500
local WIDTH = 80 -- of what is no terminal

local statuses = {
  "queued", "running", "waiting_tool", "waiting_approval", "completed", "failed", "cancelled", "expired", "incomplete", "open", "waiting",
}


local must = errors.must


-- The names of what is listed

local function check_status(wanted)
  for _, known in ipairs(statuses) do
    if wanted == nil or wanted == known then
      return
    end
  end
  options.fail("runs: there is no status '%s'; it is %s", wanted, table.concat(statuses, ", "))
end


local function has_status(run, wanted)
  if wanted == "open" then
    return run.finished_at == nil
  elseif wanted == "waiting" then
    return run.status == "waiting_approval" or run.status == "waiting_tool"
  end
  return wanted == nil or run.status == wanted
end


-- The newest runs that are asked for, page by page.
local function newest(db, thread, wanted, limit)
  local list, after = {}, nil
  repeat
    local page = must(runs.list(db, { thread = thread, limit = wanted and PAGE or math.min(PAGE, limit - #list), after = after }))
    for _, run in ipairs(page) do
      if #list < limit and has_status(run, wanted) then
        list[#list + 1] = run
      end
      after = run.id
    end
  until #page == 0 or #list >= limit
  return list
end


-- Names of threads, each looked up once.
local function thread_namer(db)
  local names = {}
  return function(run)
    if not names[run.thread_id] then
      local thread = must(threads.get(db, run.thread_id))
      names[run.thread_id] = (thread.key or thread.id):gsub("%c", " ")
    end
    return names[run.thread_id]
  end
end


local function seconds_of(run)
  return run.started_at and timeline.duration(math.max(0, (run.finished_at or clock.wall()) - run.started_at))
end


-- Waiting calls

local function is_waiting(step)
  return step.status == "waiting" and not step.decision
end


-- The calls of a run that somebody must decide about.
local function waiting_of(db, id)
  local list = {}
  for _, step in ipairs(must(steps.list(db, id))) do
    list[#list + 1] = is_waiting(step) and step or nil
  end
  return list
end


local function note_waiting(id, list)
  output.note(("the run %s waits:"):format(id))
  for _, step in ipairs(list) do
    output.note((("  %s %s(%s): %s"):format(step.call_id, step.name, step.input or "", step.waits_for):gsub("%c", " ")))
  end
end


-- Going on

local function print_run(values, run)
  if values.json then
    output.json {
      id = run.id, status = run.status, content = run.content, usage = run.usage, cost = run.cost, steps = run.steps,
      provider = run.provider, model = run.model, output = run.output, waiting = run.waiting,
    }
  elseif run.content and run.content ~= "" then
    output.write(run.content .. "\n")
  end
end


-- The run, if it has not ended.
local function open_run(values, id, app)
  local row = must(runs.get(app:database(), id))
  if row.finished_at then
    error(errors.new { kind = "conflict", code = "ended_run", message = ("the run %s is %s already"):format(id, row.status) }, 0)
  end
  if values.script then -- it defines the assistants; run as serve does
    require("perilune.cli.run").run({}, { values.script }, app)
  end
  app.person = people.here() -- calls that come up meanwhile are asked about at once
  return run_objects.get(app, id)
end


-- Goes on with a run when nothing of it waits any more; says so when something does.
local function go_on(values, run, db)
  local waiting = waiting_of(db, run.id)
  if not waiting[1] then
    run = run:resume()
    waiting = waiting_of(db, run.id)
  end
  if values.json or not waiting[1] then
    print_run(values, run)
  elseif not values.quiet then
    note_waiting(run.id, waiting)
  end
  return 0
end


local actions = {}


function actions.list(values, _, app)
  check_status(values.status)
  local db = app:database()
  local thread = values.thread and must(threads.get(db, values.thread))
  local list = newest(db, thread, values.status, values.limit or 20)
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "RUN", "id" }, { "THREAD", thread_namer(db) }, { "STATUS", "status" }, { "ASSISTANT", "assistant" },
    { "STARTED", function(run) return clock.iso(run.created_at) end }, { "TIME", seconds_of },
    { "TOKENS", function(run) return run.usage and run.usage.total_tokens end },
    { "COST", function(run) return run.usage and output.money(run.cost_nano) end },
  })
end


function actions.show(values, words, app)
  local db = app:database()
  local run = must(runs.get(db, words[1]))
  local thread, waiting = must(threads.get(db, run.thread_id)), waiting_of(db, run.id)
  local is_driven = run.lease_owner ~= nil and proc.is_alive(run.lease_owner)
  local data = {
    run = run, thread = thread.key or thread.id, steps = must(steps.list(db, run)), attempts = must(usage.attempts(db, run)),
    now = clock.wall(), is_left = not run.finished_at and not is_driven and #waiting == 0,
  }
  if values.json then
    run.steps, run.attempts, run.waiting = json.array(data.steps), json.array(data.attempts), json.array(waiting)
    run.thread, run.is_left = thread, data.is_left
    return output.json(run)
  end
  local env = app.settings.env
  local has_color = values.color
  if has_color == nil then
    has_color = proc.is_tty(1) and not env "NO_COLOR"
  end
  local width = math.tointeger(tonumber(env "COLUMNS")) or proc.columns(1) or WIDTH
  output.write(table.concat(timeline.lines(data, { width = width, has_color = has_color }), "\n") .. "\n")
end


function actions.approve(values, words, app)
  local db = app:database()
  local run = open_run(values, words[1], app)
  local calls = table.move(words, 2, #words, 1, {})
  if not calls[1] then
    for _, step in ipairs(waiting_of(db, run.id)) do
      calls[#calls + 1] = step.waits_for ~= "output" and step.call_id or nil
    end
  end
  for _, call_id in ipairs(calls) do
    run:approve(call_id)
  end
  return go_on(values, run, db)
end


function actions.reject(values, words, app)
  local run = open_run(values, words[1], app)
  for position = 2, #words do
    run:reject(words[position], values.reason)
  end
  return go_on(values, run, app:database())
end


function actions.submit(values, words, app)
  local run = open_run(values, words[1], app)
  run:submit { [words[2]] = words[3] }
  return go_on(values, run, app:database())
end


function actions.resume(values, words, app)
  return go_on(values, open_run(values, words[1], app), app:database())
end


function actions.cancel(values, words, app)
  run_objects.get(app, words[1]):cancel()
  local run = must(runs.get(app:database(), words[1]))
  if values.json then
    output.json { id = run.id, status = run.status }
  elseif not values.quiet then
    output.note(run.finished_at and ("%s is %s"):format(run.id, run.status) or ("%s was asked to end"):format(run.id))
  end
end


-- How many words each takes after its name.
local arity = {
  list = { 0, 0 }, show = { 1, 1 }, approve = { 1, math.huge }, reject = { 2, math.huge }, submit = { 3, 3 }, resume = { 1, 1 },
  cancel = { 1, 1 },
}


function M.run(values, words, app)
  local name = words[1] or "list"
  local action, takes = actions[name], arity[name]
  if not action then
    options.fail("runs: unknown action '%s'; it is list, show, approve, reject, submit, resume or cancel", name)
  elseif words[1] and #words - 1 < takes[1] then
    options.fail("runs %s: %s (try perilune runs --help)", name, words[2] and "which call?" or "which run?")
  end
  options.only("runs", M.options, values, name)
  options.at_most("runs", words, takes[2] + 1)
  return action(values, table.move(words, 2, #words, 1, {}), app) or 0
end


return M
