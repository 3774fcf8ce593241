-- An assistant with a tool. `perilune serve forecaster.lua` makes it the model "assistant/forecaster" for every OpenAI client.
local perilune = require "perilune"

local forecasts = { Paris = { temperature = 18, sky = "cloudy" }, Rome = { temperature = 24, sky = "sunny" } }

local weather = perilune.tool {
  name = "get_weather",
  description = "Get the current weather in a city",
  parameters = { city = "string: the name of the city" },
  idempotent = true, -- it may be called again when the program was interrupted
  run = function(arguments)
    local forecast = forecasts[arguments.city]
    if not forecast then
      return nil, "no weather station in " .. arguments.city
    end
    return forecast
  end,
}

return perilune.assistant {
  name = "forecaster",
  instructions = "You are a helpful forecaster. Answer in one or two sentences.",
  tools = { weather },
}
