local clock = require "perilune.sys.clock"
local endpoints = require "perilune.sys.failover"
local errors = require "perilune.std.errors"
local failover = require "perilune.model.failover"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"

local QUICK = { backoff = 0.001, max_backoff = 0.002 }


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


-- A model whose n-th answer are these events, later ones the last; counts its calls and closings. An event may be a function,
-- which is called with a pause that ends when the model is closed.
local function model(...)
  local made_of = { calls = 0, closed = 0, answers = { ... }, limits = {}, pause = endpoints.pause() }
  function made_of.stream(self, _, limits)
    self.calls = self.calls + 1
    self.limits[self.calls] = limits or false
    local events, position = self.answers[math.min(self.calls, #self.answers)], 0
    local made = stream.new(function()
      position = position + 1
      local event = events[position]
      return type(event) == "function" and event(self.pause) or event
    end, function()
      self.closed = self.closed + 1
      self.pause:wake()
    end)
    made.rows[1] = { provider = "p", call = self.calls }
    return made
  end
  return made_of
end


local function candidates_of(models, options)
  local candidates = {}
  for position, one in ipairs(models) do
    local name = "p" .. position
    candidates[position] = { model = one, target = { name = name, model = "m" .. position } }
    if options and options.endpoints then
      candidates[position].endpoint = endpoints.endpoint(name, "key", "m" .. position, options.endpoints)
    end
  end
  return candidates
end


-- Failover over these models, in this order.
local function over(models, settings, plan)
  local candidates = candidates_of(models, settings)
  plan = plan or {}
  plan.listed_n = #candidates
  function plan.order()
    return candidates
  end
  settings = settings or {}
  settings.retry = settings.retry or QUICK
  return failover.new(plan, settings), candidates
end


local function read(answer)
  local types = {}
  for event in answer do
    types[#types + 1] = event.type
  end
  return table.concat(types, " "), answer:so_far()
end


-- The attempts of an answer, short: "p1 retried server, p2 failed quota".
local function story(answer)
  local parts = {}
  for position, attempt in ipairs(answer.attempts) do
    parts[position] = ("%s %s %s"):format(attempt.provider, attempt.reason, attempt.error and (attempt.error.code or attempt.error.kind))
  end
  return table.concat(parts, ", ")
end


before_each(function()
  endpoints.reset()
end)


describe("failover", function()
  it("passes on what the first model says", function()
    local second = model(says "no")
    local types, answer = read(over { model(says "hello"), second }:stream {})
    assert.equal("start text stop", types)
    assert.equal("hello", answer.content)
    assert.equal(0, second.calls)
  end)

  it("goes to the next model when one fails before it has said anything, and shows the attempt", function()
    for _, kind in ipairs { "authentication", "quota", "timeout", "tls", "bad_response", "model_not_found", "permission" } do
      local first = model { { type = "start" }, fails(kind, { status = 500 }) }
      local types, answer = read(over { first, model(says "second") }:stream {})
      assert.equal("attempt start text stop", types)
      assert.equal("second", answer.content)
      assert.equal("p1 failed " .. kind, story(answer))
      assert.same({ 1, 1 }, { first.calls, first.closed })
    end
  end)

  it("asks the same model once more where that may help, then the next", function()
    for _, kind in ipairs { "rate_limit", "overloaded", "server", "connection", "stream_interrupted", "empty_response" } do
      local first = model { fails(kind) }
      local types, answer = read(over { first, model(says "second") }:stream {})
      assert.equal("attempt attempt start text stop", types)
      assert.equal(("p1 retried %s, p1 failed %s"):format(kind, kind), story(answer))
      assert.same({ 2, 2 }, { first.calls, first.closed })
    end
  end)

  it("does not ask again for what may have been billed, unless that is asked for", function()
    local billed = model { fails("connection", { maybe_billed = true }) }
    local _, answer = read(over { billed, model(says "second") }:stream {})
    assert.equal("p1 failed connection", story(answer))
    local settings = { retry = { backoff = 0.001, maybe_billed = true } }
    _, answer = read(over({ billed, model(says "second") }, settings):stream {})
    assert.equal("p1 retried connection, p1 failed connection", story(answer))
  end)

  it("stays when the next one could not do better", function()
    for _, kind in ipairs { "api", "context_length", "content_filter", "cancelled", "media", "configuration" } do
      local second = model(says "no")
      local _, answer = read(over { model { fails(kind) }, second }:stream {})
      assert.equal(kind, answer.error.kind)
      assert.equal("p1 failed " .. kind, story(answer.error))
      assert.equal(0, second.calls)
    end
  end)

  it("takes an empty answer for a failure, white space too", function()
    local empty = { { type = "start" }, { type = "text", text = " \n" }, { type = "stop", reason = "stop" } }
    local types, answer = read(over { model(empty), model(says "full") }:stream {})
    assert.equal("attempt start text stop", types)
    assert.equal("p1 failed empty_response", story(answer))
    local _, last = read(over { model(empty) }:stream {})
    assert.equal("empty_response", last.error.kind)
  end)

  it("delivers an empty answer that says why, and one that calls tools", function()
    for _, reason in ipairs { "length", "content_filter", "refusal" } do
      local types = read(over { model { { type = "stop", reason = reason } }, model(says "no") }:stream {})
      assert.equal("stop", types)
    end
    local call = { type = "tool_call", index = 0, id = "1", name = "f", arguments = "{}" }
    local types = read(over { model { call, { type = "stop", reason = "tool_calls" } }, model(says "no") }:stream {})
    assert.equal("tool_call stop", types)
  end)

  it("gives leading white space back once there is text", function()
    local spaced = { { type = "text", text = "  " }, { type = "text", text = "x" }, { type = "stop", reason = "stop" } }
    local types, answer = read(over { model(spaced) }:stream {})
    assert.equal("text text stop", types)
    assert.equal("  x", answer.content)
  end)

  it("never switches after the commit point", function()
    local second = model(says "no")
    local types, answer = read(over { model { { type = "text", text = "half" }, fails "connection" }, second }:stream {})
    assert.equal("text error", types)
    assert.equal("half", answer.content)
    assert.equal("connection", answer.error.kind)
    assert.equal(0, second.calls)
  end)

  it("begins again after it where that is asked for, and says what to throw away", function()
    local cut = { { type = "text", text = "half" }, fails("stream_interrupted", { maybe_billed = true }) }
    local types, answer = read(over({ model(cut), model(says "whole") }, { on_interrupt = "restart" }):stream {})
    assert.equal("text attempt attempt_discarded start text stop", types)
    assert.equal("whole", answer.content)
    assert.equal("p1 interrupted stream_interrupted", story(answer))
    local once = model(cut, says "whole")
    types, answer = read(over({ once }, { on_interrupt = "restart" }):stream {})
    assert.equal("text attempt attempt_discarded start text stop", types)
    assert.same({ "whole", 2 }, { answer.content, once.calls })
  end)

  it("says everything that failed when all fail", function()
    local answers = over { model { fails("server", { status = 500 }) }, model { fails("rate_limit", { status = 429, retry_after = 60 }) } }
    local _, answer = read(answers:stream {})
    local err = answer.error
    assert.equal("all_failed: All chat providers failed. Errors: p1/m1: server: server!; p2/m2: rate_limit: rate_limit!", tostring(err))
    assert.equal("p1 retried server, p1 failed server, p2 failed rate_limit", story(err))
    assert.same({ 429, 60, "rate_limit" }, { err.status, err.retry_after, err.cause.kind })
    assert.equal(answer.attempts[1], err.attempts[1])
  end)

  it("lets the error of a single target stand for itself, with its attempts", function()
    local _, answer = read(over { model { fails("server", { status = 500 }) } }:stream {})
    assert.same({ "server", 500 }, { answer.error.kind, answer.error.status })
    assert.equal("p1 retried server, p1 failed server", story(answer.error))
  end)

  it("shows nothing of what failed before the commit point but why", function()
    local begun = { { type = "start", model = "m" }, { type = "text", text = " " }, { type = "usage", usage = {} }, fails("timeout") }
    local types, answer = read(over { model(begun) }:stream {})
    assert.equal("attempt error", types)
    assert.is_nil(answer.model)
  end)

  it("keeps a row for every attempt, and closes what it leaves", function()
    local first, second = model { fails "timeout" }, model(says "hello")
    local answer = over { first, second }:stream {}
    read(answer)
    assert.equal(2, #answer.rows)
    answer:close()
    assert.same({ 1, 1 }, { first.closed, second.closed })
  end)

  it("asks at most four times unless more targets are listed, and nobody twice before everybody was asked", function()
    local models = {}
    for position = 1, 3 do
      models[position] = model { fails "server" }
    end
    local _, answer = read(over(models):stream {})
    assert.equal("p1 retried server, p1 failed server, p2 failed server, p3 failed server", story(answer.error))
    for position = 4, 6 do
      models[position] = model { fails "server" }
    end
    _, answer = read(over(models):stream {})
    assert.equal(6, #answer.error.attempts)
  end)

  it("asks as often as it is told", function()
    local one = model { fails "server" }
    read(over({ one }, { retry = { max_attempts = 5, backoff = 0.001 } }):stream {})
    assert.equal(5, one.calls)
    one = model { fails "server" }
    read(over({ one }, { max_retries = 0 }):stream {})
    assert.equal(1, one.calls)
  end)

  it("goes to a larger model with what is too long, where one is named", function()
    local larger = candidates_of { model(says "I have read it") }
    local _, answer = read(over({ model { fails "context_length" }, model(says "no") }, nil, { context = larger }):stream {})
    assert.equal("I have read it", answer.content)
    assert.equal("p1 failed context_length", story(answer))
  end)

  it("tells who could not be asked once it looks for another, and at once when the first cannot be", function()
    local skipped = { type = "attempt", reason = "skipped", provider = "q", model = "m", error = errors.new {
      kind = "authentication", code = "no_key", message = "no key" } }
    local _, answer = read(over({ model(says "hello") }, nil, { skipped = { skipped } }):stream {})
    assert.equal("", story(answer))
    _, answer = read(over({ model { fails "timeout" }, model(says "hello") }, nil, { skipped = { skipped } }):stream {})
    assert.equal("p1 failed timeout, q skipped no_key", story(answer))
    _, answer = read(over({ model(says "hello") }, nil, { skipped = { skipped }, wanted = { name = "q", model = "m" } }):stream {})
    assert.equal("q skipped no_key", story(answer))
  end)

  it("grants a slow first token only where there is nobody else", function()
    local first, second = model { fails "timeout" }, model(says "hello")
    read(over { first, second }:stream {})
    assert.same({ first_content = 30 }, first.limits[1])
    assert.is_false(second.limits[1])
  end)
end)


describe("the time of a question", function()
  it("ends the repetitions", function()
    local one = model { fails "server" }
    local answers = over({ one }, { retry = { max_attempts = 100, backoff = 0.02, max_backoff = 0.02 } })
    local started = clock.mono()
    local _, answer = read(answers:stream({}, { total = 0.05 }))
    assert.equal("server", answer.error.kind)
    assert.is_true(clock.mono() - started < 0.5)
    assert.is_true(one.calls < 100)
    assert.is_true(one.limits[1].total <= 0.05)
  end)

  it("is that of the task too", function()
    local one = model { fails("rate_limit", { retry_after = 5 }) }
    local _, answer = task.deadline(1, read, over({ one }):stream {})
    assert.equal("rate_limit", answer.error.kind)
    assert.equal(1, one.calls)
  end)

  it("is not spent waiting for somebody who wants to be left alone for long", function()
    local first = model { fails("rate_limit", { retry_after = 31 }) }
    local _, answer = read(over { first, model(says "hello") }:stream {})
    assert.same({ "hello", 1 }, { answer.content, first.calls })
  end)
end)


describe("an endpoint that fails", function()
  local settings = { endpoints = { failures = 2, open = 60 }, retry = { max_attempts = 1 } }

  it("is passed over once its breaker is open, and the others answer", function()
    local first, second = model { fails "server" }, model(says "hello")
    local answers = over({ first, second }, settings)
    for _ = 1, 5 do
      local _, answer = read(answers:stream {})
      assert.equal("hello", answer.content)
    end
    assert.equal(2, first.calls)
    local _, answer = read(answers:stream {})
    assert.equal("p1 skipped open", story(answer))
    assert.is_true(answer.attempts[1].error.retry_after > 50)
  end)

  it("is asked all the same when it is the last", function()
    local first = model({ fails "server" }, { fails "server" }, says "hello")
    local answers = over({ first }, settings)
    read(answers:stream {})
    read(answers:stream {})
    local _, answer = read(answers:stream {})
    assert.equal("hello", answer.content)
  end)

  it("because of its key is parked with every model of that key", function()
    local first = model { fails("authentication", { status = 401 }) }
    local answers, candidates = over({ first, model(says "hello") }, settings)
    read(answers:stream {})
    read(answers:stream {})
    assert.equal(1, first.calls)
    assert.equal("parked", candidates[1].endpoint:status().state)
  end)

  it("because it wants to be left alone is left alone for so long", function()
    local first = model { fails("rate_limit", { retry_after = 40 }) }
    local answers, candidates = over({ first, model(says "hello") }, settings)
    read(answers:stream {})
    local _, answer = read(answers:stream {})
    assert.equal("p1 skipped cooling", story(answer))
    assert.is_true(candidates[1].endpoint:status().retry_in > 35)
  end)

  it("is not blamed for a mistake of the caller's", function()
    local answers, candidates = over({ model { fails("api", { status = 400 }) } }, settings)
    for _ = 1, 5 do
      read(answers:stream {})
    end
    assert.equal("closed", candidates[1].endpoint:status().state)
    assert.equal(0, candidates[1].endpoint:status().inflight)
  end)
end)


-- Runs f while another task reads the answer to its end; returns the error it ended in and how long that took.
local function read_beside(answer, f)
  local last
  local group <close> = task.group()
  local reader = group:spawn(function()
    for event in answer do
      last = event
    end
  end)
  task.sleep(0.02)
  local started = clock.mono()
  f()
  reader:wait()
  return last and last.error, clock.mono() - started
end


-- Cancels what `make` gives while it is read: at once. The machine may be busy with something else, so it is tried three times.
local function assert_prompt(make)
  local seconds
  for _ = 1, 3 do
    local answer = make()
    local err
    err, seconds = read_beside(answer, function() answer:cancel() end)
    assert.equal("cancelled", err.kind)
    if seconds < 0.05 then
      return
    end
  end
  error(("it took %.3f s"):format(seconds))
end


describe("closing a stream", function()
  it("ends the pause before a repetition", function()
    local answers = over({ model { fails "server" } }, { retry = { max_attempts = 9, backoff = 10, max_backoff = 20 } })
    assert_prompt(function() return answers:stream {} end)
  end)

  it("ends the wait in a queue", function()
    local slow = model { function(pause)
      pause:wait(30)
      return fails "cancelled"
    end }
    local answers, candidates = over({ slow, model(says "no") }, { endpoints = { max_inflight = 1 } })
    local first <close> = answers:stream {}
    assert_prompt(function() return answers:stream {} end)
    assert.same({ 1, 0 }, { candidates[1].endpoint:status().inflight, candidates[1].endpoint:status().queued })
    first:close()
    assert.equal(0, candidates[1].endpoint:status().inflight)
  end)
end)


describe("hedging", function()
  local function slow(seconds, text)
    return model { function(pause)
      pause:wait(seconds)
      return { type = "text", text = text }
    end, { type = "stop", reason = "stop" } }
  end

  it("asks the next when the first shows nothing for a while; who is first answers, the other is closed", function()
    local first, second = slow(5, "slow"), model(says "quick")
    local started = clock.mono()
    local _, answer = read(over({ first, second }, { hedge = 0.02 }):stream {})
    assert.equal("quick", answer.content)
    assert.equal("p1 hedged hedged", story(answer))
    assert.equal(1, first.closed)
    assert.is_true(clock.mono() - started < 2)
  end)

  it("does not when the first is quick enough", function()
    local second = model(says "no")
    local _, answer = read(over({ slow(0.005, "in time"), second }, { hedge = 5 }):stream {})
    assert.same({ "in time", 0, "" }, { answer.content, second.calls, story(answer) })
  end)

  it("waits for the first when the second fails, and goes on when both do", function()
    local _, answer = read(over({ slow(0.1, "late"), model { fails "timeout" } }, { hedge = 0.01 }):stream {})
    assert.equal("late", answer.content)
    assert.equal("p2 failed timeout", story(answer))
    local late = model { function()
      task.sleep(0.05)
      return fails "timeout"
    end }
    _, answer = read(over({ late, model { fails "quota" }, model(says "third") }, { hedge = 0.01 }):stream {})
    assert.equal("third", answer.content)
  end)
end)
