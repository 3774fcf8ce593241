-- perilune.sys.proc.signals: a script that takes the signals of its process.
local programs = require "tests.support.program"


local function start(program, text)
  local script = [[
    local proc, task = require "perilune.sys.proc", require "perilune.sys.task"
    local function say(text)
      assert(proc.write(1, text .. "\n"))
    end
  ]] .. text
  return program:start { "run", program:file("script.lua", script) }
end


describe("signals of the process", function()
  it("go to the script that asked for them: every SIGHUP, and the first that would end it", function()
    local program <close> = programs.new()
    local child <close> = start(program, [[
      local signals <close> = proc.signals()
      say "ready"
      repeat
        local name = signals:wait()
        say(name)
      until name == "TERM"
    ]])
    assert.equal("ready\n", child:read())
    for _, name in ipairs { "HUP", "HUP", "TERM" } do
      assert(child:kill(name))
      assert.equal(name .. "\n", child:read())
    end
    assert.same({ status = 0 }, child:wait())
  end)

  it("that came before the wait count", function()
    local program <close> = programs.new()
    local child <close> = start(program, [[
      local signals <close> = proc.signals()
      say "ready"
      assert(proc.read_line())
      local names = { signals:wait(), signals:wait() }
      table.sort(names) -- those that are pending together have no order
      say(table.concat(names, " "))
    ]])
    assert.equal("ready\n", child:read())
    assert(child:kill "INT")
    assert(child:kill "HUP")
    assert(child:write "go on\n")
    assert.equal("HUP INT\n", child:read())
    assert.same({ status = 0 }, child:wait())
  end)

  it("end the process as always when a second one comes", function()
    local program <close> = programs.new()
    local child <close> = start(program, [[
      local signals <close> = proc.signals()
      say "ready"
      say(signals:wait())
      signals:wait()
    ]])
    assert.equal("ready\n", child:read())
    assert(child:kill "TERM")
    assert.equal("TERM\n", child:read())
    assert(child:kill "TERM")
    assert.same({ status = 143 }, child:wait())
  end)

  it("are given back by closing", function()
    local program <close> = programs.new()
    local child <close> = start(program, [[
      do
        local signals <close> = proc.signals()
      end
      say "ready"
      task.sleep(60)
    ]])
    assert.equal("ready\n", child:read())
    assert(child:kill "TERM")
    assert.same({ status = 143 }, child:wait())
  end)

  it("have one taker and one who waits at a time, and none once they are closed", function()
    local program <close> = programs.new()
    local child <close> = start(program, [[
      local signals = proc.signals()
      say(select(2, pcall(proc.signals)))
      local waiting = task.spawn(signals.wait, signals)
      task.yield()
      say(select(2, pcall(signals.wait, signals)))
      signals:close()
      signals:close()
      say(tostring(select(2, pcall(waiting.wait, waiting))))
      say(select(2, pcall(signals.wait, signals)))
      proc.signals():close()
    ]])
    local said = programs.read_until(child, "closed%).*closed%)\n")
    assert.same({ status = 0 }, child:wait())
    assert.matches("^busy: another task already takes the signals of this process\nbusy: another task already waits for signals\n", said)
  end)
end)
