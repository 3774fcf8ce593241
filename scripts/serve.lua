-- An assistant for every OpenAI client: `perilune serve scripts/serve.lua`, then ask for the model "assistant/forecaster":
--
--   curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \
--     -d '{"model": "assistant/forecaster", "messages": [{"role": "user", "content": "The weather in Paris?"}]}'
local perilune = require "perilune"

local weather = perilune.tool {
  name = "get_weather",
  description = "Get the current weather in a city",
  parameters = { city = "string: the name of the city" },
  idempotent = true,
  run = function(arguments) return { city = arguments.city, temperature = 18, sky = "cloudy" } end,
}

perilune.assistant {
  name = "forecaster",
  description = "Knows the weather.",
  instructions = "Be brief.",
  tools = { weather },
}

-- A page of one's own, beside the API.
perilune.route("GET /weather/{city}", function(request)
  return { city = request.params.city, temperature = 18 }
end)

-- A job of one's own: it runs while the server does.
perilune.every("1h", function()
  perilune.log.info("the forecaster is well")
end)
