-- POST /v1/chat/completions: models behind failover, assistants with their tool loop, and what becomes of an answer that breaks off or
-- that nobody waits for any more.
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local kit = require "tests.support.server"
local replay = require "tests.support.replay"
local sse = require "perilune.serve.sse"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"

local MODEL = "openai/gpt-4o-mini"

local function env_of(upstream)
  return function(name)
    return ({ OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = upstream.url })[name]
  end
end


local function question(changes)
  local body = { model = MODEL, messages = { { role = "user", content = "Hello" } } }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return body
end


-- The same as a stream, as the other endpoints take it.
local function question_to(path)
  local asked = question { stream = true, max_tokens = 9, input = path == "responses" and "Hello" or nil }
  if path == "completions" then
    asked.messages, asked.prompt = nil, "Hello"
  end
  return asked
end


local weather = { type = "function", ["function"] = {
  name = "get_weather", description = "The weather", parameters = { type = "object", properties = { city = { type = "string" } } },
} }


local function text_of(events)
  local pieces = {}
  for _, one in ipairs(events) do
    local choice = type(one.data) == "table" and one.data.choices and one.data.choices[1]
    pieces[#pieces + 1] = choice and type(choice.delta.content) == "string" and choice.delta.content or nil
  end
  return table.concat(pieces)
end


describe("a chat completion", function()
  it("of a provider has OpenAI's shape, and says who answered", function()
    local upstream <close> = replay.serve { replay.whole(replay.text("Good morning.")) }
    local server <close> = kit.start { settings = { env = env_of(upstream) } }
    local answer = server:post("/v1/chat/completions", question { temperature = 0.5, store = true, metadata = { a = "b" } })
    assert.are.equal(200, answer.status, answer.text)
    local choice = answer.body.choices[1]
    assert.are.same({ "chat.completion", "assistant", "Good morning.", "stop" },
      { answer.body.object, choice.message.role, choice.message.content, choice.finish_reason })
    assert.are.equal("openai", answer.headers["x-perilune-provider"])
    assert.are.equal(0.5, upstream.requests[1].body.temperature)
    assert.is_nil(upstream.requests[1].body.metadata)
  end)

  it("is one of many that a provider answers at once", function()
    local COUNT, arrived, all = 400, 0, task.signal()
    local function answer_last(request)
      arrived = arrived + 1
      all:wake()
      while arrived < COUNT do
        all:wait()
      end
      return replay.whole(replay.text("ok"))(request)
    end
    local upstream <close> = replay.serve { answer_last }
    local server <close> = kit.start { settings = { env = env_of(upstream) } }
    local statuses = {}
    do
      local group <close> = task.group()
      for _ = 1, COUNT do
        group:spawn(function()
          local status = server:post("/v1/chat/completions", question()).status
          statuses[status] = (statuses[status] or 0) + 1
        end)
      end
      group:wait()
    end
    assert.are.same({ [200] = COUNT }, statuses)
  end)

  it("leaves out what it does not know of messages, and passes on what it does not know of the body", function()
    local upstream <close> = replay.serve { replay.whole(replay.text("ok")) }
    local server <close> = kit.start { settings = { env = env_of(upstream) } }
    local answer = server:post("/v1/chat/completions", question { top_k = 5, messages = {
      { role = "user", name = "ann", annotations = json.array(), content = {
        { type = "text", text = "Hello", cache_control = { type = "ephemeral" } },
      } },
    } })
    assert.are.equal(200, answer.status, answer.text)
    local sent = upstream.requests[1].body
    assert.are.same({ 5, "ann" }, { sent.top_k, sent.messages[1].name })
  end)

  it("that has a field of the wrong type says where, and asks nobody", function()
    local upstream <close> = replay.serve {}
    local server <close> = kit.start { settings = { env = env_of(upstream) } }
    for _, wrong in ipairs {
      { role = "assistant", refusal = {} }, { role = "assistant", refusal = 5 }, { role = "user", content = "x", name = 5 },
      { role = "assistant", content = "x", provider_items = { provider = "openai", model = "gpt-4o-mini", items = { 5 } } },
    } do
      local answer = server:post("/v1/chat/completions", question { messages = { { role = "user", content = "x" }, wrong } })
      assert.are.same({ 400, "messages[1]" }, { answer.status, answer.body.error.param }, answer.text)
    end
    assert.are.equal(0, #upstream.requests)
  end)

  it("that is wrong says which field it is, counted from 0", function()
    local server <close> = kit.start {}
    local image, choice = { type = "image_url", image_url = { url = "data:image/png;base64,!!" } }, { type = "function", ["function"] = {} }
    for param, changes in pairs {
      model = { model = 5 }, messages = { messages = json.array() }, ["tools[1]"] = { tools = { weather, weather } },
      ["tools[0].function"] = { tools = { { type = "function" } } }, tool_choice = { tool_choice = choice },
      ["messages[1]"] = { messages = { { role = "user", content = "x" }, json.null } },
      ["messages[0].content[1].image_url.url"] = { messages = { { role = "user", content = { { type = "text", text = "x" }, image } } } },
      ["messages[0].function_call"] = { messages = { { role = "assistant", function_call = { name = "f", arguments = "{}" } } } },
      ["messages[0].audio"] = { messages = { { role = "assistant", audio = { id = "audio_1" } } } },
    } do
      local answer = server:post("/v1/chat/completions", question(changes))
      assert.are.same({ 400, param, "invalid_value" }, { answer.status, answer.body.error.param, answer.body.error.code }, answer.text)
    end
    local answer = server:post("/v1/chat/completions", question { model = json.null })
    assert.are.equal("missing_required_parameter", answer.body.error.code)
  end)

  it("moves on to the next of an alias, and counts it", function()
    local upstream <close> = replay.serve { replay.reply(500, "{}"), replay.reply(500, "{}"), replay.reply(500, "{}") }
    local server <close> = kit.start {
      settings = { env = env_of(upstream), max_retries = 0 },
      define = function(perilune)
        perilune.alias("fast", { MODEL, "offline/demo" })
      end,
    }
    local answer = server:post("/v1/chat/completions", question { model = "fast" })
    assert.are.equal(200, answer.status, answer.text)
    assert.are.equal("offline", answer.headers["x-perilune-provider"])
    assert.is_true(tonumber(answer.headers["x-perilune-attempts"]) > 1)
  end)

  it("says how many requests it took, and how many targets were asked after the first", function()
    local ok, down = replay.whole(replay.text("ok")), replay.reply(500, "{}")
    local blank = replay.whole(replay.text("  "))
    local cases = { -- models, answers of the provider, requests and fallbacks
      { { MODEL }, { ok }, "1 0 openai" },
      { { MODEL }, { blank }, "1 0 nil" },
      { { MODEL }, { down, ok }, "2 0 openai" },
      { { MODEL, "offline/demo" }, { down, blank }, "3 1 offline" },
      { { MODEL, "openai/other" }, { down, down }, "4 1 nil" },
    }
    for position, case in ipairs(cases) do
      for _, is_streamed in ipairs { true, false } do
        local upstream <close> = replay.serve(case[2])
        local server <close> = kit.start { settings = { env = env_of(upstream), retry = { backoff = 0.001 } }, define = function(perilune)
          perilune.alias("any", case[1])
        end }
        local headers = server:post("/v1/chat/completions", question { model = "any", stream = is_streamed }).headers
        assert.are.equal(case[3], ("%s %s %s"):format(headers["x-perilune-attempts"], headers["x-perilune-fallbacks"],
          headers["x-perilune-provider"]), position)
        require("perilune.sys.failover").reset()
      end
    end
  end)

  it("does not count whom it passes over among the requests", function()
    local down = replay.reply(401, "{}")
    local upstream <close> = replay.serve { down }
    local server <close> = kit.start { settings = { env = env_of(upstream) }, define = function(perilune)
      perilune.alias("any", { MODEL, "offline/demo" })
    end }
    for number, expected in ipairs { "2", "1" } do
      local headers = server:post("/v1/chat/completions", question { model = "any" }).headers
      assert.are.same({ expected, "1", 1 }, { headers["x-perilune-attempts"], headers["x-perilune-fallbacks"], #upstream.requests }, number)
    end
  end)

  it("that no provider gives is an error with the cause's status", function()
    for status, expected in pairs { [429] = 429, [500] = 502, [401] = 502, [400] = 400 } do
      local failure = replay.reply(status, json.encode { error = { message = "no", type = "x", code = "y" } })
      local upstream <close> = replay.serve { failure, failure, failure, failure }
      local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 } }
      local answer = server:post("/v1/chat/completions", question())
      assert.are.equal(expected, answer.status, status .. ": " .. answer.text)
      require("perilune.sys.failover").reset()
    end
  end)

  it("that fails before its first words is answered with a status, streamed too", function()
    local role = 'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    local refused = replay.recording(role .. 'data: {"error":{"message":"no","type":"server_error"}}\n\n')
    for _, failure in ipairs { replay.whole(refused), replay.broken(refused, #role, "reset") } do
      local upstream <close> = replay.serve { failure }
      local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 } }
      for _, path in ipairs { "chat/completions", "completions", "messages", "responses" } do
        local answer = server:post("/v1/" .. path, question_to(path))
        assert.are.equal(502, answer.status, path .. ": " .. answer.text)
        require("perilune.sys.failover").reset()
      end
    end
  end)

  it("that is long in coming keeps its connection, and says in the stream how it ended", function()
    finally(function()
      sse.KEEP_ALIVE_SECONDS, sse.LOOK_SECONDS = 10, 1
    end)
    sse.KEEP_ALIVE_SECONDS, sse.LOOK_SECONDS = 0.01, 0.01
    for _, path in ipairs { "chat/completions", "completions", "messages", "responses" } do
      local heard = task.signal()
      local answers = { replay.reply(400, { error = { message = "no" } }), replay.whole(replay.text("Good morning.")) }
      local function late(request)
        heard:wait()
        table.remove(answers, 1)(request)
      end
      local upstream <close> = replay.serve { late }
      local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 } }
      for number, expected in ipairs { '"no"', "Good" } do
        local handle <close> = assert(fetch.open {
          method = "POST", url = server.url .. "/v1/" .. path, body = json.encode(question_to(path)), frame = "bytes",
        })
        local pieces = { assert(handle:head()).status, assert(handle:next()) }
        upstream:wait_requests(number)
        heard:wake()
        for piece in handle.next, handle do
          pieces[#pieces + 1] = piece
        end
        assert.matches("^200: keep%-alive\n\n.*" .. expected, table.concat(pieces), nil, path)
      end
    end
  end)

  it("that a provider refuses as such says what the provider says", function()
    local err = { message = "too hot", type = "invalid_request_error", param = "temperature", code = "decimal_above_max_value" }
    local upstream <close> = replay.serve { replay.reply(400, { error = err }) }
    local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 } }
    local answer = server:post("/v1/chat/completions", question { temperature = 9 })
    err.code = "upstream_rejected"
    assert.are.same({ 400, err }, { answer.status, answer.body.error })
  end)

  it("of several answers that the provider does not give says which option is wrong", function()
    local server <close> = kit.start { settings = { env = function(name)
      return ({ ANTHROPIC_API_KEY = "a-key", ANTHROPIC_BASE_URL = replay.closed_port() })[name]
    end } }
    local answer = server:post("/v1/chat/completions", question { model = "anthropic/claude-sonnet-4-5", n = 2 })
    local err = answer.body.error
    assert.are.same({ 400, "n", "unsupported_parameter" }, { answer.status, err.param, err.code }, answer.text)
  end)

  it("that a provider refuses because of the server's key says so, and nothing of what the provider said", function()
    local refusals = { [401] = "invalid_api_key", [403] = "permission_denied", [429] = "insufficient_quota" }
    for status, code in pairs(refusals) do
      local failure = replay.reply(status, { error = { message = "account secret@example.com", code = code } })
      local upstream <close> = replay.serve { failure }
      local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 }, define = function(perilune)
        perilune.alias("two", { MODEL, "openai/gpt-4o" })
      end }
      for _, model in ipairs { MODEL, "two" } do
        for _, is_streamed in ipairs { false, true } do
          require("perilune.sys.failover").reset()
          local answer = server:post("/v1/chat/completions", question { model = model, stream = is_streamed })
          local err = answer.body.error
          assert.are.same({ 502, "upstream_credentials_exhausted" }, { answer.status, err.code }, answer.text)
          assert.is_nil(answer.text:find("secret", 1, true))
        end
      end
    end
    require("perilune.sys.failover").reset()
  end)

  it("that breaks off after its first words ends in an error, without [DONE]", function()
    local story = replay.text("one two three four five six seven eight")
    local upstream <close> = replay.serve { replay.broken(story, 900, "reset") }
    local server <close> = kit.start { settings = { env = env_of(upstream), max_retries = 0 } }
    local events = server:events("/v1/chat/completions", question { stream = true })
    assert.are.equal(200, events.status)
    assert.is_true(#text_of(events) > 0)
    assert.are.equal("stream_interrupted", events[#events].data.error.code)
  end)

  it("whose client goes away lets go of the provider", function()
    local upstream <close> = replay.serve { replay.stalled(replay.text("one two three"), 400) }
    local server <close> = kit.start { settings = { env = env_of(upstream) } }
    local handle = assert(fetch.open {
      method = "POST", url = server.url .. "/v1/chat/completions", body = json.encode(question { stream = true }), frame = "sse",
    })
    assert.are.equal(200, handle:head().status)
    handle:close()
    upstream:wait_until(function()
      return upstream.requests[1].is_over
    end)
    while server.server.active > 0 do
      task.sleep(0.01)
    end
  end)
end)


describe("a JSON Schema of a client's", function()
  local schema = '{"type":"object","properties":{"zeta":{"type":"string"},"alpha":{"type":"string"}},"required":["zeta","alpha"]}'
  local bodies = { -- by what is asked, with the schema where % stands; its properties decide the order of the answer
    ["chat/completions"] = '"messages":[{"role":"user","content":"Hi"}],'
      .. '"tools":[{"type":"function","function":{"name":"f","parameters":%}}],'
      .. '"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":%}}',
    messages = '"max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"tools":[{"name":"f","input_schema":%}],'
      .. '"output_config":{"format":{"type":"json_schema","schema":%}}',
    responses = '"input":"Hi","tools":[{"type":"function","name":"f","parameters":%}],'
      .. '"text":{"format":{"type":"json_schema","name":"n","schema":%}}',
  }

  local function every_provider(upstream)
    return function(name)
      return name:find "_BASE_URL$" and upstream.url or name:find "_API_KEY$" and "a-key" or nil
    end
  end

  -- How many schemas of the request have their properties in order.
  local function count_ordered(sent)
    return select(2, sent.text:gsub('"properties":{"zeta":{[^}]*},"alpha"', ""))
  end

  it("reaches the provider with its properties in their order", function()
    local upstream <close> = replay.serve { replay.reply(400, { error = { message = "no" } }) }
    local server <close> = kit.start { settings = { max_retries = 0, env = every_provider(upstream) } }
    for path, body in pairs(bodies) do
      for _, model in ipairs { "openai/m", "anthropic/claude-sonnet-4-5", "gemini/m", "cohere/m", "ollama/m" } do
        local text = ('{"model":"%s",%s}'):format(model, (body:gsub("%%", schema)))
        local before = #upstream.requests
        local answer = server:post("/v1/" .. path, text)
        assert.are.equal(before + 1, #upstream.requests, path .. " " .. model .. ": " .. answer.text)
        local sent = upstream.requests[before + 1]
        assert.are.equal(2, count_ordered(sent), path .. " " .. model .. ": " .. sent.text)
        require("perilune.sys.failover").reset()
      end
    end
  end)

  it("does so from an assistant that is kept, too", function()
    local upstream <close> = replay.serve { replay.reply(400, { error = { message = "no" } }) }
    local server <close> = kit.start { settings = { max_retries = 0, env = every_provider(upstream) } }
    local text = '{"model":"openai/m","name":"kept","tools":[{"type":"function","function":{"name":"f","parameters":%s}}]}'
    local made = server:post("/v1/assistants", text:format(schema))
    assert.are.equal(1, count_ordered(server:get("/v1/assistants/" .. made.body.id)))
    server:events("/v1/threads/runs", { assistant_id = made.body.id, stream = true, thread = { messages = question().messages } })
    assert.are.equal(1, count_ordered(upstream.requests[1]), upstream.requests[1].text)
  end)
end)


describe("a chat completion of an assistant", function()
  local function forecaster(perilune, answers)
    return perilune.assistant {
      name = "forecaster", model = testing.model(answers),
      tools = { perilune.tool { name = "lookup", description = "looks up", run = function() return "18 degrees" end } },
    }
  end

  local function define(answers)
    return function(perilune)
      forecaster(perilune, answers)
    end
  end

  it("is one answer, whatever its tools do behind it", function()
    for _, is_streamed in ipairs { false, true } do
      local server <close> = kit.start { define = define {
        { text = "Let me see. ", tool_calls = { { name = "lookup", arguments = {} } } }, "18 degrees.",
      } }
      local body = question { model = "assistant/forecaster", stream = is_streamed }
      if is_streamed then
        local events = server:events("/v1/chat/completions", body)
        assert.are.equal("Let me see. 18 degrees.", text_of(events))
        assert.are.same({ "stop", "[DONE]" }, { events[#events - 1].data.choices[1].finish_reason, events[#events].data })
        for _, one in ipairs(events) do
          assert.is_nil(type(one.data) == "table" and one.data.choices[1] and one.data.choices[1].delta.tool_calls or nil)
          assert.are.equal(events[1].data.id, type(one.data) == "table" and one.data.id or events[1].data.id)
        end
      else
        local answer = server:post("/v1/chat/completions", body)
        assert.are.equal("Let me see. 18 degrees.", answer.body.choices[1].message.content)
        assert.is_nil(answer.body.choices[1].message.tool_calls)
      end
    end
  end)

  it("hands calls of the client's tools back, and goes on with their results", function()
    local asked
    local answers = {
      { tool_calls = { { name = "lookup", arguments = {} }, { name = "get_weather", arguments = { city = "Paris" }, id = "call_w" } } },
      function(request)
        asked = request.messages
        return "Sunny."
      end,
    }
    local server <close> = kit.start { define = define(answers) }
    local body = question { model = "assistant/forecaster", tools = { weather } }
    local first = server:post("/v1/chat/completions", body)
    local message = first.body.choices[1].message
    assert.are.equal("tool_calls", first.body.choices[1].finish_reason, first.text)
    assert.are.same({ "get_weather", 1 }, { message.tool_calls[1]["function"].name, #message.tool_calls })
    body.messages[2] = { role = "assistant", tool_calls = message.tool_calls }
    body.messages[3] = { role = "tool", tool_call_id = message.tool_calls[1].id, content = "sunny" }
    local second = server:post("/v1/chat/completions", body)
    assert.are.equal("Sunny.", second.body.choices[1].message.content, second.text)
    assert.are.same({ "user", "assistant", "tool", "sunny" }, { asked[1].role, asked[2].role, asked[3].role, asked[3].content })
  end)

  it("takes a conversation of 1,500 messages", function()
    local asked
    local server <close> = kit.start { define = define { function(request)
      asked = #request.messages
      return "A long talk."
    end } }
    local messages = {}
    for n = 1, 1500 do
      messages[n] = { role = n % 2 == 1 and "user" or "assistant", content = "word " .. n }
    end
    messages[1501] = { role = "user", content = "And now?" }
    local answer = server:post("/v1/chat/completions", { model = "assistant/forecaster", messages = messages })
    assert.are.equal("A long talk.", answer.body.choices[1].message.content, answer.text)
    assert.is_true(asked > 100)
  end)

  it("that nobody has defined is not found", function()
    local server <close> = kit.start {}
    local answer = server:post("/v1/chat/completions", question { model = "assistant/nobody" })
    assert.are.same({ 404, "model_not_found" }, { answer.status, answer.body.error.code })
  end)
end)
