-- long_thread.lua TURNS MESSAGES SAMPLES: what a turn with a tool call costs at the beginning of a thread, after TURNS of them, and in a
-- database that is full of other threads, their messages and runs. The model is scripted: what is measured is the loop and the store.
-- The kinds of turns take turns, because a disk has its moods; CPU time and time in milliseconds, medians; bytes a turn.
local apps = require "perilune.app"
local clock = require "perilune.sys.clock"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local perilune = require "perilune"
local runs = require "perilune.store.runs"
local rows = require "perilune.store.threads"
local threads = require "perilune.agent.thread"
local token = require "perilune.sys.token"

local turns, filling, samples = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local MIDDLE = 200 -- turns of a thread that already fills the usual window
local WRITERS = 64 -- of the filling: what they write together is one transaction
local RUNS = 250 -- of each, with four messages each

local path = perilune.env "PERILUNE_DB"
local full_path = path .. ".full"

local weather = perilune.tool {
  name = "get_weather", description = "Get weather", parameters = { location = "string" },
  run = function()
    return { temperature = 18 }
  end,
}
local model = perilune.testing.model { function(request)
  if request.messages[#request.messages].role == "tool" then
    return "It is 18 degrees in Paris."
  end
  return { tool_calls = { { id = token.id "call", name = "get_weather", arguments = { location = "Paris" } } } }
end, repeat_last = true }


local function assistant_of(history)
  return perilune.assistant {
    name = "forecaster", model = model, instructions = "You are helpful", tools = { weather }, history = history,
  }
end


local brief, usual = assistant_of { messages = 20 }, assistant_of(nil)


local function turn(app, key, assistant)
  local run = threads.open(app, key):run(assistant, "Weather in Paris?")
  assert(run.status == "completed" and run.steps == 3)
  model.requests = {}
end


-- Filling

local function nobody()
  return false
end


-- A run as a turn writes it, in three batches instead of four.
local function write_run(db, thread)
  local call = { id = token.id "call", name = "get_weather", arguments = '{"location":"Paris"}' }
  local events = { { type = "start", model = "scripted" }, { type = "text", text = "It is 18 degrees in Paris." } }
  local run = assert(runs.begin(db, {
    thread = thread, inputs = { { role = "user", content = "Weather in Paris?" } }, owner = "filler:1:1", step = { kind = "model" },
  }, nobody))
  assert(runs.advance(db, run, {
    finished = { { seq = 1, message = { role = "assistant", content = "", tool_calls = { call } } } },
    started = { { kind = "tool", name = call.name, call_id = call.id } }, events = events,
  }))
  assert(runs.advance(db, run, {
    finished = { { seq = 2, message = { role = "tool", tool_call_id = call.id, name = call.name, content = "18" } } },
    ended = { status = "completed", message = { role = "assistant", content = "It is 18 degrees in Paris." } }, events = events,
  }))
end


-- Threads with runs, and copies of them without, until there are so many messages.
local function fill(db, count)
  local workers = {}
  for number = 1, WRITERS do
    workers[number] = function()
      local thread = assert(rows.open(db, "filler " .. number))
      for _ = 1, RUNS do
        write_run(db, thread)
      end
      for _ = 2, math.ceil(count / (4 * RUNS * WRITERS)) do
        assert(rows.fork(db, thread))
      end
    end
  end
  perilune.gather(workers)
end


-- Measuring

local function bytes(app)
  return assert(app:database():info()).size
end


-- A thread of so many turns; bytes of a turn in its first half, and in its second.
local function lengthen(app, result)
  local sizes = { [0] = bytes(app) }
  for number = 1, turns do
    turn(app, "long", brief)
    sizes[number] = number % (turns // 2) == 0 and bytes(app) or nil
  end
  result.begin_bytes, result.end_bytes = sizes[turns // 2] - sizes[0], sizes[turns] - sizes[turns // 2]
  for _, name in ipairs { "begin_bytes", "end_bytes" } do
    result[name] = result[name] / (turns // 2)
  end
end


local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end


-- Each kind `samples` times, one after the other.
local function measure(kinds, result)
  for number = 0, samples do -- the first one only warms up
    for _, kind in ipairs(kinds) do
      local started, cpu = clock.mono(), os.clock()
      kind.turn(number)
      kind.cpu[number], kind.wall[number] = (os.clock() - cpu) * 1000, (clock.mono() - started) * 1000
    end
  end
  for _, kind in ipairs(kinds) do
    result[kind.name .. "_cpu"], result[kind.name .. "_wall"] = median(kind.cpu), median(kind.wall)
  end
end


local function kind(name, app, key, assistant)
  return {
    name = name, cpu = {}, wall = {},
    turn = function(number)
      turn(app, key:format(number), assistant)
    end,
  }
end


local result = {}
do
  local app <close> = apps.new { db = path, env = perilune.env }
  local full <close> = apps.new { db = full_path, env = perilune.env }
  fill(full:database(), filling)
  for _ = 1, MIDDLE do
    turn(app, "middle", brief)
  end
  lengthen(app, result)
  measure({
    kind("first", app, "first %d", brief), kind("long", app, "long", brief), kind("full", full, "first %d", brief),
    kind("middle_window", app, "middle", usual), kind("long_window", app, "long", usual),
  }, result)
end
for _, suffix in ipairs { "", "-wal", "-shm" } do
  fs.remove(full_path .. suffix)
end
print(json.encode(result))
