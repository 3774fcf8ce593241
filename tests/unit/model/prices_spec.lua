local prices = require "perilune.model.prices"
local usage = require "perilune.model.usage"

local MILLION = 1000000


local function used(prompt, completion, cached)
  return usage.from_openai {
    prompt_tokens = prompt, completion_tokens = completion, prompt_tokens_details = { cached_tokens = cached },
  }
end


describe("prices", function()
  it("are whole nano-dollars with a date and a source", function()
    assert.is_true(#prices.rows > 12)
    for _, row in ipairs(prices.rows) do
      for _, column in ipairs { "input", "cached", "output", "write", "write_1h" } do
        assert.are.equal("integer", math.type(row[column]), row.model)
      end
      assert.is_true(row.cached <= row.input and row.input <= row.output, row.model)
      assert.is_truthy(row.date:find("^%d%d%d%d%-%d%d%-%d%d$"))
      assert.is_truthy(row.source ~= "")
    end
  end)

  it("count cached tokens apart", function()
    assert.are.equal(150000000, prices.cost("openai", "gpt-4o-mini", used(MILLION, 0)))
    assert.are.equal(75000000, prices.cost("openai", "gpt-4o-mini", used(MILLION, 0, MILLION)))
    assert.are.equal(600000000, prices.cost("openai", "gpt-4o-mini", used(0, MILLION)))
  end)

  it("round once, to the nearest nano-dollar", function()
    assert.are.equal(75, prices.cost("openai", "gpt-4o-mini", used(1, 0, 1)))
    assert.are.equal(5, prices.cost("openai", "gpt-5-nano", used(1, 0, 1)))
    assert.are.equal(3, prices.cost("deepseek", "deepseek-flash", used(1, 0, 1)) // 2)
  end)

  it("are found with a date in the name", function()
    assert.are.equal("gpt-4o-mini", prices.get("openai", "gpt-4o-mini-2024-07-18").model)
    assert.are.equal("gpt-4o-2024-05-13", prices.get("openai", "gpt-4o-2024-05-13").model)
    assert.are.equal("claude-haiku-4-5", prices.get("anthropic", "claude-haiku-4-5-20251001").model)
  end)

  it("are nil when unknown, never 0", function()
    assert.is_nil(prices.cost("openai", "gpt-99", used(1, 1)))
    assert.is_nil(prices.cost("nobody", "gpt-4o", used(1, 1)))
    assert.is_nil(prices.cost("openai", "gpt-4o", nil))
    assert.is_nil(prices.cost("xai", "grok-4.3", used(200001, 1)))
    assert.is_nil(prices.cost("openai", "gpt-4o", usage.from_openai {
      prompt_tokens = 5, completion_tokens = 5, prompt_tokens_details = { audio_tokens = 3 } }))
    assert.are.equal(0, prices.cost("offline", "demo", usage.estimate(3, 4)))
  end)

  it("know what writing the cache costs", function()
    local raw = { input_tokens = 0, output_tokens = 0, cache_creation_input_tokens = MILLION // 10 }
    assert.are.equal(375000000, prices.cost("anthropic", "claude-sonnet-4-5", usage.from_anthropic(raw)))
    raw.cache_creation = { ephemeral_1h_input_tokens = MILLION // 10 }
    assert.are.equal(600000000, prices.cost("anthropic", "claude-sonnet-4-5", usage.from_anthropic(raw)))
  end)

  it("add the iterations of an answer, each for its model", function()
    local raw = { input_tokens = 10, output_tokens = 0, iterations = {
      { input_tokens = 1000, output_tokens = 0 }, { input_tokens = 1000, output_tokens = 0, model = "claude-opus-4-1" },
    } }
    assert.are.equal(3000000 + 15000000, prices.cost("anthropic", "claude-sonnet-4-5", usage.from_anthropic(raw)))
    raw.iterations[2].model = "claude-unknown-9"
    assert.is_nil(prices.cost("anthropic", "claude-sonnet-4-5", usage.from_anthropic(raw)))
  end)

  it("believe the provider that says what it cost", function()
    local said = usage.from_openai { prompt_tokens = 1, completion_tokens = 1, cost = 0.00044968 }
    assert.are.equal(449680, prices.cost("openrouter", "z-ai/glm-5-turbo", said))
    assert.is_nil(prices.cost("openrouter", "z-ai/glm-5-turbo", used(1, 1)))
  end)

  it("come with the row that was used", function()
    local cost, price = prices.cost("openai", "gpt-4o", used(1, 1))
    assert.are.equal(12500, cost)
    assert.are.equal("gpt-4o", price.model)
    assert.is_nil(select(2, prices.cost("openai", "gpt-99", used(1, 1))))
  end)
end)


describe("usage", function()
  it("is nothing when nothing was said", function()
    for _, raw in ipairs { {}, { prompt_tokens = "5" }, { prompt_tokens = -1 }, "x" } do
      assert.is_nil(usage.from_openai(raw))
    end
    assert.is_nil(usage.from_openai(nil))
    assert.is_nil(usage.from_anthropic { input_tokens = {} })
  end)

  it("never has more cached tokens than were read", function()
    assert.are.equal(3, used(3, 1, 9).prompt_tokens_details.cached_tokens)
  end)

  it("lays numbers over earlier ones and leaves both as they were", function()
    local earlier, later = { a = 1, b = 2 }, { b = 3 }
    assert.are.same({ a = 1, b = 3 }, usage.overlay(earlier, later))
    assert.are.same({ a = 1, b = 2 }, earlier)
    assert.are.equal(earlier, usage.overlay(earlier, "junk"))
  end)
end)
