local cancellation = require "perilune.model.cancellation"
local errors = require "perilune.std.errors"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"

local TEXT = { type = "text", text = "one" }
local STOP = { type = "stop", reason = "stop" }


-- A source that gives one text and then says nothing until it is closed; then it behaves as told. `inner` is what stages make of it.
local function stalling(says_at_the_end)
  local source = { closed = task.signal(), closes = 0, reads = 0 }
  source.inner = stream.new(function()
    source.reads = source.reads + 1
    if source.reads == 1 then
      return TEXT
    end
    source.closed:wait()
    return says_at_the_end
  end, function()
    source.closes = source.closes + 1
    source.closed:wake()
  end)
  return source
end


-- A stage as the meter is one.
local function wrapped(inner)
  return stream.new(function()
    return inner:pull()
  end, function()
    inner:close()
  end)
end


-- Waits in `next` while f(stream) runs; what the wait gave.
local function during_next(one, f)
  local event, has_returned
  do
    local group <close> = task.group()
    group:spawn(function()
      event, has_returned = one:next(), true
    end)
    task.yield()
    assert.is_nil(has_returned)
    f(one)
  end
  assert.is_true(has_returned)
  return event
end


local function assert_cancelled(event, reason)
  assert.same({ "error", true, reason }, { event.type, errors.is(event.error, "cancelled"), event.error.reason })
end


describe("a stream", function()
  it("ends after its last event and lets go once", function()
    local closes = 0
    local events = { TEXT, STOP, TEXT }
    local one = stream.new(function() return table.remove(events, 1) end, function() closes = closes + 1 end)
    assert.same({ TEXT, STOP }, { one:next(), one:next() })
    assert.is_nil(one:next())
    one:cancel() -- has nothing to cancel
    assert.is_nil(one:next())
    one:close()
    one:close()
    assert.equal(1, closes)
    assert.is_nil(one:so_far().error)
  end)

  for name, last in pairs { ["that ends"] = false, ["that fails"] = { type = "error" }, ["that says more"] = TEXT } do
    it("is at its end for whoever waits in next when another task closes it: a source " .. name, function()
      local source = stalling(last or nil)
      local one = wrapped(wrapped(source.inner))
      assert.equal(TEXT, one:next())
      assert.is_nil(during_next(one, one.close))
      assert.is_nil(one:next())
      assert.same({ 1, "one" }, { source.closes, one:so_far().content })
    end)

    it("ends in an error event when another task cancels it: a source " .. name, function()
      local source = stalling(last or nil)
      local one = wrapped(wrapped(source.inner))
      one:next()
      assert_cancelled(during_next(one, function() one:cancel "timeout" end), "timeout")
      assert.is_nil(one:next())
      assert.equal(1, source.closes)
      local partial = one:so_far()
      assert.same({ "one", "cancelled" }, { partial.content, partial.error.kind })
      assert.has_error(function() one:response() end)
    end)
  end

  it("is cancelled at once when nobody reads it, and says so when somebody does", function()
    local source = stalling()
    local one = wrapped(source.inner)
    one:cancel()
    assert.equal(1, source.closes)
    one:cancel "shutdown"
    assert_cancelled(one:next(), "user_requested")
    assert.is_nil(one:next())
    assert.equal(0, source.reads)
  end)
end)


describe("stream:with_cancellation", function()
  it("lets one token cancel many streams, each once", function()
    local token, handle = cancellation.pair()
    local sources, streams = {}, {}
    for position = 1, 3 do
      sources[position] = stalling()
      local one = sources[position].inner
      streams[position] = one
      assert.equal(one, one:with_cancellation(token):with_cancellation(token))
    end
    handle:cancel "error"
    for position, one in ipairs(streams) do
      assert.equal(1, sources[position].closes)
      assert_cancelled(one:next(), "error")
      assert.is_nil(one:next())
    end
  end)

  it("does not begin when the token is cancelled already", function()
    local token, handle = cancellation.pair()
    handle:cancel()
    local source = stalling()
    assert_cancelled(source.inner:with_cancellation(token):next(), "user_requested")
    assert.same({ 0, 1 }, { source.reads, source.closes })
  end)

  it("listens to several tokens", function()
    local first = cancellation.pair()
    local second, handle = cancellation.pair()
    local source = stalling()
    local one = source.inner:with_cancellation(first):with_cancellation(second)
    handle:cancel()
    assert_cancelled(one:next(), "user_requested")
    assert.is_nil(next(first.calls))
  end)

  it("leaves the token when the stream ends, is closed, or is forgotten", function()
    local token, handle = cancellation.pair()
    local read = stream.from_list { TEXT, STOP }:with_cancellation(token)
    local closed = stalling().inner:with_cancellation(token)
    stalling().inner:with_cancellation(token)
    assert.is_not_nil(next(token.calls))
    read:response()
    closed:close()
    collectgarbage()
    assert.is_nil(next(token.calls))
    handle:cancel()
    assert.equal("stop", read:so_far().finish_reason)
    assert.is_nil(closed:next())
  end)

  it("takes nothing but a token", function()
    local _, handle = cancellation.pair()
    local one = stream.from_list { TEXT }
    assert.error_matches(function() one:with_cancellation(handle) end, "expected a token of perilune.cancel_pair, got table")
    assert.error_matches(function() one:with_cancellation() end, "expected a token of perilune.cancel_pair, got nil")
  end)
end)
