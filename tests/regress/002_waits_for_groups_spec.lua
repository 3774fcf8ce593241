-- Waits for a group that ended without the group: the group took them for waits that go on, or forgot them.
local task = require "perilune.sys.task"


describe("a wait for a group", function()
  it("can be made again after a deadline has ended it", function()
    local group <close> = task.group()
    local gate = task.signal()
    group:spawn(gate.wait, gate)
    local ok, err = pcall(task.deadline, 0.001, group.wait, group)
    assert.same({ false, "timeout" }, { ok, err.kind })
    gate:wake()
    group:wait()
  end)

  it("ends when another task leaves the scope of the group", function()
    local gate = task.signal()
    local waiting
    do
      local group <close> = task.group()
      group:spawn(gate.wait, gate)
      waiting = task.spawn(group.wait, group)
      task.yield()
      task.spawn(function()
        task.yield()
        gate:wake()
      end)
    end
    local ok, err = pcall(task.deadline, 5, waiting.wait, waiting)
    assert.is_false(ok)
    assert.matches("the group is closed", err.message)
  end)

  it("is not made by code that cannot wait: leaving the scope there cancels the children", function()
    local child
    local function compare()
      local group <close> = task.group()
      child = group:spawn(task.sleep, 60)
      return false
    end
    table.sort({ 1, 2 }, compare)
    assert.equal("cancelling", (child:state()))
    assert.equal("cancelled", select(2, pcall(child.wait, child)).kind)
  end)
end)


describe("a handle", function()
  it("that was finalized by hand is misused, not dereferenced", function()
    local one = task.spawn(task.yield)
    one:wait()
    getmetatable(one).__gc(one)
    assert.error_matches(function() one:state() end, "already collected")
  end)
end)
