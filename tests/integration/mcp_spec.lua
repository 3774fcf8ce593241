-- Connections to MCP servers that misbehave in every way: a script of ours in a child process, and one over HTTP.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local mcp = require "perilune.tool.mcp"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local replay = require "perilune.testing.replay"
local task = require "perilune.sys.task"
local tool = require "perilune.tool"

local SERVER = "tests/support/mcp_server.lua"

local host_lua = proc.env "PERILUNE_LUA"


local function connect(words, options)
  local command = { "/proc/self/exe", "run", programs.path(SERVER), table.unpack(words or {}) }
  local given = { name = "toy", command = command, env = { PERILUNE_LUA = host_lua and programs.path(host_lua) } }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local server = mcp.connect(given)
  return server
end


-- For what tells nobody that it has happened.
local function wait_until(is_true)
  task.deadline(10, function()
    while not is_true() do
      task.sleep(0.005)
    end
  end)
end


-- The program that runs this spec, for a shell.
local function host()
  local pid = proc.self():match(":(%d+):")
  return assert(proc.run { argv = { "readlink", ("/proc/%s/exe"):format(pid) } }).stdout:match("[^\n]+")
end


-- What f raises.
local function problem_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  return err
end


local function text_of(result)
  return result.content[1].text
end


local function tool_called(list, name)
  for _, one in ipairs(list) do
    if one.name == name then
      return one
    end
  end
end


setup(function()
  log.set_level("off")
end)


teardown(function()
  log.set_level("warn")
end)


describe("an MCP server on standard input and output", function()
  it("says who it is, what it has, and does what it is asked", function()
    local server <close> = connect()
    assert.same({ "ready" }, { server:state() })
    local about = server:about()
    assert.same({ "scripted", "1.2", "2025-06-18", "Be kind." }, { about.name, about.version, about.protocol, about.instructions })
    assert.equal("hello", text_of(server:call("echo", { text = "hello" })))
    assert.is_true(server:ping() >= 0)
    assert.equal("mem:///a", server:resources()[1].uri)
    assert.same({ { uri = "mem:///a", media_type = "text/plain", text = "the text of a" } }, server:read_resource("mem:///a"))
    assert.is_true(errors.is(problem_of(server.read_resource, server, "mem:///b"), "not_found"))
    assert.equal("greet", server:prompts()[1].name)
    local prompt = server:get_prompt("greet", { who = "Ada" })
    assert.same({ role = "user", content = "Greet Ada" }, prompt.messages[1])
    assert.same({ { type = "image", data = "AAAA", media_type = "image/png" } }, prompt.messages[2].content)
  end)

  it("gives tools from all pages of its list, for models and for tool.call", function()
    local server <close> = connect()
    local list = server:tools()
    assert.equal("Says what it is told.", tool_called(list, "toy_echo").description)
    assert.equal("hi", tool.call(tool_called(list, "toy_echo"), '{"text":"hi"}', {}).content)
    assert.is_true(tool.call(tool_called(list, "toy_echo"), '{"text":5}', {}).is_error)
    assert.equal("called odd/name with spaces", tool.call(tool_called(list, "toy_odd_name_with_spaces"), "{}", {}).content)
    assert.equal("called bare", tool.call(tool_called(list, "toy_bare"), "", {}).content)
    local everything = tool.call(tool_called(list, "toy_everything"), "", {}).content
    for _, part in ipairs { "words", "[image: image/png, 3 bytes", "a.txt", "inside", "file:///c.bin", "unknown kind" } do
      assert.is_truthy(everything:find(part, 1, true), part)
    end
    assert.equal('{"degrees":18}', tool.call(tool_called(list, "toy_structured"), "", {}).content)
  end)

  it("gives some of its tools, without a prefix", function()
    local server <close> = connect()
    local list = server:tools { only = { "fails", "echo" }, prefix = false, idempotent = { "echo" }, approval = "always" }
    assert.same({ "echo", "fails" }, { list[1].name, list[2].name })
    assert.same({ true, false, "always" }, { list[1].idempotent, list[2].idempotent, list[1].approval })
    assert.matches("no tool 'ecko', did you mean 'echo'", problem_of(server.tools, server, { only = { "ecko" } }).message)
  end)

  it("tells the model what a tool says about its failure", function()
    local server <close> = connect()
    local list = server:tools()
    local failed = tool.call(tool_called(list, "toy_fails"), "", {})
    assert.same({ true, "Error: tool 'toy_fails': it broke" }, { failed.is_error, failed.content })
    local refused = tool.call(tool_called(list, "toy_refuses"), "", {})
    assert.matches("no such thing", refused.content)
    assert.equal(-32602, refused.error.cause.code)
    assert.same({ hint = "try echo" }, refused.error.cause.details)
    assert.is_nil(problem_of(server.call, server, "refuses").details.outcome_unknown)
    assert.is_true(problem_of(server.call, server, "empty").details.outcome_unknown)
  end)

  it("answers many calls at the same time, each with its own", function()
    local group <close> = task.group()
    local server <close> = connect()
    local answers = {}
    for number = 1, 200 do
      group:spawn(function()
        answers[number] = text_of(server:call("echo", { text = "text " .. number }))
      end)
    end
    group:wait()
    for number = 1, 200 do
      assert.equal("text " .. number, answers[number])
    end
  end)

  it("is not misled by garbage, answers for nobody, and answers after a cancel", function()
    local server <close> = connect()
    assert.equal("after the garbage", text_of(server:call("garbage")))
    assert.equal("for you", text_of(server:call("mistakes")))
    local waiting = task.spawn(server.call, server, "waits")
    task.yield()
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    waiting:cancel()
    assert.is_true(errors.is(problem_of(waiting.wait, waiting), "cancelled"))
    assert.equal("1", text_of(server:call("cancels")))
    assert.equal("hi", text_of(server:call("echo", { text = "hi" }))) -- after "too late"
    assert.same({}, server.session.calls)
  end)

  it("hears of a deadline", function()
    local server <close> = connect()
    local err = problem_of(task.deadline, 0.05, server.call, server, "waits")
    assert.is_true(errors.is(err, "timeout"))
    assert.equal("1", text_of(server:call("cancels")))
  end)

  it("has a time limit for each call, which progress extends, but not for ever", function()
    local server <close> = connect(nil, { timeouts = { call = 0.2, total = 1 } })
    local err = problem_of(server.call, server, "waits")
    assert.is_true(errors.is(err, "timeout"))
    assert.is_true(err.details.outcome_unknown)
    assert.equal("1", text_of(server:call("cancels")))
    local seen = {}
    local result = server:call("progresses", { steps = 6, pause = 0.08 }, function(progress)
      seen[#seen + 1] = progress
    end)
    assert.equal("all steps", text_of(result))
    assert.same({ progress = 1, total = 6, message = "step 1" }, seen[1])
    assert.is_true(#seen >= 4)
    err = problem_of(server.call, server, "progresses", { steps = 100, pause = 0.05 }, function() end)
    assert.is_true(errors.is(err, "timeout"))
  end)

  it("shows progress as events of the run", function()
    local server <close> = connect()
    local events = {}
    local context = { call_id = "call_7", emit = function(event) events[#events + 1] = event end }
    local one = tool_called(server:tools(), "toy_progresses")
    assert.equal("all steps", tool.call(one, '{"steps":2,"pause":0.05}', context).content)
    assert.same({ type = "tool_progress", id = "call_7", name = "toy_progresses", progress = 1, total = 2, message = "step 1" }, events[1])
  end)

  it("may ask whether we live and where it may work, and nothing else", function()
    local server <close> = connect(nil, { roots = { "/srv/my files", "file:///x" } })
    local seen = json.decode(text_of(server:call("questions")))
    assert.same({
      ping = {}, roots = { roots = { { uri = "file:///srv/my%20files" }, { uri = "file:///x" } } }, sampling = { code = -32601 },
      elicitation = { code = -32601 },
    }, json.decode(json.encode(seen)))
    local plain <close> = connect()
    assert.same({ code = -32601 }, json.decode(text_of(plain:call("questions"))).roots)
  end)

  it("gets the variables it is given, and none of ours", function()
    local program <close> = programs.new { SECRET_OF_HOST = "hidden", API_TOKEN = "of the host" }
    local code = ([[
      local mcp = require "perilune.tool.mcp"
      for _, env in ipairs { {}, { API_TOKEN = "given" } } do
        local server <close> = mcp.connect { name = "toy", command = { "/proc/self/exe", "run", %q }, env = env }
        print(server:call("environment").content[1].text)
      end]]):format(programs.path(SERVER))
    local result = program:run { "run", "-e", code }
    assert.same({ 0, "- path -\ngiven path -\n", "" }, { result.status, result.stdout, result.stderr })
  end)

  it("has its messages and its standard error in our log, without secrets", function()
    local program <close> = programs.new()
    local code = ([[
      local server <close> = require("perilune.tool.mcp").connect {
        name = "toy", command = { "/proc/self/exe", "run", %q }, env = { API_TOKEN = "a-very-secret-word" },
      }
      server:call("logs")
      server:call("changes")
      server:tools()
      server:tools()]]):format(programs.path(SERVER))
    local said = program:run { "--log-level", "info", "run", "-e", code }.stderr
    assert.matches('warn +mcp +toy: {"what":"a warning for the log"}', said)
    assert.matches("info +mcp +toy: a line on standard error with %[redacted%]", said)
    assert.is_nil(said:find("a-very-secret-word", 1, true))
    assert.equal(1, select(2, said:gsub("warn +mcp +toy: the tool 'echo' is not what it was", "")))
    assert.equal(1, select(2, said:gsub("warn +mcp +toy: the tool 'newcomer' is new", "")))
  end)

  it("may speak an older revision, but none that we do not know", function()
    local server <close> = connect { "old" }
    assert.equal("2024-11-05", server:about().protocol)
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    local err = problem_of(connect, { "far" })
    assert.is_true(errors.is(err, "bad_response"))
    assert.matches("revision 2099%-01%-01", err.message)
  end)

  it("that cannot be started, or ends at once, is an error that says so", function()
    local err = problem_of(connect, nil, { command = { "/no/such/program" } })
    assert.is_true(errors.is(err, "not_found"))
    assert.matches("MCP server 'toy'", err.message)
    err = problem_of(connect, { "die" })
    assert.is_true(errors.is(err, "connection"))
    assert.matches("has ended %(exit code 3%)", err.message)
    assert.matches("no answer to initialize", problem_of(connect, nil, { command = { "sleep", "60" }, timeouts = { start = 0.1 } }).message)
  end)

  it("that is given up while it starts is ended", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local script = ("echo $$ >%s/pid; exec sleep 60"):format(folder)
    local err = problem_of(task.deadline, 0.2, connect, nil, { command = { "sh", "-c", script } })
    assert.is_true(errors.is(err, "timeout"))
    assert.is_nil(fs.stat("/proc/" .. fs.read(folder .. "/pid"):match("%d+")))
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("that takes no input any more, but lives on, is ended", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local script = "sed -u 4q | %s run %s; exec <&-; mkdir %s/deaf; exec sleep 60" -- 4 lines: a start
    local server <close> = connect(nil, { command = { "sh", "-c", script:format(host(), programs.path(SERVER), folder) } })
    wait_until(function()
      return fs.stat(folder .. "/deaf")
    end)
    local err = problem_of(server.call, server, "echo")
    assert.is_true(errors.is(err, "connection"))
    assert.is_true(err.details.outcome_unknown)
    assert.equal("down", (server:state()))
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("that dies in a call leaves its outcome unknown, and is started again by the next call", function()
    local server <close> = connect()
    local one = tool_called(server:tools(), "toy_dies")
    local failed = tool.call(one, "", {})
    assert.is_true(failed.is_error)
    assert.matches("has ended %(exit code 7%); whether the tool did its work is not known", failed.content)
    assert.is_true(failed.error.cause.details.outcome_unknown)
    assert.equal("down", (server:state()))
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    assert.same({ "ready" }, { server:state() })
  end)

  it("that dies again and again is started three more times, and no more for ten minutes", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local server <close> = connect { "count", folder .. "/starts" }
    for _ = 1, 4 do
      assert.matches("exit code 7", problem_of(server.call, server, "dies").message)
    end
    assert.equal("failed", (server:state()))
    for _ = 1, 3 do
      local err = problem_of(server.call, server, "dies")
      assert.equal("restarts", err.code)
      assert.is_nil(err.details)
    end
    assert.equal(("started\n"):rep(4), fs.read(folder .. "/starts"))
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("that ends after every answer fails the calls that come too late, without a doubt about them", function()
    local server <close> = connect { "brief" }
    local err = problem_of(function()
      for _ = 1, 10 do
        server:call("echo")
      end
    end)
    assert.is_true(errors.is(err, "connection"))
  end)

  it("that sends 100 MB in one line is ended before it fills the memory", function()
    local server <close> = connect()
    collectgarbage()
    local before = task.memory()
    local err = problem_of(server.call, server, "floods")
    assert.is_true(errors.is(err, "bad_response"))
    assert.equal("limit", err.code)
    assert.is_true(task.memory() - before < 40 * 1024 * 1024)
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
  end)

  it("that changes a tool is not asked for it, nor for new ones, until that is approved", function()
    local server <close> = connect()
    local list = server:tools()
    local echo = tool_called(list, "toy_echo")
    server:call("changes")
    local refused = tool.call(echo, '{"text":"hi"}', {})
    assert.is_true(refused.is_error)
    assert.matches("has changed its description or schema since it was approved", refused.content)
    assert.matches("is new", problem_of(server.call, server, "newcomer").message)
    local waiting = server:waiting()
    assert.same({ "echo", "changed", "newcomer", "new" }, { waiting[1].name, waiting[1].state, waiting[2].name, waiting[2].state })
    assert.matches("evil.example", waiting[1].description)
    assert.is_nil(tool_called(server:tools(), "toy_echo"))
    assert.equal("called bare", text_of(server:call("bare")))
    server:approve("echo")
    assert.equal("hi", tool.call(echo, '{"text":"hi"}', {}).content)
    assert.matches("evil.example", tool_called(server:tools(), "toy_echo").description)
    assert.equal("newcomer", server:waiting()[1].name)
  end)

  it("is checked again after a restart: a tool that is back to what it was may be called", function()
    local server <close> = connect()
    server:call("changes")
    assert.equal("not_approved", problem_of(server.call, server, "echo").code)
    problem_of(server.call, server, "dies")
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
  end)

  it("ends with everything it started when the connection is closed", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local script = ("sleep 600 & echo $! >%s/pid; trap '' TERM; %s run %s; sleep 600"):format(folder, host(), programs.path(SERVER))
    local server = connect(nil, { command = { "sh", "-c", script } })
    local pid = fs.read(folder .. "/pid"):match("%d+")
    local pending = task.spawn(server.call, server, "waits")
    task.yield()
    server:close()
    local err = problem_of(pending.wait, pending)
    assert.is_true(errors.is(err, "connection"))
    assert.is_true(err.details.outcome_unknown)
    assert.same({ "closed" }, { server:state() })
    assert.equal("closed", problem_of(server.call, server, "echo").code)
    server:close()
    wait_until(function()
      local stat = fs.read("/proc/" .. pid .. "/stat")
      return not stat or stat:match("%) (%a)") == "Z"
    end)
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("is started once when many ask at the same time", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local group <close> = task.group()
    local server <close> = connect { "count", folder .. "/starts" }
    problem_of(server.call, server, "dies")
    for _ = 1, 20 do
      group:spawn(server.call, server, "echo")
    end
    group:wait()
    assert.equal(("started\n"):rep(2), fs.read(folder .. "/starts"))
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("leaves nothing behind when the script ends without closing it", function()
    local program <close> = programs.new()
    local code = ([[
      local server = require("perilune.tool.mcp").connect { name = "toy", command = { "/proc/self/exe", "run", %q } }
      print(server.session.transport.child:pid())]]):format(programs.path(SERVER))
    local result = program:run { "run", "-e", code }
    assert.same({ 0, "" }, { result.status, result.stderr })
    assert.is_nil(fs.stat("/proc/" .. result.stdout:match("%d+")))
  end)
end)


-- A server over HTTP: answers to methods, `nil` answers what the toy answers. `seen` are the requests of the replay.
local function serve(answers)
  local sessions = 0
  local function result(request, message, value)
    replay.reply(200, { jsonrpc = "2.0", id = message.id, result = value })(request)
  end
  local function respond(request)
    local message = request:method() == "POST" and json.decode(request:body()) or {}
    local answer = answers[message.method or request:method()]
    if answer then
      answer(request, message)
    elseif request:method() == "GET" then
      replay.reply(405, "")(request)
    elseif message.method == "initialize" then
      sessions = sessions + 1
      replay.reply(200, { jsonrpc = "2.0", id = message.id, result = {
        protocolVersion = "2025-06-18", capabilities = { tools = {} }, serverInfo = { name = "web", version = "1" },
      } }, { ["content-type"] = "application/json", ["Mcp-Session-Id"] = "session-" .. sessions })(request)
    elseif message.method == "tools/list" then
      result(request, message, { tools = { { name = "echo", inputSchema = { type = "object" } } } })
    elseif message.method == "tools/call" then
      result(request, message, { content = { { type = "text", text = message.params.arguments.text } } })
    else
      replay.reply(202, "")(request)
    end
  end
  return replay.serve { respond }
end


local function result_event(message, text, id)
  return ("%sdata: %s\n\n"):format(id and "id: " .. id .. "\n" or "", json.encode {
    jsonrpc = "2.0", id = message.id, result = { content = { { type = "text", text = text } } },
  })
end


-- The requests of one method, of JSON-RPC or HTTP.
local function requests_of(web, method)
  local list = {}
  for _, request in ipairs(web.requests) do
    if request.body and request.body.method == method or request.method == method then
      list[#list + 1] = request
    end
  end
  return list
end


local stream_head = { headers = { ["content-type"] = "text/event-stream" } }


describe("an MCP server over HTTP", function()
  it("gets every message with the headers that the protocol wants, and a goodbye", function()
    local web <close> = serve {}
    local server = mcp.connect { name = "web", url = web.url .. "/mcp", headers = { Authorization = "Bearer abcdefgh" } }
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    server:close()
    local first, call = requests_of(web, "initialize")[1], requests_of(web, "tools/call")[1]
    assert.is_nil(first.headers["mcp-session-id"])
    assert.is_nil(first.headers["mcp-protocol-version"])
    assert.same({ "session-1", "2025-06-18", "Bearer abcdefgh", "application/json, text/event-stream", "application/json" }, {
      call.headers["mcp-session-id"], call.headers["mcp-protocol-version"], call.headers.authorization, call.headers.accept,
      call.headers["content-type"],
    })
    assert.equal(1, #requests_of(web, "notifications/initialized"))
    assert.equal("session-1", requests_of(web, "DELETE")[1].headers["mcp-session-id"])
  end)

  it("may answer with a stream, with progress and questions before the answer", function()
    local web <close> = serve { ["tools/call"] = function(request, message)
      request:start(stream_head)
      request:write("event: message\ndata: " .. json.encode { jsonrpc = "2.0", method = "notifications/progress", params = {
        progressToken = message.params._meta.progressToken, progress = 1,
      } } .. "\n\n")
      request:write('data: {"jsonrpc":"2.0","id":"q","method":"ping"}\n\n')
      task.sleep(0.02)
      request:write(result_event(message, "streamed"))
      request:finish()
    end }
    local server <close> = mcp.connect { name = "web", url = web.url }
    local seen = {}
    assert.equal("streamed", text_of(server:call("echo", {}, function(progress)
      seen[#seen + 1] = progress.progress
    end)))
    assert.same({ 1 }, seen)
    web:wait_until(function()
      for _, request in ipairs(web.requests) do
        if request.body and request.body.id == "q" and request.body.result then
          return true
        end
      end
    end)
  end)

  it("is done with a call when the answer is there, also when the stream stays open", function()
    local web <close> = serve { ["tools/call"] = function(request, message)
      request:start(stream_head)
      request:write(result_event(message, "there"))
      request:gone()
    end }
    local server <close> = mcp.connect { name = "web", url = web.url }
    assert.equal("there", text_of(server:call("echo")))
    web:wait_until(function() -- the client goes by itself
      local call = requests_of(web, "tools/call")[1]
      return call and call.is_over
    end)
    assert.same({}, server.session.transport.posts)
  end)

  it("is asked for the rest of a stream that broke", function()
    local broken
    local web <close> = serve {
      ["tools/call"] = function(request, message)
        broken = message
        request:start(stream_head)
        request:write("id: e1\nretry: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\nid: e2\ndata: ha")
        task.sleep(0.02)
        request:reset()
      end,
      GET = function(request)
        if request:header "last-event-id" == "e1" then
          request:start(stream_head)
          request:write(result_event(broken, "the rest", "e2"))
          request:finish()
        else
          replay.reply(405, "")(request)
        end
      end,
    }
    local server <close> = mcp.connect { name = "web", url = web.url }
    assert.equal("the rest", text_of(server:call("echo")))
    assert.equal(1, #requests_of(web, "tools/call"))
  end)

  it("that breaks a stream for good leaves the outcome unknown", function()
    local web <close> = serve { ["tools/call"] = function(request)
      request:start(stream_head)
      request:write("data: {\"jso")
      task.sleep(0.02)
      request:reset()
    end }
    local server <close> = mcp.connect { name = "web", url = web.url }
    local err = problem_of(server.call, server, "echo")
    assert.is_true(err.details.outcome_unknown)
    assert.equal(1, #requests_of(web, "tools/call"))
  end)

  it("that forgets the session is asked for a new one, and the call is made once more", function()
    local calls = 0
    local web <close> = serve { ["tools/call"] = function(request, message)
      calls = calls + 1
      if request:header "mcp-session-id" ~= "session-2" then
        replay.reply(404, { error = { message = "no session" } })(request)
      else
        replay.reply(200, { jsonrpc = "2.0", id = message.id, result = { content = json.array {} } })(request)
      end
    end }
    local server <close> = mcp.connect { name = "web", url = web.url }
    assert.same({}, server:call("echo").content)
    assert.equal(2, calls)
    assert.equal(2, #requests_of(web, "initialize"))
    assert.is_nil(requests_of(web, "initialize")[2].headers["mcp-session-id"])
  end)

  it("that never knows its sessions is not asked for ever", function()
    local web <close> = serve { ["tools/call"] = replay.reply(404, "") }
    local server <close> = mcp.connect { name = "web", url = web.url }
    local err = problem_of(server.call, server, "echo")
    assert.equal("session_expired", err.code)
    assert.is_nil(err.details)
    assert.equal(2, #requests_of(web, "tools/call"))
  end)

  for status, kind in pairs { [400] = "api", [401] = "authentication", [403] = "permission", [429] = "rate_limit", [503] = "server" } do
    it(("that answers %d gives an error of kind %s, with its words"):format(status, kind), function()
      local web <close> = serve { ["tools/call"] = replay.reply(status, { jsonrpc = "2.0", error = { code = 1, message = "not today" } }) }
      local server <close> = mcp.connect { name = "web", url = web.url }
      local err = problem_of(server.call, server, "echo")
      assert.same({ kind, status }, { err.kind, err.status })
      assert.matches("not today", err.message)
      assert.equal(status >= 500 or nil, err.details and err.details.outcome_unknown)
    end)
  end

  it("that answers with nonsense, nothing, too much, or somebody else's answer is an error", function()
    for _, answer in ipairs {
      replay.reply(200, "<html>"), replay.reply(202, ""), replay.reply(200, ""),
      replay.reply(200, '{"jsonrpc":"2.0","id":99999,"result":{}}'),
      replay.reply(200, '"' .. ("x"):rep(9 * 1024 * 1024) .. '"'),
      replay.whole(replay.recording("data: 5\n\ndata: {\n\n")),
    } do
      local web <close> = serve { ["tools/call"] = answer }
      local server <close> = mcp.connect { name = "web", url = web.url }
      local err = problem_of(server.call, server, "echo")
      assert.is_true(errors.is(err, "bad_response"), tostring(err))
      assert.is_true(err.details.outcome_unknown)
    end
  end)

  it("that nobody runs is a connection error, and the tool has not run", function()
    local err = problem_of(mcp.connect, { name = "web", url = replay.closed_port() })
    assert.is_true(errors.is(err, "connection"))
    assert.is_nil(err.details)
  end)

  it("hears of a cancel, and its answer is not read any more", function()
    local begun = task.signal()
    local web <close> = serve { ["tools/call"] = function(request)
      begun:wake()
      request:gone()
    end }
    local server <close> = mcp.connect { name = "web", url = web.url }
    local call = task.spawn(server.call, server, "echo")
    begun:wait()
    call:cancel()
    assert.is_true(errors.is(problem_of(call.wait, call), "cancelled"))
    web:wait_until(function()
      local cancel, request = requests_of(web, "notifications/cancelled")[1], requests_of(web, "tools/call")[1]
      return cancel and cancel.body.params.requestId == request.body.id and request.is_over
    end)
  end)

  it("is listened to, and taken at its word when it says that its tools have changed", function()
    local changed, text = task.signal(), "first"
    local web <close> = serve {
      GET = function(request)
        request:start(stream_head)
        if changed:wait(5) then
          request:write('data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n')
          request:gone()
        end
      end,
      ["tools/list"] = function(request, message)
        replay.reply(200, { jsonrpc = "2.0", id = message.id, result = {
          tools = { { name = "echo", description = text, inputSchema = { type = "object" } } },
        } })(request)
      end,
    }
    local server <close> = mcp.connect { name = "web", url = web.url }
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    web:wait_until(function()
      return requests_of(web, "GET")[1]
    end)
    text = "second"
    local session = server.session
    changed:wake()
    wait_until(function()
      return session.changes > 0
    end)
    assert.equal("not_approved", problem_of(server.call, server, "echo").code)
  end)

  it("does many calls at the same time", function()
    local group <close> = task.group()
    local web <close> = serve {}
    local server <close> = mcp.connect { name = "web", url = web.url }
    local answers = {}
    for number = 1, 50 do
      group:spawn(function()
        answers[number] = text_of(server:call("echo", { text = "text " .. number }))
      end)
    end
    group:wait()
    for number = 1, 50 do
      assert.equal("text " .. number, answers[number])
    end
  end)
end)


describe("pins in a file", function()
  it("refuse after a restart of the script what was not there before", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local path = folder .. "/pins.json"
    connect(nil, { pins = path }):close()
    local pinned = json.decode(fs.read(path))
    pinned.toy.fails, pinned.toy.echo = nil, ("0"):rep(64)
    assert(fs.write(path, json.encode(pinned)))
    local server <close> = connect(nil, { pins = path })
    assert.same({ "echo changed", "fails new" }, { server:waiting()[1].name .. " " .. server:waiting()[1].state,
      server:waiting()[2].name .. " " .. server:waiting()[2].state })
    assert.equal("not_approved", problem_of(server.call, server, "echo").code)
    server:approve("echo")
    assert.equal("hi", text_of(server:call("echo", { text = "hi" })))
    assert.equal(server.pins.seen.echo.digest, json.decode(fs.read(path)).toy.echo)
    assert(fs.remove(folder, { recursive = true }))
  end)
end)
