-- `perilune serve` as a process: starting, stopping, loading its scripts anew, and what scripts add to it.
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local programs = require "tests.support.program"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"
local wait_until = require "tests.support.wait"


-- One exchange: status, text, headers; nothing when nobody is there.
local function ask(url, options)
  options = options or {}
  local handle <close> = assert(fetch.open {
    method = options.body and "POST" or "GET", url = url, body = options.body, headers = options.headers or {}, total = 20,
  })
  local head = handle:head()
  if not head then
    return nil
  end
  local pieces = {}
  for piece in handle.next, handle do
    pieces[#pieces + 1] = piece
  end
  return head.status, table.concat(pieces), head.headers
end


local function chat(model, is_streamed)
  return json.encode { model = model, stream = is_streamed, messages = { { role = "user", content = "Hello" } } }
end


-- A server of a script; its address.
local function serve(program, script, ...)
  local words = { "serve", "--listen", "0", ... }
  if script then
    words[#words + 1] = program:file("agents.lua", script)
  end
  local child = program:start(words)
  return child, programs.read_until(child, "/v1\n"):match("(http://[%d.:]+)/v1")
end


local function assistant(name, answer)
  return ([[
    local perilune = require "perilune"
    perilune.assistant { name = "%s", model = perilune.testing.model { "%s", repeat_last = true } }
  ]]):format(name, answer)
end


local function answer_of(url, name)
  local _, text = ask(url .. "/v1/chat/completions", { body = chat("assistant/" .. name) })
  local value = json.decode(text)
  return value.choices and value.choices[1].message.content or value.error.code
end


-- An answer that takes its time, word by word.
local SLOW = [[
  local perilune = require "perilune"
  perilune.assistant { name = "slow", model = perilune.testing.model {
    { text = "one two three four five six", word_delay = 0.2 }, repeat_last = true } }
]]


describe("perilune serve", function()
  it("says where it is, answers, and ends with 0 on SIGTERM", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program)
    assert.are.equal(200, (ask(url .. "/health")))
    assert.are.equal(200, (ask(url .. "/v1/chat/completions", { body = chat "offline/demo" })))
    assert(child:kill "TERM")
    assert.are.same({ status = 0 }, programs.ending_of(child))
  end)

  it("lets an answer end that is under way when it is stopped, and takes no other", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program, SLOW)
    local group <close> = task.group()
    local status, text
    group:spawn(function()
      status, text = ask(url .. "/v1/chat/completions", { body = chat("assistant/slow", true) })
    end)
    wait_until("the answer has begun", function()
      local _, metrics = ask(url .. "/metrics")
      return metrics:find "perilune_streams_active 1"
    end)
    assert(child:kill "TERM")
    wait_until("nobody is let in", function()
      return ask(url .. "/health") == nil
    end)
    group:wait()
    assert.are.same({ 200, "data: [DONE]\n\n" }, { status, text:sub(-14) })
    assert.are.same({ status = 0 }, programs.ending_of(child))
  end)

  it("loads its scripts anew on SIGHUP, all or none, without dropping what is under way", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program, SLOW .. assistant("bob", "I am old"))
    local group <close> = task.group()
    local text
    group:spawn(function()
      local _
      _, text = ask(url .. "/v1/chat/completions", { body = chat("assistant/slow", true) })
    end)
    assert.are.equal("I am old", answer_of(url, "bob"))
    program:file("agents.lua", assistant("bob", "I am new"))
    assert(child:kill "HUP")
    wait_until("the new one answers", function()
      return answer_of(url, "bob") == "I am new"
    end)
    assert.are.equal("model_not_found", answer_of(url, "slow"))
    program:file("agents.lua", "this is no Lua")
    assert(child:kill "HUP")
    programs.read_until(child, "could not be loaded anew[^\n]*agents.lua:1", "stderr")
    program:file("agents.lua", assistant("carol", "I am wrong") .. "error('no')")
    assert(child:kill "HUP")
    programs.read_until(child, "could not be loaded anew[^\n]*no\n", "stderr")
    assert.are.same({ "I am new", "model_not_found" }, { answer_of(url, "bob"), answer_of(url, "carol") })
    group:wait()
    assert.are.equal("data: [DONE]\n\n", text:sub(-14))
  end)

  it("answers with what was loaded before while scripts are loaded anew", function()
    local program <close> = programs.new()
    local ROUTE = [[
      require("perilune").on("authenticate", function(request)
        return request:header "x-user" and { name = "eve", models = { "none" } }
      end)
    ]]
    local child <close>, url = serve(program, assistant("bob", "I am old") .. ROUTE)
    local SLOW_LOAD = [[
      require("perilune.sys.log").write("warn", "script", "the load has begun")
      while not io.open("go", "r") do require("perilune").sleep(0.01) end
    ]]
    program:file("agents.lua", assistant("carol", "I am new") .. SLOW_LOAD)
    assert(child:kill "HUP")
    programs.read_until(child, "the load has begun", "stderr")
    assert.are.same({ "I am old", "model_not_found" }, { answer_of(url, "bob"), answer_of(url, "carol") })
    assert.are.equal(403, (ask(url .. "/v1/chat/completions", { body = chat "assistant/bob", headers = { ["x-user"] = "eve" } })))
    program:file("go", "")
    wait_until("the new one answers", function()
      return answer_of(url, "carol") == "I am new"
    end)
    assert.are.equal("model_not_found", answer_of(url, "bob"))
  end)

  it("loads them anew by itself with --watch", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program, assistant("bob", "I am old"), "--watch")
    assert.are.equal("I am old", answer_of(url, "bob"))
    program:file("agents.lua", assistant("bob", "I am as new as can be"))
    wait_until("the new one answers", function()
      return answer_of(url, "bob") == "I am as new as can be"
    end)
    assert.is_true(child:kill "TERM")
  end)

  it("loads them anew with --watch when a module changes that they require", function()
    local program <close> = programs.new()
    program:file("helper.lua", 'return "I am old"')
    local child <close>, url = serve(program, [[
      local perilune = require "perilune"
      perilune.assistant { name = "bob", model = perilune.testing.model { require "helper", repeat_last = true } }
    ]], "--watch")
    assert.are.equal("I am old", answer_of(url, "bob"))
    program:file("helper.lua", "this is no Lua")
    programs.read_until(child, "could not be loaded anew[^\n]*helper", "stderr")
    program:file("helper.lua", 'return "I am as new as can be"')
    wait_until("the new one answers", function()
      return answer_of(url, "bob") == "I am as new as can be"
    end)
    assert.is_true(child:kill "TERM")
  end)

  it("goes on with a run whose server was killed", function()
    local program <close> = programs.new()
    local script = [[
      local perilune = require "perilune"
      local count = perilune.tool { name = "count", description = "counts", idempotent = true, run = function()
        local file = io.open("counted", "a")
        file:write("x")
        file:close()
        if not io.open("go", "r") then perilune.sleep(60) end
        return "counted"
      end }
      local counter = perilune.assistant { name = "counter", tools = { count },
        model = perilune.testing.model { function(request)
          local is_counted = request.messages[#request.messages].role == "tool"
          return is_counted and "all counted" or { tool_calls = { { name = "count", arguments = {} } } }
        end, repeat_last = true } }
      perilune.route("POST /start", function()
        return { id = perilune.thread("t"):start(counter, "go").id }
      end)
    ]]
    local child <close>, url = serve(program, script)
    assert.are.equal(200, (ask(url .. "/start", { body = "{}" })))
    wait_until("the tool has begun", function()
      return fs.stat(program.folder .. "/counted")
    end)
    assert(child:kill "KILL")
    programs.ending_of(child)
    program:file("go", "")
    local again <close> = serve(program, script)
    wait_until("the run is completed", function()
      local result = program:run { "runs", "list", "--json" }
      return json.decode(result.stdout)[1].status == "completed"
    end)
    assert(again:kill "TERM")
  end)

  it("refuses what it cannot listen on, and scripts that are not there, with a message", function()
    local program <close> = programs.new()
    local result = program:run { "serve", "--listen", "nowhere" }
    assert.are.same({ 2, true }, { result.status, result.stderr:find("--listen is PORT or HOST:PORT", 1, true) ~= nil })
    result = program:run { "serve", "--listen", "203.0.113.1:0" }
    assert.are.same({ 1, true }, { result.status, result.stderr:find("cannot listen", 1, true) ~= nil })
    for problem, words in pairs {
      ["'nohost' is no address"] = { "--listen", "nohost:0" }, ["--listen is PORT"] = { "--listen", "10.0.0.0/8:0" },
      ["there is no script 'missing.lua'"] = { "missing.lua" }, ["'.' is a folder, and no script"] = { "." },
      ["'--memory' must be between 16 and 1000000, not 1\n"] = { "--memory", "1" },
      ["'--connections' must be between 1 and 1000000, not 0\n"] = { "--connections", "0" },
    } do
      result = program:run { "serve", "--listen", "0", table.unpack(words) }
      assert.are.same({ 2, true }, { result.status, result.stderr:find(problem, 1, true) ~= nil }, result.stderr)
    end
  end)
end)


describe("the scripts of a server", function()
  it("define routes, aliases and hooks", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program, [[
      local perilune = require "perilune"
      perilune.alias("fast", { "offline/demo" })
      perilune.route("GET /hello/{name}", function(request)
        return { hello = request.params.name, asked = request:query "q" }
      end)
      perilune.route("POST /text", function(request) return request.body:upper() end)
      perilune.route("GET /nothing", function() end)
      perilune.route("GET /teapot", function() return { status = 418, headers = { ["X-Tea"] = "green" }, body = "no coffee" } end)
      perilune.route("GET /broken", function() error "at once" end)
      perilune.route("GET /events", function(request)
        local events <close> = request:events()
        events:send { n = 1 }
        events:send({ n = 2 }, "named")
      end)
      perilune.on("request", function(request)
        if request:header "x-refuse" then request:reply(451, { why = "the law" }) end
        if request.method == "POST" then request:body().max_tokens = 3 end
      end)
      perilune.on("authenticate", function(request)
        return request:header "x-user" and { name = request:header "x-user", models = { "offline/*" } }
      end)
    ]], "--log-level", "off")
    assert.are.equal('{"asked":"a b","hello":"Jo%"}', select(2, ask(url .. "/hello/Jo%25?q=a+b")))
    assert.are.equal("SHOUT", select(2, ask(url .. "/text", { body = "shout" })))
    assert.are.equal(204, (ask(url .. "/nothing")))
    local status, text, headers = ask(url .. "/teapot")
    assert.are.same({ 418, "no coffee", "green" }, { status, text, headers["x-tea"] })
    status, text = ask(url .. "/broken")
    assert.are.equal(500, status)
    assert.is_nil(text:find("at once", 1, true))
    assert.are.equal('data: {"n":1}\n\nevent: named\ndata: {"n":2}\n\n', select(2, ask(url .. "/events")))
    assert.are.equal(451, (ask(url .. "/v1/models", { headers = { ["x-refuse"] = "1" } })))
    status, text = ask(url .. "/v1/chat/completions", { body = chat "fast" })
    assert.are.equal(200, status, text)
    status = ask(url .. "/v1/chat/completions", { body = chat "fast", headers = { ["x-user"] = "eve" } })
    assert.are.equal(403, status)
    assert(child:kill "TERM")
  end)

  it("are told in the access log who asked", function()
    local program <close> = programs.new()
    local child <close>, url = serve(program, assistant("bob", "Hi"), "--log-level", "info", "--log-format", "json")
    assert.are.equal(200, (ask(url .. "/health")))
    assert.is_truthy(programs.read_until(child, '"remote":"127.0.0.1"', "stderr"))
  end)

  it("take the place of none of the server's own routes", function()
    local program <close> = programs.new()
    for path, taken in pairs { ["/health"] = "/health", ["/v1/threads/{id}"] = "/v1/threads/{thread_id}" } do
      program:file("agents.lua", ('require("perilune").route("GET %s", print)'):format(path))
      local result = program:run { "serve", "--listen", "0", "agents.lua" }
      assert.are.same({ 3, ("perilune: perilune.route: 'GET %s': the server has this route already, %s\n"):format(path, taken) },
        { result.status, result.stderr })
    end
  end)

  it("take deliveries that are signed, once: scripts/webhook.lua", function()
    local program <close> = programs.new { HOOK_SECRET = "s3cret-s3cret" }
    local child <close> = program:start { "serve", "--listen", "0", programs.path "scripts/webhook.lua" }
    local url = programs.read_until(child, "/v1\n"):match("(http://[%d.:]+)/v1") .. "/hooks/issues"
    local function deliver(body, id)
      local signature = "sha256=" .. token.hmac_sha256("s3cret-s3cret", body)
      return (ask(url, { body = body, headers = { ["x-hub-signature-256"] = signature, ["x-delivery"] = id } }))
    end
    local body = json.encode { title = "It is broken", body = "All of it." }
    assert.are.equal(401, (ask(url, { body = body })))
    assert.are.equal(202, deliver(body, "7"))
    assert.are.equal(200, deliver(body, "7"))
    assert.are.equal(202, deliver('{"title":"It is broken","body":null}', "8"))
    for _, nothing in ipairs { "{}", "[]", "5", "null", '{"title":5}', "{" } do
      assert.are.equal(400, deliver(nothing, "9"), nothing)
    end
    assert(child:kill "TERM")
  end)

  it("make one run of equal deliveries that come at once: scripts/webhook.lua", function()
    local program <close> = programs.new { HOOK_SECRET = "s3cret-s3cret" }
    local child <close> = program:start { "serve", "--listen", "0", programs.path "scripts/webhook.lua" }
    local url = programs.read_until(child, "/v1\n"):match("(http://[%d.:]+)/v1") .. "/hooks/issues"
    local body = '{"title":"It is broken"}'
    local headers = { ["x-hub-signature-256"] = "sha256=" .. token.hmac_sha256("s3cret-s3cret", body), ["x-delivery"] = "7" }
    local group <close> = task.group()
    for _ = 1, 8 do
      group:spawn(function()
        local status, text = ask(url, { body = body, headers = headers })
        assert.is_true(status == 200 or status == 202, text)
      end)
    end
    group:wait()
    assert.are.equal(1, #json.decode(program:run { "runs", "list", "--json" }.stdout))
    assert(child:kill "TERM")
  end)

  it("do not begin without the secret that deliveries are signed with: scripts/webhook.lua", function()
    local program <close> = programs.new()
    local result = program:run { "serve", "--listen", "0", programs.path "scripts/webhook.lua" }
    assert.are.same({ 1, true }, { result.status, result.stderr:find("set HOOK_SECRET", 1, true) ~= nil })
  end)

  it("let nobody ask for more than a page: scripts/gateway.lua", function()
    local program <close> = programs.new()
    local echo = program:file("echo.lua", [[
      local perilune = require "perilune"
      perilune.assistant { name = "echo", model = perilune.testing.model {
        function(request) return tostring(request.max_completion_tokens or request.max_tokens) end, repeat_last = true } }
    ]])
    local child <close> = program:start { "serve", "--listen", "0", "--log-level", "off", programs.path "scripts/gateway.lua", echo }
    local url = programs.read_until(child, "/v1\n"):match("(http://[%d.:]+/v1)")
    local function limit_of(path, fields)
      local status, text = ask(url .. path, { body = '{"model":"assistant/echo",' .. fields .. "}" })
      return text:match('"text":"(%w+)"') or text:match('"content":"(%w+)"') or status
    end
    local question = '"messages":[{"role":"user","content":"How many?"}]'
    for more, expected in pairs {
      [""] = "1000", [',"max_tokens":null'] = "1000", [',"max_tokens":7'] = "7", [',"max_tokens":5000'] = "1000",
      [',"max_completion_tokens":5000'] = "1000", [',"max_completion_tokens":7'] = "7", [',"max_tokens":"many"'] = 400 } do
      assert.are.equal(expected, limit_of("/chat/completions", question .. more), more)
    end
    assert.are.equal("1000", limit_of("/chat/completions/", question .. ',"max_completion_tokens":5000'))
    assert.are.equal("1000", limit_of("/responses", '"input":"How many?","max_output_tokens":5000'))
    assert.are.equal("1000", limit_of("/messages", question .. ',"max_tokens":5000'))
    assert(child:kill "TERM")
  end)
end)
