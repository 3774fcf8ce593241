local frames = require "tests.support.frames"
local gemini = require "perilune.model.provider.gemini"
local gemini_schema = require "perilune.model.provider.gemini_schema"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function events_of(name, options)
  local body = assert(frames.read("tests/fixtures/gemini/" .. name))
  return frames.feed(gemini.decoder(options), frames.split(body))
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


local function feed(options, ...)
  local list = {}
  for position, data in ipairs { ... } do
    list[position] = { data = data }
  end
  return response.collect(frames.feed(gemini.decoder(options), list))
end


describe("the Gemini decoder", function()
  it("reads thoughts, text and calls, and makes ids where there are none", function()
    local events = events_of "thinking_tool.sse"
    assert.are.equal("start thinking text text tool_call_start tool_call_delta tool_call_start tool_call_delta "
      .. "tool_call tool_call item item item usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Let me look.", answer.content)
    assert.are.equal("Two cities, two calls.", answer.reasoning)
    assert.are.equal("gemini-3-flash", answer.model)
    assert.are.same({ id = "fc1", name = "get_weather", arguments = '{"city":"Paris"}' }, answer.tool_calls[1])
    assert.are.equal("{}", answer.tool_calls[2].arguments)
    assert.is_truthy(answer.tool_calls[2].id:find("^call_%w+$"))
    assert.are.equal(answer.tool_calls[2].id, read("thinking_tool.sse").tool_calls[2].id)
  end)

  it("says that there are calls though the provider says STOP", function()
    local answer = read "thinking_tool.sse"
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.are.equal("STOP", answer.finish_reason_raw)
    assert.are.same({ message = "Model generated function call(s)." }, answer.stop_details)
  end)

  it("adds thoughts to what was written and tool use to what was read", function()
    local usage = read("thinking_tool.sse").usage
    assert.are.equal(35, usage.prompt_tokens)
    assert.are.equal(32, usage.completion_tokens)
    assert.are.equal(67, usage.total_tokens)
    assert.are.equal(67, usage.raw.totalTokenCount)
    assert.are.equal(8, usage.prompt_tokens_details.cached_tokens)
    assert.are.equal(10, usage.prompt_tokens_details.audio_tokens)
    assert.are.equal(20, usage.completion_tokens_details.reasoning_tokens)
  end)

  it("keeps signed parts with the text around them, and no unsigned thoughts", function()
    local kept = read("thinking_tool.sse", { target = { name = "gemini", model = "gemini-3-flash" } }).provider_items
    assert.are.equal("gemini", kept.provider)
    assert.are.equal(3, #kept.items)
    assert.are.equal("Let me look.", kept.items[1].text)
    assert.are.equal("c2ln", kept.items[2].thoughtSignature)
    assert.are.equal("get_time", kept.items[3].functionCall.name)
  end)

  it("puts arguments together that come field by field, also when their end is missing", function()
    local answer = read "partial_arguments.sse"
    assert.are.equal(2, #answer.tool_calls)
    assert.are.same({ city = "Paris", note = json.null, days = { { high = 21 }, { ["is sunny"] = true } } },
      json.decode(answer.tool_calls[1].arguments))
    assert.are.equal('{"now":false}', answer.tool_calls[2].arguments)
  end)

  it("reads a stream that is an array, with several answers, images and numbers for words", function()
    local answer = read "array.json"
    assert.are.equal("A picture.", answer.content)
    assert.are.same({ data = "iVBORw==", media_type = "image/png" }, answer.images[1])
    assert.are.equal("stop", answer.finish_reason)
    assert.are.equal(1, answer.finish_reason_raw)
    assert.are.equal("Another", answer.choices[2].content)
    assert.are.equal("length", answer.choices[2].finish_reason)
    local items = answer.provider_items.items
    assert.are.equal("https://example.com", items[#items].citationMetadata.citationSources[1].uri)
  end)

  it("calls a blocked prompt an error", function()
    local answer = read "blocked.json"
    assert.are.equal("content_filter", answer.error.kind)
    assert.are.equal("PROHIBITED_CONTENT", answer.error.code)
    assert.is_false(answer.error.retryable)
    assert.are.equal(4, answer.usage.prompt_tokens)
  end)

  it("reads an error that stands bare in the stream", function()
    local answer = read "bare_error.sse"
    assert.are.equal("First ", answer.content)
    assert.are.equal("overloaded", answer.error.kind)
    assert.are.equal("UNAVAILABLE", answer.error.type)
    assert.are.equal(503, answer.error.code)
    assert.is_true(answer.error.maybe_billed)
  end)

  it("tells a day's quota from a rate limit, and when to come back", function()
    local err = read("quota.json", { status = 429 }).error
    assert.are.equal("quota", err.kind)
    assert.is_false(err.retryable)
    assert.are.equal(45.837906927, err.retry_after)
  end)

  local table_of_errors = {
    { 400, "INVALID_ARGUMENT", "API key not valid.", '[{"reason":"API_KEY_INVALID"}]', "authentication" },
    { 400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8).", "[]", "context_length" },
    { 400, "INVALID_ARGUMENT", "Invalid value", "null", "api" },
    { 401, "UNAUTHENTICATED", "no", "[]", "authentication" },
    { 403, "PERMISSION_DENIED", "no", "[]", "permission" },
    { 404, "NOT_FOUND", "models/x is not found", "[]", "model_not_found" },
    { 429, "RESOURCE_EXHAUSTED", "Quota exceeded", "[]", "rate_limit" },
    { 500, "INTERNAL", "oops", "[]", "server" },
    { 504, "DEADLINE_EXCEEDED", "late", "[]", "timeout" },
  }
  for _, row in ipairs(table_of_errors) do
    it(("calls %s with %s %s"):format(row[2], row[4], row[5]), function()
      local body = ('{"error":{"code":%d,"status":"%s","message":"%s","details":%s}}'):format(row[1], row[2], row[3], row[4])
      local err = feed({ status = row[1] }, body).error
      assert.are.equal(row[5], err.kind)
      assert.are.equal(row[2], err.type)
      assert.are.equal(row[3], err.message)
    end)
  end

  it("takes a malformed call for a failure that may be tried again", function()
    local err = feed(nil, '{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"print(1)"}]}').error
    assert.are.equal("bad_response", err.kind)
    assert.are.equal("print(1)", err.message)
    assert.is_true(err.retryable)
  end)

  it("calls a stream without a reason interrupted, but not a whole answer", function()
    local body = '{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}'
    assert.are.equal("stream_interrupted", feed(nil, body).error.kind)
    assert.are.equal("other", feed({ request = { stream = false } }, body).finish_reason)
    assert.are.equal("bad_response", feed(nil, "{}").error.kind)
  end)
end)


describe("Gemini requests", function()
  local function encode(request, model, name, options)
    options = options or {}
    local target = assert(providers.target(providers.get(name or "gemini"), {
      model = model or "gemini-2.5-flash", api_key = "k", quirks = options.quirks, base_url = options.base_url,
    }))
    local http, err = target.provider.encode(request, target)
    return http and json.decode(http.body), http or err
  end


  local function user(content)
    return { messages = { { role = "user", content = content } } }
  end

  it("ask for events, with the key in a header, and are the same every time", function()
    local body, http = encode(user "hi")
    assert.are.equal("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", http.url)
    assert.are.equal("k", http.headers["x-goog-api-key"])
    assert.are.same({ contents = { { role = "user", parts = { { text = "hi" } } } } }, body)
    assert.are.equal(http.body, select(2, encode(user "hi")).body)
    local request = user "hi"
    request.stream = false
    assert.is_truthy(select(2, encode(request)).url:find("/models/gemini-2.5-flash:generateContent", 1, true))
  end)

  it("go to Vertex by project and region, with a token", function()
    local quirks = { project = "p", location = "europe-west4" }
    local _, http = encode(user "hi", "gemini-2.5-pro", "vertex", { quirks = quirks })
    assert.are.equal("https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/publishers/google"
      .. "/models/gemini-2.5-pro:streamGenerateContent?alt=sse", http.url)
    assert.are.equal("Bearer k", http.headers.authorization)
    assert.is_nil(http.headers["x-goog-api-key"])
    quirks.location = "global"
    _, http = encode(user "hi", "gemini-2.5-pro", "vertex", { quirks = quirks })
    assert.is_truthy(http.url:find("^https://aiplatform%.googleapis%.com/"))
    local _, err = encode(user "hi", "gemini-2.5-pro", "vertex")
    assert.are.equal("configuration", err.kind)
  end)

  it("say instructions, calls and results in Gemini's way", function()
    local body = encode { messages = {
      { role = "system", content = "Be brief." }, { role = "developer", content = "Be kind." },
      { role = "user", content = "Weather?" },
      { role = "assistant", content = "Looking.", tool_calls = {
        { id = "c1", name = "weather", arguments = '{"n":9007199254740993}' }, { id = "c2", name = "time", arguments = "" },
      } },
      { role = "tool", tool_call_id = "c1", content = "40 C" },
      { role = "tool", tool_call_id = "c2", content = "no clock", is_error = true },
      { role = "user", content = "Thanks" },
    } }
    assert.are.same({ parts = { { text = "Be brief.\n\nBe kind." } } }, body.systemInstruction)
    assert.are.same({
      { role = "user", parts = { { text = "Weather?" } } },
      { role = "model", parts = {
        { text = "Looking." }, { functionCall = { name = "weather", args = { n = 9007199254740993 } } },
        { functionCall = { name = "time", args = {} } },
      } },
      { role = "user", parts = {
        { functionResponse = { name = "weather", response = { output = "40 C" } } },
        { functionResponse = { name = "time", response = { error = "no clock" } } },
      } },
      { role = "user", parts = { { text = "Thanks" } } },
    }, body.contents)
  end)

  it("sign calls of others for Gemini 3, the first of a turn only", function()
    local message = { role = "assistant", tool_calls = {
      { id = "c1", name = "a", arguments = "{}" }, { id = "c2", name = "b", arguments = "{}" },
    } }
    local parts = encode({ messages = { message } }, "gemini-3-pro-preview").contents[1].parts
    assert.are.equal("skip_thought_signature_validator", parts[1].thoughtSignature)
    assert.is_nil(parts[2].thoughtSignature)
    assert.is_nil(encode({ messages = { message } }).contents[1].parts[1].thoughtSignature)
  end)

  it("carry media, those of results after the results", function()
    local picture = { type = "image", data = "AAAA", media_type = "image/webp" }
    local body = encode { messages = {
      { role = "user", content = {
        { type = "audio", data = "BBBB", media_type = "audio/wav" }, { type = "video", url = "https://example.com/a.mp4?x=1" },
        { type = "file", data = "CCCC" }, { type = "image", url = "data:image/gif;base64,DDDD" },
      } },
      { role = "assistant", tool_calls = { { id = "c1", name = "a", arguments = "" }, { id = "c2", name = "b", arguments = "" } } },
      { role = "tool", tool_call_id = "c1", content = { picture } }, { role = "tool", tool_call_id = "c2", content = "x" },
    } }
    assert.are.same({
      { inlineData = { mimeType = "audio/wav", data = "BBBB" } },
      { fileData = { mimeType = "video/mp4", fileUri = "https://example.com/a.mp4?x=1" } },
      { inlineData = { mimeType = "application/pdf", data = "CCCC" } },
      { inlineData = { mimeType = "image/gif", data = "DDDD" } },
    }, body.contents[1].parts)
    local parts = body.contents[3].parts
    assert.are.equal("b", parts[2].functionResponse.name)
    assert.are.same({ inlineData = { mimeType = "image/webp", data = "AAAA" } }, parts[3])
    assert.are.equal(3, #parts)
  end)


  local function answer_of(name)
    local target = { name = "gemini", model = "gemini-3-flash" }
    return read(name, { target = target }):to_message()
  end

  it("send signed parts back to the same model, with Gemini's own call ids", function()
    local message = answer_of "thinking_tool.sse"
    local contents = encode({ messages = {
      message,
      { role = "tool", tool_call_id = "fc1", content = "1" },
      { role = "tool", tool_call_id = message.tool_calls[2].id, content = "2" },
    } }, "gemini-3-flash").contents
    assert.are.equal("c2ln", contents[1].parts[2].thoughtSignature)
    assert.are.equal("fc1", contents[2].parts[1].functionResponse.id)
    assert.is_nil(contents[2].parts[2].functionResponse.id)
    assert.are.equal("get_time", contents[2].parts[2].functionResponse.name)
  end)

  it("send no signature to another model, another vendor, or with a changed answer", function()
    local message = answer_of "thinking_tool.sse"
    local function signature(model, name)
      local parts = encode({ messages = { message } }, model, name, { base_url = "https://x.example" }).contents[1].parts
      return parts[2].thoughtSignature
    end
    assert.are.equal("c2ln", signature("gemini-3-flash", "gemini"))
    assert.is_nil(signature("gemini-2.5-flash", "gemini"))
    assert.are.equal("skip_thought_signature_validator", signature("gemini-3-flash", "vertex"))
    message.content = "Changed."
    assert.are.equal("skip_thought_signature_validator", signature("gemini-3-flash", "gemini"))
  end)

  it("keep what was said about an answer, and do not send it", function()
    local message = answer_of "array.json"
    local parts = encode({ messages = { message } }, "gemini-3-flash").contents[1].parts
    assert.are.equal(3, #parts)
    assert.are.equal("picture.", parts[3].text)
  end)

  it("name tools and how they are chosen", function()
    local request = user "x"
    request.tools = { { name = "a", description = "A", parameters = { type = "object", properties = {} } },
      { name = "b", parameters = json.raw '{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}' } }
    request.tool_choice = { name = "b" }
    local body = encode(request)
    assert.are.same({ { functionDeclarations = {
      { name = "a", description = "A" },
      { name = "b", parameters = { type = "OBJECT", properties = { q = { type = "STRING" } }, required = { "q" } } },
    } } }, body.tools)
    assert.are.same({ mode = "ANY", allowedFunctionNames = { "b" } }, body.toolConfig.functionCallingConfig)
    for choice, mode in pairs { auto = "AUTO", none = "NONE", required = "ANY" } do
      request.tool_choice = choice
      assert.are.equal(mode, encode(request).toolConfig.functionCallingConfig.mode)
    end
    local declared = encode(request, nil, nil, { quirks = { json_schema = true } }).tools[1].functionDeclarations
    assert.are.equal("object", declared[2].parametersJsonSchema.type)
  end)

  it("put options into generationConfig and merge the caller's own there", function()
    local request = user "x"
    request.temperature, request.top_p, request.max_tokens, request.n, request.seed, request.stop = 0.5, 0.9, 100, 2, 7, "END"
    request.response_format = { type = "json_schema", json_schema = { name = "n", schema = { type = "integer" } } }
    request.provider_specific_params = { generationConfig = { topK = 40 }, safetySettings = {} }
    local body = encode(request)
    assert.are.same({
      temperature = 0.5, topP = 0.9, maxOutputTokens = 100, candidateCount = 2, seed = 7, stopSequences = { "END" }, topK = 40,
      responseMimeType = "application/json", responseSchema = { type = "INTEGER" },
    }, body.generationConfig)
    assert.are.same({}, body.safetySettings)
    local config = encode(request, nil, nil, { quirks = { json_schema = true } }).generationConfig
    assert.are.same({ type = "integer" }, config.responseJsonSchema)
  end)

  local table_of_thinking = {
    { "gemini-2.5-flash", { reasoning_effort = "low" }, { includeThoughts = true, thinkingBudget = 1024 } },
    { "gemini-2.5-flash", { reasoning_effort = "none" }, { includeThoughts = false, thinkingBudget = 0 } },
    { "gemini-2.5-pro", { enable_thinking = false }, { includeThoughts = false, thinkingBudget = 128 } },
    { "gemini-2.5-pro", { enable_thinking = true }, { includeThoughts = true } },
    { "gemini-3-flash-preview", { reasoning_effort = "minimal" }, { includeThoughts = true, thinkingLevel = "MINIMAL" } },
    { "gemini-3-pro-preview", { reasoning_effort = "medium" }, { includeThoughts = true, thinkingLevel = "HIGH" } },
    { "gemini-3.1-pro-preview", { reasoning_effort = "medium" }, { includeThoughts = true, thinkingLevel = "MEDIUM" } },
    { "gemini-3.1-pro-preview", { enable_thinking = false }, { includeThoughts = false, thinkingLevel = "LOW" } },
    { "gemini-2.0-flash", { reasoning_effort = "low" }, nil },
    { "gemini-2.5-flash", {}, nil },
  }
  for _, row in ipairs(table_of_thinking) do
    it(("let %s think as %s says"):format(row[1], json.encode(row[2])), function()
      local request = user "x"
      for name, value in pairs(row[2]) do
        request[name] = value
      end
      local config = encode(request, row[1]).generationConfig or {}
      assert.are.same(row[3] or {}, config.thinkingConfig or {})
    end)
  end
end)


describe("a schema for Gemini", function()
  local table_of_schemas = {
    { "inlines references",
      '{"$defs":{"d":{"type":"string","format":"date"}},"type":"object","properties":{"a":{"$ref":"#/$defs/d","description":"A"}}}',
      '{"properties":{"a":{"description":"A","type":"STRING"}},"type":"OBJECT"}' },
    { "cuts a schema that contains itself",
      '{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"integer"}}}',
      '{"properties":{"next":{"properties":{"next":{"type":"OBJECT"},"v":{"type":"INTEGER"}},"type":"OBJECT"},'
        .. '"v":{"type":"INTEGER"}},"type":"OBJECT"}' },
    { "drops what is refused",
      '{"type":"object","additionalProperties":false,"$schema":"x","properties":{"a":{"type":"integer","exclusiveMinimum":0,'
        .. '"minimum":1,"format":"int64","default":0}},"required":["a","b"]}',
      '{"properties":{"a":{"default":0,"format":"int64","minimum":1,"type":"INTEGER"}},"required":["a"],"type":"OBJECT"}' },
    { "makes a constant an enum", '{"const":"x"}', '{"enum":["x"],"type":"STRING"}' },
    { "says values that are no texts", '{"type":"integer","enum":[1,2],"description":"N"}',
      '{"description":"N (one of: 1, 2)","type":"INTEGER"}' },
    { "knows null as a type", '{"type":["string","null"]}', '{"nullable":true,"type":"STRING"}' },
    { "lets alternatives stand alone", '{"description":"D","oneOf":[{"type":"string"},{"type":"integer"},{"type":"null"}]}',
      '{"anyOf":[{"description":"D","nullable":true,"type":"STRING"},{"description":"D","nullable":true,"type":"INTEGER"}]}' },
    { "makes an optional value nullable", '{"anyOf":[{"type":"number"},{"type":"null"}]}', '{"nullable":true,"type":"NUMBER"}' },
    { "splits several types", '{"type":["string","number"]}', '{"anyOf":[{"type":"STRING"},{"type":"NUMBER"}]}' },
    { "joins allOf", '{"allOf":[{"properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{"type":"boolean"}},'
        .. '"required":["b"]}]}',
      '{"properties":{"a":{"type":"STRING"},"b":{"type":"BOOLEAN"}},"required":["a","b"],"type":"OBJECT"}' },
    { "gives every array items", '{"type":"array"}', '{"items":{"type":"STRING"},"type":"ARRAY"}' },
    { "takes a tuple for a list of its types", '{"prefixItems":[{"type":"string"},{"type":"integer"}]}',
      '{"items":{"anyOf":[{"type":"STRING"},{"type":"INTEGER"}]},"type":"ARRAY"}' },
  }
  for _, row in ipairs(table_of_schemas) do
    it(row[1], function()
      assert.are.equal(row[3], json.encode(gemini_schema.convert(json.raw(row[2]))))
      assert.are.equal(row[3], json.encode(gemini_schema.convert(json.decode(row[2]))))
    end)
  end

  it("is an error when it is a table that contains itself", function()
    local schema = { type = "object", properties = {} }
    schema.properties.self = schema
    local converted, err = gemini_schema.convert(schema)
    assert.is_nil(converted)
    assert.is_string(err.message)
  end)
end)
