-- A coroutine that waits belongs to the task that resumed it. When another one could resume or close it, the operation was
-- taken for done (an assertion ended the process) and the first task was never woken.
local task = require "perilune.sys.task"


describe("a coroutine that waits", function()
  it("is not resumed by another task", function()
    local gate = task.signal()
    local slow = task.spawn(function()
      gate:wait()
      return "done"
    end)
    local generator = coroutine.wrap(function()
      coroutine.yield(slow:wait())
    end)
    local first = task.spawn(generator)
    task.yield()
    local ok, err = pcall(generator)
    assert.is_false(ok)
    assert.matches("cannot resume a coroutine that waits", err)
    gate:wake()
    assert.equal("done", task.deadline(5, first.wait, first))
    assert.is_nil(generator())
  end)

  it("is not resumed or closed under the task that it is", function()
    local gate, thread = task.signal(), nil
    local one = task.spawn(function()
      thread = coroutine.running()
      gate:wait()
      return "woken"
    end)
    task.yield()
    assert.same({ false, "cannot resume a coroutine that waits: another task resumed it, or it is a task" },
      { coroutine.resume(thread) })
    assert.error_matches(function() coroutine.close(thread) end, "cannot close a coroutine that waits")
    gate:wake()
    assert.equal("woken", task.deadline(5, one.wait, one))
  end)

  it("is over when it was resumed by code that cannot wait", function()
    local never <close> = task.group()
    local slow = never:spawn(task.sleep, 60)
    local generator = coroutine.create(function() slow:wait() end)
    local _, err = pcall(table.sort, { 1, 2 }, function() return coroutine.resume(generator) end)
    assert.matches("resumed by code that cannot wait", err)
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(generator) })
    slow:cancel()
  end)
end)


-- It ran outside of what the ticker watches: the whole process hung, and did not even hear a signal.
describe("a close handler that never ends", function()
  local function guard()
    return setmetatable({}, { __close = function() while true do end end })
  end

  it("is stopped when its generator is closed", function()
    local one = task.spawn(function()
      local generator = coroutine.create(function()
        local own <close> = guard()
        coroutine.yield(own)
      end)
      coroutine.resume(generator)
      return coroutine.close(generator)
    end)
    one:cancel()
    local ok, err = one:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.kind)
  end)

  it("is stopped when its generator fails", function()
    local one = task.spawn(coroutine.wrap(function()
      local own <close> = guard()
      error(own)
    end))
    one:cancel()
    assert.equal("cancelled", select(2, pcall(one.wait, one)).kind)
  end)

  it("is stopped when its task yields to nobody", function()
    local one = task.spawn(function()
      local own <close> = guard()
      coroutine.yield(own)
    end)
    one:cancel()
    assert.matches("outside of a generator", select(2, pcall(one.wait, one)).message)
  end)
end)
