-- Testing an agent without a network: a scripted model gives the answers, the spec looks at what became of them. To be run with
-- `perilune test --db :memory: scripts/testing_spec.lua`.
local perilune = require "perilune"

local weather = perilune.tool {
  name = "get_weather", description = "Get the current weather in a city", parameters = { city = "string" },
  run = function(arguments) return "cloudy in " .. arguments.city end,
}

local function run(model, fallbacks)
  local forecaster = perilune.assistant { name = "forecaster", model = model, fallbacks = fallbacks, tools = { weather } }
  local thread = perilune.thread "testing"
  local result, err = perilune.try(thread.run, thread, forecaster, "Paris?")
  thread:delete()
  return result, err
end

describe("the forecaster", function()
  it("hands what the tool says to the model", function()
    local call = { name = "get_weather", arguments = { city = "Paris" } }
    local model = perilune.testing.model { { tool_calls = { call } }, "It is cloudy." }
    assert.equal("It is cloudy.", run(model).content)
    local seen = model.requests[2].messages
    assert.equal("cloudy in Paris", seen[#seen].content)
    model:expect_done()
  end)

  it("asks its second model when the first is overloaded", function()
    local first = perilune.testing.model { { fault = "overloaded" }, repeat_last = true }
    assert.equal("Here I am.", run(first, { perilune.testing.model { "Here I am." } }).content)
  end)

  it("says when the answer is cut off in the middle", function()
    local _, err = run(perilune.testing.model { { text = "It is", fault = "cut" } })
    assert.equal("stream_interrupted", err.kind)
  end)
end)
