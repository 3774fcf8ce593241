local errors = require "perilune.std.errors"
local response = require "perilune.model.response"


describe("a collected response", function()
  it("joins texts and keeps the last usage", function()
    local answer = response.collect {
      { type = "attempt", provider = "p", model = "m", reason = "failed" },
      { type = "start", model = "m2", provider = "p2", id = "i" },
      { type = "thinking", text = "h" }, { type = "thinking", text = "m" },
      { type = "text", text = "a" }, { type = "text", text = "b" },
      { type = "usage", usage = { total_tokens = 1 } }, { type = "usage", usage = { total_tokens = 2, raw = { t = 2 } } },
      { type = "stop", reason = "length", raw = "max" },
    }
    assert.are.equal("ab", answer.content)
    assert.are.equal("hm", answer.reasoning)
    assert.are.equal("m2", answer.model)
    assert.are.equal("p2", answer.provider)
    assert.are.equal(2, answer.usage.total_tokens)
    assert.are.equal("length", answer.finish_reason)
    assert.are.same({ finish_reason = "max", usage = { t = 2 } }, answer.raw)
    assert.are.equal(1, #answer.attempts)
    assert.is_nil(answer.error)
  end)

  it("keeps choices apart", function()
    local answer = response.collect {
      { type = "text", text = "a" }, { type = "text", text = "x", choice = 1 }, { type = "text", text = "b" },
      { type = "tool_call", index = 0, id = "c", name = "f", arguments = "{}", choice = 1 },
      { type = "stop", reason = "stop", raw = "stop", choices = { { index = 1, reason = "tool_calls", raw = "tool_calls" } } },
    }
    assert.are.equal("ab", answer.content)
    assert.is_false(answer.has_tool_calls)
    assert.are.equal("x", answer.choices[2].content)
    assert.are.equal("f", answer.choices[2].tool_calls[1].name)
    assert.are.equal("tool_calls", answer.choices[2].finish_reason)
  end)

  it("becomes a message that continues the conversation", function()
    local message = response.collect({
      { type = "start", model = "m" }, { type = "thinking", text = "t" },
      { type = "tool_call", index = 0, id = "c", name = "f", arguments = "{}" },
      { type = "item", item = { type = "x" }, provider = "p", model = "m" }, { type = "stop", reason = "tool_calls" },
    }):to_message()
    assert.are.same({
      role = "assistant", reasoning = "t", tool_calls = { { id = "c", name = "f", arguments = "{}" } },
      provider_items = { provider = "p", model = "m", items = { { type = "x" } } },
    }, message)
  end)

  it("has what arrived before an error", function()
    local err = errors.new { kind = "server", message = "m" }
    local answer = response.collect { { type = "text", text = "half" }, { type = "error", error = err } }
    assert.are.equal("half", answer.content)
    assert.are.equal(err, answer.error)
    assert.is_nil(answer.finish_reason)
  end)

  it("collects nothing into an empty answer", function()
    local answer = response.collect {}
    assert.are.equal("", answer.content)
    assert.are.same({}, answer.tool_calls)
    assert.are.same({ role = "assistant" }, answer:to_message())
  end)
end)
