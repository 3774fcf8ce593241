local errors = require "perilune.std.errors"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local ollama = require "perilune.model.provider.ollama"
local providers = require "perilune.model.provider"
local response = require "perilune.model.response"


local function events_of(name, options)
  return frames.feed(ollama.decoder(options), frames.split(assert(frames.read("tests/fixtures/ollama/" .. name)), "lines"))
end


local function types(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.type
  end
  return table.concat(list, " ")
end


local function target(changes)
  local options = { model = "moon:4b" }
  for option, value in pairs(changes or {}) do
    options[option] = value
  end
  return assert(providers.target(providers.get "ollama", options))
end


local function encode(request, changes)
  request.messages = request.messages or { { role = "user", content = "q" } }
  local where = target(changes)
  local http = assert(where.provider.encode(request, where))
  return json.decode(http.body), http
end


describe("the decoder of Ollama's own format", function()
  it("reads thinking, text and whole calls with objects for arguments", function()
    local events = events_of "thinking_tools.ndjson"
    assert.are.equal("start thinking thinking text text tool_call_start tool_call_delta tool_call_start tool_call_delta "
      .. "tool_call_start tool_call_delta tool_call tool_call tool_call usage stop", types(events))
    local answer = response.collect(events)
    assert.are.equal("Two calls.", answer.reasoning)
    assert.are.equal("Grüß dich 👋", answer.content)
    assert.are.equal("moon:4b", answer.model)
    assert.are.equal("{}", answer.tool_calls[1].arguments)
    assert.are.equal('{"city":"Paris","days":[1,2],"note":null}', answer.tool_calls[2].arguments)
    assert.are.equal("get_time", answer.tool_calls[3].name)
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.are.equal("stop", answer.finish_reason_raw)
    assert.are.equal(34, answer.usage.total_tokens)
    assert.are.equal(4, answer.usage.raw.eval_duration)
    assert.is_nil(answer.usage.raw.message)
  end)

  it("makes the ids that are missing, the same for the same answer, another one elsewhere", function()
    local first, again = response.collect(events_of "thinking_tools.ndjson"), response.collect(events_of "thinking_tools.ndjson")
    local later = response.collect(events_of("thinking_tools.ndjson", { request = { messages = { {}, {} } } }))
    assert.are.equal("call_own", first.tool_calls[2].id)
    assert.is_truthy(first.tool_calls[1].id:find("^call_%w+$"))
    assert.are.equal(first.tool_calls[1].id, again.tool_calls[1].id)
    assert.are_not.equal(first.tool_calls[1].id, first.tool_calls[3].id)
    assert.are_not.equal(first.tool_calls[1].id, later.tool_calls[1].id)
  end)

  it("makes other ids for the same call in another answer", function()
    local function id_at(time)
      local line = '{"model":"m","created_at":"%s","message":{"tool_calls":[{"function":{"name":"f"}}]},"done":true}'
      return response.collect(frames.feed(ollama.decoder(), { { data = line:format(time) } })).tool_calls[1].id
    end
    assert.are.equal(id_at "1", id_at "1")
    assert.are_not.equal(id_at "1", id_at "2")
  end)

  it("reads a whole answer, whose prompt may go uncounted", function()
    local answer = response.collect(events_of "whole.json")
    assert.are.equal("A greeting.", answer.reasoning)
    assert.are.equal("Hello", answer.content)
    assert.are.equal("length", answer.finish_reason)
    assert.are.equal(0, answer.usage.prompt_tokens)
    assert.are.equal(5, answer.usage.completion_tokens)
  end)

  it("ends with the error that comes in the middle of a stream", function()
    local events = events_of "error_after_text.ndjson"
    assert.are.equal("start text error", types(events))
    assert.is_truthy(events[3].error.message:find("unexpected EOF", 1, true))
    assert.is_true(events[3].error.maybe_billed)
  end)

  local bodies = {
    { "error.json", 404, "model_not_found" }, { '{"error":"server busy, please try again"}', 503, "overloaded" },
    { '{"error":"the input length exceeds the context length"}', 400, "context_length" },
    { "<html>bad gateway</html>", 502, "server" }, { "", 500, "server" }, { "{}", 200, "bad_response" },
  }
  for _, row in ipairs(bodies) do
    it(("calls status %d with %s an error of kind %s"):format(row[2], row[1], row[3]), function()
      local body = frames.read("tests/fixtures/ollama/" .. row[1]) or row[1]
      local events = frames.feed(ollama.decoder { status = row[2] }, frames.split(body, "lines"))
      assert.are.equal("error", types(events))
      assert.are.equal(row[3], events[1].error.kind)
    end)
  end

  it("says that a stream without its last line was interrupted", function()
    local list = frames.split(frames.read "tests/fixtures/ollama/thinking_tools.ndjson", "lines")
    local events = frames.feed(ollama.decoder(), list, #list - 1)
    assert.are.equal("stream_interrupted", events[#events].error.kind)
  end)

  it("allows a cut last line and no broken line before it", function()
    local decoder = ollama.decoder()
    decoder:feed '{"model":"m","message":{"role":"assistant","content":"a"},"done":false}'
    assert.are.same({}, decoder:feed '{"model":"m","mess')
    assert.are.equal("bad_response", decoder:feed('{"done":true}')[1].error.kind)
    assert.are.same({}, decoder:finish())
  end)

  it("takes the answer to a request that only loads the model", function()
    local events = frames.feed(ollama.decoder(), { { data = '{"model":"m","done":true,"done_reason":"load"}' } })
    assert.are.equal("start stop", types(events))
    assert.are.equal("other", events[2].reason)
  end)
end)


describe("requests in Ollama's own format", function()
  it("go to /api/chat, whichever API the address points at", function()
    for _, base_url in ipairs { "http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/api" } do
      local _, http = encode({}, { base_url = base_url })
      assert.are.equal("http://h:1/api/chat", http.url)
    end
    local _, http = encode({ stream = false }, { api_key = "k" })
    assert.are.equal("Bearer k", http.headers.authorization)
    assert.are.equal("application/json", http.headers.accept)
  end)

  it("size the context and refuse to lose the beginning of a prompt", function()
    local body = encode {}
    assert.are.equal(8192, body.options.num_ctx)
    assert.is_false(body.truncate)
    assert.is_false(body.shift)
    body = encode({}, { quirks = { num_ctx = 0, truncate = true, keep_alive = "10m" } })
    assert.is_nil(body.options.num_ctx)
    assert.is_true(body.truncate)
    assert.are.equal("10m", body.keep_alive)
  end)

  it("rename options and lay the caller's over them one by one", function()
    local body = encode {
      max_tokens = 9, stop = "x", temperature = 0.5, seed = 7, user = "u",
      provider_specific_params = { options = { num_ctx = 32768, top_k = 3 }, keep_alive = 60 },
    }
    assert.are.same(
      { num_predict = 9, stop = { "x" }, temperature = 0.5, seed = 7, num_ctx = 32768, top_k = 3 }, body.options)
    assert.are.equal(60, body.keep_alive)
    assert.is_nil(body.user)
  end)

  it("say who called what, with objects for arguments", function()
    local body = encode { messages = {
      { role = "developer", content = "A" }, { role = "system", content = "B" }, { role = "user", content = "q" },
      { role = "assistant", reasoning = "hm", tool_calls = {
        { id = "c1", name = "f", arguments = '{"n": 9007199254740993}' }, { id = "c2", name = "g", arguments = "" },
        { id = "c3", name = "h", arguments = '{"cut' },
      } },
      { role = "tool", tool_call_id = "c2", content = "r2" }, { role = "tool", tool_call_id = "c1", content = "r1" },
    } }
    assert.are.same({ role = "system", content = "A\n\nB" }, body.messages[1])
    local called = body.messages[3]
    assert.are.equal("hm", called.thinking)
    assert.are.equal("", called.content)
    assert.are.equal(9007199254740993, called.tool_calls[1]["function"].arguments.n)
    assert.is_nil(next(called.tool_calls[2]["function"].arguments))
    assert.are.same({ invalid_json = '{"cut' }, called.tool_calls[3]["function"].arguments)
    assert.are.same({ role = "tool", tool_name = "g", tool_call_id = "c2", content = "r2" }, body.messages[4])
    assert.are.equal("f", body.messages[5].tool_name)
  end)

  it("leave out what was thought in earlier turns", function()
    local body = encode { messages = {
      { role = "user", content = "q" }, { role = "assistant", content = "a", reasoning = "old" }, { role = "user", content = "p" },
    } }
    assert.is_nil(body.messages[2].thinking)
  end)

  it("carry images as bare base64, those of tool results in a message that follows", function()
    local body = encode { messages = {
      { role = "user", content = { { type = "text", text = "see" }, { type = "image", url = "data:image/png;base64,AA" } } },
      { role = "assistant", tool_calls = { { id = "c", name = "f", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c", content = { { type = "image", data = "BB", media_type = "image/png" } } },
    } }
    assert.are.same({ role = "user", content = "see", images = { "AA" } }, body.messages[1])
    assert.are.equal("(see the attached media)", body.messages[3].content)
    assert.are.same({ role = "user", content = "", images = { "BB" } }, body.messages[4])
    for _, part in ipairs { { type = "image", url = "https://x/y" }, { type = "audio", data = "A" } } do
      local none, err = ollama.encode({ messages = { { role = "user", content = { part } } } }, target())
      assert.is_nil(none)
      assert.is_true(errors.is(err, "media"))
    end
  end)

  it("show the tools that the choice allows", function()
    local request = { tools = { { name = "f", description = "d", strict = true }, { name = "g" } } }
    assert.are.equal(2, #encode(request).tools)
    assert.is_nil(encode(request).tools[1]["function"].strict)
    request.tool_choice = "none"
    assert.is_nil(encode(request).tools)
    request.tool_choice = { name = "g" }
    local tools = encode(request).tools
    assert.are.equal(1, #tools)
    assert.are.equal("g", tools[1]["function"].name)
    request.tool_choice = "required"
    assert.are.equal(2, #encode(request).tools)
  end)

  it("switch thinking, with a level where the model knows levels", function()
    assert.is_nil(encode({}).think)
    assert.is_true(encode({ enable_thinking = true }).think)
    assert.is_true(encode({ reasoning_effort = "high" }).think)
    assert.is_false(encode({ enable_thinking = false }).think)
    assert.is_false(encode({ reasoning_effort = "none" }).think)
    assert.are.equal("low", encode({ reasoning_effort = "minimal" }, { model = "gpt-oss:20b" }).think)
  end)

  it("ask for JSON, by schema or not", function()
    assert.are.equal("json", encode({ response_format = { type = "json_object" } }).format)
    local schema = { type = "object" }
    assert.are.same(schema, encode({ response_format = { type = "json_schema", json_schema = { schema = schema } } }).format)
    assert.is_nil(encode({ response_format = { type = "text" } }).format)
  end)

  it("refuse more than one answer", function()
    local none, err = ollama.encode({ messages = {}, n = 2 }, target())
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
  end)
end)


describe("the api of a target", function()
  it("chooses chat.completions of the same server", function()
    local body, http = encode({ max_tokens = 5 }, { api = "chat", base_url = "http://h:1" })
    assert.are.equal("http://h:1/v1/chat/completions", http.url)
    assert.are.equal(5, body.max_tokens)
    local chosen = target { api = "chat" }
    assert.are.equal("sse", chosen.provider.frame)
    assert.are.equal("ollama", chosen.name)
    assert.are.same({ max_tokens_field = "max_tokens" }, chosen.quirks)
  end)

  it("may be the first one by its name", function()
    assert.are.equal(providers.get "ollama", target({ api = "native" }).provider)
    assert.are.equal(providers.get "ollama", target().provider)
  end)

  it("must be one that the vendor has", function()
    local none, err = providers.target(providers.get "ollama", { model = "m", api = "responses" })
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
    assert.is_truthy(err.message:find("no api 'responses'; it has chat, native", 1, true))
  end)

  it("keeps the contract of a provider", function()
    local spec = {
      name = "acme", frame = "sse", encode = print, decoder = print, apis = { other = { frame = "xml", encode = print, decoder = print } },
    }
    assert.is_truthy(select(2, providers.new(spec)).message:find("frame must be", 1, true))
    spec.apis.other = "chat"
    assert.is_truthy(select(2, providers.new(spec)).message:find("api 'other' must be a table", 1, true))
  end)
end)
