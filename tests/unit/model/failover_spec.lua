local errors = require "perilune.std.errors"
local failover = require "perilune.model.failover"
local stream = require "perilune.model.stream"


local function fails(kind, more)
  local err = { kind = kind, message = kind .. "!" }
  for name, value in pairs(more or {}) do
    err[name] = value
  end
  return { type = "error", error = errors.new(err) }
end


local function says(text)
  return { { type = "start" }, { type = "text", text = text }, { type = "stop", reason = "stop" } }
end


-- A model that answers with these events; counts its calls and closings.
local function model(events)
  local made_of = { calls = 0, closed = 0 }
  function made_of.stream()
    made_of.calls = made_of.calls + 1
    local position = 0
    local made = stream.new(function()
      position = position + 1
      return events[position]
    end, function()
      made_of.closed = made_of.closed + 1
    end)
    made.rows[1] = { provider = "p" }
    return made
  end
  return made_of
end


local function over(...)
  local candidates = {}
  for position, one in ipairs { ... } do
    candidates[position] = { model = one, target = { name = "p" .. position, model = "m" .. position } }
  end
  return failover.new(candidates)
end


local function read(answer)
  local types = {}
  for event in answer do
    types[#types + 1] = event.type
  end
  return table.concat(types, " "), answer:so_far()
end


describe("failover", function()
  it("passes on what the first model says", function()
    local second = model(says "no")
    local types, answer = read(over(model(says "hello"), second):stream {})
    assert.equal("start text stop", types)
    assert.equal("hello", answer.content)
    assert.equal(0, second.calls)
  end)

  it("goes to the next model when one fails before it has said anything, and shows the attempt", function()
    for _, kind in ipairs { "authentication", "rate_limit", "quota", "overloaded", "server", "connection", "timeout", "tls",
      "bad_response", "model_not_found", "stream_interrupted", "permission" } do
      local first = model { { type = "start" }, fails(kind, { status = 500 }) }
      local types, answer = read(over(first, model(says "second")):stream {})
      assert.equal("attempt start text stop", types)
      assert.equal("second", answer.content)
      assert.equal(kind, answer.attempts[1].error.kind)
      assert.equal("p1", answer.attempts[1].provider)
      assert.equal(1, first.closed)
    end
  end)

  it("stays when the next one could not do better", function()
    for _, kind in ipairs { "api", "context_length", "content_filter", "cancelled" } do
      local second = model(says "no")
      local _, answer = read(over(model { fails(kind) }, second):stream {})
      assert.equal(kind, answer.error.kind)
      assert.equal(0, second.calls)
    end
  end)

  it("takes an empty answer for a failure, white space too", function()
    local empty = { { type = "start" }, { type = "text", text = " \n" }, { type = "stop", reason = "stop" } }
    local types, answer = read(over(model(empty), model(says "full")):stream {})
    assert.equal("attempt start text stop", types)
    assert.equal("empty_response", answer.attempts[1].error.kind)
    local _, last = read(over(model(empty)):stream {})
    assert.equal("empty_response", last.error.kind)
  end)

  it("delivers an empty answer that says why, and one that calls tools", function()
    for _, reason in ipairs { "length", "content_filter", "refusal" } do
      local types = read(over(model { { type = "stop", reason = reason } }, model(says "no")):stream {})
      assert.equal("stop", types)
    end
    local call = { type = "tool_call", index = 0, id = "1", name = "f", arguments = "{}" }
    local types = read(over(model { call, { type = "stop", reason = "tool_calls" } }, model(says "no")):stream {})
    assert.equal("tool_call stop", types)
  end)

  it("gives leading white space back once there is text", function()
    local spaced = { { type = "text", text = "  " }, { type = "text", text = "x" }, { type = "stop", reason = "stop" } }
    local types, answer = read(over(model(spaced)):stream {})
    assert.equal("text text stop", types)
    assert.equal("  x", answer.content)
  end)

  it("never switches after the commit point", function()
    local second = model(says "no")
    local types, answer = read(over(model { { type = "text", text = "half" }, fails "connection" }, second):stream {})
    assert.equal("text error", types)
    assert.equal("half", answer.content)
    assert.equal("connection", answer.error.kind)
    assert.equal(0, second.calls)
  end)

  it("says everything that failed when all fail", function()
    local both = over(model { fails("rate_limit", { retry_after = 2 }) }, model { fails("overloaded", { status = 503 }) })
    local types, answer = read(both:stream {})
    assert.equal("attempt error", types)
    assert.equal("all_failed", answer.error.kind)
    assert.equal("All chat providers failed. Errors: p1/m1: rate_limit: rate_limit!; p2/m2: overloaded: overloaded!",
      answer.error.message)
    assert.equal(2, #answer.error.attempts)
    assert.equal("overloaded", answer.error.cause.kind)
  end)

  it("keeps a row for every attempt, and closes what it leaves", function()
    local first, second = model { fails "server" }, model(says "x")
    local answer = over(first, second):stream {}
    read(answer)
    assert.equal(2, #answer.rows)
    answer:close()
    answer:close()
    assert.same({ 1, 1 }, { first.closed, second.closed })
  end)
end)
