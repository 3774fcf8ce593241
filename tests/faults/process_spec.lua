-- The lines of docs/faults.md that need a process of their own, and what may happen to the world around one: it is killed, its clock
-- jumps, its provider stands still, names vanish, descriptors run out.
local ask = require "tests.faults.ask"
local fs = require "perilune.sys.fs"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local runs = require "perilune.store.runs"
local servers = require "tests.faults.server"
local store = require "perilune.store"
local tables = require "tests.faults.table"
local task = require "perilune.sys.task"
local worlds = require "tests.faults.world"

local HOUR = 3600

local _, names, titles = tables.read()


local function expand(script)
  return tables.expand(script, names.streamed)
end


-- Says every event, so that the test knows when to strike.
local TURN = [[
local perilune = require "perilune"
local assistant = perilune.assistant { name = "a", model = "openai/gpt-4o-mini" }
print(perilune.thread("k"):run(assistant, arg[1], { on_event = function(event)
  io.write("<", event.type, ">\n")
  io.flush()
end }).content)
]]


describe("fault " .. titles[71], function()
  -- Waits until a run of this program is in the database: its question was acknowledged.
  local function wait_for_run(program)
    for _ = 1, 1000 do
      if fs.stat(program.db) then
        local db <close> = assert(store.open(program.db))
        if assert(runs.list(db))[1] then
          return
        end
      end
      task.sleep(0.01)
    end
    error "no run was stored"
  end

  local phases = {
    A = { "blackhole", function(program) wait_for_run(program) end },
    B = { "read stall", function(_, server, port)
      server:wait_until(function() return port:requests()[1] end)
    end },
    C = { "read split 1 stream repeat send ':'", function(_, server, port) -- it reads while it is killed
      server:wait_until(function() return port:requests()[1] end)
    end },
    D = { "read stream say 'one ' stall", function(_, _, _, child) programs.read_until(child, "<text>") end },
  }
  for phase, played in pairs(phases) do
    it("in " .. phase, function()
      local server <close> = servers.start()
      local port <close> = server:play(expand(played[1]))
      local well <close> = server:play(expand("read good"))
      local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = port.url }
      program:file("turn.lua", TURN)
      local child <close> = program:start { "run", "turn.lua", "Count." }
      played[2](program, server, port, child)
      assert(child:kill("KILL"))
      assert.are.equal("KILL", programs.ending_of(child).signal)

      assert.are.equal("user: Count.\n", program:run({ "threads", "show", "k" }).stdout)
      assert.are.equal("ok\n", program:run({ "db", "check" }).stdout)
      program.env.OPENAI_BASE_URL = well.url
      local result = program:run { "run", "turn.lua", "Again." }
      assert.are.same({ 0, "" }, { result.status, result.stderr })
      assert.are.equal("user: Count.\nuser: Again.\nassistant: one two three four\n", program:run({ "threads", "show", "k" }).stdout)
      local db <close> = assert(store.open(program.db))
      local list = assert(runs.list(db))
      assert.are.same({ "completed", "failed", "interrupted" }, { list[1].status, list[2].status, list[2].error.code })
    end)
  end
end)


describe("fault " .. titles[72], function()
  for name, seconds in pairs { forward = HOUR, back = -HOUR } do
    it(name, function()
      local group <close> = task.group()
      local server <close> = servers.start()
      local port <close> = server:play(expand("read sleep 50 stream say 'one ' sleep 100 say 'two ' sleep 100 say 'three ' say 'four' end"))
      local program <close>, set = worlds.program()
      group:spawn(function()
        server:wait_until(function() return port:requests()[1] end)
        set("answers", seconds)
      end)
      local timeouts = { connect = 5, first_byte = 5, first_content = 5, idle = 5, progress = 5, total = 20 }
      local outcome = ask.ask_in(program, {
        { urls = { port.url }, key = "clock", is_streamed = true, settings = { timeouts = timeouts } },
      })[1]
      assert.is_nil(outcome.error)
      assert.are.equal("one two three four", outcome.content)
      assert.is_true(outcome.seconds < 20)
    end)
  end
end)


-- Waits for nothing but timers, while there are sockets to wait for.
local SLEEP_OFTEN = [[
local server <close> = assert(require("perilune.sys.serve").listen {})
for ms = 1, 20 do
  require("perilune").sleep(ms / 1000)
end
print "done"
]]


describe("a machine that is busy with something else", function()
  it("holds timers up, and loses none", function()
    local program <close>, set = worlds.program()
    set("answers", 0, 3)
    local result = program:run { "run", "-e", SLEEP_OFTEN, timeout = 10 }
    assert.are.same({ 0, "done\n" }, { result.status, result.stdout })
  end)
end)


describe("a provider that is stopped in the middle of its answer", function()
  it("is an idle timeout, and everybody else is answered meanwhile", function()
    local stopped <close> = servers.start()
    local server <close> = servers.start()
    local port <close> = stopped:play(expand("read stream repeat say 'word ' sleep 5"))
    local well <close> = server:play(expand("read good"))
    local question = { urls = { port.url, well.url }, key = "stopped", is_streamed = true, settings = { timeouts = { idle = 0.5 } } }
    local app <close> = ask.app(question)
    local stream <close> = ask.model(app, question):stream(ask.request(question))
    repeat until stream:next().type == "text"
    assert(stopped.child:kill("STOP"))
    local other = ask.ask { urls = { well.url }, key = "other", is_streamed = true, settings = {} }
    while stream:next() do end
    assert(stopped.child:kill("CONT"))
    port:wait_over()
    local answer = stream:so_far()
    assert.are.equal("one two three four", other.content)
    assert.are.same({ "timeout", "idle" }, { answer.error.kind, answer.error.code })
    assert.is_truthy(answer.error.message:find("no data for 0.5 s", 1, true), answer.error.message)
    assert.are.equal("", (answer.content:gsub("word ", "")))
  end)
end)


-- Asks a question of each address that it reads, and says what became of it.
local ASK_EACH = [[
local perilune = require "perilune"
for url in io.lines() do
  local client = perilune.client { model = "openai/gpt-4o-mini", base_url = url, timeouts = { connect = 0.3 }, max_retries = 0 }
  local answer, err = perilune.try(client.chat, client, "Count.")
  io.write(answer and answer.content or ("%s %s %s"):format(err.kind, err.code, err.message), "\n")
  io.flush()
end
]]


describe("names that vanish", function()
  it("are an error that says so; the process works on, and finds them when they are back", function()
    local server <close> = servers.start()
    local port <close> = server:play(expand("read document"))
    local program <close>, set = worlds.program()
    program:file("ask.lua", ASK_EACH)
    local child <close> = program:start { "run", "ask.lua" }
    local number = port.url:match("%d+$")
    local function answer_of(host)
      assert(child:write(("http://%s.test:%s\n"):format(host, number)))
      return programs.read_until(child, "\n")
    end
    assert.are.equal("one two three four\n", answer_of "first")
    set "missing"
    assert.is_truthy(answer_of("second"):find("^connection dns .*second%.test"))
    set "silent"
    assert.is_truthy(answer_of("third"):find("^timeout dns .*third%.test"))
    set "answers"
    assert.are.equal("one two three four\n", answer_of "fourth")
    child:close_stdin()
    assert.are.same({ status = 0 }, programs.ending_of(child))
  end)
end)


-- Asks, takes every descriptor there is, asks, gives them back, asks again.
local WITHOUT_DESCRIPTORS = [[
local fetch = require "perilune.sys.fetch"
local perilune = require "perilune"
local task = require "perilune.sys.task"
local client = perilune.client { model = "openai/gpt-4o-mini", fallbacks = { "groq/llama-3.1-8b-instant" } }

print(client:chat("Count.").content)
local handles, is_full = {}, task.signal()
for position = 1, 100 do
  local handle = assert(fetch.open { url = arg[1] })
  handles[position] = handle
  perilune.spawn(function()
    local err = select(2, handle:head())
    if err.code == "no_descriptors" then
      is_full:wake()
    end
  end)
end
is_full:wait()
local _, err = perilune.try(client.chat, client, "Count.")
print(err.kind, err.code)
print(err.message)
for _, handle in ipairs(handles) do
  handle:close()
end
print(client:chat("Count.").content)
]]


describe("a descriptor table that is full", function()
  it("is an error that names it, and nobody else is asked; the process works on when there are some again", function()
    local server <close> = servers.start()
    local stalling <close> = server:play("read stall")
    local well <close> = server:play(expand("read good"))
    local other <close> = server:play(expand("read good"))
    local program <close> = programs.new {
      OPENAI_API_KEY = "a-key", GROQ_API_KEY = "a-key", OPENAI_BASE_URL = well.url, GROQ_BASE_URL = other.url,
    }
    program:file("script.lua", WITHOUT_DESCRIPTORS)
    local result = assert(proc.run {
      argv = {
        "sh", "-c", 'ulimit -n 60; exec "$@"', "sh", servers.built("../perilune"), "run", "script.lua", stalling.url,
      },
      cwd = program.folder, env = program.env, timeout = 30,
    })
    assert.are.same({ 0, "" }, { result.status, result.stderr })
    local before, kind, message, after = result.stdout:match("^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n$")
    assert.are.same({ "one two three four", "connection\tno_descriptors", "one two three four" }, { before, kind, after })
    assert.is_truthy(message:find("ulimit", 1, true), message)
    other:sync()
    assert.are.equal(0, #other.connections)
  end)
end)
