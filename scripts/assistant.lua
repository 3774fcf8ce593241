-- An assistant with limits: its answer is data that fits a schema, a guardrail looks at what comes in, and a budget ends a run that
-- takes too much. The model is scripted: it gets the answer wrong first, and is told what is wrong with it.
local perilune = require "perilune"

local model = perilune.testing.model { "Io is the innermost.", '{"name":"Io","radius_km":1822}' }

local astronomer = perilune.assistant {
  name = "astronomer",
  model = model,
  instructions = "You know the moons of Jupiter.",
  output = { name = "string", radius_km = "number" },
  budget = { tokens = 10000, seconds = 60, tool_calls = 5 },
  guardrails = { input = { function(input)
    return input:find("Pluto") and "we do not talk about Pluto"
  end } },
}

local thread = perilune.thread "moons"
local run = thread:run(astronomer, "Which moon is the innermost?")
print(run.output.name, run.output.radius_km, run.status, #model.requests .. " requests")

local _, err = perilune.try(thread.run, thread, astronomer, "And Pluto?")
print(err.message)
