-- The contract of events, as the kit and the fuzzers check it.
local errors = require "perilune.std.errors"
local events = require "perilune.testing.events"
local mutation = require "perilune.testing.mutation"

local start, stop = { type = "start" }, { type = "stop", reason = "stop" }
local cut = { type = "error", error = errors.new { kind = "stream_interrupted", message = "cut" } }

local right = {
  { start, { type = "text", text = "Hello" }, stop },
  { cut },
  { start, { type = "tool_call_start", index = 0, id = "1", name = "f" }, { type = "tool_call_delta", index = 0, arguments = "" },
    { type = "tool_call", index = 0, id = "1", name = "f", arguments = "{}" },
    { type = "usage", usage = { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 } }, stop },
}

local wrong = {
  { "not one event", {} },
  { "last event must be stop or error, not text", { start, { type = "text", text = "Hello" } } },
  { "'text' follows", { start, stop, { type = "text", text = "Hello" } } },
  { "'stop' follows", { start, cut, stop } },
  { "event 2, start: it must be the first", { start, start, stop } },
  { "event 1 must be start", { stop } },
  { "unknown type 'token'", { { type = "token" }, stop } },
  { "unknown type 'string'", { "start", stop } },
  { "event 2, text: its text is not a text, or empty", { start, { type = "text", text = "" }, stop } },
  { "event 2, tool_call: its arguments", { start, { type = "tool_call", id = "1", name = "f", arguments = "" }, stop } },
  { "event 2, tool_call: a tool call has no id", { start, { type = "tool_call", name = "f", arguments = "{}" }, stop } },
  { "usage.total_tokens is not an integer", { start, { type = "usage", usage = { prompt_tokens = 1, completion_tokens = 2 } }, stop } },
  { "its reason 'end_turn' is none", { start, { type = "stop", reason = "end_turn" } } },
  { "not an error object", { { type = "error", error = { kind = "server", message = "plain" } } } },
}


describe("the contract of events", function()
  it("lets right answers pass", function()
    for _, list in ipairs(right) do
      assert.is_nil(events.problem(list, true))
    end
  end)

  for _, case in ipairs(wrong) do
    it("says: " .. case[1], function()
      local problem = events.problem(case[2], true)
      assert.is_truthy(problem and problem:find(case[1], 1, true), problem)
    end)
  end

  it("does not ask for a start where the frames were damaged", function()
    assert.is_nil(events.problem { { type = "text", text = "Hello" }, stop })
  end)
end)


describe("mutations", function()
  local text = '{"a":[1,2,{"b":"c"}],"d":{"e":null}}'

  it("are the same for the same seed, and others for another", function()
    local seen = {}
    for position, seed in ipairs { 1, 1, 2 } do
      local random, texts = mutation.random(seed), {}
      for round = 1, 50 do
        texts[round] = mutation.mutate(random, text)
      end
      seen[position] = table.concat(texts, "\n")
    end
    assert.are.equal(seen[1], seen[2])
    assert.are_not.equal(seen[1], seen[3])
  end)

  it("change most texts, and bear an empty one", function()
    local random, changed = mutation.random(3), 0
    for _ = 1, 100 do
      changed = changed + (mutation.mutate(random, text) ~= text and 1 or 0)
      assert.are.equal("", mutation.mutate(random, ""))
    end
    assert.is_true(changed > 80)
  end)
end)
