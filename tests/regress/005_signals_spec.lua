-- A wake that was meant for one was lost when that one was cancelled before it ran: the next in line waited for ever.
local task = require "perilune.sys.task"


describe("a wake for one", function()
  it("goes to the next in line when the one that it woke is cancelled before it runs", function()
    local signal, woken = task.signal(), {}
    local waiting = {}
    for i = 1, 4 do
      waiting[i] = task.spawn(function()
        signal:wait()
        woken[#woken + 1] = i
      end)
    end
    task.yield()
    assert.equal(1, signal:wake(1))
    waiting[1]:cancel()
    waiting[2]:cancel()
    pcall(waiting[1].wait, waiting[1])
    pcall(waiting[2].wait, waiting[2])
    task.yield()
    assert.same({ 3 }, woken)
    assert.equal(1, signal:wake())
    waiting[4]:wait()
    assert.same({ 3, 4 }, woken)
  end)
end)
