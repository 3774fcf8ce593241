-- POST /v1/messages over HTTP: Anthropic's API in front of models, of Anthropic itself, and of assistants.
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local replay = require "tests.support.replay"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"

local GPT, CLAUDE = "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"

local weather = { name = "get_weather", description = "The weather", input_schema = {
  type = "object", properties = { city = { type = "string" } }, required = { "city" },
} }


local function env_of(upstream)
  return function(name)
    return ({
      OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = upstream.url, ANTHROPIC_API_KEY = "b-key", ANTHROPIC_BASE_URL = upstream.url,
    })[name]
  end
end


local function body_of(changes)
  local body = { model = GPT, max_tokens = 100, messages = { { role = "user", content = "Hello" } } }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return body
end


-- A server in front of an upstream that gives these answers, one after the other; `f` gets both.
local function with_upstream(answers, f, options)
  options = options or {}
  local upstream <close> = replay.serve(answers)
  local server <close> = kit.start { define = options.define, settings = { env = env_of(upstream), max_retries = 0 } }
  f(server, upstream)
end


local function names(events)
  local list = {}
  for _, one in ipairs(events) do
    if one.data.type ~= "ping" then
      assert.are.equal(one.data.type, one.event)
      list[#list + 1] = one.event:gsub("content_block", "block")
    end
  end
  return table.concat(list, " ")
end


-- The texts of the deltas of one kind, one after the other.
local function joined(events, kind, field)
  local pieces = {}
  for _, one in ipairs(events) do
    pieces[#pieces + 1] = one.event == "content_block_delta" and one.data.delta.type == kind and one.data.delta[field] or nil
  end
  return table.concat(pieces)
end


-- A message as Anthropic streams it.
local function anthropic_stream(blocks, stop_reason)
  local events = { { type = "message_start", message = {
    id = "msg_up", type = "message", role = "assistant", model = "claude-sonnet-4-5", content = json.array(),
    usage = { input_tokens = 10, output_tokens = 1 },
  } } }
  for position, block in ipairs(blocks) do
    events[#events + 1] = { type = "content_block_start", index = position - 1, content_block = block[1] }
    for place = 2, #block do
      events[#events + 1] = { type = "content_block_delta", index = position - 1, delta = block[place] }
    end
    events[#events + 1] = { type = "content_block_stop", index = position - 1 }
  end
  events[#events + 1] = { type = "message_delta", delta = { stop_reason = stop_reason }, usage = { output_tokens = 9 } }
  events[#events + 1] = { type = "message_stop" }
  local lines = {}
  for position, event in ipairs(events) do
    lines[position] = ("event: %s\ndata: %s\n\n"):format(event.type, assert(json.encode(event)))
  end
  return replay.whole(replay.recording(table.concat(lines)))
end


-- Thinking with a signature, then a call.
local thoughtful = {
  { { type = "thinking", thinking = "", signature = "" }, { type = "thinking_delta", thinking = "Hm." },
    { type = "signature_delta", signature = "c2ln" } },
  { { type = "tool_use", id = "toolu_1", name = "get_weather", input = {} },
    { type = "input_json_delta", partial_json = '{"city":' }, { type = "input_json_delta", partial_json = '"Oslo"}' } },
}


describe("a message", function()
  it("of another vendor's model has Anthropic's shape", function()
    with_upstream({ replay.whole(replay.text("Good morning.")) }, function(server, upstream)
      local answer = server:post("/v1/messages", body_of { system = "Be brief.", stop_sequences = { "END" } })
      assert.are.equal(200, answer.status, answer.text)
      local message = answer.body
      assert.are.same({ "message", "assistant", GPT, "end_turn", json.null },
        { message.type, message.role, message.model, message.stop_reason, message.stop_sequence })
      assert.are.same({ { type = "text", text = "Good morning." } }, message.content)
      assert.matches("^msg_", message.id)
      assert.is_true(message.usage.input_tokens > 0)
      assert.are.equal(answer.headers["x-request-id"], answer.headers["request-id"])
      local asked = upstream.requests[1].body
      assert.are.same({ "system", "user" }, { asked.messages[1].role, asked.messages[2].role })
      assert.are.same({ "END" }, asked.stop)
    end)
  end)

  it("is streamed as events with names, the last of which is message_stop", function()
    with_upstream({ replay.whole(replay.text("Good morning to you.")) }, function(server)
      local events = server:events("/v1/messages", body_of { stream = true })
      assert.are.equal(200, events.status)
      assert.matches("^message_start block_start block_delta.* block_stop message_delta message_stop$", names(events))
      assert.are.equal("Good morning to you.", joined(events, "text_delta", "text"))
      assert.are.equal("message_stop", events[#events].event)
      assert.are.equal(events.headers["x-request-id"], events.headers["request-id"])
    end)
  end)

  it("calls a tool, and goes on with its result", function()
    local calls = replay.calls { { id = "call_1", name = "get_weather", arguments = '{"city":"Oslo"}' } }
    with_upstream({ replay.whole(calls), replay.whole(replay.text("Snow.")) }, function(server, upstream)
      local body = body_of { tools = { weather }, tool_choice = { type = "any", disable_parallel_tool_use = true } }
      local first = server:post("/v1/messages", body).body
      assert.are.equal("tool_use", first.stop_reason)
      assert.are.same({ { type = "tool_use", id = "call_1", name = "get_weather", input = { city = "Oslo" } } }, first.content)
      assert.are.same({ "required", false }, { upstream.requests[1].body.tool_choice, upstream.requests[1].body.parallel_tool_calls })
      body.messages[2] = { role = "assistant", content = first.content }
      body.messages[3] = { role = "user", content = {
        { type = "tool_result", tool_use_id = "call_1", content = { { type = "text", text = "snow" } } },
      } }
      local second = server:post("/v1/messages", body)
      assert.are.equal("Snow.", second.body.content[1].text, second.text)
      local asked = upstream.requests[2].body.messages
      assert.are.same({ "user", "assistant", "tool" }, { asked[1].role, asked[2].role, asked[3].role })
      assert.are.same({ "call_1", "snow" }, { asked[3].tool_call_id, asked[3].content })
    end)
  end)

  it("keeps the order of a call's arguments, there and back", function()
    local arguments = '{"zeta":1,"alpha":{"b":2,"a":3}}'
    with_upstream({ replay.whole(replay.calls { { id = "call_1", name = "f", arguments = arguments } }) }, function(server, upstream)
      assert.matches('"input":' .. arguments, server:post("/v1/messages", body_of()).text, 1, true)
      local messages = '[{"role":"user","content":"Hi"},'
        .. '{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":%s}]},'
        .. '{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"ok"}]}]'
      server:post("/v1/messages", ('{"model":"%s","max_tokens":9,"messages":%s}'):format(GPT, messages:format(arguments)))
      assert.are.equal(arguments, upstream.requests[2].body.messages[2].tool_calls[1]["function"].arguments)
    end)
  end)

  it("of a Claude brings its signed thoughts, and takes them back, also under another name", function()
    local define = function(perilune)
      perilune.alias("clever", { CLAUDE })
    end
    for _, name in ipairs { CLAUDE, "claude-sonnet-4-5", "clever" } do
      local again = anthropic_stream({ { { type = "text", text = "" }, { type = "text_delta", text = "Snow." } } }, "end_turn")
      with_upstream({ anthropic_stream(thoughtful, "tool_use"), again }, function(server, upstream)
        local body = body_of {
          model = name, stream = true, max_tokens = 8000, tools = { weather }, thinking = { type = "enabled", budget_tokens = 4096 },
        }
        local events = server:events("/v1/messages", body)
        assert.are.equal("message_start block_start block_delta block_delta block_stop block_start block_delta block_delta block_stop "
          .. "message_delta message_stop", names(events))
        assert.are.same({ "Hm.", "c2ln", '{"city":"Oslo"}' }, {
          joined(events, "thinking_delta", "thinking"), joined(events, "signature_delta", "signature"),
          joined(events, "input_json_delta", "partial_json"),
        })
        assert.are.same({ type = "enabled", budget_tokens = 4096 }, upstream.requests[1].body.thinking)
        body.messages[2] = { role = "assistant", content = {
          { type = "thinking", thinking = "Hm.", signature = "c2ln" },
          { type = "tool_use", id = "toolu_1", name = "get_weather", input = { city = "Oslo" } },
        } }
        body.messages[3] = { role = "user", content = { { type = "tool_result", tool_use_id = "toolu_1", content = "snow" } } }
        assert.are.equal("Snow.", joined(server:events("/v1/messages", body), "text_delta", "text"))
        assert.are.same({ type = "thinking", thinking = "Hm.", signature = "c2ln" }, upstream.requests[2].body.messages[2].content[1], name)
      end, { define = define })
    end
  end)

  it("thinks as much as was said, where there is room for it, and also where only the effort was said", function()
    local effort, least = { output_config = { effort = "low" } }, { thinking = { type = "enabled", budget_tokens = 1024 } }
    local answer = anthropic_stream({ { { type = "text", text = "" }, { type = "text_delta", text = "Snow." } } }, "end_turn")
    with_upstream({ answer }, function(server, upstream)
      for position, changes in ipairs { effort, least } do
        changes.model, changes.max_tokens, changes.stream = CLAUDE, 1500, true
        server:events("/v1/messages", body_of(changes))
        assert.are.same({ type = "enabled", budget_tokens = 1024 }, upstream.requests[position].body.thinking)
      end
    end)
  end)

  it("of another model goes without the thoughts of a Claude", function()
    with_upstream({ replay.whole(replay.text("Yes.")) }, function(server, upstream)
      local answer = server:post("/v1/messages", body_of { messages = {
        { role = "user", content = "Hello" },
        { role = "assistant", content = { { type = "thinking", thinking = "Hm.", signature = "c2ln" }, { type = "text", text = "Hi." } } },
        { role = "user", content = "And?" },
      } })
      assert.are.equal(200, answer.status, answer.text)
      assert.is_nil(upstream.requests[1].text:find("Hm.", 1, true))
    end)
  end)

  it("of an upstream that says nothing of what was used says what is counted here", function()
    local said = 'data: {"choices":[{"index":0,"delta":{"content":"Hello."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with_upstream({ replay.whole(replay.recording(said)) }, function(server)
      local events = server:events("/v1/messages", body_of { stream = true })
      local last, first = events[#events - 1].data.usage, events[1].data.message.usage
      assert.are.same({ first.input_tokens, 2 }, { last.input_tokens, last.output_tokens })
      assert.is_true(last.input_tokens > 0)
    end)
  end)

  it("has a ping after its beginning, as Anthropic's have", function()
    with_upstream({ replay.whole(replay.text("Hi.")) }, function(server)
      local events = server:events("/v1/messages", body_of { stream = true })
      assert.are.same({ "message_start", "ping" }, { events[1].event, events[2].event })
    end)
  end)
end)


describe("a message that fails", function()
  it("is refused in Anthropic's shape, with the id of the request", function()
    local server <close> = kit.start {}
    local wrong = {
      { 400, "invalid_request_error", body_of { max_tokens = json.null } },
      { 400, "invalid_request_error", body_of { tools = { { type = "web_search_20250305", name = "web_search" } } } },
      { 400, "invalid_request_error", body_of { temperature = "hot" } }, { 400, "invalid_request_error", "{" },
      { 400, "invalid_request_error", "[]" },
      { 404, "not_found_error", body_of { model = "assistant/nobody" } }, { 404, "not_found_error", body_of { model = "nonesuch" } },
    }
    for position, row in ipairs(wrong) do
      local answer = server:post("/v1/messages", row[3])
      assert.are.same({ row[1], "error", row[2] }, { answer.status, answer.body.type, answer.body.error.type }, position .. answer.text)
      assert.are.equal(answer.headers["request-id"], answer.body.request_id)
      assert.is_true(#answer.body.error.message > 0)
    end
  end)

  it("for want of an address has Anthropic's shape, too, and elsewhere has not", function()
    local server <close> = kit.start {}
    for path, expected in pairs {
      ["/v1/messages"] = { 405, "invalid_request_error" }, ["/v1/messages/batches"] = { 404, "not_found_error" },
      ["/v1/messages/batches/b_1"] = { 404, "not_found_error" },
    } do
      local answer = server:get(path)
      assert.are.same({ "error", expected }, { answer.body.type, { answer.status, answer.body.error.type } }, path .. answer.text)
      assert.are.equal(answer.headers["request-id"], answer.body.request_id)
    end
    assert.are.same({ 404, "not_found" }, { server:get("/v1/nothing").status, server:get("/v1/nothing").body.error.code })
  end)

  it("by what an upstream said has Anthropic's word for it", function()
    for status, expected in pairs {
      [429] = { 429, "rate_limit_error" }, [500] = { 502, "api_error" }, [401] = { 502, "api_error" },
      [400] = { 400, "invalid_request_error" }, [503] = { 503, "overloaded_error" },
    } do
      local failure = replay.reply(status, { error = { message = "no", type = "x", code = "y" } })
      with_upstream({ failure }, function(server)
        for _, is_streamed in ipairs { false, true } do
          local answer = server:post("/v1/messages", body_of { stream = is_streamed })
          assert.are.same(expected, { answer.status, answer.body.error.type }, status .. ": " .. answer.text)
        end
      end)
      require("perilune.sys.failover").reset()
    end
  end)

  it("after its first words ends in an event called error, and in no message_stop", function()
    with_upstream({ replay.broken(replay.text("one two three four five six seven eight"), 900, "reset") }, function(server)
      local events = server:events("/v1/messages", body_of { stream = true })
      local last = events[#events]
      assert.are.same({ 200, "error", "error", "api_error" }, { events.status, last.event, last.data.type, last.data.error.type })
      assert.is_true(#joined(events, "text_delta", "text") > 0)
      assert.is_nil(names(events):find("message_stop", 1, true))
    end)
  end)

  it("for want of a key, or of what the key may do, says so", function()
    local server <close> = kit.start {}
    local key = assert(keys.create(server.server.db, { name = "k", scopes = { models = { "offline/*" }, routes = { "messages" } } }))
    local body = body_of { model = "offline/demo" }
    local answer = server:post("/v1/messages", body)
    assert.are.same({ 401, "authentication_error" }, { answer.status, answer.body.error.type })
    answer = server:post("/v1/messages", body, { ["x-api-key"] = key })
    assert.are.same({ 200, "message" }, { answer.status, answer.body.type }, answer.text)
    answer = server:post("/v1/messages", body_of(), { ["x-api-key"] = key })
    assert.are.same({ 403, "permission_error" }, { answer.status, answer.body.error.type })
    answer = server:post("/v1/chat/completions", body, { ["x-api-key"] = key })
    assert.are.same({ 403, "route_not_allowed" }, { answer.status, answer.body.error.code })
  end)

  it("because its client has gone lets go of the provider", function()
    with_upstream({ replay.stalled(replay.text("one two three"), 400) }, function(server, upstream)
      local handle = assert(fetch.open {
        method = "POST", url = server.url .. "/v1/messages", body = json.encode(body_of { stream = true }), frame = "sse",
      })
      assert.are.equal(200, handle:head().status)
      handle:close()
      upstream:wait_until(function()
        return upstream.requests[1].is_over
      end)
      while server.server.active > 0 do
        task.yield()
      end
    end)
  end)
end)


describe("a message of an assistant", function()
  local function start(answers)
    return kit.start { define = function(perilune)
      perilune.assistant {
        name = "forecaster", model = testing.model(answers),
        tools = { perilune.tool { name = "lookup", description = "looks up", run = function() return "18 degrees" end } },
      }
    end }
  end

  local function question(changes)
    local body = body_of(changes)
    body.model = "assistant/forecaster"
    return body
  end

  it("is one answer, whatever its tools do behind it", function()
    for _, is_streamed in ipairs { false, true } do
      local server <close> = start {
        { text = "Let me see. ", tool_calls = { { name = "lookup", arguments = {} } } }, "18 degrees.",
      }
      if is_streamed then
        local events = server:events("/v1/messages", question { stream = true })
        assert.are.equal("Let me see. 18 degrees.", joined(events, "text_delta", "text"))
        assert.are.equal("end_turn", events[#events - 1].data.delta.stop_reason)
        assert.is_nil(names(events):find("error", 1, true))
      else
        local message = server:post("/v1/messages", question()).body
        assert.are.same({ { type = "text", text = "Let me see. 18 degrees." } }, message.content)
        assert.are.equal("end_turn", message.stop_reason)
      end
    end
  end)

  it("hands calls of the client's tools back, and goes on with their results", function()
    local asked
    local server <close> = start {
      { tool_calls = { { name = "lookup", arguments = {} }, { name = "get_weather", arguments = { city = "Oslo" }, id = "call_w" } } },
      function(request)
        asked = request.messages
        return "Snow."
      end,
    }
    local body = question { tools = { weather } }
    local first = server:post("/v1/messages", body)
    assert.are.equal("tool_use", first.body.stop_reason, first.text)
    assert.are.same({ { type = "tool_use", id = first.body.content[1].id, name = "get_weather", input = { city = "Oslo" } } },
      first.body.content)
    body.messages[2] = { role = "assistant", content = first.body.content }
    body.messages[3] = { role = "user", content = {
      { type = "tool_result", tool_use_id = first.body.content[1].id, content = "snow" },
    } }
    local second = server:post("/v1/messages", body)
    assert.are.equal("Snow.", second.body.content[1].text, second.text)
    assert.are.same({ "user", "assistant", "tool", "snow" }, { asked[1].role, asked[2].role, asked[3].role, asked[3].content })
  end)
end)


describe("the tokens of a message", function()
  it("are counted without asking anybody, and grow with what is said", function()
    local server <close> = kit.start {}
    local function count(changes)
      local body = body_of(changes)
      body.model, body.max_tokens = "offline/demo", nil
      local answer = server:post("/v1/messages/count_tokens", body)
      assert.are.equal(200, answer.status, answer.text)
      return answer.body.input_tokens
    end
    local few = count()
    assert.are.equal("integer", math.type(few))
    assert.is_true(few > 0)
    assert.is_true(count { system = ("word "):rep(100) } > few + 100)
    assert.is_true(count { tools = { weather } } > few)
    local answer = server:post("/v1/messages/count_tokens", { model = "offline/demo" })
    assert.are.same({ 400, "invalid_request_error" }, { answer.status, answer.body.error.type })
  end)
end)
