-- An assistant with a tool, on a thread that survives: run it twice, the second run remembers the first.
local perilune = require "perilune"

local forecasts = { Paris = { temperature = 18, sky = "cloudy" }, Rome = { temperature = 24, sky = "sunny" } }

local weather = perilune.tool {
  name = "get_weather",
  description = "Get the current weather in a city",
  parameters = { city = "string: the name of the city" },
  idempotent = true,
  run = function(arguments)
    local forecast = forecasts[arguments.city]
    if not forecast then
      return nil, "no weather station in " .. arguments.city
    end
    return forecast
  end,
}

local forecaster = perilune.assistant {
  name = "forecaster",
  instructions = "You are a helpful forecaster. Answer in one or two sentences.",
  tools = { weather },
}

local thread = perilune.thread "trip-to-paris"

for _, question in ipairs { "What's the weather in Paris?", "What did I ask you before?" } do
  print("you: " .. question)
  local run = thread:run(forecaster, question)
  print(("%s: %s"):format(run.provider, run.content))
end
