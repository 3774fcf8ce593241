local clock = require "perilune.sys.clock"
local failover = require "perilune.sys.failover"
local limit = require "perilune.model.limit"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"


-- A model that answers in a moment; knows how many are under way.
local function model()
  local made = { live = 0, most = 0, calls = 0 }
  function made.stream(self)
    self.live, self.calls = self.live + 1, self.calls + 1
    self.most = math.max(self.most, self.live)
    local events, position, is_open = { { type = "text", text = "x" }, { type = "stop", reason = "stop" } }, 0, true
    return stream.new(function()
      position = position + 1
      task.yield()
      if position == 2 then
        self.live, is_open = self.live - 1, false
      end
      return events[position]
    end, function()
      self.live = self.live - (is_open and 1 or 0)
      is_open = false
    end)
  end
  return made
end


local function read(answer)
  while answer:next() do end
  return answer:so_far()
end


describe("the limits of a client", function()
  it("let so many requests run at once, and every one in its turn", function()
    local inner = model()
    local limited = limit.new(inner, failover.limiter { max_inflight = 3 })
    do
      local group <close> = task.group()
      for _ = 1, 40 do
        group:spawn(function()
          local answer <close> = limited:stream {}
          assert(read(answer).content == "x")
        end)
      end
    end
    assert.same({ 40, 3, 0 }, { inner.calls, inner.most, inner.live })
  end)

  it("let so many begin in a second, and the burst before that", function()
    local limited = limit.new(model(), failover.limiter { rate = 50, burst = 5 })
    local started = clock.mono()
    for _ = 1, 10 do
      read(limited:stream {})
    end
    local seconds = clock.mono() - started
    assert.is_true(seconds > 0.08 and seconds < 2, tostring(seconds))
  end)

  it("say when the wait was in vain", function()
    local inner = model()
    local limited = limit.new(inner, failover.limiter { max_inflight = 1 })
    local first <close> = limited:stream {}
    local err = read(limited:stream({}, { total = 0.02 })).error
    assert.same({ "overloaded", "queue_timeout", 1 }, { err.kind, err.code, inner.calls })
    assert.equal("x", read(first).content)
    assert.equal("x", read(limited:stream {}).content)
  end)

  it("give the turn of a request that is closed to the next", function()
    local inner = model()
    local limited = limit.new(inner, failover.limiter { max_inflight = 1 })
    local first = limited:stream {}
    local waiting = limited:stream {}
    local group <close> = task.group()
    local reader = group:spawn(read, waiting)
    task.sleep(0.01)
    waiting:cancel()
    assert.equal("cancelled", reader:wait().error.kind)
    first:close()
    assert.equal("x", read(limited:stream {}).content)
    assert.same({ 2, 0 }, { inner.calls, inner.live })
  end)
end)
