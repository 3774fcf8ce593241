local cohere = require "perilune.model.provider.cohere"
local errors = require "perilune.std.errors"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function target(model)
  return assert(providers.target(providers.get "cohere", { model = model or "command-x", api_key = "k" }))
end


local function events_of(name, options)
  return frames.feed(cohere.decoder(options), frames.split(assert(frames.read("tests/fixtures/cohere/" .. name))))
end


local function feed(...)
  local list = {}
  for position, data in ipairs { ... } do
    list[position] = { data = data }
  end
  return frames.feed(cohere.decoder(), list)
end


local function types(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.type
  end
  return table.concat(list, " ")
end


local function encode(request, model)
  request.messages = request.messages or { { role = "user", content = "q" } }
  local http = assert(cohere.encode(request, target(model)))
  return json.decode(http.body), http
end


local START = '{"id":"m","type":"message-start","delta":{"message":{"role":"assistant"}}}'
local TEXT = '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"a"}}}}'


local function ended(reason)
  return '{"type":"message-end","delta":{"finish_reason":"' .. reason .. '"}}'
end


describe("the decoder of Cohere's chat", function()
  it("reads thinking, the plan and calls in fragments", function()
    local events = events_of "tools.sse"
    assert.are.equal("start thinking tool_call_start tool_call_start tool_call_delta tool_call_delta item item "
      .. "tool_call tool_call usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("m-1", answer.id)
    assert.are.equal("", answer.content)
    assert.are.equal("Two calls.", answer.reasoning)
    assert.are.same({ id = "get_time_1", name = "get_time", arguments = "{}" }, answer.tool_calls[1])
    assert.are.equal('{"city":"Paris"}', answer.tool_calls[2].arguments)
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.are.equal("TOOL_CALL", answer.finish_reason_raw)
    assert.are.same({
      { type = "tool_plan", tool_plan = "I will look." }, { type = "thinking", thinking = "Two calls." },
    }, answer.provider_items.items)
  end)

  it("counts tokens, not what is billed, unless nothing else is said", function()
    local usage = response.collect(events_of "tools.sse").usage
    assert.are.equal(96, usage.prompt_tokens)
    assert.are.equal(126, usage.total_tokens)
    assert.are.equal(64, usage.prompt_tokens_details.cached_tokens)
    assert.are.equal(4, usage.completion_tokens_details.reasoning_tokens)
    assert.are.equal(8, usage.raw.billed_units.output_tokens)
    assert.are.equal(6, response.collect(events_of "cited.sse").usage.prompt_tokens)
  end)

  it("keeps citations as items", function()
    local events = events_of "cited.sse"
    assert.are.equal("start text text citation item usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Grüß dich 👋", answer.content)
    local item = answer.provider_items.items[1]
    assert.are.equal("citation", item.type)
    assert.are.equal("d:0", item.citation.sources[1].id)
  end)

  it("reads a whole answer", function()
    local answer = response.collect(events_of "whole.json")
    assert.are.equal("Looking.", answer.content)
    assert.are.equal("One call.", answer.reasoning)
    assert.are.equal("length", answer.finish_reason)
    assert.are.equal("get_time_1", answer.tool_calls[1].id)
    assert.are.equal(3, #answer.provider_items.items)
  end)

  it("tells calls without ids apart", function()
    local call = '{"type":"function","function":{"name":"f","arguments":"{}"}}'
    local answer = response.collect(feed(
      '{"id":"m","message":{"tool_calls":[' .. call .. "," .. call .. ']},"finish_reason":"TOOL_CALL"}'))
    assert.are.equal(2, #answer.tool_calls)
    assert.are_not.equal(answer.tool_calls[1].id, answer.tool_calls[2].id)
  end)

  it("keeps no thinking for the way back when nothing was called", function()
    local answer = response.collect(feed(
      '{"id":"m","message":{"content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]},"finish_reason":"COMPLETE"}'))
    assert.are.equal("t", answer.reasoning)
    assert.is_nil(answer.provider_items)
  end)

  it("turns the words for failure into errors and keeps the rest as reasons", function()
    local failed = feed(START, TEXT, '{"type":"message-end","delta":{"finish_reason":"ERROR","error":"it broke"}}')
    assert.are.equal("start text error", types(failed))
    assert.are.equal("server", failed[3].error.kind)
    assert.are.equal("it broke", failed[3].error.message)
    local reasons = {
      COMPLETE = "stop", STOP_SEQUENCE = "stop", MAX_TOKENS = "length", ERROR_LIMIT = "length", ERROR_TOXIC = "content_filter",
      USER_CANCEL = "other",
    }
    for raw, reason in pairs(reasons) do
      local answer = response.collect(feed(START, TEXT, ended(raw)))
      assert.are.equal(reason, answer.finish_reason)
      assert.are.equal(raw, answer.finish_reason_raw)
    end
    assert.are.equal("timeout", response.collect(feed(START, ended "TIMEOUT")).error.kind)
  end)

  local bodies = {
    { "error.json", 401, "authentication" },
    { '{"id":"e","message":"model \'x\' not found"}', 404, "model_not_found" },
    { '{"id":"e","message":"too many tokens: size limit exceeded by 4 tokens."}', 400, "context_length" },
    { '{"message":"You are using a Trial key, which is limited to 10 API calls / minute."}', 429, "rate_limit" },
    { '{"message":"said inside a success"}', 200, "api" }, { "<html>", 502, "server" }, { "{}", 200, "bad_response" },
  }
  for _, row in ipairs(bodies) do
    it(("calls status %d with %s an error of kind %s"):format(row[2], row[1], row[3]), function()
      local body = frames.read("tests/fixtures/cohere/" .. row[1]) or row[1]
      local events = frames.feed(cohere.decoder { status = row[2] }, frames.split(body))
      assert.are.equal("error", types(events))
      assert.are.equal(row[3], events[1].error.kind)
    end)
  end

  it("is over at message-end, and interrupted without one", function()
    local decoder = cohere.decoder()
    decoder:feed(START)
    assert.are.equal("stop", types(decoder:feed(ended "COMPLETE")))
    assert.are.same({}, decoder:feed "[DONE]")
    assert.are.same({}, decoder:finish())
    assert.are.equal("stream_interrupted", response.collect(feed(START, TEXT)).error.kind)
    assert.are.equal("stream_interrupted", response.collect(feed(START, TEXT, "[DONE]")).error.kind)
  end)

  it("ignores events it does not know", function()
    assert.are.equal("start stop", types(feed(START, '{"type":"debug","prompt":"p"}', ended "COMPLETE")))
  end)
end)


describe("requests to Cohere", function()
  it("use Cohere's names", function()
    local body, http = encode {
      max_tokens = 5, top_p = 0.5, stop = "x", seed = 1, frequency_penalty = 0.1, user = "u", reasoning_effort = "low",
      provider_specific_params = { k = 3 },
    }
    assert.are.equal("https://api.cohere.com/v2/chat", http.url)
    assert.are.equal("Bearer k", http.headers.authorization)
    assert.are.same({
      model = "command-x", messages = { { role = "user", content = "q" } }, stream = true, max_tokens = 5, p = 0.5,
      stop_sequences = { "x" }, seed = 1, frequency_penalty = 0.1, thinking = { type = "enabled" }, k = 3,
    }, body)
  end)

  it("return the plan and the thinking with the calls, to the same model only", function()
    local answer = response.collect(events_of("tools.sse", { target = target() }))
    local request = { messages = {
      { role = "user", content = "q" }, answer:to_message(),
      { role = "tool", tool_call_id = "get_time_1", content = "noon" }, { role = "tool", tool_call_id = "get_weather_1", content = "" },
    } }
    local called = encode(request).messages[2]
    assert.are.equal("I will look.", called.tool_plan)
    assert.are.same({ { type = "thinking", thinking = "Two calls." } }, called.content)
    assert.are.same({ name = "get_time", arguments = "{}" }, called.tool_calls[1]["function"])
    called = encode(request, "command-y").messages[2]
    assert.is_nil(called.tool_plan)
    assert.is_nil(called.content)
    assert.are.same({ role = "tool", tool_call_id = "get_time_1", content = "noon" }, encode(request).messages[3])
  end)

  it("leave out answers that said nothing", function()
    local body = encode { messages = {
      { role = "user", content = "q" }, { role = "assistant", content = "" }, { role = "assistant", refusal = "no" },
    } }
    assert.are.same({ { role = "user", content = "q" }, { role = "assistant", content = "no" } }, body.messages)
  end)

  it("write tools and the choice among them", function()
    local request = { tools = { { name = "f", description = "d" }, { name = "g", strict = true } } }
    local body = encode(request)
    assert.are.equal(2, #body.tools)
    assert.is_true(body.strict_tools)
    assert.is_nil(body.tool_choice)
    for choice, word in pairs { none = "NONE", required = "REQUIRED" } do
      request.tool_choice = choice
      assert.are.equal(word, encode(request).tool_choice)
    end
    request.tool_choice = { name = "f" }
    body = encode(request)
    assert.are.equal("REQUIRED", body.tool_choice)
    assert.are.equal(1, #body.tools)
    assert.is_nil(body.strict_tools)
  end)

  it("carry images and refuse other media", function()
    local body = encode { messages = { { role = "user", content = {
      { type = "text", text = "see" }, { type = "image", data = "AA", media_type = "image/webp" }, { type = "image", url = "https://x/y" },
    } } } }
    local content = body.messages[1].content
    assert.are.equal("data:image/webp;base64,AA", content[2].image_url.url)
    assert.are.equal("https://x/y", content[3].image_url.url)
    local none, err = cohere.encode({ messages = { { role = "user", content = { { type = "file", data = "A" } } } } }, target())
    assert.is_nil(none)
    assert.is_true(errors.is(err, "media"))
  end)

  it("ask for JSON and switch thinking", function()
    local body = encode {
      response_format = { type = "json_schema", json_schema = { name = "n", schema = { type = "object" } } }, enable_thinking = false,
    }
    assert.are.same({ type = "json_object", json_schema = { type = "object" } }, body.response_format)
    assert.are.same({ type = "disabled" }, body.thinking)
    assert.are.same({ type = "json_object" }, encode({ response_format = { type = "json_object" } }).response_format)
  end)

  it("refuse more than one answer", function()
    local none, err = cohere.encode({ messages = {}, n = 2 }, target())
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
  end)
end)
