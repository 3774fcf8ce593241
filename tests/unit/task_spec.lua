local clock = require "perilune.sys.clock"
local task = require "perilune.sys.task"


local function collect(list)
  return function(value)
    list[#list + 1] = value
  end
end


describe("tasks", function()
  it("run side by side and return what their functions return", function()
    local order = {}
    local add = collect(order)
    local one = task.spawn(function(a, b)
      add "one begins"
      task.yield()
      add "one ends"
      return a + b, "second"
    end, 1, 2)
    local two = task.spawn(function()
      add "two"
    end)
    assert.same({ 3, "second" }, { one:wait() })
    two:wait()
    assert.same({ "one begins", "two", "one ends" }, order)
    assert.equal("done", one:state())
  end)

  it("are equal where they are the same one", function()
    local same, other
    local one = task.spawn(function()
      same = task.current() == task.current()
      return task.current()
    end)
    other = task.current()
    assert.same({ true, true, false, false }, { one:wait() == one, same, other == one, other == task.signal() })
  end)

  it("raise their error to whoever waits, with a traceback", function()
    local failing = task.spawn(function()
      error("broken")
    end)
    local ok, err = pcall(failing.wait, failing)
    assert.is_false(ok)
    assert.equal("internal", err.kind)
    assert.matches("task_spec.lua:%d+: broken$", err.message)
    assert.matches("stack traceback", err.traceback)
    assert.equal("failed", failing:state())
  end)

  it("keep error objects as they are", function()
    local object = setmetatable({ kind = "tool", message = "x" }, task.error_metatable)
    local failing = task.spawn(error, object)
    local _, err = pcall(failing.wait, failing)
    assert.equal(object, err)
    assert.equal("tool: x", tostring(err))
  end)

  it("can be waited for by several, also after they have ended", function()
    local one = task.spawn(function()
      task.yield()
      return 7
    end)
    local sum = 0
    local group <close> = task.group()
    for _ = 1, 3 do
      group:spawn(function()
        local value = one:wait() -- `sum = sum + one:wait()` would read sum before it waits
        sum = sum + value
      end)
    end
    group:wait()
    assert.equal(28, sum + one:wait())
  end)

  it("cannot wait for themselves, nor where Lua cannot yield", function()
    assert.has_error(function() task.current():wait() end, "a task cannot wait for itself")
    local _, err = pcall(table.sort, { 2, 1 }, function()
      task.yield()
      return true
    end)
    assert.matches("cannot wait here: not inside a table.sort comparator", err)
    _, err = pcall(string.gsub, "x", "x", task.yield)
    assert.matches("cannot wait here", err)
  end)

  it("refuse a yield that nobody takes", function()
    local lost = task.spawn(function() coroutine.yield(1) end)
    local _, err = pcall(lost.wait, lost)
    assert.matches("outside of a generator", err.message)
  end)
end)


describe("a cancel", function()
  it("raises in the wait, runs close handlers, and is raised again by every later wait", function()
    local seen = {}
    local add = collect(seen)
    local one = task.spawn(function()
      local guard <close> = setmetatable({}, { __close = function(_, err) add("closed by " .. err.kind) end })
      for _ = 1, 3 do
        local ok, err = pcall(task.sleep, 60)
        add(tostring(ok) .. " " .. err.kind .. " " .. err.reason)
      end
      task.sleep(60)
      return guard
    end)
    task.yield()
    one:cancel("timeout")
    assert.has_error(function() one:wait() end)
    assert.same({ "false cancelled timeout", "false cancelled timeout", "false cancelled timeout", "closed by cancelled" }, seen)
    assert.same({ "cancelled", "timeout" }, { one:state() })
  end)

  it("reaches a task that has not begun", function()
    local ran = false
    local one = task.spawn(function()
      ran = true
      task.sleep(60)
    end)
    one:cancel()
    pcall(one.wait, one)
    assert.is_true(ran)
    assert.equal("cancelled", (one:state()))
  end)

  it("is not heard inside a shield, but right after it", function()
    local seen = {}
    local add = collect(seen)
    local gate = task.signal()
    local one = task.spawn(function()
      task.shield(5, function()
        gate:wait()
        add "written"
      end)
      add "after"
      task.yield()
      add "never"
    end)
    task.yield()
    one:cancel()
    task.yield()
    gate:wake()
    pcall(one.wait, one)
    assert.same({ "written", "after" }, seen)
  end)

  it("lets a close handler wait inside a shield", function()
    local closed = false
    local one = task.spawn(function()
      local guard <close> = setmetatable({}, { __close = function()
        task.shield(5, task.yield)
        closed = true
      end })
      task.sleep(60)
      return guard
    end)
    task.yield()
    one:cancel()
    pcall(one.wait, one)
    assert.is_true(closed)
  end)
end)


describe("a deadline", function()
  it("raises a timeout in the wait it hits, and is over outside of its scope", function()
    local ok, err = pcall(task.deadline, 0.01, task.sleep, 60)
    assert.is_false(ok)
    assert.equal("timeout", err.kind)
    assert.equal("deadline", err.code)
    task.sleep(0)
  end)

  it("returns what the function returns, also across a wait", function()
    local function f(...)
      task.yield()
      return select("#", ...), ...
    end
    assert.same({ 2, "a", "b" }, { task.deadline(5, f, "a", "b") })
  end)

  it("says how much time is left, for those who plan", function()
    assert.is_nil(task.remaining())
    local outer, inner, after, over = task.deadline(60, function()
      local before = task.remaining()
      local nested = task.deadline(5, task.remaining)
      task.deadline(500, task.yield)
      return before, nested, task.remaining(), select(2, pcall(task.deadline, 0, task.remaining))
    end)
    assert.is_true(outer > 59 and outer <= 60, outer)
    assert.is_true(inner > 4 and inner <= 5, inner)
    assert.is_true(after > 59 and after <= outer, after)
    assert.equal(0, over)
    assert.is_nil(task.remaining())
  end)

  it("takes the earlier of two", function()
    local _, err = pcall(task.deadline, 0.01, task.deadline, 60, task.sleep, 60)
    assert.equal("timeout", err.kind)
    _, err = pcall(task.deadline, 60, task.deadline, 0.01, task.sleep, 60)
    assert.equal("timeout", err.kind)
  end)

  it("stops a loop that never waits", function()
    local ok, err = pcall(task.deadline, 0.05, function()
      while true do end
    end)
    assert.is_false(ok)
    assert.equal("timeout", err.kind)
  end)
end)


describe("a group", function()
  it("waits for its children when its scope is left", function()
    local count = 0
    do
      local group <close> = task.group()
      for i = 1, 20 do
        group:spawn(function()
          for _ = 1, i do
            task.yield()
          end
          count = count + 1
        end)
      end
    end
    assert.equal(20, count)
  end)

  it("raises the first error and cancels the others", function()
    local cancelled = 0
    local ok, err = pcall(function()
      local group <close> = task.group()
      for _ = 1, 5 do
        group:spawn(function()
          local _, why = pcall(task.sleep, 60)
          cancelled = cancelled + (why.kind == "cancelled" and 1 or 0)
          error(why, 0)
        end)
      end
      group:spawn(function()
        task.yield()
        error("first", 0)
      end)
    end)
    assert.is_false(ok)
    assert.equal("first", err.message)
    assert.equal(5, cancelled)
  end)

  it("cancels its children when an error leaves the scope", function()
    local child
    local ok, err = pcall(function()
      local group <close> = task.group()
      child = group:spawn(task.sleep, 60)
      error("outer", 0)
    end)
    assert.is_false(ok)
    assert.equal("outer", err)
    assert.equal("cancelled", (child:state()))
  end)

  it("passes a cancel of its owner on, and waits until the children have ended", function()
    local ended = 0
    local owner = task.spawn(function()
      local group <close> = task.group()
      for _ = 1, 3 do
        group:spawn(function()
          local guard <close> = setmetatable({}, { __close = function()
            task.shield(5, task.yield)
            ended = ended + 1
          end })
          task.sleep(60)
          return guard
        end)
      end
    end)
    task.yield()
    task.yield()
    owner:cancel()
    pcall(owner.wait, owner)
    assert.equal(3, ended)
  end)

  it("can be left by break on a Lua with the 5.4.4 compiler bug", function()
    local rounds = 0
    for i = 1, 3 do
      local group <close> = task.group()
      group:spawn(function() rounds = rounds + i end)
      if i == 2 then
        break
      end
    end
    assert.equal(3, rounds)
  end)
end)


describe("a generator", function()
  it("may wait: the wait belongs to the task, not to its caller", function()
    local values = {}
    local generator = coroutine.wrap(function()
      for i = 1, 3 do
        task.yield()
        coroutine.yield(i)
      end
    end)
    for value in generator do
      values[#values + 1] = value
    end
    assert.same({ 1, 2, 3 }, values)
  end)

  it("works nested, and with resume", function()
    local inner = coroutine.create(function(a)
      task.yield()
      local b = coroutine.yield(a + 1)
      task.yield()
      return b * 2
    end)
    local outer = coroutine.wrap(function()
      local _, first = coroutine.resume(inner, 1)
      local _, second = coroutine.resume(inner, 21)
      coroutine.yield(first + second)
    end)
    assert.equal(44, outer())
    assert.equal("dead", coroutine.status(inner))
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(inner) })
  end)

  it("passes errors on as Lua does", function()
    local generator = coroutine.wrap(function()
      task.yield()
      error("inside", 0)
    end)
    assert.has_error(generator, "inside")
    local ok, err = coroutine.resume(coroutine.create(function()
      error({ code = 1 })
    end))
    assert.is_false(ok)
    assert.same({ code = 1 }, err)
  end)
end)


describe("a signal", function()
  it("wakes those who wait, in order, one or all", function()
    local signal, woken = task.signal(), {}
    local group <close> = task.group()
    for i = 1, 4 do
      group:spawn(function()
        signal:wait()
        woken[#woken + 1] = i
      end)
    end
    task.yield()
    assert.equal(1, signal:wake(1))
    task.yield()
    assert.same({ 1 }, woken)
    assert.equal(3, signal:wake())
    assert.equal(0, signal:wake())
    group:wait()
    assert.same({ 1, 2, 3, 4 }, woken)
  end)

  it("is waited for as long as asked, and says whether it came", function()
    local signal, answers = task.signal(), {}
    local group <close> = task.group()
    for i, seconds in ipairs { 0, 0.01, 60 } do
      group:spawn(function()
        answers[i] = signal:wait(seconds)
      end)
    end
    group:spawn(function()
      answers[4] = signal:wait()
    end)
    task.sleep(0.03)
    assert.same({ false, false }, answers)
    assert.equal(2, signal:wake())
    group:wait()
    assert.same({ false, false, true, true }, answers)
    assert.has_error(function() signal:wait(-1) end)
  end)

  it("is not lost when the time is over in the same turn", function()
    local signal, answers = task.signal(), {}
    local group <close> = task.group()
    for i = 1, 2 do
      group:spawn(function()
        answers[i] = signal:wait(0.005)
      end)
    end
    task.yield()
    local ends = clock.mono() + 0.01
    repeat until clock.mono() > ends -- both times are over, nobody has run yet
    assert.equal(1, signal:wake(1))
    group:wait()
    assert.same({ true, false }, answers)
  end)

  it("goes to the next one when whoever it woke is cancelled before it runs", function()
    local signal, woken = task.signal(), nil
    local group <close> = task.group()
    local first = group:spawn(function() signal:wait(60) end)
    group:spawn(function() woken = signal:wait(60) end)
    task.yield()
    signal:wake(1)
    first:cancel()
    group:wait()
    assert.is_true(woken)
  end)
end)


describe("many tasks", function()
  it("interleave at random with cancels, deadlines and nested groups, and all end", function()
    math.randomseed(20261120)
    local finished, begun = 0, 0
    local function work(depth)
      begun = begun + 1
      local guard <close> = setmetatable({}, { __close = function() finished = finished + 1 end })
      for _ = 1, math.random(4) do
        local choice = math.random(5)
        if choice == 1 then
          task.sleep(math.random() * 0.002)
        elseif choice == 2 then
          task.yield()
        elseif choice == 3 and depth < 3 then
          local group <close> = task.group()
          for _ = 1, math.random(3) do
            group:spawn(work, depth + 1)
          end
        elseif choice == 4 then
          pcall(task.deadline, 0.001, task.sleep, math.random() * 0.002)
        else
          coroutine.wrap(task.yield)()
        end
      end
      return guard
    end
    local handles, before = {}, task.count()
    for i = 1, 300 do
      handles[i] = task.spawn(work, 0)
    end
    for _ = 1, 100 do
      task.yield()
      handles[math.random(#handles)]:cancel()
    end
    for _, handle in ipairs(handles) do
      pcall(handle.wait, handle)
    end
    assert.equal(begun, finished)
    assert.equal(before, (task.count()))
  end)
end)
