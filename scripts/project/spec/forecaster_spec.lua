-- What the assistant does, without a network and without a key: a scripted model says what a real one might.
-- perilune test --db :memory:
local perilune = require "perilune"

local forecaster = require "forecaster"

local function ask(question, answers)
  forecaster.model = perilune.testing.model(answers)
  local run = perilune.thread("spec"):run(forecaster, question)
  forecaster.model:expect_done()
  local seen = forecaster.model.requests[2].messages
  return run.content, seen[#seen].content
end

describe("the forecaster", function()
  it("looks at the weather", function()
    local call = { name = "get_weather", arguments = { city = "Rome" } }
    local answer, forecast = ask("Do I need a hat in Rome?", { { tool_calls = { call } }, "Yes, it is sunny." })
    assert.matches("sunny", forecast)
    assert.equal("Yes, it is sunny.", answer)
  end)

  it("tells the model when there is no weather station", function()
    local call = { name = "get_weather", arguments = { city = "Atlantis" } }
    local _, problem = ask("And in Atlantis?", { { tool_calls = { call } }, "I do not know." })
    assert.matches("no weather station in Atlantis", problem)
  end)
end)
