local apps = require "perilune.app"
local clients = require "perilune.client"
local prices = require "perilune.model.prices"
local replay = require "tests.support.replay"
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
    local own = { ["my/model"] = { input = 0.0006, output = 0.0004 } }
    assert.are.equal(1, prices.cost("my", "model", used(1, 0), own))
    assert.are.equal(0, prices.cost("my", "model", used(0, 1), own))
    assert.are.equal(1, prices.cost("my", "model", used(1, 1), own))
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
    local ticks = usage.from_openai { prompt_tokens = 1, completion_tokens = 1, cost_in_usd_ticks = 37756005 }
    assert.are.equal(3775601, prices.cost("xai", "grok-unknown", ticks))
    assert.is_nil(prices.cost("azure", "grok-unknown", ticks)) -- not the vendor's own word
    local total = usage.from_openai { prompt_tokens = 1, completion_tokens = 1, cost = { total_cost = 0.005 } }
    assert.are.equal(5000000, prices.cost("perplexity", "sonar", total))
    local own = { ["openrouter/z-ai/glm-5-turbo"] = { input = 1, output = 1 } }
    assert.are.equal(449680, prices.cost("openrouter", "z-ai/glm-5-turbo", said, own))
    assert.are.equal(2000, prices.cost("openrouter", "z-ai/glm-5-turbo", used(1, 1), own))
  end)

  it("add what a key of the user's own costs to the gateway's fee", function()
    local raw = { prompt_tokens = 1, completion_tokens = 1, cost = 0.001, cost_details = { upstream_inference_cost = 0.02 } }
    assert.are.equal(1000000, prices.cost("openrouter", "m", usage.from_openai(raw)))
    raw.is_byok = true
    assert.are.equal(21000000, prices.cost("openrouter", "m", usage.from_openai(raw)))
  end)

  it("are the user's own where there are some", function()
    local own = {
      ["openai/my-model"] = { input = 1, cached = 0.5, output = 4, audio_input = 10, audio_output = 20, prompt_max = 100 },
      ["openai/gpt-4o"] = { input = 1, output = 1 },
    }
    local cost, price = prices.cost("openai", "my-model-2026-01-02", used(10, 5, 4), own)
    assert.are.equal(6 * 1000 + 4 * 500 + 5 * 4000, cost)
    assert.are.equal("configuration", price.source)
    assert.are.equal(2000, prices.cost("openai", "gpt-4o", used(1, 1), own))
    assert.is_nil(prices.cost("openai", "my-model", used(101, 1), own))
    local spoken = usage.from_openai {
      prompt_tokens = 10, completion_tokens = 10, prompt_tokens_details = { audio_tokens = 4 },
      completion_tokens_details = { audio_tokens = 7, reasoning_tokens = 1 },
    }
    assert.are.equal(6 * 1000 + 4 * 10000 + 3 * 4000 + 7 * 20000, prices.cost("openai", "my-model", spoken, own))
    assert.is_nil(prices.cost("openai", "gpt-4o", spoken, own))
  end)

  it("do not hold for another tier of service, nor for searches", function()
    local flex = used(1, 1)
    flex.service_tier = "flex"
    assert.is_nil(prices.cost("openai", "gpt-4o", flex))
    flex.service_tier = "default"
    assert.are.equal(12500, prices.cost("openai", "gpt-4o", flex))
    local raw = { input_tokens = 1, output_tokens = 1, service_tier = "batch" }
    assert.is_nil(prices.cost("anthropic", "claude-haiku-4-5", usage.from_anthropic(raw)))
    raw.service_tier, raw.server_tool_use = "standard", { web_search_requests = 0 }
    assert.are.equal(6000, prices.cost("anthropic", "claude-haiku-4-5", usage.from_anthropic(raw)))
    raw.server_tool_use.web_search_requests = 1
    assert.is_nil(prices.cost("anthropic", "claude-haiku-4-5", usage.from_anthropic(raw)))
  end)

  it("come with the row that was used", function()
    local cost, price = prices.cost("openai", "gpt-4o", used(1, 1))
    assert.are.equal(12500, cost)
    assert.are.equal("gpt-4o", price.model)
    assert.is_nil(select(2, prices.cost("openai", "gpt-99", used(1, 1))))
  end)

  it("of the configuration reach the answer", function()
    local server <close> = replay.serve { replay.whole(replay.text("Hello.")) } -- 3 tokens read, 5 written
    local app = apps.new { env = function() end, prices = { ["openai/my-model"] = { input = 1, output = 4 } } }
    local options = { provider = "openai", model = "my-model", base_url = server.url, api_key = "a-key-for-tests" }
    assert.are.equal(3 * 1000 + 5 * 4000, clients.new(app, options):chat("Hi").usage.cost)
    options.model = "another-model"
    assert.is_nil(clients.new(app, options):chat("Hi").usage.cost)
  end)
end)
