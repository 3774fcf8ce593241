local call = require "perilune.model.call"
local cancellation = require "perilune.model.cancellation"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local perilune = require "perilune"
local provider = require "perilune.model.provider"
local replay = require "tests.support.replay"
local requests = require "perilune.model.request"
local task = require "perilune.sys.task"

local CLOSED_WITHIN_SECONDS = 0.05


-- A stream from a server that says one word and then nothing more, given to `use`; and what the server saw.
local function with_stalled_call(use)
  local server <close> = replay.serve { replay.stalled(replay.text("one two"), 250) }
  local target = provider.target(provider.get("openai"), { base_url = server.url, model = "gpt-4o-mini", api_key = "a-key" })
  local stream <close> = call.new(target):stream(assert(requests.new("Hello")))
  repeat until assert(stream:next()).type == "text"
  use(stream, server)
end


-- The seconds from f() until the server's connection is closed.
local function seconds_until_gone(server, f)
  local started = clock.mono()
  f()
  server:wait_until(function() return server.requests[1].is_over end)
  return server.requests[1].over_at - started
end


describe("a cancel", function()
  it("closes the socket at once while a read stalls", function()
    with_stalled_call(function(stream, server)
      local token, handle = perilune.cancel_pair()
      local event
      local group <close> = task.group()
      group:spawn(function() event = stream:with_cancellation(token):next() end)
      task.yield()
      local seconds = seconds_until_gone(server, function() handle:cancel() end)
      group:wait()
      assert.is_true(seconds < CLOSED_WITHIN_SECONDS, seconds)
      assert.same({ "error", "cancelled", "user_requested" }, { event.type, event.error.kind, event.error.reason })
      assert.equal("cancelled", handle.state)
    end)
  end)

  it("closes the socket at once while nobody reads", function()
    with_stalled_call(function(stream, server)
      local token, handle = perilune.cancel_pair()
      stream:with_cancellation(token)
      local seconds = seconds_until_gone(server, function() handle:cancel "shutdown" end)
      assert.is_true(seconds < CLOSED_WITHIN_SECONDS, seconds)
      assert.equal("shutdown", stream:next().error.reason)
    end)
  end)
end)


describe("perilune.cancel_pair", function()
  it("says what has become of it", function()
    local token, handle = perilune.cancel_pair()
    assert.same({ false, "active" }, { token:is_cancelled(), handle.state })
    assert.is_nil(token.reason or handle.reason)
    handle:cancel "timeout"
    handle:cancel "error"
    assert.same({ true, "timeout", "cancelled", "timeout" }, { token:is_cancelled(), token.reason, handle.state, handle.reason })
    assert.error_matches(function() handle:cancel "boredom" end, "reason must be one of 'user_requested', 'timeout', 'error', 'shutdown'")
  end)
end)


describe("cancellation.run", function()
  it("runs a function and returns its results, whether there is a token or none", function()
    local token = cancellation.pair()
    local function f(...)
      task.yield()
      return select("#", ...), ...
    end
    assert.same({ 2, "a", "b" }, { cancellation.run(token, f, "a", "b") })
    assert.same({ 2, "a", "b" }, { cancellation.run(nil, f, "a", "b") })
    assert.is_nil(next(token.calls))
  end)

  it("raises what the function raised", function()
    local token = cancellation.pair()
    local object = errors.new { kind = "media", message = "x" }
    local ok, err = pcall(cancellation.run, token, error, object)
    assert.same({ false, object }, { ok, err })
    assert.is_nil(next(token.calls))
  end)

  it("ends the function when the token is cancelled, and waits until it has ended", function()
    local token, handle = cancellation.pair()
    local has_cleaned_up = false
    local result, err
    local group <close> = task.group()
    local caller = group:spawn(function()
      result, err = perilune.try(cancellation.run, token, function()
        local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
          task.shield(5, task.yield)
          has_cleaned_up = true
        end })
        task.sleep(60)
      end)
    end)
    task.yield()
    task.yield()
    handle:cancel "timeout"
    assert.equal("cancelling", handle.state)
    group:wait()
    assert.same({ "cancelled", "cancelled", "timeout", "done" }, { handle.state, err.kind, err.reason, (caller:state()) })
    assert.is_true(has_cleaned_up and result == nil)
  end)

  it("does not begin when the token is cancelled already", function()
    local token, handle = cancellation.pair()
    handle:cancel "shutdown"
    local has_begun = false
    local _, err = perilune.try(cancellation.run, token, function() has_begun = true end)
    assert.same({ "cancelled", "shutdown", false }, { err.kind, err.reason, has_begun })
  end)

  it("hears the deadline and the cancel of the task that calls it", function()
    local token = cancellation.pair()
    local seconds
    local _, err = pcall(task.deadline, 0.05, cancellation.run, token, function()
      seconds = task.remaining()
      task.sleep(60)
    end)
    assert.same({ "timeout", "deadline" }, { err.kind, err.code })
    assert.is_true(seconds > 0 and seconds <= 0.05, seconds)
    local inner
    local caller = task.spawn(cancellation.run, token, function() inner = select(2, pcall(task.sleep, 60)) end)
    task.yield()
    task.yield()
    caller:cancel "shutdown"
    pcall(caller.wait, caller)
    assert.same({ "cancelled", "shutdown" }, { inner.kind, inner.reason })
    assert.is_nil(next(token.calls))
  end)
end)


describe("perilune.try", function()
  it("does not swallow the cancel of the task that runs it", function()
    local after = false
    local one = task.spawn(function()
      perilune.try(task.sleep, 60)
      after = true
    end)
    task.yield()
    one:cancel()
    local _, err = pcall(one.wait, one)
    assert.same({ "cancelled", false }, { err.kind, after })
  end)

  it("returns the cancel of what it called", function()
    local other = task.spawn(task.sleep, 60)
    other:cancel "error"
    local result, err = perilune.try(other.wait, other)
    assert.is_nil(result)
    assert.same({ "cancelled", "error" }, { err.kind, err.reason })
  end)
end)
