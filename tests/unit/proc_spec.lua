local clock = require("perilune.sys.clock")
local fs = require("perilune.sys.fs")
local proc = require("perilune.sys.proc")
local task = require("perilune.sys.task")

local function open_descriptors()
  return #fs.list("/proc/self/fd")
end

-- Is the process gone, or only its zombie left?
local function is_gone(pid)
  local stat = fs.read("/proc/" .. pid .. "/stat")
  return stat == nil or stat:match("%) (%a)") == "Z"
end

local function wait_until_gone(pid)
  for _ = 1, 200 do
    if is_gone(pid) then
      return true
    end
    task.sleep(0.01)
  end
  return false
end

local function read_all(child, output)
  local pieces = {}
  for piece in function() return child:read(output) end do
    pieces[#pieces + 1] = piece
  end
  return table.concat(pieces)
end

describe("perilune.sys.proc.run", function()
  it("gives both outputs and the exit code", function()
    local result = assert(proc.run { argv = { "sh", "-c", "echo out; echo err >&2; exit 3" } })
    assert.same({ status = 3, stdout = "out\n", stderr = "err\n", truncated = false }, result)
  end)

  it("names the signal that killed it", function()
    local result = assert(proc.run { argv = { "sh", "-c", "kill -KILL $$" } })
    assert.equal("KILL", result.signal)
    assert.is_nil(result.status)
  end)

  it("uses no shell", function()
    assert.equal("$HOME; *\n", proc.run { argv = { "echo", "$HOME; *" } }.stdout)
  end)

  it("feeds standard input, larger than any pipe, while it reads the output", function()
    local text = ("0123456789abcdef"):rep(100000)
    assert.equal(text, proc.run { argv = { "cat" }, stdin = text }.stdout)
    assert.equal("", proc.run { argv = { "cat" }, stdin = "" }.stdout)
    assert.equal("", proc.run { argv = { "cat" } }.stdout)
  end)

  it("does not mind a child that does not read its input", function()
    assert.equal(0, proc.run { argv = { "true" }, stdin = ("x"):rep(1000000) }.status)
  end)

  it("keeps the beginning of a long output and says so", function()
    local result = assert(proc.run { argv = { "sh", "-c", "head -c 1000000 /dev/zero; echo e >&2" }, out_bytes = 1000 })
    assert.equal(("\0"):rep(1000), result.stdout)
    assert.equal("e\n", result.stderr)
    assert.is_true(result.truncated)
    assert.is_false(proc.run { argv = { "head", "-c", "1000", "/dev/zero" }, out_bytes = 1000 }.truncated)
  end)

  it("gives the environment it was told, and without one no more than a few names", function()
    local given = proc.run { argv = { "env" }, env = { A = "1", B = "two words" } }.stdout
    assert.truthy(given == "A=1\nB=two words\n" or given == "B=two words\nA=1\n")
    assert.equal("", proc.run { argv = { "env" }, env = {} }.stdout)
    local allowed = {}
    for name in ("PATH HOME USER LOGNAME SHELL TERM LANG LC_ALL LC_CTYPE TZ TMPDIR"):gmatch("%S+") do
      allowed[name] = true
    end
    local inherited = proc.run { argv = { "env" } }.stdout
    assert.truthy(inherited:find("PATH=" .. proc.env("PATH"), 1, true))
    for name in inherited:gmatch("([%w_]+)=[^\n]*") do
      assert.is_true(allowed[name] == true, name)
    end
  end)

  it("starts in the folder it was told", function()
    assert.equal("/usr\n", proc.run { argv = { "pwd" }, cwd = "/usr" }.stdout)
    local result, err = proc.run { argv = { "pwd" }, cwd = "/no/such/folder" }
    assert.is_nil(result)
    assert.equal("not_found", err.kind)
    assert.truthy(err.message:find("/no/such/folder", 1, true))
  end)

  it("says when there is no such program, or it may not be run", function()
    local _, err = proc.run { argv = { "no-such-program" } }
    assert.equal("not_found", err.kind)
    assert.truthy(err.message:find("cannot run no-such-program", 1, true))
    assert.equal("permission", select(2, proc.run { argv = { "/etc/passwd" } }).kind)
  end)

  it("opens nothing but the standard descriptors in the child, with signals as they should be", function()
    assert.equal("0\n1\n2\n", proc.run { argv = { "sh", "-c", "ls /proc/$$/fd" } }.stdout)
    local status = proc.run { argv = { "cat", "/proc/self/status" } }.stdout
    assert.equal(0, tonumber(status:match("SigBlk:%s*(%x+)"), 16))
    assert.equal(0, tonumber(status:match("SigIgn:%s*(%x+)"), 16) & 0x7fffffff) -- two more are the C library's own
  end)

  it("stops a child that is out of time, and keeps what it had said", function()
    local before = clock.mono()
    local result, err = proc.run { argv = { "sh", "-c", "echo partial; sleep 30" }, timeout = 0.5 }
    assert.is_nil(result)
    assert.equal("timeout", err.kind)
    assert.equal("partial\n", err.details.stdout)
    assert.is_true(clock.mono() - before < 5)
  end)

  it("kills one that ignores SIGTERM", function()
    local before = clock.mono()
    local _, err = proc.run { argv = { "sh", "-c", "trap '' TERM; echo $$; sleep 30; sleep 30" }, timeout = 0.5 }
    assert.equal("timeout", err.kind)
    local elapsed = clock.mono() - before
    assert.is_true(elapsed > 2.4 and elapsed < 8, elapsed)
    assert.is_true(is_gone(tonumber(err.details.stdout)))
  end)

  it("does not wait for ever for what a child left running, and takes it down", function()
    local before = clock.mono()
    local result = assert(proc.run { argv = { "sh", "-c", "sleep 30 & echo $!" } })
    assert.equal(0, result.status)
    assert.is_true(result.truncated)
    assert.is_true(clock.mono() - before < 8)
    assert.is_true(wait_until_gone(tonumber(result.stdout)))
  end)

  it("kills the group of a cancelled task", function()
    local dir = assert(fs.temp_dir("proc-spec-"))
    local handle = task.spawn(function()
      proc.run { argv = { "sh", "-c", "sleep 30 & echo $! $$ > pids.new; mv pids.new pids; wait" }, cwd = dir }
    end)
    local text
    for _ = 1, 300 do
      text = fs.read(dir .. "/pids")
      if text then break end
      task.sleep(0.01)
    end
    handle:cancel()
    assert.has_error(function() handle:wait() end)
    local inner, outer = text:match("(%d+) (%d+)")
    assert.is_true(wait_until_gone(inner))
    assert.is_true(wait_until_gone(outer))
    assert(fs.remove(dir, { recursive = true }))
  end)

  it("runs many children side by side and leaks no descriptor", function()
    task.sleep(0.05)
    local before, _, handles_before = open_descriptors(), task.count() -- other specs leave pooled connections
    local group <close> = task.group()
    local sum = 0
    for i = 1, 40 do
      group:spawn(function()
        local result = assert(proc.run { argv = { "sh", "-c", "read n; echo $((n * 2))" }, stdin = i .. "\n" })
        sum = sum + tonumber(result.stdout)
      end)
    end
    for _ = 1, 10 do
      assert.is_nil((proc.run { argv = { "no-such-program" }, stdin = "x" }))
    end
    group:wait()
    assert.equal(40 * 41, sum)
    task.sleep(0.01)
    assert.equal(before, open_descriptors())
    local _, handles = task.count()
    assert.equal(handles_before, handles)
  end)

  it("raises on misuse", function()
    for _, options in ipairs {
      {}, { argv = {} }, { argv = "ls" }, { argv = { 1 } }, { argv = { "a\0b" } }, { argv = { "ls" }, shell = true },
      { argv = { "ls" }, env = { ["A=B"] = "x" } }, { argv = { "ls" }, env = { A = 1 } },
      { argv = { "ls" }, env = "x" },
      { argv = { "ls" }, timeout = 0 }, { argv = { "ls" }, out_bytes = 0 }, { argv = { "ls" }, cwd = "a\0b" },
    } do
      assert.has_error(function() proc.run(options) end)
    end
    assert.has_error(function() proc.start { argv = { "ls" }, timeout = 1 } end)
  end)
end)

describe("perilune.sys.proc.start", function()
  it("talks with a child", function()
    local child <close> = assert(proc.start { argv = { "cat" } })
    for i = 1, 100 do
      assert.is_true(child:write("line " .. i .. "\n"))
      assert.equal("line " .. i .. "\n", child:read())
    end
    child:close_stdin()
    assert.is_nil(child:read())
    assert.same({ status = 0 }, child:wait())
    assert.same({ status = 0 }, child:wait())
    assert.equal("closed", select(2, child:write("more")).code)
  end)

  it("lets one task read while another writes", function()
    local child <close> = assert(proc.start { argv = { "cat" }, out_bytes = 5000 })
    local text = ("0123456789abcdef"):rep(50000)
    local writer = task.spawn(function()
      assert(child:write(text))
      child:close_stdin()
    end)
    assert.equal(text, read_all(child))
    writer:wait()
  end)

  it("makes a child wait when nobody reads, and loses nothing", function()
    local argv = { "head", "-c", "300000", "/dev/zero" }
    local child <close> = assert(proc.start { argv = argv, out_bytes = 1000 })
    task.sleep(0.05)
    local first = child:read()
    assert.equal(1000, #first)
    assert.equal(299000, #read_all(child))
  end)

  it("reads standard error apart, and never blocks a child on it", function()
    local argv = { "sh", "-c", "head -c 300000 /dev/zero >&2; echo done" }
    local child <close> = assert(proc.start { argv = argv, out_bytes = 1000 })
    assert.equal("done\n", child:read())
    assert.equal(1000, #child:read("stderr"))
    assert.equal("", read_all(child, "stderr"))
    assert.has_error(function() child:read("stdin") end)
  end)

  it("sends signals", function()
    local script = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done"
    local child <close> = assert(proc.start { argv = { "sh", "-c", script } })
    assert.equal("ready\n", child:read())
    assert.is_true(child:kill("HUP"))
    assert.equal("hup\n", child:read())
    assert.is_true(child:kill("KILL"))
    assert.same({ signal = "KILL" }, child:wait())
    assert.is_true(child:kill())
    assert.has_error(function() child:kill("NOPE") end)
  end)

  it("has the pid that the child has", function()
    local child <close> = assert(proc.start { argv = { "sh", "-c", "echo $$" } })
    assert.equal(child:pid(), tonumber(read_all(child)))
  end)

  it("kills a child and all it started when it is closed", function()
    local inner, outer
    do
      local child <close> = assert(proc.start { argv = { "sh", "-c", "sleep 30 & echo $!; wait" } })
      inner, outer = tonumber(child:read()), child:pid()
    end
    assert.is_true(wait_until_gone(outer))
    assert.is_true(wait_until_gone(inner))
  end)

  it("wakes who waits for it when it is closed", function()
    local child = assert(proc.start { argv = { "sleep", "30" } })
    local reader = task.spawn(function() return child:read() end)
    local waiter = task.spawn(function() return child:wait() end)
    task.yield()
    child:close()
    child:close()
    assert.equal("closed", select(2, reader:wait()).code)
    assert.equal("closed", select(2, waiter:wait()).code)
    for _, method in ipairs { "read", "wait", "pid", "kill" } do
      assert.equal("closed", select(2, child[method](child)).code)
    end
  end)

  it("lets only one task wait for the same thing, and is usable after a cancelled wait", function()
    local child <close> = assert(proc.start { argv = { "cat" } })
    local reader = task.spawn(function() return child:read() end)
    task.yield()
    assert.has_error(function() child:read() end)
    reader:cancel()
    assert.has_error(function() reader:wait() end)
    assert(child:write("x"))
    assert.equal("x", child:read())
  end)

  it("notices a child that went away while it is written to", function()
    local child <close> = assert(proc.start { argv = { "true" } })
    child:wait()
    local ok, err = child:write(("x"):rep(1000000))
    assert.is_nil(ok)
    assert.equal("closed", err.code)
  end)
end)

describe("perilune.sys.proc, this process", function()
  it("has a name that is alive", function()
    local owner = assert(proc.self())
    assert.truthy(owner:match("^[%x-]+:%d+:%d+$"))
    assert.equal(owner, proc.self())
    assert.is_true(proc.is_alive(owner))
  end)

  it("knows names that are not alive", function()
    local boot, pid, start = proc.self():match("^(.-):(%d+):(%d+)$")
    for _, owner in ipairs {
      "", "x", boot, boot .. ":", boot .. ":" .. pid, boot .. ":" .. pid .. ":", boot .. ":" .. pid .. ":0",
      boot .. ":" .. pid .. ":" .. start .. "0", boot .. ":" .. pid .. ":" .. start .. " ", boot .. ":-1:" .. start,
      ("0"):rep(36) .. ":" .. pid .. ":" .. start, boot .. ":99999999:" .. start,
    } do
      assert.is_false(proc.is_alive(owner), owner)
    end
  end)

  it("knows a child that died, reaped or not", function()
    local boot = proc.self():match("^(.-):")
    local child <close> = assert(proc.start { argv = { "sleep", "30" } })
    local fields = fs.read("/proc/" .. child:pid() .. "/stat"):match("%) (.*)$")
    local n, start = 2, nil
    for field in fields:gmatch("%S+") do
      n = n + 1
      if n == 22 then start = field end
    end
    local owner = boot .. ":" .. child:pid() .. ":" .. start
    assert.is_true(proc.is_alive(owner))
    child:kill("KILL")
    child:wait()
    assert.is_false(proc.is_alive(owner))
    child:close()
    assert.is_false(proc.is_alive(owner))
  end)

  it("reads the environment", function()
    assert.truthy(proc.env("PATH"))
    assert.is_nil(proc.env("PERILUNE_NO_SUCH_VARIABLE"))
  end)

  it("raises on what is not a standard descriptor", function()
    assert.has_error(function() proc.is_tty(3) end)
    assert.has_error(function() proc.write(0, "x") end)
    assert.equal("boolean", type(proc.is_tty(1)))
    assert.equal(proc.is_tty(1), proc.columns(1) ~= nil)
    assert.has_error(function() proc.columns(3) end)
    assert.is_true(proc.write(2, ""))
  end)
end)
