-- turns.lua TURNS CONCURRENCY whole|streamed: agent turns with one tool call each, every one on a thread of its own that
-- is stored in the database of the environment. One JSON line says how many a second.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local perilune = require "perilune"

local turns, concurrency, mode = tonumber(arg[1]), tonumber(arg[2]), arg[3]

local weather = perilune.tool {
  name = "get_weather",
  description = "Get weather",
  parameters = { location = "string" },
  run = function()
    return { temperature = 18 }
  end,
}

-- A whole answer goes through the same code as a streamed one; only the upstream is asked for it in one piece.
local assistant = perilune.assistant {
  name = "forecaster", model = "openai/tools", instructions = "You are helpful", tools = { weather },
  provider_specific_params = mode == "whole" and { stream = false } or nil,
}


local function turn(key)
  local run = perilune.thread(key):run(assistant, "Weather in Paris?")
  local expected = mode == "whole" and "18" or "token" -- what the upstream says at the end
  if run.steps ~= 3 or not run.content:find(expected, 1, true) then
    error(("turn %s: %d steps, %q"):format(key, run.steps, run.content))
  end
end


turn "warm-up"
local started, next_turn, workers = clock.mono(), 1, {}
for position = 1, concurrency do
  workers[position] = function()
    while next_turn <= turns do
      local number = next_turn
      next_turn = number + 1
      turn("turn-" .. number)
    end
  end
end
perilune.gather(workers)
print(json.encode { turns_per_s = turns / (clock.mono() - started) })
