-- The lines of docs/faults.md that are about more than one question: breakers, clients that go or do not read, HTTP/2.
local ask = require "tests.faults.ask"
local clients = require "perilune.client"
local clock = require "perilune.sys.clock"
local failover = require "perilune.sys.failover"
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local log = require "perilune.sys.log"
local mcp = require "perilune.tool.mcp"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local servers = require "tests.faults.server"
local tables = require "tests.faults.table"
local task = require "perilune.sys.task"
local tls = require "tests.faults.tls"

local QUESTIONS = 200
local FAILURES_MAX = 10 -- until the breaker opens
local PROMPT_SECONDS = 0.05
local TRIES = 3 -- of what must be prompt: the machine may be busy once

local _, names, titles = tables.read()


local function expand(script)
  return tables.expand(script, names.streamed)
end


-- What this test asks: the first provider at one port, the second at the other.
local function question_of(key, port, other, settings)
  return { urls = { port.url, other and other.url }, key = key, is_streamed = true, settings = settings }
end


-- What `perilune.health` says of the provider at this port.
local function health_of(key, port)
  local endpoint = failover.endpoint("openai", key .. "\0" .. port.url, "gpt-4o-mini")
  return endpoint:status()
end


local function count(outcomes, is_wanted)
  local n = 0
  for _, outcome in ipairs(outcomes) do
    n = n + (is_wanted(outcome) and 1 or 0)
  end
  return n
end


-- The same question so many times, by workers that share them; in the order of their ends.
local function ask_many(question, times, workers)
  local outcomes, begun = {}, 0
  local group <close> = task.group()
  for _ = 1, workers do
    group:spawn(function()
      while begun < times do
        begun = begun + 1
        local outcome = ask.ask(question)
        outcomes[#outcomes + 1] = outcome
      end
    end)
  end
  group:wait()
  return outcomes
end


local function is_answered(outcome)
  return not outcome.error and outcome.content == "one two three four"
end


-- Was the first provider asked, and did it fail?
local function has_failed(outcome)
  return outcome.attempts[1] ~= nil and outcome.attempts[1].reason == "failed"
end


local function was_skipped(outcome)
  return outcome.attempts[1] ~= nil and outcome.attempts[1].reason == "skipped"
end


local function failures_before_open(outcomes)
  local n = 0
  for _, outcome in ipairs(outcomes) do
    if was_skipped(outcome) then
      return n
    end
    n = n + (has_failed(outcome) and 1 or 0)
  end
  return math.huge
end


describe("fault " .. titles[68], function()
  local settings = { retry = { max_attempts = 1 }, breaker = { failures = 5, open = 0.3 }, timeouts = { first_byte = 0.3 } }

  before_each(failover.reset)

  it("a dead one is asked a few times, and the other one answers everything", function()
    local server <close> = servers.start()
    local dead <close> = server:play("refuse")
    local other <close> = server:play(expand("read good"))
    local outcomes = ask_many(question_of("dead", dead, other, { breaker = { failures = 5, open = 60 } }), QUESTIONS, 4)
    other:sync()
    assert.are.equal(QUESTIONS, count(outcomes, is_answered))
    assert.are.equal(QUESTIONS, #other:requests())
    assert.is_true(count(outcomes, has_failed) <= FAILURES_MAX)
    assert.are.equal("open", health_of("dead", dead).state)
  end)

  it("one that flaps is left alone soon, and every question is answered", function()
    local server <close> = servers.start()
    local pattern = {} -- half of its answers are errors
    for letter in ("FFOFFOFOFOOFOOFFOOFO"):gmatch(".") do
      pattern[#pattern + 1] = letter == "F" and "read reply 500 '' '' close" or expand("read good")
    end
    local flapping <close> = server:play(table.concat(pattern, " / "))
    local other <close> = server:play(expand("read good"))
    local outcomes = ask_many(question_of("flapping", flapping, other, settings), QUESTIONS, 1)
    other:sync()
    assert.are.equal(QUESTIONS, count(outcomes, is_answered))
    assert.is_true(failures_before_open(outcomes) <= FAILURES_MAX)
    assert.are.equal(count(outcomes, has_failed) + count(outcomes, was_skipped), #other:requests())
    assert.is_true(count(outcomes, has_failed) < QUESTIONS / 4, "it is left alone most of the time")
  end)

  it("lets one probe through at a time, and closes when the provider is well again", function()
    local server <close> = servers.start()
    local port <close> = server:play("read reply 500 '' '' close")
    local other <close> = server:play(expand("read good"))
    local question = question_of("probed", port, other, settings)
    assert.are.equal(5, count(ask_many(question, 10, 1), has_failed))

    port:play("read stall")
    task.sleep(health_of("probed", port).retry_in)
    local outcomes = ask_many(question, 30, 30)
    assert.are.same({ 30, 1, 29 }, { count(outcomes, is_answered), count(outcomes, has_failed), count(outcomes, was_skipped) })
    assert.are.equal(6, #port.connections)

    port:play(expand("read good"))
    task.sleep(health_of("probed", port).retry_in)
    outcomes = ask_many(question, 20, 1)
    assert.are.equal(20, count(outcomes, function(outcome) return outcome.provider == "openai" and is_answered(outcome) end))
    assert.are.equal("closed", health_of("probed", port).state)
  end)
end)


describe("fault " .. titles[69], function()
  -- Asks, waits until an event of that type has come (or, without, until the request has arrived), stops, and says how long the
  -- provider's connection stayed open.
  local function seconds_until_closed(script, stop, last_event)
    local group <close> = task.group()
    local server <close> = servers.start()
    local port <close> = server:play(expand(script))
    local question = question_of("leaves", port, nil, {})
    local app <close> = ask.app(question)
    local stream, seen, has_read = nil, {}, task.signal()
    local reader = group:spawn(function()
      local own <close> = ask.model(app, question):stream(ask.request(question))
      stream = own
      for event in own do
        seen[event.type] = true
        has_read:wake()
      end
    end)
    server:wait_until(function() return port:requests()[1] end)
    while last_event and not seen[last_event] do
      has_read:wait()
    end
    local stopped_at = clock.mono()
    stop(stream, reader)
    local connection = port:wait_over()
    assert.are.equal(0, fetch.live())
    return connection.told_at - stopped_at
  end

  local phases = { B = { "read stall" }, C = { "read stream begin stall" }, D = { "read stream say 'one ' stall", "text" } }
  local ways = {
    ["its stream is closed"] = function(stream) stream:close() end,
    ["its task is cancelled"] = function(_, reader) reader:cancel() end,
  }
  for phase, played in pairs(phases) do
    for way, stop in pairs(ways) do
      it(("in %s: %s"):format(phase, way), function()
        local least = math.huge
        for _ = 1, TRIES do
          local seconds = seconds_until_closed(played[1], stop, played[2])
          least = math.min(least, seconds)
        end
        assert.is_true(least <= PROMPT_SECONDS, ("closed after %.3f s"):format(least))
      end)
    end
  end

  it("in the queue: nothing is sent", function()
    local group <close> = task.group()
    local server <close> = servers.start()
    local port <close> = server:play("read stall")
    local app <close> = ask.app(question_of("queues", port, nil, {}))
    local client = clients.new(app, { model = ask.NAMES[1], max_inflight = 1 })
    local first <close> = client:stream("Count.")
    local second <close> = client:stream("Count.")
    group:spawn(first.next, first)
    server:wait_until(function() return port:requests()[1] end)
    local waiting = group:spawn(second.next, second)
    task.yield()
    local stopped_at = clock.mono()
    second:close()
    assert.is_nil(waiting:wait())
    assert.is_true(clock.mono() - stopped_at <= PROMPT_SECONDS)
    first:close()
    port:wait_over()
    assert.are.equal(1, #port.connections)
  end)
end)


describe("fault " .. titles[70], function()
  local WORDS, WORD_BYTES = 2000, 16000
  local BUFFERS_BYTES = 16 << 20 -- of both kernels, and ours

  it("", function()
    local server <close> = servers.start()
    local word = ("x"):rep(WORD_BYTES - 1) .. " "
    local event = names.streamed.say.script:gsub("WORDS", word):match("'(.*)'")
    local port <close> = server:play(("%s fill %d 'data: %s\\n\\n' %s"):format(expand("read stream"), WORDS, event, expand("end")))
    local question = question_of("reads slowly", port, nil, {})
    local app <close> = ask.app(question)
    local stream <close> = ask.model(app, question):stream(ask.request(question))
    repeat until stream:next().type == "text"
    server:wait_until(function() return port.connections[1].full end)
    assert.is_true(port.connections[1].full < BUFFERS_BYTES, port.connections[1].full .. " bytes were taken")
    while stream:next() do end
    local answer = stream:so_far()
    assert.are.same({ WORDS * WORD_BYTES, "stop", 8 }, { #answer.content, answer.finish_reason, answer.usage.total_tokens })
  end)
end)


describe("fault " .. titles[73], function()
  -- Frames of HTTP/2: length, type, flags, stream.
  local function frame(kind, flags, stream, payload)
    return (">I3 B B I4"):pack(#payload, kind, flags, stream) .. payload
  end

  local folder, body
  local settings, refused = frame(4, 0, 0, ""), frame(3, 0, 1, (">I4"):pack(7))
  local goes_away = frame(7, 0, 0, (">I4 I4"):pack(0, 0))

  setup(function()
    folder = assert(fs.temp_dir("perilune-http2"))
    body = names.streamed.document.script:match("'({.*})'")
  end)

  teardown(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  -- A server that ends its first answer like this; the second one is whole.
  local function ask_server(ending)
    local group <close> = task.group()
    local peer <close> = tls.serve(folder, "good", { "-alpn", "h2" })
    local serving = group:spawn(function()
      peer:wait_for("Count%.")
      peer:write(settings .. ending)
      peer:wait_for("Count%.")
      peer:write(settings .. frame(1, 4, 1, "\x88") .. frame(0, 1, 1, body))
    end)
    local outcome = ask.ask(question_of("http2", peer, nil, {
      http2 = true, ca_file = peer.ca_file, retry = { maybe_billed = true, backoff = 0 },
    }))
    serving:cancel()
    return outcome
  end

  it("refused", function()
    local outcome = ask_server(refused)
    assert.is_nil(outcome.error)
    assert.are.same({ "one two three four", 1 }, { outcome.content, #outcome.rows })
  end)

  it("gone", function()
    local outcome = ask_server(goes_away)
    assert.are.same({ "bad_response", "protocol", true, 1 },
      { outcome.error.kind, outcome.error.code, outcome.error.maybe_billed, #outcome.rows })
  end)
end)


describe("fault " .. titles[74], function()
  local function connect()
    local env = { PERILUNE_LUA = proc.env("PERILUNE_LUA") }
    return mcp.connect { name = "toy", command = { "/proc/self/exe", "run", "tests/support/mcp_server.lua" }, env = env }
  end

  local function failing(server, name)
    return select(2, perilune.try(server.call, server, name))
  end

  setup(function()
    log.set_level("off")
  end)

  teardown(function()
    log.set_level("warn")
  end)

  it("by ending in a call: its outcome is unknown, and the server is started again, three times at most", function()
    local server <close> = connect()
    for _ = 1, 4 do
      assert.is_true(failing(server, "dies").details.outcome_unknown)
    end
    assert.are.equal("restarts", failing(server, "dies").code)
  end)

  it("by writing garbage, answers for nobody, or 100 MB in one line", function()
    local server <close> = connect()
    assert.are.equal("after the garbage", server:call("garbage").content[1].text)
    assert.are.equal("for you", server:call("mistakes").content[1].text)
    local err = failing(server, "floods")
    assert.are.same({ "bad_response", "limit" }, { err.kind, err.code })
    assert.are.equal("hi", server:call("echo", { text = "hi" }).content[1].text)
  end)

  it("by changing what it said of its tools: they are refused", function()
    local server <close> = connect()
    server:tools()
    server:call("changes")
    assert.is_truthy(failing(server, "echo").message:find("has changed", 1, true))
  end)
end)
