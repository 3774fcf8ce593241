local anthropic = require "perilune.model.provider.anthropic"
local errors = require "perilune.std.errors"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function events_of(name, options)
  return frames.feed(anthropic.decoder(options), frames.split(assert(frames.read("tests/fixtures/" .. name))))
end


local function types(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.type
  end
  return table.concat(list, " ")
end


local function target(model)
  return providers.target(providers.get "anthropic", { model = model or "claude-sonnet-4-5", api_key = "k" })
end


local function encode(request, model)
  local http, err = anthropic.encode(request, target(model))
  return http and json.decode(http.body), http or err
end


local function read_item(name, position)
  return response.collect(events_of(name)).provider_items.items[position]
end


describe("the Messages decoder", function()
  it("says what a text cites, streamed and whole, and keeps it for the way back", function()
    local place = '{"type":"web_search_result_location","url":"https://a.example","title":"A","cited_text":"so it is",'
      .. '"encrypted_index":"zz"}'
    local document = '{"type":"char_location","document_title":"D","cited_text":"page","document_index":0,'
      .. '"start_char_index":0,"end_char_index":4}'
    local streamed = response.collect(frames.feed(anthropic.decoder(), {
      { data = '{"type":"message_start","message":{"id":"i","model":"m","content":[],"usage":{"input_tokens":1}}}' },
      { data = '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":[]}}' },
      { data = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"It is."}}' },
      { data = '{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":' .. place .. "}}" },
      { data = '{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":' .. document .. "}}" },
      { data = '{"type":"content_block_stop","index":0}' },
      { data = '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}' },
      { data = '{"type":"message_stop"}' },
    }))
    local whole = response.collect(frames.feed(anthropic.decoder(), { {
      data = '{"type":"message","id":"i","model":"m","stop_reason":"end_turn","content":[{"type":"text","text":"It is.",'
        .. '"citations":[' .. place .. "," .. document .. "]}]}",
    } }))
    assert.are.same(whole.citations, streamed.citations)
    assert.are.same({ url = "https://a.example", title = "A", text = "so it is", raw = json.decode(place) }, whole.citations[1])
    assert.are.same({ title = "D", text = "page", raw = json.decode(document) }, whole.citations[2])
    local kept = read_item("anthropic/server_tool.json", 5)
    assert.are.equal("https://example.org", kept.citations[1].url)
  end)

  it("reads thinking, text and calls in order", function()
    local events = events_of "anthropic/thinking_tool.sse"
    assert.are.equal("start thinking thinking item text text item tool_call_start tool_call_delta tool_call_delta tool_call item "
      .. "tool_call_start tool_call item usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Look it up.", answer.reasoning)
    assert.are.equal("Let me see.", answer.content)
    assert.are.same({
      { id = "toolu_1", name = "get_weather", arguments = '{"city": "Paris"}' },
      { id = "toolu_2", name = "get_time", arguments = "{}" },
    }, answer.tool_calls)
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.are.equal("tool_use", answer.finish_reason_raw)
  end)

  it("adds the disjoint input buckets, and the last numbers win", function()
    local usage = response.collect(events_of "anthropic/thinking_tool.sse").usage
    assert.are.equal(61 + 10 + 100, usage.prompt_tokens)
    assert.are.equal(50, usage.completion_tokens)
    assert.are.equal(221, usage.total_tokens)
    assert.are.equal(100, usage.prompt_tokens_details.cached_tokens)
    assert.are.equal(10, usage.prompt_tokens_details.cache_write_tokens)
    assert.are.equal(61, usage.raw.input_tokens)
  end)

  it("begins again at a second start and drops what was open", function()
    local answer = response.collect(events_of "anthropic/restart.sse")
    assert.are.equal("Done.", answer.content)
    assert.are.same({}, answer.tool_calls)
    assert.are.equal("stop", answer.finish_reason)
    assert.are.equal("END", answer.stop_sequence)
    assert.is_nil(answer.provider_items)
  end)

  it("keeps the whole answer when a part of it is the provider's own", function()
    local options = { target = { name = "anthropic", model = "claude-test" } }
    local answer = response.collect(events_of("anthropic/server_tool.json", options))
    assert.are.equal("I look.Found.", answer.content)
    local kinds = {}
    for position, item in ipairs(answer.provider_items.items) do
      kinds[position] = item.type
    end
    assert.are.same({ "text", "server_tool_use", "web_search_tool_result", "redacted_thinking", "text" }, kinds)
    assert.are.equal("claude-test", answer.provider_items.model)
    assert.are.equal(2, answer.usage.completion_tokens_details.reasoning_tokens)
  end)

  it("reports an error in the middle", function()
    local answer = response.collect(events_of "anthropic/overloaded.sse")
    assert.are.equal("Hel", answer.content)
    assert.are.equal("overloaded", answer.error.kind)
    assert.are.equal("Overloaded", answer.error.message)
    assert.are.equal("req_1", answer.error.request_id)
    assert.is_true(answer.error.retryable)
    assert.are.equal(43 + 110, answer.usage.prompt_tokens)
  end)

  it("reads error bodies", function()
    local err = response.collect(events_of("anthropic/error.json", { status = 404 })).error
    assert.are.equal("model_not_found", err.kind)
    assert.are.equal("not_found_error", err.type)
    assert.are.equal(404, err.status)
  end)

  it("calls a stream without an end interrupted, and a cut body bad", function()
    local body = frames.read "tests/fixtures/anthropic/thinking_tool.sse"
    local list = frames.split(body)
    local cut = response.collect(frames.feed(anthropic.decoder(), list, 8))
    assert.are.equal("stream_interrupted", cut.error.kind)
    local whole = frames.read "tests/fixtures/anthropic/server_tool.json"
    local broken = frames.feed(anthropic.decoder(), { { data = whole:sub(1, 100) } })
    assert.are.equal("bad_response", broken[1].error.kind)
  end)

  it("ends at message_stop and produces nothing after it", function()
    local decoder = anthropic.decoder()
    decoder:feed '{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1}}}'
    assert.are.equal("usage stop", types(decoder:feed '{"type":"message_stop"}'))
    assert.are.same({}, decoder:feed '{"type":"message_stop"}')
    assert.are.same({}, decoder:finish())
  end)

  it("survives deltas whose start was lost", function()
    local events = frames.feed(anthropic.decoder(), {
      { data = '{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"a"}}' },
      { data = '{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{"}}' },
      { data = '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}' },
    })
    assert.are.equal("start text stop", types(events))
  end)
end)


describe("Messages requests", function()
  it("moves instructions to the top and always limits the answer", function()
    local body, http = encode { messages = {
      { role = "system", content = "A" }, { role = "user", content = "q" }, { role = "developer", content = "B" },
    } }
    assert.are.equal("https://api.anthropic.com/v1/messages", http.url)
    assert.are.equal("k", http.headers["x-api-key"])
    assert.are.equal("2023-06-01", http.headers["anthropic-version"])
    assert.are.equal("A\n\nB", body.system)
    assert.are.equal(4096, body.max_tokens)
    assert.are.same({ { role = "user", content = { { type = "text", text = "q" } } } }, body.messages)
  end)

  it("accepts an address that ends in /v1", function()
    local where = target()
    where.base_url = "http://127.0.0.1:9/v1/"
    assert.are.equal("http://127.0.0.1:9/v1/messages", anthropic.encode({ messages = {} }, where).url)
  end)

  it("puts tool results first and merges messages of one role", function()
    local body = encode { messages = {
      { role = "user", content = "q" },
      { role = "assistant", content = "let me", tool_calls = {
        { id = "call_1", name = "f", arguments = '{"n": 9007199254740993}' }, { id = "functions.g:0", name = "g", arguments = "" },
      } },
      { role = "user", content = "hurry" },
      { role = "tool", tool_call_id = "call_1", content = "r1" },
      { role = "tool", tool_call_id = "functions.g:0", content = "", is_error = true },
    } }
    assert.are.equal(3, #body.messages)
    local call, results = body.messages[2].content, body.messages[3].content
    assert.are.equal(9007199254740993, call[2].input.n)
    assert.are.same({ type = "tool_result", tool_use_id = "call_1", content = { { type = "text", text = "r1" } } }, results[1])
    assert.are.equal(call[3].id, results[2].tool_use_id)
    assert.is_truthy(call[3].id:find("^toolu_%w+$"))
    assert.is_true(results[2].is_error)
    assert.is_nil(results[2].content)
    assert.are.equal("hurry", results[3].text)
  end)

  it("shows the model a broken call as what it was", function()
    local body = encode { messages = {
      { role = "user", content = "q" },
      { role = "assistant", tool_calls = {
        { id = "a", name = "f", arguments = '{"cut' }, { id = "b", name = "f", arguments = "null" },
      } },
    } }
    assert.are.same({ invalid_json = '{"cut' }, body.messages[2].content[1].input)
    assert.is_nil(next(body.messages[2].content[2].input))
  end)

  it("returns opaque blocks verbatim to the same model only", function()
    local answer = response.collect(frames.feed(
      anthropic.decoder { target = target() }, frames.split(frames.read "tests/fixtures/anthropic/thinking_tool.sse")))
    local message = answer:to_message()
    local request = { messages = { { role = "user", content = "q" }, message } }
    local content = encode(request).messages[2].content
    assert.are.equal("thinking", content[1].type)
    assert.are.equal("EqQB", content[1].signature)
    assert.are.equal("Paris", content[3].input.city)
    assert.are.equal(4, #content)
    local other = encode(request, "claude-haiku-4-5").messages[2].content
    assert.are.equal("text", other[1].type)
    assert.are.equal(3, #other)
    message.content = "changed"
    content = encode(request).messages[2].content
    assert.are.equal("thinking", content[1].type)
    assert.are.equal("changed", content[2].text)
    message.provider_items.model = "claude-sonnet-4-5-20250929"
    assert.are.equal("thinking", encode(request).messages[2].content[1].type)
  end)

  it("passes over blocks that say no text, whoever has written them", function()
    local items = { { type = "text", text = {} } }
    local kept = { provider = "anthropic", model = "claude-sonnet-4-5", items = items }
    local message = { role = "assistant", content = "a", provider_items = kept }
    local request = { messages = { { role = "user", content = "q" }, message } }
    assert.are.same({ { type = "text", text = "a" } }, encode(request, "claude-sonnet-4-5").messages[2].content)
  end)

  it("writes tools and the choice among them", function()
    local request = { messages = { { role = "user", content = "q" } }, tools = { { name = "f", description = "d" } } }
    local wanted = {
      { "auto", { type = "auto" } }, { "none", { type = "none" } }, { "required", { type = "any" } },
      { { name = "f" }, { type = "tool", name = "f" } },
    }
    for _, row in ipairs(wanted) do
      request.tool_choice = row[1]
      assert.are.same(row[2], encode(request).tool_choice)
    end
    request.tool_choice, request.parallel_tool_calls = nil, false
    local body = encode(request)
    assert.are.same({ type = "auto", disable_parallel_tool_use = true }, body.tool_choice)
    assert.are.equal("object", body.tools[1].input_schema.type)
  end)

  it("writes media", function()
    local body = encode { messages = { { role = "user", content = {
      { type = "image", url = "data:image/webp;base64,AA" }, { type = "image", url = "https://x/y" },
      { type = "file", data = "BB", name = "a" },
    } } } }
    local content = body.messages[1].content
    assert.are.same({ type = "base64", media_type = "image/webp", data = "AA" }, content[1].source)
    assert.are.same({ type = "url", url = "https://x/y" }, content[2].source)
    assert.are.equal("application/pdf", content[3].source.media_type)
    local none, err = encode { messages = { { role = "user", content = { { type = "audio", data = "A" } } } } }
    assert.is_nil(none)
    assert.is_true(errors.is(err, "media"))
  end)

  it("asks for thinking the way the model knows", function()
    local request = { messages = { { role = "user", content = "q" } }, reasoning_effort = "high", temperature = 0.3 }
    local old = encode(request)
    assert.are.same({ type = "enabled", budget_tokens = 16384 }, old.thinking)
    assert.are.equal(4096 + 16384, old.max_tokens)
    assert.is_nil(old.temperature)
    local new = encode(request, "claude-opus-4-6")
    assert.are.same({ type = "adaptive" }, new.thinking)
    assert.are.equal("high", new.output_config.effort)
    assert.are.same({ type = "adaptive" }, encode(request, "claude-opus-5").thinking)
    request.max_tokens = 3000
    local limited = encode(request)
    assert.are.same({ 1500, 3000 }, { limited.thinking.budget_tokens, limited.max_tokens })
    request.max_tokens = 2047 -- no room for the least of thinking, and an answer
    limited = encode(request)
    assert.are.same({ 2047, 0.3 }, { limited.max_tokens, limited.temperature })
    assert.is_nil(limited.thinking)
    request.max_tokens, request.reasoning_effort = 1500, "low" -- the least of thinking fits
    limited = encode(request)
    assert.are.same({ { type = "enabled", budget_tokens = 1024 }, 1500 }, { limited.thinking, limited.max_tokens })
    request.tool_choice, request.tools = "required", { { name = "f" } }
    assert.is_nil(encode(request).thinking)
    request.tool_choice, request.reasoning_effort = nil, "none"
    assert.is_nil(encode(request).thinking)
  end)

  it("asks for JSON by schema", function()
    local body = encode { messages = { { role = "user", content = "q" } },
      response_format = { type = "json_schema", json_schema = { name = "n", schema = { type = "object" } } } }
    assert.are.same({ type = "json_schema", schema = { type = "object" } }, body.output_config.format)
  end)

  it("refuses what it cannot do and takes trailing space off the last answer", function()
    local none, err = encode { messages = {}, n = 2 }
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
    local body = encode { messages = { { role = "user", content = "q" }, { role = "assistant", content = "So: \n" } } }
    assert.are.equal("So:", body.messages[2].content[1].text)
  end)
end)
