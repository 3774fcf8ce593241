-- Clients over HTTP and in the program: what goes over the wire, tool loops in OpenAI's shape, what is told on standard error.
local apps = require "perilune.app"
local clients = require "perilune.client"
local has = require "tests.support.has"
local json = require "perilune.json"
local perilune = require "perilune"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"
local task = require "perilune.sys.task"

local MODEL = "openai/gpt-4o-mini"


local function client_of(server, options)
  local values = { OPENAI_API_KEY = "a-key-0123456789", OPENAI_BASE_URL = server.url }
  options = options or {}
  options.model = options.model or MODEL
  return clients.new(apps.new { env = function(name) return values[name] end }, options)
end


describe("a client over HTTP", function()
  it("sends the name of a request along, when its caller gave one", function()
    local server <close> = replay.serve { replay.whole(replay.text "Hello.") }
    local client = client_of(server)
    assert.are.equal("order-7", client:chat("Hi", { request_id = "order-7" }).stats.client_request_id)
    client:chat("Hi")
    assert.are.equal("order-7", server.requests[1].headers["x-client-request-id"])
    assert.is_nil(server.requests[1].body.request_id)
    assert.is_nil(server.requests[2].headers["x-client-request-id"])
  end)

  it("carries 64 requests at once with one key, and more where that is asked for", function()
    for _, most in ipairs { 64, 90 } do
      local group <close> = task.group()
      local server <close> = replay.serve { replay.stalled() }
      local client = client_of(server, { max_inflight = most > 64 and most or nil })
      local streams = {}
      for position = 1, 100 do
        group:spawn(function()
          streams[position] = client:stream("Hi")
          streams[position]:next()
        end)
      end
      server:wait_requests(most)
      task.sleep(0.02) -- whoever must wait does not come now
      assert.are.equal(most, #server.requests)
      for _, stream in pairs(streams) do
        stream:cancel()
      end
    end
  end)

  it("counts what the provider says of tokens, and what they cost", function()
    local server <close> = replay.serve { replay.whole(replay.text "Hello there.") }
    local client = client_of(server)
    local stream <close> = client:stream("Hi")
    local response = stream:response()
    assert.are.same({ 3, 5, 8 }, { response.stats.prompt_tokens, response.stats.completion_tokens, response.stats.total_tokens })
    local stats = client:stats()
    assert.are.same({ 1, 1, 8, response.usage.cost }, { stats.requests, stats.successes, stats.total_tokens, stats.cost })
    assert.is_true(stats.cost > 0)
    assert.is_true(stats.latency.p95 > 0 and stats.time_to_first_token.p50 > 0)
    assert.are.same({ "openai", "replayed" }, { client.last_provider, client.last_model })
  end)

  it("ends a stream that takes longer than its caller has, and the connection with it", function()
    local server <close> = replay.serve { replay.stalled(replay.text "one two", 250) }
    local client = client_of(server, { max_retries = 0 })
    local stream <close> = client:stream("Hi", { timeout = 0.1 })
    local kinds = {}
    for event in stream do
      kinds[#kinds + 1] = event.type
    end
    assert.are.same({ "start", "text", "error" }, kinds)
    local partial = stream:so_far()
    assert.are.same({ "timeout", "deadline", "one " }, { partial.error.kind, partial.error.code, partial.content })
  end)

  it("runs a loop of tools in OpenAI's shape", function()
    local server <close> = replay.serve {
      replay.whole(replay.calls { { id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' } }),
      replay.whole(replay.text "It is cloudy."),
    }
    local client = client_of(server)
    local messages = { { role = "user", content = "Weather in Paris?" } }
    local body = { model = MODEL, messages = messages, tools = { { type = "function", ["function"] = {
      name = "get_weather", parameters = { type = "object", properties = { city = { type = "string" } } },
    } } } }
    local first = client.chat.completions.create(body).choices[1]
    assert.are.equal("tool_calls", first.finish_reason)
    local call = first.message.tool_calls[1]
    messages[2], messages[3] = first.message, { role = "tool", tool_call_id = call.id, content = "cloudy" }
    assert.are.equal("It is cloudy.", client.chat.completions.create(body).choices[1].message.content)
    local sent = server.requests[2].body
    assert.are.same({ "user", "assistant", "tool" }, { sent.messages[1].role, sent.messages[2].role, sent.messages[3].role })
    assert.are.same({ name = "get_weather", arguments = '{"city":"Paris"}' }, sent.messages[2].tool_calls[1]["function"])
    assert.are.equal("call_1", sent.messages[3].tool_call_id)
    assert.are.equal("get_weather", sent.tools[1]["function"].name)
  end)

  it("streams chunks of calls that put together are the call", function()
    local server <close> = replay.serve {
      replay.whole(replay.calls { { id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' } }),
    }
    local arguments, name, reason = "", nil, nil
    for chunk in client_of(server).chat.completions.create {
      stream = true, messages = { { role = "user", content = "Weather in Paris?" } },
    } do
      local choice = chunk.choices[1]
      local call = (choice.delta.tool_calls or {})[1]
      if call then
        name, arguments = name or call["function"].name, arguments .. call["function"].arguments
      end
      reason = choice.finish_reason or reason
    end
    assert.are.same({ "get_weather", '{"city":"Paris"}', "tool_calls" }, { name, arguments, reason })
  end)

  it("stops drawing when its token is cancelled", function()
    local group <close> = task.group()
    local server <close> = replay.serve { replay.stalled() }
    local token, handle = perilune.cancel_pair()
    local client = client_of(server, { cancel = token })
    local drawing = group:spawn(function()
      return select(2, perilune.try(client.image, client, { prompt = "a crater", model = "openai/gpt-image-1" }))
    end)
    while #server.requests == 0 do
      task.sleep(0.001)
    end
    handle:cancel()
    assert.are.equal("cancelled", drawing:wait().kind)
    assert.are.equal("cancelled", select(2, perilune.try(client.embed, client, { input = "x" })).kind)
  end)

  it("keeps to its rate, however many ask", function()
    local server <close> = replay.serve { replay.whole(replay.text "Hello.") }
    local client = client_of(server, { rate_limit = { requests_per_second = 20, burst = 2 } })
    client:chat("1")
    client:chat("2")
    local third = client:chat("3").stats.latency_ms
    assert.is_true(third >= 20, ("the third waited %d ms"):format(third))
  end)
end)


describe("the program", function()
  local script = [[
    local perilune = require "perilune"
    perilune.client { print_provider_info = true }:chat "Hello"
  ]]

  it("tells in colour who answers, when a client asks for it", function()
    local program <close> = programs.new()
    local result = program:run { "run", "-e", script }
    assert.are.same({ 0, "\27[36moffline\27[0m:\27[33mdemo\27[0m\n" }, { result.status, result.stderr })
  end)

  it("tells it without colour under NO_COLOR", function()
    local program <close> = programs.new { NO_COLOR = "1" }
    assert.are.equal("offline:demo\n", program:run({ "run", "-e", script }).stderr)
  end)

  it("tells at debug level what production_ready means", function()
    local program <close> = programs.new()
    local result = program:run { "--log-level", "debug", "--log-format", "json", "run", "-e", [[
      require("perilune").client.builder():production_ready():retry(4, 2):build()
    ]] }
    local said
    for line in result.stderr:gmatch("[^\n]+") do
      local entry = json.decode(line)
      said = entry and entry.area == "client" and entry or said
    end
    assert.are.equal("debug", said.level)
    has(said.message, "retry.max_attempts = 4")
    has(said.message, "retry.backoff = 2")
    has(said.message, "rate_limit.requests_per_second = 10")
    has(said.message, "breaker.failures = 5")
    has(said.message, "max_inflight = 10")
  end)

  it("blames the line of the script for a wrong option", function()
    local program <close> = programs.new()
    program:file("wrong.lua", 'local perilune = require "perilune"\nlocal client = perilune.client()\n\n'
      .. 'perilune.client.builder()\n  :timeot(5)\n')
    local result = program:run { "run", "wrong.lua" }
    assert.are.not_equal(0, result.status)
    has(result.stderr, "builder:timeot does not exist, did you mean 'timeout'?")
    has(result.stderr, "wrong.lua:5")
  end)
end)
