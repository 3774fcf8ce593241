-- The end of the process: what is left over when the main task has ended, finalizers that start something then, and a main task
-- that can never end.
local programs = require "tests.support.program"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"


local function run(text)
  local program <close> = programs.new()
  return program:run { "run", program:file("script.lua", text), timeout = 20 }
end


describe("when the main task has ended", function()
  it("a task that does not hear the cancel has five seconds", function()
    local result = run [[
      local task = require "perilune.sys.task"
      task.spawn(task.shield, 60, task.sleep, 60)
      task.yield()
    ]]
    assert.equal(0, result.status)
    assert.matches("the host is shutting down", result.stderr)
  end)

  it("a task that is started then is cancelled too", function()
    local result = run [[
      local task = require "perilune.sys.task"
      task.spawn(function()
        local _, err = pcall(task.sleep, 60)
        task.spawn(function()
          local _, second = pcall(task.sleep, 60)
          print(err.reason, second.reason)
        end)
      end)
      task.yield()
    ]]
    assert.same({ 0, "shutdown\tshutdown\n", "" }, { result.status, result.stdout, result.stderr })
  end)

  it("a finalizer can start neither a task nor a fetch", function()
    local result = run [[
      local fetch, task = require "perilune.sys.fetch", require "perilune.sys.task"
      rawset(_G, "last", setmetatable({}, { __gc = function()
        print(select(2, pcall(task.spawn, task.sleep, 60)))
        print(select(2, pcall(fetch.open, { url = "http://127.0.0.1:1/" })))
      end }))
    ]]
    assert.same({ 0, "" }, { result.status, result.stderr })
    assert.matches("no task can be started\n.*does not run in a task\n$", result.stdout)
  end)
end)


describe("when every task waits for another one", function()
  it("the program says so, although a connection is kept for later", function()
    local server <close> = assert(serve.listen { host = "127.0.0.1", port = 0 })
    local group <close> = task.group()
    group:spawn(function()
      local request <close> = server:accept()
      request:reply { status = 200 }
    end)
    local result = run(([[
      local fetch, task = require "perilune.sys.fetch", require "perilune.sys.task"
      do
        local handle <close> = fetch.open { url = "http://127.0.0.1:%d/" }
        repeat until not handle:next()
      end
      task.signal():wait()
    ]]):format(server:port()))
    assert.equal(1, result.status)
    assert.matches("nothing can happen any more", result.stderr)
  end)
end)
