local errors = require "perilune.std.errors"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local openai_chat = require "perilune.model.provider.openai_chat"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function events_of(name, options)
  local body = assert(frames.read("tests/fixtures/" .. name))
  return frames.feed(openai_chat.decoder(options), frames.split(body))
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
  return frames.feed(openai_chat.decoder(), list)
end


local function chunk(delta, rest)
  return '{"id":"c","model":"m","choices":[{"index":0,"delta":' .. delta .. ',"finish_reason":null}]' .. (rest or "") .. "}"
end


local STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


describe("the chat.completions decoder", function()
  it("reads a stream of text and takes the usage that comes after the end", function()
    local events = events_of "openai/text.sse"
    assert.are.equal("start text text usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Grüß dich 👋", answer.content)
    assert.are.equal("small-1", answer.model)
    assert.are.equal("chatcmpl-1", answer.id)
    assert.are.equal("stop", answer.finish_reason)
    assert.are.equal(20, answer.usage.prompt_tokens)
    assert.are.equal(16, answer.usage.prompt_tokens_details.cached_tokens)
    assert.are.equal(27, answer.usage.total_tokens)
  end)

  it("puts tool calls together and makes an empty text {}", function()
    local events = events_of "openai/tools.sse"
    assert.are.equal("start tool_call_start tool_call_delta tool_call_delta tool_call_start tool_call tool_call "
      .. "usage stop", types(events))
    local answer = response.collect(events)
    assert.are.same({
      { id = "call_a", name = "get_weather", arguments = '{"city": "Paris"}' },
      { id = "call_b", name = "get_time", arguments = "{}" },
    }, answer.tool_calls)
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.is_true(answer.has_tool_calls)
  end)

  it("reads a whole answer with several choices and leaves arguments as they were written", function()
    local answer = read "openai/whole.json"
    assert.are.equal("First.", answer.content)
    assert.are.equal(2, #answer.choices)
    assert.are.equal("Second.", answer.choices[2].content)
    assert.are.equal("tool_calls", answer.choices[2].finish_reason)
    assert.are.equal('{"n": 9007199254740993}', answer.choices[2].tool_calls[1].arguments)
    assert.are.same({}, answer.tool_calls)
  end)

  it("takes calls of a whole answer that have one id for two, and makes their ids unique", function()
    local call = '{"id":"c1","type":"function","function":{"name":"f","arguments":"{\\"n\\":%d}"}}'
    local answer = response.collect(feed(('{"id":"x","model":"m","choices":[{"index":0,"message":{"tool_calls":[%s,%s]},'
      .. '"finish_reason":"tool_calls"}]}'):format(call:format(1), call:format(2))))
    local first, second = table.unpack(answer.tool_calls)
    assert.are.same({ 2, "c1", '{"n":1}', '{"n":2}' }, { #answer.tool_calls, first.id, first.arguments, second.arguments })
    assert.matches("^call_%w+$", second.id)
  end)

  it("keys fragments by index and id", function()
    local answer = read "compatible/fragments.sse"
    assert.are.same({
      { id = "aB3dE6gH9", name = "one", arguments = '{"x":1}' },
      { id = "call_x", name = "two", arguments = '{"y":2}' },
      { id = "call_y", name = "three", arguments = "null" },
    }, answer.tool_calls)
    assert.are.equal(6, answer.usage.completion_tokens) -- the last usage wins
  end)

  it("follows a call whose id changes with every fragment", function()
    local answer = response.collect(feed(
      chunk '{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\\"x\\":"}}]}',
      chunk '{"tool_calls":[{"index":0,"id":"b","function":{"arguments":"1}"}}]}', STOP))
    assert.are.same({ { id = "a", name = "f", arguments = '{"x":1}' } }, answer.tool_calls)
  end)

  it("makes an id where the provider gives none, the same for the same answer", function()
    local whole = '{"id":"x","model":"m","choices":[{"index":0,"message":{"function_call":{"name":"f",'
      .. '"arguments":"{}"}},"finish_reason":"function_call"}]}'
    local first, second = response.collect(feed(whole)), response.collect(feed(whole))
    assert.is_truthy(first.tool_calls[1].id:find("^call_%w%w%w%w%w%w%w%w%w$"))
    assert.are.equal(first.tool_calls[1].id, second.tool_calls[1].id)
  end)

  it("unwraps the imagined parallel tool, unless the request has a tool of that name", function()
    local answer = read "compatible/wrapper.sse"
    assert.are.equal(2, #answer.tool_calls)
    assert.are.equal("a", answer.tool_calls[1].name)
    assert.are.equal('{"k":1}', answer.tool_calls[1].arguments)
    assert.are.equal("b", answer.tool_calls[2].name)
    assert.are_not.equal(answer.tool_calls[1].id, answer.tool_calls[2].id)
    local meant = read("compatible/wrapper.sse", { request = { tools = { { name = "multi_tool_use.parallel" } } } })
    assert.are.equal("call_w", meant.tool_calls[1].id)
  end)

  it("keeps thinking apart, in parts and in fields of its own", function()
    local answer = read "compatible/thinking_parts.sse"
    assert.are.equal("Hm, yes.", answer.reasoning)
    assert.are.equal("Yes.", answer.content)
  end)

  it("keeps reasoning details as items of the provider", function()
    local answer = read("compatible/reasoning_details.sse", { target = { name = "openrouter", model = "z" } })
    assert.are.equal("Two plus", answer.reasoning)
    assert.are.equal("openrouter", answer.provider_items.provider)
    assert.are.equal("z", answer.provider_items.model)
    local first = { type = "reasoning.text", text = "Two plus", index = 0, format = "x", signature = "sig" }
    assert.are.same(first, answer.provider_items.items[1])
    assert.are.equal("abc", answer.provider_items.items[2].data)
  end)

  it("adds reasoning that is counted beside the completion", function()
    local usage = read("compatible/xai_usage.sse").usage
    assert.are.equal(40, usage.completion_tokens)
    assert.are.equal(140, usage.total_tokens)
    assert.are.equal(30, usage.completion_tokens_details.reasoning_tokens)
  end)

  it("calls a refusal a refusal", function()
    local answer = response.collect(feed(chunk '{"refusal":"No."}', STOP, "[DONE]"))
    assert.are.equal("No.", answer.refusal)
    assert.are.equal("", answer.content)
    assert.are.equal("refusal", answer.finish_reason)
    assert.are.equal("stop", answer.finish_reason_raw)
  end)

  it("does not finish at finish_reason and produces nothing after the end", function()
    local decoder = openai_chat.decoder()
    decoder:feed(chunk '{"content":"a"}')
    assert.are.same({}, decoder:feed(STOP))
    assert.are.equal("stop", types(decoder:feed "[DONE]"))
    assert.are.same({}, decoder:feed(chunk '{"content":"b"}'))
    assert.are.same({}, decoder:finish())
  end)

  it("treats a generated id, null fields and unknown frames as harmless", function()
    local events = feed('{"choices":null}', '{"type":"ping"}', '{"id":"i","choices":[{"delta":null}]}',
      '{"choices":[{"index":0,"delta":{"content":null,"tool_calls":null},"finish_reason":"stop"}],"usage":null}', "[DONE]")
    assert.are.equal("start stop", types(events))
  end)

  it("unwraps data URLs of generated images", function()
    local events = feed(chunk '{"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBOR"}}]}', STOP)
    assert.are.same({ type = "image", data = "iVBOR", media_type = "image/png" }, events[2])
  end)
end)


describe("errors of chat.completions", function()
  it("reports an error after text, with what came before", function()
    local answer = read "compatible/error_after_text.sse"
    assert.are.equal("Half an ans", answer.content)
    assert.is_true(errors.is(answer.error, "server"))
    assert.are.equal("upstream fell over", answer.error.message)
    assert.are.equal(502, answer.error.code)
    assert.is_nil(answer.error.status)
    assert.is_true(answer.error.maybe_billed)
  end)

  it("tells an empty account from a rate limit", function()
    local err = read("openai/error.json", { status = 429 }).error
    assert.are.equal("quota", err.kind)
    assert.is_false(err.retryable)
    assert.are.equal(429, err.status)
  end)

  it("calls a stream without an end interrupted", function()
    local answer = response.collect(feed(chunk '{"content":"a"}'))
    assert.are.equal("stream_interrupted", answer.error.kind)
    assert.is_true(answer.error.retryable)
    assert.are.equal("a", answer.content)
  end)

  it("accepts the end of the body after a finish_reason", function()
    assert.are.equal("start text stop", types(feed(chunk '{"content":"a"}', STOP)))
  end)

  it("accepts [DONE] without a finish_reason", function()
    local answer = response.collect(feed(chunk '{"content":"a"}', "[DONE]"))
    assert.are.equal("other", answer.finish_reason)
  end)

  it("tells a frame cut by the end from a broken one in the middle", function()
    local cut = response.collect(feed(chunk '{"content":"a"}', '{"id":"c","cho'))
    assert.are.equal("stream_interrupted", cut.error.kind)
    local broken = response.collect(feed(chunk '{"content":"a"}', '{"id":"c","cho', chunk '{"content":"b"}'))
    assert.are.equal("bad_response", broken.error.kind)
    assert.are.equal('{"id":"c","cho', broken.error.details.excerpt)
  end)

  it("calls a cut whole answer a bad one", function()
    local body = frames.read "tests/fixtures/openai/whole.json"
    local answer = response.collect(feed(body:sub(1, #body // 2)))
    assert.are.equal("bad_response", answer.error.kind)
  end)

  it("shows the beginning of HTML, and lets the status decide the kind", function()
    local body = frames.read "tests/fixtures/compatible/bad_gateway.html"
    local in_200 = response.collect(feed(body)).error
    assert.are.equal("bad_response", in_200.kind)
    assert.are.equal(body:sub(1, 200), in_200.details.excerpt)
    local in_502 = read("compatible/bad_gateway.html", { status = 502 }).error
    assert.are.equal("server", in_502.kind)
    assert.are.equal(502, in_502.status)
  end)

  it("names an empty body", function()
    local decoder = openai_chat.decoder { status = 503 }
    local events = decoder:finish()
    assert.are.equal("overloaded", events[1].error.kind)
    assert.are.equal("stream_interrupted", openai_chat.decoder():finish()[1].error.kind)
  end)

  it("takes finish_reason error for an error", function()
    local failed = '{"choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]}'
    local answer = response.collect(feed(failed, "[DONE]"))
    assert.are.equal("overloaded", answer.error.kind)
  end)

  local table_of_errors = {
    { 401, '{"detail":"Invalid API Key"}', "authentication" },
    { 403, '{"error":{"message":"no"}}', "permission" },
    { 404, '{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}', "model_not_found" },
    { 404, '{"error":"model \\"x\\" not found, try pulling it first"}', "model_not_found" },
    { 404, '{"message":"no such route"}', "not_found" },
    { 402, '{"error":{"message":"Insufficient Balance","type":"unknown_error"}}', "quota" },
    { 429, '{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","code":"1300"}', "rate_limit" },
    { 400, '{"error":{"message":"This model\'s maximum context length is 8192 tokens."}}', "context_length" },
    { 400, '{"error":{"code":400,"message":"too big","type":"exceed_context_size_error","n_ctx":512}}', "context_length" },
    { 400, '{"error":{"message":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}', "content_filter" },
    { 422, '{"detail":[{"loc":["body"],"msg":"Field required","type":"missing"}]}', "api" },
    { 400, '{"error":{"message":"bad value","type":"invalid_request_error"}}', "api" },
    { 503, '{"error":{"message":"Loading model","type":"unavailable_error","code":503}}', "overloaded" },
    { 500, '{"error":"boom"}', "server" },
    { 529, '{"error":{"message":"busy"}}', "overloaded" },
    { 400, '{"error":{"message":"no","code":"tool_use_failed","failed_generation":"x"}}', "bad_response" },
    { 400, '[{"error":{"code":400,"message":"key","status":"INVALID_ARGUMENT"}}]', "api" },
    { 400, '{"unexpected":true}', "api" },
    { 500, "upstream connect error", "server" },
  }
  for _, row in ipairs(table_of_errors) do
    it(("calls HTTP %d %s %s"):format(row[1], row[2]:sub(1, 60), row[3]), function()
      local events = frames.feed(openai_chat.decoder { status = row[1] }, { { data = row[2] } })
      assert.are.equal("error", types(events))
      assert.are.equal(row[3], events[1].error.kind)
      assert.are.equal(row[1], events[1].error.status)
    end)
  end

  it("says the provider's message verbatim", function()
    local body = '{"detail":[{"msg":"Field required"},{"msg":"Too long"}]}'
    local events = frames.feed(openai_chat.decoder { status = 422 }, { { data = body } })
    assert.are.equal("Field required; Too long", events[1].error.message)
  end)

  it("says which field the provider blames", function()
    local body = '{"error":{"message":"too hot","param":"temperature","code":"decimal_above_max_value"}}'
    local err = frames.feed(openai_chat.decoder { status = 400 }, { { data = body } })[1].error
    assert.are.same({ "temperature", "decimal_above_max_value" }, { err.param, err.code })
    assert.is_nil(frames.feed(openai_chat.decoder { status = 400 }, { { data = '{"error":{"param":null}}' } })[1].error.param)
  end)
end)


describe("chat.completions requests", function()
  local openai = providers.get "openai"


  local function encode(request, model, name, quirks)
    local provider = providers.get(name or "openai")
    local target = providers.target(provider, { model = model or "gpt-4o-mini", api_key = "k", quirks = quirks })
    local encoded, err = provider.encode(request, target)
    return encoded and json.decode(encoded.body), encoded or err
  end


  local function user(content)
    return { messages = { { role = "user", content = content } } }
  end

  it("asks for a stream with usage, and is the same every time", function()
    local body, http = encode(user "hi")
    assert.are.equal("https://api.openai.com/v1/chat/completions", http.url)
    assert.are.equal("POST", http.method)
    assert.are.equal("Bearer k", http.headers.authorization)
    assert.are.equal("text/event-stream", http.headers.accept)
    assert.is_true(body.stream)
    assert.is_true(body.stream_options.include_usage)
    assert.are.same("hi", body.messages[1].content)
    local _, again = encode(user "hi")
    assert.are.equal(http.body, again.body)
  end)

  it("lets headers of the target win and sends no key where there is none", function()
    local headers = { ["X-Title"] = "t", Accept = "a" }
    local target = providers.target(openai, { model = "m", base_url = "http://127.0.0.1:1/v1/", headers = headers })
    local http = openai.encode(user "hi", target)
    assert.are.equal("http://127.0.0.1:1/v1/chat/completions", http.url)
    assert.are.equal("t", http.headers["x-title"])
    assert.are.equal("a", http.headers.accept)
    assert.is_nil(http.headers.authorization)
  end)

  it("limits the answer in the field that the model knows", function()
    local request = user "hi"
    request.max_tokens, request.temperature = 50, 0.5
    assert.are.equal(50, encode(request).max_tokens)
    local reasoning = encode(request, "gpt-5-mini")
    assert.are.equal(50, reasoning.max_completion_tokens)
    assert.is_nil(reasoning.max_tokens)
    assert.is_nil(reasoning.temperature)
    assert.are.equal(0.5, encode(request, "gpt-5-chat-latest").temperature)
    assert.are.equal(50, encode({ messages = request.messages, max_completion_tokens = 50 }, "m", "mistral").max_tokens)
  end)

  it("writes tools and the choice among them", function()
    local request = user "hi"
    local schema = json.raw '{"type":"object","properties":{}}'
    request.tools = { { name = "f", description = "d", parameters = schema, strict = true }, { name = "g" } }
    request.tool_choice, request.parallel_tool_calls = { name = "f" }, false
    local body = encode(request)
    assert.are.equal("f", body.tools[1]["function"].name)
    assert.is_true(body.tools[1]["function"].strict)
    assert.are.equal("object", body.tools[2]["function"].parameters.type)
    assert.are.same({ type = "function", ["function"] = { name = "f" } }, body.tool_choice)
    assert.is_false(body.parallel_tool_calls)
    request.tool_choice = "required"
    assert.are.equal("required", encode(request).tool_choice)
    assert.are.equal("any", encode(request, "m", "mistral").tool_choice)
  end)

  it("writes a conversation with calls and results", function()
    local body = encode { messages = {
      { role = "system", content = "A" }, { role = "system", content = "B" }, { role = "user", content = "q" },
      { role = "assistant", tool_calls = { { id = "call_1", name = "f", arguments = "" } } },
      { role = "tool", tool_call_id = "call_1", content = {
        { type = "text", text = "r" }, { type = "image", data = "AA", media_type = "image/png" },
      } },
      { role = "assistant", content = "done", tool_calls = {} },
    } }
    assert.are.equal("A\n\nB", body.messages[1].content)
    assert.are.equal(json.null, body.messages[3].content)
    assert.are.equal("{}", body.messages[3].tool_calls[1]["function"].arguments)
    assert.are.equal("r", body.messages[4].content)
    assert.are.equal("data:image/png;base64,AA", body.messages[5].content[1].image_url.url)
    assert.are.equal("user", body.messages[5].role)
    assert.is_nil(body.messages[6].tool_calls)
  end)

  it("says who speaks, to vendors that take a name", function()
    local request = { messages = {
      { role = "system", content = "A" }, { role = "system", content = "B", name = "example_user" },
      { role = "user", content = "q", name = "ann" }, { role = "assistant", content = "r", name = "bob" },
    } }
    local names = {}
    for position, message in ipairs(encode(request).messages) do
      names[position] = message.name or ""
    end
    assert.are.same({ "", "example_user", "ann", "bob" }, names)
    local messages = encode(request, "m", "mistral").messages
    assert.are.equal("A\n\nB", messages[1].content)
    assert.is_nil(messages[2].name)
  end)

  it("writes media and never an empty text", function()
    local body = encode(user {
      { type = "text", text = "" }, { type = "text", text = "see" }, { type = "image", url = "https://x/y.png" },
      { type = "audio", data = "AA", media_type = "audio/mpeg" },
      { type = "file", data = "BB", name = "a.pdf", media_type = "application/pdf" },
    })
    local content = body.messages[1].content
    assert.are.equal(4, #content)
    assert.are.same({ type = "text", text = "see" }, content[1])
    assert.are.equal("https://x/y.png", content[2].image_url.url)
    assert.are.same({ data = "AA", format = "mp3" }, content[3].input_audio)
    assert.are.same({ filename = "a.pdf", file_data = "data:application/pdf;base64,BB" }, content[4].file)
  end)

  it("says which media cannot be sent", function()
    local body, err = encode(user { { type = "audio", url = "https://x/a.ogg" } })
    assert.is_nil(body)
    assert.is_true(errors.is(err, "media"))
  end)

  it("merges the vendor's own parameters last", function()
    local request = user "hi"
    request.temperature, request.provider_specific_params = 1, { temperature = 0, extra = { a = 1 } }
    local body = encode(request)
    assert.are.equal(0, body.temperature)
    assert.are.equal(1, body.extra.a)
  end)

  it("calls developer messages what the vendor calls them", function()
    local request = { messages = { { role = "developer", content = "d" }, { role = "user", content = "u" } } }
    assert.are.equal("developer", encode(request).messages[1].role)
    assert.are.equal("system", encode(request, "m", "groq").messages[1].role)
  end)
end)
