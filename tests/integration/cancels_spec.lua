-- Runs that are cancelled at any moment, in every way there is: the thread is valid each time, and the next run works.
local apps = require "perilune.app"
local context = require "perilune.agent.context"
local errors = require "perilune.std.errors"
local messages = require "perilune.store.messages"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local threads = require "perilune.agent.thread"

local CANCELS = tonumber(proc.env("CANCELS")) or 1000
local SIDE_BY_SIDE = 20

local has_ended = { completed = true, cancelled = true, failed = true, incomplete = true }


-- Numbers by chance, the same ones for the same seed.
local function dice(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    return (state >> 24) % n
  end
end


-- An assistant that talks, calls two tools and talks again, all of it slowly.
local function slow_assistant()
  local function tool(name)
    return perilune.tool { name = name, description = name, run = function()
      perilune.sleep(0.002)
      return name .. " is done"
    end }
  end
  return perilune.assistant { name = "slow", tools = { tool "one", tool "two" }, model = testing.model({ function(request)
    local last = request.messages[#request.messages]
    if last.role == "tool" then
      return { text = "It is all done now.", word_delay = 0.0005 }
    end
    return { text = "I will see.", word_delay = 0.0005, tool_calls = { { name = "one" }, { name = "two" } } }
  end, repeat_last = true }) }
end


-- The ways to end a run; each gets a moment to wait before it does.
local ways = {
  function(thread, assistant, wait)
    local run = thread:start(assistant, "Go.")
    wait()
    run:cancel()
    run:wait(10)
  end,
  function(thread, assistant, wait)
    local token, handle = perilune.cancel_pair()
    local group <close> = task.group()
    group:spawn(function()
      wait()
      handle:cancel()
    end)
    perilune.try(thread.run, thread, assistant, "Go.", { cancel = token })
  end,
  function(thread, assistant, wait)
    local stream <close> = thread:stream(assistant, "Go.")
    local group <close> = task.group()
    group:spawn(function()
      wait()
      stream:close()
    end)
    while stream:next() do end
  end,
  function(thread, assistant, wait)
    local victim = task.spawn(function()
      return thread:run(assistant, "Go.")
    end)
    wait()
    victim:cancel()
    local _, err = perilune.try(victim.wait, victim)
    assert(not err or errors.is(err, "cancelled"), tostring(err))
  end,
}


-- What would be sent next has a result for each call, right behind it.
local function assert_no_orphan(app, thread)
  local stored = {}
  for position, one in ipairs(assert(messages.list(app:database(), thread, { limit = 10000 }))) do
    stored[position] = one.message
  end
  local open = {}
  for _, message in ipairs(context.build(stored)) do
    if message.role == "tool" then
      assert(open[message.tool_call_id], "a result has no call")
      open[message.tool_call_id] = nil
    else
      assert(next(open) == nil, "a call has no result")
      for _, call in ipairs(message.tool_calls or {}) do
        open[call.id] = true
      end
    end
  end
  assert(next(open) == nil, "a call has no result")
end


-- A request gets a result for each call even where none was stored. Of a run that came to its end all of it is stored.
local function assert_completed_are_whole(app, thread)
  local db, roles, count = app:database(), {}, 0
  for _, stored in ipairs(assert(messages.list(db, thread, { limit = 10000 }))) do
    local before = roles[stored.run_id]
    roles[stored.run_id] = before and before .. " " .. stored.role or stored.role
  end
  for _, row in ipairs(assert(runs.list(db, { thread = thread, limit = 1000 }))) do
    if row.status == "completed" then
      assert(roles[row.id] == "user assistant tool tool assistant", roles[row.id])
      count = count + 1
    end
  end
  assert(count > 0, "no run came to its end")
end


describe(("%d runs that are cancelled at any moment"):format(CANCELS), function()
  it("leave a valid thread, on which the next run works", function()
    local app <close> = apps.new { db = ":memory:", env = function() end }
    local assistant, roll, statuses = slow_assistant(), dice(7), {}
    local function work(number)
      local thread = threads.open(app, "thread " .. number)
      for turn = 1, CANCELS // SIDE_BY_SIDE do
        local seconds = roll(12) / 1000
        ways[(number + turn) % #ways + 1](thread, assistant, function()
          task.sleep(seconds)
        end)
        local last = assert(runs.list(app:database(), { thread = thread, limit = 1 }))[1]
        if last then -- else it was cancelled before it had begun
          assert(has_ended[last.status], last.status)
          statuses[last.status] = (statuses[last.status] or 0) + 1
        end
        assert_no_orphan(app, thread)
      end
      assert(thread:run(assistant, "And now?").content == "It is all done now.")
      assert_completed_are_whole(app, thread)
    end
    do
      local group <close> = task.group()
      for number = 1, SIDE_BY_SIDE do
        group:spawn(work, number)
      end
    end
    assert.are.same({}, assert(app:database():check()))
    assert.is_true(statuses.cancelled > CANCELS // 4)
    assert.is_nil(statuses.failed)
  end)
end)
