local frames = require "tests.support.frames"
local json = require "perilune.json"
local openai_responses = require "perilune.model.provider.openai_responses"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function events_of(name, options)
  local body = assert(frames.read("tests/fixtures/responses/" .. name))
  return frames.feed(openai_responses.decoder(options), frames.split(body))
end


local function read(name, options)
  return response.collect(events_of(name, options))
end


local function types(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.type
  end
  return table.concat(list, " ")
end


local function feed(...)
  local list = {}
  for position, data in ipairs { ... } do
    list[position] = { data = data }
  end
  return response.collect(frames.feed(openai_responses.decoder(), list))
end


local function item_types(answer)
  local list = {}
  for position, item in ipairs(answer.provider_items and answer.provider_items.items or {}) do
    list[position] = item.type
  end
  return table.concat(list, " ")
end


describe("the Responses decoder", function()
  it("follows items whose ids change with every event, and takes them from the stream when the end is empty", function()
    local events = events_of "reasoning.sse"
    assert.are.equal("start thinking thinking text text item item usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Grüß dich 👋", answer.content)
    assert.are.equal("Only a greeting.", answer.reasoning)
    assert.are.equal("gpt-5-mini-2025-08-07", answer.model)
    assert.are.equal("stop", answer.finish_reason)
    assert.are.equal("completed", answer.finish_reason_raw)
  end)

  it("keeps the complete ciphertext with what followed it", function()
    local kept = read("reasoning.sse", { target = { name = "openai", model = "gpt-5-mini" } }).provider_items
    assert.are.equal("openai/responses", kept.provider)
    assert.are.equal("gpt-5-mini", kept.model)
    assert.are.equal("whole", kept.items[1].encrypted_content)
    assert.are.equal("message", kept.items[2].type)
  end)

  it("takes ciphertext that only the end completes", function()
    local answer = feed(
      '{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs","encrypted_content":"half"}}',
      '{"type":"response.completed","response":{"status":"completed","output":[{"type":"reasoning","id":"rs",'
        .. '"encrypted_content":"whole"}]}}')
    assert.are.equal("whole", answer.provider_items.items[1].encrypted_content)
  end)

  it("counts cached and reasoning tokens as parts", function()
    local usage = read("reasoning.sse").usage
    assert.are.equal(40, usage.prompt_tokens)
    assert.are.equal(25, usage.completion_tokens)
    assert.are.equal(32, usage.prompt_tokens_details.cached_tokens)
    assert.are.equal(16, usage.completion_tokens_details.reasoning_tokens)
  end)

  it("reads calls in pieces and calls that were never streamed", function()
    local answer = read "tools.sse"
    assert.are.equal('{"city": "Paris"}', answer.tool_calls[1].arguments)
    assert.are.equal('{"n":9007199254740993}', answer.tool_calls[2].arguments)
    assert.are.equal("call_2", answer.tool_calls[2].id)
    assert.are.equal("tool_calls", answer.finish_reason)
  end)

  it("makes the text of a custom tool an object, in pieces that add up", function()
    local events, pieces = events_of "tools.sse", {}
    for _, event in ipairs(events) do
      pieces[#pieces + 1] = event.type == "tool_call_delta" and event.index == 2 and event.arguments or nil
    end
    local call = response.collect(events).tool_calls[3]
    assert.are.same({ input = 'SELECT "a"\nFROM t' }, json.decode(call.arguments))
    assert.are.equal(call.arguments, table.concat(pieces))
    assert.is_true(#pieces > 2)
  end)

  it("reads a whole answer: server items, an image, citations, why it is incomplete", function()
    local events = events_of "whole.json"
    assert.are.equal("start image text text citation item item item usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("The moon is near.", answer.content)
    assert.are.same({ data = "UklGRg==", media_type = "image/webp" }, answer.images[1])
    assert.are.equal("web_search_call image_generation_call message", item_types(answer))
    assert.are.equal("https://example.com/moon", answer.provider_items.items[3].content[1].annotations[1].url)
    assert.are.equal("length", answer.finish_reason)
    assert.are.equal("incomplete", answer.finish_reason_raw)
    assert.are.same({ reason = "max_output_tokens" }, answer.stop_details)
  end)

  it("keeps nothing of an answer that text and calls say in full", function()
    local answer = feed('{"object":"response","status":"completed","output":[{"type":"reasoning","id":"rs","summary":[]},'
      .. '{"type":"message","content":[{"type":"output_text","text":"Hi","annotations":[]}]}]}')
    assert.are.equal("Hi", answer.content)
    assert.is_nil(answer.provider_items)
  end)

  it("drops ids from what follows reasoning that cannot go back", function()
    local answer = feed('{"object":"response","status":"completed","output":[{"type":"reasoning","id":"rs","summary":[]},'
      .. '{"type":"message","id":"msg","phase":"final_answer","content":[{"type":"output_text","text":"Hi"}]}]}')
    assert.are.equal("message", item_types(answer))
    assert.is_nil(answer.provider_items.items[1].id)
  end)

  it("keeps a refusal apart", function()
    local answer = feed('{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"No."}',
      '{"type":"response.completed","response":{"status":"completed","output":[]}}')
    assert.are.equal("No.", answer.refusal)
    assert.are.equal("", answer.content)
    assert.are.equal("refusal", answer.finish_reason)
  end)

  it("waits for the status after an error in the stream", function()
    local events = events_of "failed.sse"
    assert.are.equal("start error", types(events))
    local err = events[2].error
    assert.are.equal("quota", err.kind)
    assert.are.equal("insufficient_quota", err.type)
    assert.are.equal("failed", err.details.finish_reason)
    assert.is_nil(err.status)
  end)

  it("tells an error in the stream though nothing follows it", function()
    local answer = feed '{"type":"error","code":"rate_limit_exceeded","message":"Slow down."}'
    assert.are.equal("rate_limit", answer.error.kind)
    assert.are.equal("Slow down.", answer.error.message)
  end)

  it("calls a stream without its last event interrupted", function()
    local answer = feed('{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}', "[DONE]")
    assert.are.equal("a", answer.content)
    assert.are.equal("stream_interrupted", answer.error.kind)
  end)

  it("reads error bodies of any status", function()
    local err = read("error.json", { status = 400 }).error
    assert.are.equal("api", err.kind)
    assert.are.equal("unknown_parameter", err.code)
    local decoder = openai_responses.decoder { status = 503 }
    assert.are.equal("overloaded", decoder:finish()[1].error.kind)
    assert.are.equal("bad_response", feed('{"hello":1}').error.kind)
  end)
end)


describe("Responses requests", function()
  local function target_of(name, model, quirks)
    return assert(providers.target(providers.get(name), {
      model = model, api = "responses", api_key = "k", quirks = quirks, base_url = name == "azure" and "https://a.example" or nil,
    }))
  end


  local function encode(request, name, model, quirks)
    local target = target_of(name or "openai", model or "gpt-4o-mini", quirks)
    local http, err = target.provider.encode(request, target)
    return http and json.decode(http.body), http or err
  end


  local function user(content)
    return { messages = { { role = "user", content = content } } }
  end

  it("store nothing, and are the same every time", function()
    local body, http = encode(user "hi")
    assert.are.equal("https://api.openai.com/v1/responses", http.url)
    assert.are.equal("Bearer k", http.headers.authorization)
    assert.are.same({ model = "gpt-4o-mini", store = false, stream = true, input = { { role = "user", content = "hi" } } }, body)
    assert.are.equal(http.body, select(2, encode(user "hi")).body)
  end)

  it("leave the vendor's first wire format alone", function()
    local target = providers.target(providers.get "openai", { model = "gpt-4o-mini" })
    assert.are.equal("https://api.openai.com/v1/chat/completions", target.provider.encode(user "hi", target).url)
    assert.is_nil((providers.target(providers.get "mistral", { model = "m", api = "responses" })))
  end)

  it("say instructions, calls and results as items", function()
    local body = encode { messages = {
      { role = "system", content = "Be brief." }, { role = "developer", content = "Be kind." },
      { role = "user", content = "Weather?" },
      { role = "assistant", content = "Looking.", tool_calls = { { id = "c1", name = "weather", arguments = "" } } },
      { role = "tool", tool_call_id = "c1", content = "40 C" },
    } }
    assert.are.same({
      { role = "system", content = "Be brief." }, { role = "developer", content = "Be kind." },
      { role = "user", content = "Weather?" },
      { role = "assistant", content = "Looking." },
      { type = "function_call", call_id = "c1", name = "weather", arguments = "{}" },
      { type = "function_call_output", call_id = "c1", output = "40 C" },
    }, body.input)
  end)

  it("join instructions at the front for vendors with one role for them", function()
    local body = encode({ messages = {
      { role = "system", content = "A" }, { role = "developer", content = "B" }, { role = "user", content = "C" },
    } }, "xai", "grok-4.3")
    assert.are.same({ role = "system", content = "A\n\nB" }, body.input[1])
  end)

  it("carry images and files, in results too, and refuse what the format cannot carry", function()
    local picture = { type = "image", data = "AAAA", media_type = "image/jpeg" }
    local body = encode { messages = {
      { role = "user", content = {
        { type = "text", text = "Look" }, picture, { type = "file", url = "https://example.com/a.pdf" },
        { type = "file", data = "BBBB", name = "b.pdf" },
      } },
      { role = "assistant", tool_calls = { { id = "c", name = "shot", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c", content = { picture } },
    } }
    local image = { type = "input_image", image_url = "data:image/jpeg;base64,AAAA", detail = "auto" }
    assert.are.same({
      { type = "input_text", text = "Look" }, image, { type = "input_file", file_url = "https://example.com/a.pdf" },
      { type = "input_file", filename = "b.pdf", file_data = "data:application/pdf;base64,BBBB" },
    }, body.input[1].content)
    assert.are.same({ image }, body.input[3].output)
    local _, err = encode(user { { type = "audio", data = "AAAA", media_type = "audio/wav" } })
    assert.are.equal("media", err.kind)
  end)

  it("name tools flatly, and say that they are not strict", function()
    local body = encode {
      messages = { { role = "user", content = "x" } }, tool_choice = { name = "b" }, parallel_tool_calls = false,
      tools = { { name = "a", description = "A" }, { name = "b", parameters = json.raw '{"type":"object"}', strict = true } },
    }
    assert.are.same({
      { type = "function", name = "a", description = "A", strict = false, parameters = { type = "object", properties = {} } },
      { type = "function", name = "b", strict = true, parameters = { type = "object" } },
    }, body.tools)
    assert.are.same({ type = "function", name = "b" }, body.tool_choice)
    assert.is_false(body.parallel_tool_calls)
  end)

  it("ask reasoning models for ciphertext and spare them what they refuse", function()
    local request = { messages = { { role = "user", content = "x" } }, temperature = 0.5, max_tokens = 100, reasoning_effort = "low" }
    local body = encode(request, "openai", "gpt-5-mini")
    assert.are.same({ "reasoning.encrypted_content" }, body.include)
    assert.are.same({ effort = "low" }, body.reasoning)
    assert.is_nil(body.temperature)
    assert.are.equal(100, body.max_output_tokens)
    request.reasoning_effort = nil
    body = encode(request)
    assert.is_nil(body.include)
    assert.are.equal(0.5, body.temperature)
    request.enable_thinking = true
    assert.are.same({ summary = "auto" }, encode(request, "openai", "gpt-5-mini").reasoning)
    assert.are.same({ "reasoning.encrypted_content" }, encode(user "x", "xai", "grok-4.3").include)
  end)

  it("say structured output as text.format", function()
    local schema = { type = "object", properties = { a = { type = "integer" } }, required = { "a" }, additionalProperties = false }
    local request = user "x"
    request.response_format = { type = "json_schema", json_schema = { name = "n", schema = schema, strict = true } }
    assert.are.same({ type = "json_schema", name = "n", schema = schema, strict = true }, encode(request).text.format)
    request.response_format = { type = "json_object" }
    assert.are.same({ type = "json_object" }, encode(request).text.format)
  end)

  it("drop what the vendor refuses and merge the caller's own fields last", function()
    local request = user "x"
    request.provider_specific_params = { store = true, truncation = "auto" }
    local body = encode(request, "openai", "gpt-5", { drop = { "include" } })
    assert.is_nil(body.include)
    assert.is_true(body.store)
    assert.are.equal("auto", body.truncation)
    request.n = 2
    assert.are.equal("configuration", select(2, encode(request)).kind)
  end)

  it("go to Azure's address without a version, with its own header", function()
    local _, http = encode(user "x", "azure", "my-deployment")
    assert.are.equal("https://a.example/openai/v1/responses", http.url)
    assert.are.equal("k", http.headers["api-key"])
    assert.is_nil(http.headers.authorization)
  end)


  local function answer_of(name, provider, model)
    local target = target_of(provider, model)
    local body = assert(frames.read("tests/fixtures/responses/" .. name))
    return response.collect(frames.feed(openai_responses.decoder { target = target }, frames.split(body))):to_message()
  end

  it("send opaque items back to the same model, and only there", function()
    local message = answer_of("reasoning.sse", "openai", "gpt-5-mini")
    local same = encode({ messages = { message } }, "openai", "gpt-5-mini").input
    assert.are.equal("whole", same[1].encrypted_content)
    assert.are.equal("message", same[2].type)
    for _, other in ipairs { { "openai", "gpt-5" }, { "xai", "gpt-5-mini" } } do
      assert.are.same({ { role = "assistant", content = "Grüß dich 👋" } }, encode({ messages = { message } }, other[1], other[2]).input)
    end
  end)

  it("drop opaque items of an answer that was changed", function()
    local message = answer_of("reasoning.sse", "openai", "gpt-5-mini")
    message.content = "Hello"
    assert.are.same({ { role = "assistant", content = "Hello" } }, encode({ messages = { message } }, "openai", "gpt-5-mini").input)
  end)

  it("answer custom tools as such", function()
    local message = answer_of("tools.sse", "openai", "gpt-5-mini")
    local input = encode({ messages = {
      message,
      { role = "tool", tool_call_id = "call_1", content = "1" }, { role = "tool", tool_call_id = "call_2", content = "2" },
      { role = "tool", tool_call_id = "call_3", content = "3" },
    } }, "openai", "gpt-5-mini").input
    assert.are.equal("custom_tool_call", input[3].type)
    assert.is_nil(input[1].status)
    assert.are.equal("function_call_output", input[5].type)
    assert.are.same({ type = "custom_tool_call_output", call_id = "call_3", output = "3" }, input[6])
  end)
end)
