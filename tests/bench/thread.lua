-- thread.lua FIRST TURNS all|window: turns a second at the beginning of FIRST fresh threads, then along one thread of so many turns, of
-- which all messages are sent, or those of the usual window. The upstream asks for a tool in the first turn of a thread only.
local apps = require "perilune.app"
local clock = require "perilune.sys.clock"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local perilune = require "perilune"
local threads = require "perilune.agent.thread"

local first, turns, mode = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local BLOCK = 30
local path = perilune.env "PERILUNE_DB"

local weather = perilune.tool {
  name = "get_weather",
  description = "Get weather",
  parameters = { location = "string" },
  run = function()
    return { temperature = 18 }
  end,
}
local assistant = perilune.assistant {
  name = "forecaster", model = "openai/tools", instructions = "You are helpful", tools = { weather },
  provider_specific_params = { stream = false }, history = mode == "all" and { messages = 10000 } or nil,
}


-- The seconds of each turn.
local function measure(app, count, key_of)
  local seconds = {}
  for number = 1, count do
    local started = clock.mono()
    local run = threads.open(app, key_of(number)):run(assistant, "Weather in Paris?")
    seconds[number] = clock.mono() - started
    if not run.content:find("18", 1, true) then
      error(("turn %d: %q"):format(number, run.content))
    end
  end
  return seconds
end


-- Turns a second, by the median of those from one to another.
local function rate(seconds, from, to)
  local sorted = table.move(seconds, from, to, 1, {})
  table.sort(sorted)
  return 1 / sorted[#sorted // 2 + 1]
end


local function fresh(number)
  return "fresh " .. number
end


local function long()
  return "long"
end


local result = {}
do
  local app <close> = apps.new { db = path, env = perilune.env }
  measure(app, 10, function(number)
    return "warm-up " .. number
  end)
  local cpu = os.clock()
  result.first = rate(measure(app, first, fresh), 1, first)
  result.first_cpu_ms = (os.clock() - cpu) * 1000 / first
end
fs.remove(path)
do
  local app <close> = apps.new { db = path, env = perilune.env }
  local started = clock.mono()
  local seconds = measure(app, turns, long)
  result.turns_per_s = turns / (clock.mono() - started)
  result.begin = rate(seconds, 2, BLOCK + 1)
  result.middle = rate(seconds, (turns - BLOCK) // 2 + 1, (turns + BLOCK) // 2)
  result["end"] = rate(seconds, turns - BLOCK + 1, turns)
end
result.db_kb = fs.stat(path).size / 1000
print(json.encode(result))
