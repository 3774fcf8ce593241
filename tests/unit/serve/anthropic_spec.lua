-- Anthropic's shape, both ways: bodies of requests, whole answers, streams, errors.
local answer = require "perilune.serve.shape.anthropic.answer"
local json = require "perilune.json"
local request = require "perilune.serve.shape.anthropic.request"
local response = require "perilune.model.response"

local PNG = "iVBORw0KGgo="

local identity = { id = "msg_1", model = "m", input_tokens = 7 }

local usage = { type = "usage", usage = {
  prompt_tokens = 20, completion_tokens = 3, total_tokens = 23, prompt_tokens_details = { cached_tokens = 8, cache_write_tokens = 2 },
} }


local function body(changes)
  local all = { model = "openai/gpt-4o-mini", max_tokens = 50, messages = { { role = "user", content = "Hello" } } }
  for name, value in pairs(changes or {}) do
    all[name] = value
  end
  return all
end


local function messages(list, changes)
  changes = changes or {}
  changes.messages = list
  return request.read(body(changes)).messages
end


-- What is wrong with a body.
local function refusal(changes)
  local is_read, err = pcall(request.read, body(changes))
  assert.is_false(is_read)
  return err.answer
end


local function stop(reason, more)
  local event = more or {}
  event.type, event.reason = "stop", reason or "stop"
  return event
end


local function start(index, id, name)
  return { type = "tool_call_start", index = index, id = id, name = name }
end


local function piece(index, arguments)
  return { type = "tool_call_delta", index = index, arguments = arguments }
end


local function call(index, id, name, arguments)
  return { type = "tool_call", index = index, id = id, name = name, arguments = arguments }
end


local function stream(list)
  local encoder, all = answer.stream(identity), {}
  for _, event in ipairs(list) do
    local events = encoder:feed(event)
    table.move(events, 1, #events, #all + 1, all)
  end
  return all
end


-- The blocks that a client puts together; every rule of the stream is checked on the way.
local function blocks_of(events)
  local blocks, open = {}, nil
  for _, event in ipairs(events) do
    if event.type == "content_block_start" then
      assert.is_nil(open)
      assert.are.equal(#blocks, event.index)
      open = { type = event.content_block.type, name = event.content_block.name, id = event.content_block.id, said = "" }
      blocks[#blocks + 1] = open
    elseif event.type == "content_block_delta" then
      assert.are.equal(#blocks - 1, event.index)
      local delta = event.delta
      open.signature = delta.signature or open.signature
      open.said = open.said .. (delta.text or delta.thinking or delta.partial_json or "")
    elseif event.type == "content_block_stop" then
      assert.is_table(open)
      assert.are.equal(#blocks - 1, event.index)
      open = nil
    end
  end
  assert.is_nil(open)
  return blocks
end


local function types(events)
  local names = {}
  for position, event in ipairs(events) do
    names[position] = event.type
  end
  return table.concat(names, " ")
end


describe("a body of Anthropic's", function()
  it("becomes messages and options", function()
    local question = request.read(body {
      system = { { type = "text", text = "Be brief.", cache_control = { type = "ephemeral" } } }, temperature = 0.5, top_p = 0.9, top_k = 5,
      stop_sequences = { "END" }, metadata = { user_id = "u-1" }, stream = true, service_tier = "auto",
    })
    assert.are.same({ { role = "system", content = "Be brief." }, { role = "user", content = "Hello" } }, question.messages)
    assert.are.same({
      max_tokens = 50, temperature = 0.5, top_p = 0.9, stop = { "END" }, user = "u-1", provider_specific_params = { top_k = 5 },
    }, question.options)
    assert.is_true(question.is_streamed)
  end)

  it("takes null for a field that is not there", function()
    local changes = {}
    for _, name in ipairs { "system", "temperature", "top_k", "stop_sequences", "metadata", "tools", "tool_choice", "thinking",
      "mcp_servers", "output_config" } do
      changes[name] = json.null
    end
    assert.are.same({ max_tokens = 50 }, request.read(body(changes)).options)
  end)

  it("has pictures and documents", function()
    assert.are.same({
      { type = "text", text = "See:" }, { type = "image", data = PNG, media_type = "image/png" },
      { type = "image", url = "https://example.com/a.png", media_type = "image/png" },
      { type = "file", data = "JVBERi0xLjQ=", media_type = "application/pdf", name = "report.pdf" },
      { type = "text", text = "plain" },
    }, messages({ { role = "user", content = {
      { type = "text", text = "See:" },
      { type = "image", source = { type = "base64", media_type = "image/png", data = PNG } },
      { type = "image", source = { type = "url", url = "https://example.com/a.png" } },
      { type = "document", title = "report.pdf", source = { type = "base64", media_type = "application/pdf", data = "JVBERi0xLjQ=" } },
      { type = "document", title = "notes", source = { type = "text", media_type = "text/plain", data = "plain" } },
    } } })[1].content)
  end)

  it("has calls and their results, which are messages of their own", function()
    assert.are.same({
      { role = "assistant", content = "I look.", tool_calls = {
        { id = "toolu_1", name = "get_weather", arguments = '{"city":"Paris"}' }, { id = "toolu_2", name = "get_time", arguments = "{}" },
      } },
      { role = "tool", tool_call_id = "toolu_1", content = "rain" },
      { role = "tool", tool_call_id = "toolu_2", content = "no clock\nat all", is_error = true },
      { role = "tool", tool_call_id = "toolu_3", content = "" },
      { role = "user", content = "Well?" },
    }, messages {
      { role = "assistant", content = {
        { type = "text", text = "I look." }, { type = "tool_use", id = "toolu_1", name = "get_weather", input = { city = "Paris" } },
        { type = "tool_use", id = "toolu_2", name = "get_time", input = json.decode "{}" },
      } },
      { role = "user", content = {
        { type = "tool_result", tool_use_id = "toolu_1", content = "rain" },
        { type = "text", text = "Well?" },
        { type = "tool_result", tool_use_id = "toolu_2", is_error = true, content = {
          { type = "text", text = "no clock" }, { type = "text", text = "at all" },
        } },
        { type = "tool_result", tool_use_id = "toolu_3" },
      } },
    })
  end)

  it("gives what was thought back to the model that signed it", function()
    local content = {
      { type = "thinking", thinking = "Hm.", signature = "sig" }, { type = "redacted_thinking", data = "x" },
      { type = "text", text = "Yes." },
    }
    local one = messages({ { role = "assistant", content = content } }, { model = "anthropic/claude-sonnet-4-5" })[1]
    assert.are.same({ provider = "anthropic", model = "claude-sonnet-4-5", items = content }, one.provider_items)
    assert.are.equal("Yes.", one.content)
  end)

  it("leaves out what was thought and not signed", function()
    assert.are.same({ { role = "assistant", content = "Yes." } }, messages { { role = "assistant", content = {
      { type = "thinking", thinking = "Hm.", signature = "" }, { type = "text", text = "Yes." },
    } } })
  end)

  it("has tools, and says which one to call", function()
    local schema = { type = "object", properties = { city = { type = "string" } } }
    local tools = { { name = "get_weather", description = "The weather", input_schema = schema, type = "custom" } }
    local function options(choice)
      return request.read(body { tools = tools, tool_choice = choice }).options
    end
    assert.are.same({ { name = "get_weather", description = "The weather", parameters = schema } }, options(nil).tools)
    for given, expected in pairs { auto = "auto", any = "required", none = "none" } do
      assert.are.equal(expected, options({ type = given }).tool_choice)
    end
    assert.are.same({ name = "get_weather" }, options({ type = "tool", name = "get_weather" }).tool_choice)
    assert.is_false(options({ type = "auto", disable_parallel_tool_use = true }).parallel_tool_calls)
    assert.is_nil(options({ type = "auto" }).parallel_tool_calls)
  end)

  it("says how much to think in words that all vendors have", function()
    local function effort(thinking, output)
      return request.read(body { thinking = thinking, output_config = output }).options.reasoning_effort
    end
    assert.are.equal("low", effort { type = "enabled", budget_tokens = 1024 })
    assert.are.equal("medium", effort { type = "enabled", budget_tokens = 4096 })
    assert.are.equal("high", effort { type = "enabled", budget_tokens = 32000 })
    assert.are.equal("medium", effort { type = "adaptive" })
    assert.are.equal("high", effort({ type = "adaptive" }, { effort = "max" }))
    assert.is_nil(effort { type = "disabled" })
    assert.are.equal("low", effort(nil, { effort = "low" }))
    assert.is_nil(effort(nil, {}))
  end)

  it("may want JSON by a schema", function()
    local schema = { type = "object" }
    assert.are.same({ type = "json_schema", json_schema = { name = "answer", schema = schema, strict = true } },
      request.read(body { output_config = { format = { type = "json_schema", schema = schema } } }).options.response_format)
  end)

  it("need not say how much to write when it is only counted", function()
    local question = body()
    question.max_tokens = nil
    assert.is_nil(request.read(question, true).options.max_tokens)
  end)

  for name, case in pairs {
    ["without a model"] = { { model = json.null }, "model: Field required" },
    ["without a limit"] = { { max_tokens = json.null }, "max_tokens: must be a whole number" },
    ["without messages"] = { { messages = json.array() }, "messages: at least one" },
    ["with a tool of the server's"] = { { tools = { { type = "web_search_20250305", name = "web_search" } } }, "web_search_20250305" },
    ["with a tool without a name"] = { { tools = { { description = "x" } } }, "tools.0.name: must be a text" },
    ["with tools that are no list"] = { { tools = 5 }, "tools: must be" },
    ["with a schema that is none"] = { { tools = { { name = "a", input_schema = 5 } } }, "tools.0.input_schema" },
    ["with a choice nobody knows"] = { { tools = { { name = "a" } }, tool_choice = { type = "some" } }, "tool_choice.type" },
    ["with MCP servers"] = { { mcp_servers = { { url = "https://example.com" } } }, "mcp_servers: is not there" },
    ["with stops that are no texts"] = { { stop_sequences = { 5 } }, "stop_sequences.0: must be a text" },
    ["with thinking that is a word"] = { { thinking = "much" }, "thinking: must be" },
    ["with a format of another kind"] = { { output_config = { format = { type = "poem" } } }, "output_config.format" },
    ["with a role nobody has"] = { { messages = { { role = "moon", content = "x" } } }, "messages.0.role: must be user or assistant" },
    ["with a message that is empty"] = { { messages = { { role = "user", content = json.array() } } }, "messages.0.content: must not be" },
    ["with a block nobody knows"] = { { messages = { { role = "user", content = { { type = "text", text = "a" }, { type = "moon" } } } } },
      "messages.0.content.1: a block of type 'moon'" },
    ["with a result in an answer"] = { { messages = { { role = "assistant", content = { { type = "tool_result" } } } } }, "tool_result" },
    ["with a result of nothing"] = { { messages = { { role = "user", content = { { type = "tool_result" } } } } },
      "messages.0.content.0.tool_use_id" },
    ["with a text that is none"] = { { messages = { { role = "assistant", content = { { type = "text", text = {} } } } } },
      "messages.0.content.0.text" },
    ["with a call of a number"] = { { messages = { { role = "assistant", content = {
      { type = "tool_use", id = "a", name = "b", input = 5 },
    } } } }, "messages.0.content.0.input" },
    ["with a file of the service's"] = { { messages = { { role = "user", content = {
      { type = "image", source = { type = "file", file_id = "file_1" } },
    } } } }, "a source of type 'file'" },
    ["with a picture that is none"] = { { messages = { { role = "user", content = {
      { type = "image", source = { type = "base64", media_type = "image/png", data = "!!" } },
    } } } }, "messages.0.content.0" },
  } do
    it(name .. " is refused", function()
      local problem = refusal(case[1])
      assert.are.equal(400, problem.status)
      assert.is_truthy(problem.message:find(case[2], 1, true), problem.message)
    end)
  end
end)


describe("a whole answer in Anthropic's shape", function()
  local function message(list)
    return answer.message(response.collect(list), identity)
  end

  it("has what was thought, said and called, in this order", function()
    local made = message {
      { type = "start", model = "x" }, { type = "thinking", text = "Hm." }, { type = "text", text = "I look." },
      call(0, "call_1", "get_weather", '{"city":"Paris"}'), call(1, "call_2", "get_time", ""), usage, stop "tool_calls",
    }
    assert.are.same({
      id = "msg_1", type = "message", role = "assistant", model = "m", stop_reason = "tool_use", stop_sequence = json.null,
      content = {
        { type = "thinking", thinking = "Hm.", signature = "" }, { type = "text", text = "I look." },
        { type = "tool_use", id = "call_1", name = "get_weather", input = { city = "Paris" } },
        { type = "tool_use", id = "call_2", name = "get_time", input = {} },
      },
      usage = { input_tokens = 10, output_tokens = 3, cache_read_input_tokens = 8, cache_creation_input_tokens = 2 },
    }, made)
  end)

  it("of a model that says nothing of what was used is counted here, the same whole and streamed", function()
    local events = {
      { type = "start" }, { type = "thinking", text = "Hm. " }, { type = "text", text = "I look." },
      call(0, "call_1", "get_weather", '{"city":"Paris"}'), stop "tool_calls",
    }
    local streamed = stream(events)
    local counted = { input_tokens = 7, output_tokens = 7, cache_read_input_tokens = 0, cache_creation_input_tokens = 0 } -- of 27 bytes
    assert.are.same({ counted, counted }, { message(events).usage, streamed[#streamed - 1].usage })
  end)

  it("has the signatures of Anthropic's own", function()
    local thinking, hidden = { type = "thinking", thinking = "Hm.", signature = "sig" }, { type = "redacted_thinking", data = "x" }
    local made = message {
      { type = "start" }, { type = "thinking", text = "Hm." }, { type = "item", item = thinking, provider = "anthropic" },
      { type = "item", item = hidden, provider = "anthropic" }, { type = "text", text = "Yes." }, stop(),
    }
    assert.are.same({ thinking, hidden, { type = "text", text = "Yes." } }, made.content)
  end)

  it("says why it has ended", function()
    local function reason(event)
      return message({ { type = "start" }, { type = "text", text = "a" }, event }).stop_reason
    end
    for given, expected in pairs {
      stop = "end_turn", length = "max_tokens", content_filter = "refusal", refusal = "refusal", other = "end_turn",
    } do
      assert.are.equal(expected, reason(stop(given)))
    end
    assert.are.equal("stop_sequence", reason(stop("stop", { stop_sequence = "END" })))
  end)

  it("has a refusal as text, and no block at all where nothing was said", function()
    local refused = message { { type = "start" }, { type = "refusal", text = "No." }, stop() }
    assert.are.same({ { type = "text", text = "No." } }, refused.content)
    assert.are.equal("[]", json.encode(message({ { type = "start" }, stop() }).content))
  end)
end)


describe("a stream in Anthropic's shape", function()
  it("has a text in one block", function()
    local events = stream { { type = "start" }, { type = "text", text = "Hel" }, { type = "text", text = "lo" }, usage, stop() }
    assert.are.equal("message_start ping content_block_start content_block_delta content_block_delta content_block_stop message_delta "
      .. "message_stop", types(events))
    assert.are.same({ { type = "text", said = "Hello" } }, blocks_of(events))
    assert.are.equal(7, events[1].message.usage.input_tokens)
    assert.are.equal("[]", json.encode(events[1].message.content))
    assert.are.same({ stop_reason = "end_turn", stop_sequence = json.null }, events[7].delta)
    assert.are.same({ input_tokens = 10, output_tokens = 3, cache_read_input_tokens = 8, cache_creation_input_tokens = 2 }, events[7].usage)
  end)

  it("signs what was thought before something is said", function()
    local thinking = { type = "thinking", thinking = "Hm.", signature = "sig" }
    assert.are.same({ { type = "thinking", said = "Hm.", signature = "sig" }, { type = "redacted_thinking", said = "" },
      { type = "text", said = "Yes." } }, blocks_of(stream {
      { type = "start" }, { type = "thinking", text = "Hm." }, { type = "item", item = thinking },
      { type = "item", item = { type = "redacted_thinking", data = "x" } }, { type = "text", text = "Yes." },
      { type = "item", item = { type = "text", text = "Yes." } }, stop(),
    }))
  end)

  it("signs also what is not shown", function()
    local thinking = { type = "thinking", thinking = "", signature = "sig" }
    assert.are.same({ { type = "thinking", said = "", signature = "sig" } },
      blocks_of(stream { { type = "start" }, { type = "item", item = thinking }, stop() }))
  end)

  it("has a call piece by piece", function()
    local events = stream {
      { type = "start" }, { type = "text", text = "I look." }, start(0, "call_1", "f"), piece(0, '{"a"'), piece(0, ":1}"),
      call(0, "call_1", "f", '{"a":1}'), stop "tool_calls",
    }
    assert.are.same({ { type = "text", said = "I look." }, { type = "tool_use", id = "call_1", name = "f", said = '{"a":1}' } },
      blocks_of(events))
    assert.are.equal("tool_use", events[#events - 1].delta.stop_reason)
  end)

  it("has calls that came whole, and one without arguments", function()
    local blocks = blocks_of(stream {
      { type = "start" }, call(0, "a", "f", '{"x":1}'), start(1, "b", "g"), call(1, "b", "g", "{}"), stop "tool_calls",
    })
    assert.are.same({
      { type = "tool_use", id = "a", name = "f", said = '{"x":1}' }, { type = "tool_use", id = "b", name = "g", said = "{}" },
    }, blocks)
  end)

  it("has calls that came side by side one after the other, each with all of its pieces", function()
    assert.are.same({
      { type = "tool_use", id = "a", name = "f", said = "1122" }, { type = "tool_use", id = "b", name = "g", said = "3344" },
      { type = "tool_use", id = "c", name = "h", said = "55" }, { type = "text", said = "between" },
    }, blocks_of(stream {
      { type = "start" }, start(0, "a", "f"), start(1, "b", "g"), piece(0, "11"), piece(1, "33"), start(2, "c", "h"), piece(2, "55"),
      piece(1, "44"), piece(0, "22"), call(1, "b", "g", "3344"), call(0, "a", "f", "1122"), call(2, "c", "h", "55"),
      { type = "text", text = "between" }, stop "tool_calls",
    }))
    assert.are.same({ { type = "tool_use", id = "a", name = "f", said = "1" }, { type = "text", said = "between" } }, blocks_of(stream {
      { type = "start" }, start(0, "a", "f"), { type = "text", text = "between" }, piece(0, "1"), call(0, "a", "f", "1"), stop(),
    }))
  end)

  it("ends the blocks of calls that were cut", function()
    local events = stream {
      { type = "start" }, start(0, "a", "f"), start(1, "b", "g"), start(2, "c", "h"), piece(0, '{"x'), piece(2, "2"), piece(1, "1"),
      stop "length",
    }
    assert.are.same({
      { type = "tool_use", id = "a", name = "f", said = '{"x' }, { type = "tool_use", id = "b", name = "g", said = "1" },
      { type = "tool_use", id = "c", name = "h", said = "2" },
    }, blocks_of(events))
    assert.are.equal("max_tokens", events[#events - 1].delta.stop_reason)
  end)

  it("begins and ends also where nothing was said", function()
    assert.are.equal("message_start ping message_delta message_stop", types(stream { stop() }))
  end)

  it("takes no notice of what Anthropic has no word for", function()
    assert.are.equal("message_start ping message_delta message_stop", types(stream {
      { type = "start" }, { type = "logprobs", content = {} }, { type = "citation", citation = {} }, { type = "tool_progress", id = "a" },
      { type = "text", text = "another answer", choice = 1 }, { type = "item", item = { type = "reasoning" } }, stop(),
    }))
  end)
end)


describe("an error in Anthropic's shape", function()
  it("has Anthropic's type, and the id of the request", function()
    for status, expected in pairs {
      [400] = "invalid_request_error", [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error",
      [413] = "request_too_large", [409] = "invalid_request_error", [429] = "rate_limit_error", [500] = "api_error", [502] = "api_error",
      [503] = "overloaded_error",
    } do
      assert.are.same({ type = "error", error = { type = expected, message = "no" }, request_id = "req_1" },
        answer.error({ status = status, message = "no" }, { id = "req_1" }))
    end
  end)
end)
