-- What else the server answers: Anthropic's messages, vectors, images, texts, and lists of what there is.
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local failover = require "perilune.sys.failover"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local replay = require "tests.support.replay"
local testing = require "perilune.testing"
local token = require "perilune.sys.token"
local upstreams = require "tests.support.upstream"
local usage = require "perilune.store.usage"

local MODEL, EMBEDDER, PAINTER = "openai/gpt-4o-mini", "openai/text-embedding-3-small", "openai/gpt-image-1"
local CREDIT = credits.CREDIT


local function asking_anthropic(upstream)
  return { max_retries = 0, env = function(name)
    return ({ ANTHROPIC_API_KEY = "a-key", ANTHROPIC_BASE_URL = upstream.url })[name]
  end }
end


local function question(said, more)
  local body = { model = MODEL, max_tokens = 100, messages = { { role = "user", content = said } } }
  for name, value in pairs(more or {}) do
    body[name] = value
  end
  return body
end


-- What the attempts at the first model add up to.
local function usage_of(server)
  return assert(usage.summary(server.server.db))[1]
end


local function ids(list)
  local names = {}
  for position, one in ipairs(list) do
    names[position] = one.id
  end
  return names
end


local weather = {
  name = "get_weather", description = "The weather", input_schema = { type = "object", properties = { city = { type = "string" } } },
}


describe("a message of Anthropic's", function()
  it("is answered by the model of any vendor", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local answer = server:post("/v1/messages", question "Hello")
    assert.are.equal(200, answer.status, answer.text)
    assert.are.same({ { type = "text", text = "You said: Hello" } }, answer.body.content)
    assert.are.equal("end_turn", answer.body.stop_reason)
    assert.are.equal(answer.headers["request-id"], answer.headers["x-request-id"])
    assert.are.equal(10, answer.body.usage.input_tokens)
  end)

  it("streams with names of events, and ends with message_stop", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local events = server:events("/v1/messages", question('call get_weather {"city":"Oslo"}', { stream = true, tools = { weather } }))
    local pieces = {}
    for _, one in ipairs(events) do
      assert.are.equal(one.event, one.data.type)
      pieces[#pieces + 1] = one.data.delta and one.data.delta.partial_json
    end
    assert.are.same({ "message_start", "message_stop" }, { events[1].event, events[#events].event })
    assert.are.equal("tool_use", events[#events - 1].data.delta.stop_reason)
    assert.are.same({ city = "Oslo" }, json.decode(table.concat(pieces)))
  end)

  it("that breaks off ends with Anthropic's error, and with no message_stop", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local events = server:events("/v1/messages", question("cut", { stream = true }))
    local last = events[#events]
    assert.are.same({ "error", "error", "api_error" }, { last.event, last.data.type, last.data.error.type })
    assert.are.equal(events.headers["request-id"], last.data.request_id)
  end)

  it("that cannot be answered has Anthropic's errors", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    for status, case in pairs {
      [400] = { { max_tokens = json.null }, "invalid_request_error" }, [404] = { { model = "openai/nonesuch" }, "not_found_error" },
      [429] = { { messages = { { role = "user", content = "fail 429" } } }, "rate_limit_error" },
    } do
      local answer = server:post("/v1/messages", question("Hello", case[1]))
      assert.are.equal(status, answer.status, answer.text)
      assert.are.same({ "error", case[2], answer.headers["request-id"] },
        { answer.body.type, answer.body.error.type, answer.body.request_id })
    end
  end)

  it("runs the tools of an assistant, and hands back those of the client", function()
    local server <close> = kit.start { define = function(perilune)
      perilune.assistant { name = "helper", tools = { perilune.tool { name = "look", description = "looks", run = function()
        return "snow"
      end } }, model = testing.model {
        { tool_calls = { { name = "look", arguments = {} } } }, "It snows.",
        { tool_calls = { { name = "get_weather", arguments = { city = "Oslo" } } } },
      } }
    end }
    local asked = question("Hello", { model = "assistant/helper", tools = { weather } })
    assert.are.same({ { type = "text", text = "It snows." } }, server:post("/v1/messages", asked).body.content)
    local answer = server:post("/v1/messages", asked).body
    assert.are.equal("tool_use", answer.stop_reason)
    assert.are.same({ "tool_use", "get_weather" }, { answer.content[1].type, answer.content[1].name })
    asked.messages = { { role = "user", content = { { type = "tool_result" } } } }
    assert.are.equal(400, server:post("/v1/messages", asked).status)
  end)

  it("passes what was thought to Anthropic and back, signed", function()
    local story = table.concat({
      'data: {"type":"message_start","message":{"id":"m","model":"claude-sonnet-4-5-20250929","usage":{"input_tokens":5}}}',
      'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}',
      'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}',
      'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}',
      'data: {"type":"content_block_stop","index":0}',
      'data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{}}}',
      'data: {"type":"content_block_stop","index":1}',
      'data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}', 'data: {"type":"message_stop"}', "",
    }, "\n\n")
    local upstream <close> = replay.serve { replay.whole(replay.recording(story)) }
    local server <close> = kit.start { settings = asking_anthropic(upstream) }
    local asked = question("Oslo?", { model = "claude-sonnet-4-5", max_tokens = 4000, stream = true, tools = { weather },
      thinking = { type = "enabled", budget_tokens = 2048 } })
    local order = {}
    for _, one in ipairs(server:events("/v1/messages", asked)) do
      order[#order + 1] = one.data.delta and one.data.delta.type or one.data.content_block and one.data.content_block.type
    end
    assert.are.same({ "thinking", "thinking_delta", "signature_delta", "tool_use", "input_json_delta" }, order)
    local content = {
      { type = "thinking", thinking = "Hm.", signature = "c2ln" }, { type = "tool_use", id = "toolu_1", name = "get_weather", input = {} },
    }
    asked.messages[2] = { role = "assistant", content = content }
    asked.messages[3] = { role = "user", content = { { type = "tool_result", tool_use_id = "toolu_1", content = "snow" } } }
    server:events("/v1/messages", asked)
    assert.are.same(content, upstream.requests[2].body.messages[2].content)
    assert.are.equal("enabled", upstream.requests[2].body.thinking.type)
  end)

  it("is counted without being asked", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local function count(said)
      return server:post("/v1/messages/count_tokens", { model = MODEL, messages = { { role = "user", content = said } } }).body.input_tokens
    end
    assert.is_true(count "Hello" > 0)
    assert.is_true(count(("Hello "):rep(100)) > count "Hello" + 100)
    assert.are.equal(0, #upstream.requests)
  end)

  it("may be asked with the key in x-api-key", function()
    local server <close> = kit.start {}
    local text = assert(keys.create(server.server.db, { name = "a" }))
    local asked = question("Hello", { model = "offline/demo" })
    assert.are.equal(200, server:post("/v1/messages", asked, { ["x-api-key"] = text }).status)
    local answer = server:post("/v1/messages", asked, { ["x-api-key"] = "pl_live_wrong" })
    assert.are.same({ 401, "authentication_error" }, { answer.status, answer.body.error.type })
  end)
end)


describe("embeddings", function()
  it("are numbers, or little-endian floats in base64", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local answer = server:post("/v1/embeddings", { model = EMBEDDER, input = { "a", "moon" }, dimensions = 2, user = "u" })
    assert.are.equal(200, answer.status, answer.text)
    assert.are.same({
      { object = "embedding", index = 0, embedding = { 1, 0.5 } }, { object = "embedding", index = 1, embedding = { 4, 0.5 } },
    }, answer.body.data)
    assert.are.same({ prompt_tokens = 3, total_tokens = 3 }, answer.body.usage)
    assert.are.same({ 2, "u" }, { upstream.requests[1].body.dimensions, upstream.requests[1].body.user })
    answer = server:post("/v1/embeddings", { model = EMBEDDER, input = "moon", encoding_format = "base64" })
    assert.are.equal(string.pack("<ff", 4, 0.5), token.unbase64(answer.body.data[1].embedding))
  end)

  it("are made of tokens where the provider takes them, which get there as they are", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    for position, case in ipairs { { { 9906, 11, 1917 }, 1 }, { { { 9906 }, { 11, 1917 } }, 2 }, { { "moon", { 9906 } }, 2 } } do
      local answer = server:post("/v1/embeddings", { model = EMBEDDER, input = case[1] })
      assert.are.same({ 200, case[2] }, { answer.status, #answer.body.data }, answer.text)
      assert.are.same(case[2] == 1 and { case[1] } or case[1], upstream.requests[position].body.input)
    end
  end)

  for name, case in pairs {
    ["half a token"] = { { input = { 1, 2.5 } }, "input" }, ["tokens beside nothing"] = { { input = { { 1 }, json.array() } }, "input" },
    ["tokens, where only texts are taken"] = { { input = { { 1 } } }, "input" },
    ["nothing"] = { { input = "" }, "input" }, ["an empty list"] = { { input = json.array() }, "input" },
    ["no model"] = { { model = json.null }, "model" }, ["a format of no kind"] = { { encoding_format = "hex" }, "encoding_format" },
    ["half a dimension"] = { { dimensions = 0.5 }, "dimensions" }, ["a user that is a number"] = { { user = 5 }, "user" },
  } do
    it("are not made of " .. name, function()
      local server <close> = kit.start {}
      local body = { model = "offline/demo", input = "moon" }
      for field, value in pairs(case[1]) do
        body[field] = value
      end
      local answer = server:post("/v1/embeddings", body)
      assert.are.same({ 400, case[2] }, { answer.status, answer.body.error.param }, answer.text)
    end)
  end

  it("are nothing that a model of nobody, or one that only talks, can make", function()
    local server <close> = kit.start {}
    for _, model in ipairs { "nonesuch", "anthropic/claude-sonnet-4-5", "assistant/nobody" } do
      local answer = server:post("/v1/embeddings", { model = model, input = "moon" })
      assert.are.same({ 404, "model_not_found" }, { answer.status, answer.body.error.code }, answer.text)
    end
  end)

  it("cost what the model's tokens cost, and are in the books", function()
    local upstream <close> = upstreams.start()
    local settings = kit.asking(upstream, { credits = { bands = { small = { models = { "openai/*" }, input = 1000000 } } } })
    local server <close> = kit.start { settings = settings }
    server:sign_in(100 * CREDIT)
    assert.are.equal(200, server:post("/v1/embeddings", { model = "text-embedding-3-small", input = "moon" }).status)
    assert.are.equal(97 * CREDIT, server:balance())
    local row = usage_of(server)
    assert.are.same({ "text-embedding-3-small", 1, 3 }, { row.model, row.attempts, row.prompt_tokens })
    local answer = server:post("/v1/embeddings", { model = EMBEDDER, input = ("moon "):rep(1000) })
    assert.are.same({ 429, "insufficient_quota" }, { answer.status, answer.body.error.code })
    assert.are.equal(97 * CREDIT, server:balance())
    assert.are.equal(1, #upstream.requests)
  end)
end)


describe("images", function()
  it("are drawn as many as are asked for", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local body = { model = PAINTER, prompt = "the moon", n = 2, size = "1024x1024", quality = "high" }
    local answer = server:post("/v1/images/generations", body)
    assert.are.equal(200, answer.status, answer.text)
    assert.are.equal(2, #answer.body.data)
    assert.are.equal("\x89PNG", token.unbase64(answer.body.data[2].b64_json):sub(1, 4))
    assert.are.equal("high", upstream.requests[1].body.quality)
    assert.are.equal("openai", answer.headers["x-perilune-provider"])
  end)

  for name, case in pairs {
    ["nothing"] = { { prompt = json.null }, "prompt" }, ["blanks"] = { { prompt = "  " }, "prompt" },
    ["too many at once"] = { { n = 11 }, "n" }, ["half a picture"] = { { n = 0.5 }, "n" },
    ["a size of no kind"] = { { size = "big" }, "size" },
    ["an answer of no kind"] = { { response_format = "poem" }, "response_format" }, ["a stream"] = { { stream = true }, "stream" },
    ["a quality that is a number"] = { { quality = 5 }, "quality" },
  } do
    it("are not drawn for " .. name, function()
      local server <close> = kit.start {}
      local body = { model = "offline/demo", prompt = "the moon" }
      for field, value in pairs(case[1]) do
        body[field] = value
      end
      local answer = server:post("/v1/images/generations", body)
      assert.are.same({ 400, case[2] }, { answer.status, answer.body.error.param }, answer.text)
    end)
  end

  it("cost as much as there are of them, and nothing when none came", function()
    local picture = json.encode { created = 1, data = { { b64_json = "iVBORw0KGgo=" }, { b64_json = "iVBORw0KGgo=" } } }
    local upstream <close> = replay.serve {
      replay.whole(replay.recording(picture)), replay.reply(500, '{"error":{"message":"no"}}'),
    }
    local settings = kit.asking(upstream, { credits = { bands = { painted = { models = { "openai/gpt-image-1" }, request = 2 } } } })
    local server <close> = kit.start { settings = settings }
    server:sign_in(10 * CREDIT)
    local body = { model = PAINTER, prompt = "the moon", n = 2 }
    assert.are.equal(200, server:post("/v1/images/generations", body).status)
    assert.are.equal(6 * CREDIT, server:balance())
    assert.are.equal(502, server:post("/v1/images/generations", body).status)
    assert.are.equal(6 * CREDIT, server:balance())
    body.n = 4
    assert.are.equal(429, server:post("/v1/images/generations", body).status)
    assert.are.equal(2, #upstream.requests)
    assert.are.equal(2, usage_of(server).attempts)
  end)

  it("cost nothing where they were asked for and did not come", function()
    local upstream <close> = replay.serve {
      replay.whole(replay.recording(json.encode { created = 1, data = { { b64_json = "iVBORw0KGgo=" } } })),
    }
    local settings = kit.asking(upstream, { credits = { bands = { painted = { models = { "openai/gpt-image-1" }, request = 2 } } } })
    local server <close> = kit.start { settings = settings }
    server:sign_in(10 * CREDIT)
    assert.are.equal(1, #server:post("/v1/images/generations", { model = PAINTER, prompt = "the moon", n = 3 }).body.data)
    assert.are.equal(8 * CREDIT, server:balance())
  end)

  it("that have tokens cost what these cost", function()
    local picture = json.encode { created = 1, data = { { b64_json = "iVBORw0KGgo=" } }, usage = {
      input_tokens = 10, output_tokens = 1000, total_tokens = 1010,
    } }
    local upstream <close> = replay.serve { replay.whole(replay.recording(picture)) }
    local settings = kit.asking(upstream, { credits = { bands = { painted = { models = { "openai/*" }, output = 1000 } } } })
    local server <close> = kit.start { settings = settings }
    server:sign_in(10 * CREDIT)
    local answer = server:post("/v1/images/generations", { model = PAINTER, prompt = "the moon" })
    assert.are.equal(1000, answer.body.usage.output_tokens, answer.text)
    assert.are.equal(9 * CREDIT, server:balance())
  end)

  it("are drawn by nobody whom the key may not ask", function()
    local server <close> = kit.start {}
    local text = assert(keys.create(server.server.db, { name = "a", scopes = { models = { "offline/*" } } }))
    server.headers = { authorization = "Bearer " .. text }
    assert.are.equal(200, server:post("/v1/images/generations", { model = "offline/demo", prompt = "the moon" }).status)
    for _, model in ipairs { json.null, PAINTER } do
      local answer = server:post("/v1/images/generations", { model = model, prompt = "the moon" })
      assert.are.same({ 403, "model_not_allowed" }, { answer.status, answer.body.error.code })
    end
  end)
end)


describe("an old completion", function()
  it("continues a text, as often as it is asked to", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local answer = server:post("/v1/completions", { model = MODEL, prompt = { "Hello" }, n = 2, echo = false, suffix = json.null })
    assert.are.equal(200, answer.status, answer.text)
    assert.are.same({ "text_completion", 13 }, { answer.body.object, answer.body.usage.total_tokens })
    for position, choice in ipairs(answer.body.choices) do
      assert.are.same({ index = position - 1, text = "You said: Hello", logprobs = json.null, finish_reason = "stop" }, choice)
    end
    assert.are.equal(2, #answer.body.choices)
  end)

  it("streams, and says how each answer ended", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local events = server:events("/v1/completions", {
      model = MODEL, prompt = "a b c", n = 2, max_tokens = 3, stream = true, stream_options = { include_usage = true },
    })
    local texts, reasons = { [0] = "", "" }, {}
    for position = 1, #events - 1 do
      for _, choice in ipairs(events[position].data.choices) do
        texts[choice.index] = texts[choice.index] .. choice.text
        reasons[choice.index] = choice.finish_reason
      end
    end
    assert.are.same({ [0] = "You said: a ", "You said: a " }, texts)
    assert.are.same({ [0] = "length", "length" }, reasons)
    assert.are.equal("[DONE]", events[#events].data)
    assert.are.equal(13, events[#events - 1].data.usage.total_tokens)
  end)

  it("passes on what a chat completion passes on", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local body = { model = MODEL, prompt = "Hello", logit_bias = { ["50256"] = -100 }, top_k = 5, seed = 7, metadata = { a = "b" } }
    assert.are.equal(200, server:post("/v1/completions", body).status)
    local sent = upstream.requests[1].body
    assert.are.same({ body.logit_bias, 5, 7 }, { sent.logit_bias, sent.top_k, sent.seed })
    assert.are.same({}, { sent.metadata, sent.prompt })
    local answer = server:post("/v1/completions", { model = MODEL, prompt = "Hello", temperature = "hot" })
    assert.are.same({ 400, "temperature" }, { answer.status, answer.body.error.param })
  end)

  for name, value in pairs { echo = true, suffix = "x", logprobs = 1, best_of = 2, prompt = { "a", "b" }, tools = {} } do
    it("takes no " .. name, function()
      local server <close> = kit.start {}
      local body = { model = "offline/demo", prompt = "Hello" }
      body[name] = value
      local answer = server:post("/v1/completions", body)
      assert.are.same({ 400, name }, { answer.status, answer.body.error.param })
    end)
  end
end)


describe("the list of models", function()
  local function define(perilune)
    perilune.alias("fast", { MODEL, "offline/demo" })
    perilune.assistant { name = "bob", model = MODEL }
    perilune.assistant { name = "made-up", model = testing.model { "x" } }
  end

  it("has assistants, aliases, and what the providers have, in the same order every time", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream), define = define }
    local list = server:get "/v1/models".body
    local names, found = ids(list.data), {}
    for position, name in ipairs(names) do
      assert.is_nil(found[name])
      found[name] = position
    end
    assert.is_true(found["assistant/bob"] < found["assistant/made-up"] and found["assistant/made-up"] < found.fast)
    assert.is_true(found.fast < found[MODEL] and found["openai/vendor/model-with-slash"] < found["offline/demo"])
    local first = list.data[found["assistant/bob"]]
    assert.are.same({ id = "assistant/bob", object = "model", owned_by = "assistant", created = first.created }, first)
    assert.is_nil(found["anthropic/claude-sonnet-4-5"])
    assert.are.same(names, ids(server:get "/v1/models".body.data))
  end)

  it("does not wait for a provider that is slow", function()
    local upstream <close> = replay.serve { replay.stalled() }
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local started = clock.mono()
    local names = ids(server:get "/v1/models".body.data)
    assert.is_true(clock.mono() - started < 5)
    assert.is_truthy((" " .. table.concat(names, " ") .. " "):find(" " .. MODEL .. " ", 1, true))
  end)

  it("has each of them under its name, with slashes or without", function()
    local server <close> = kit.start { define = define }
    for _, path in ipairs { "offline/demo", "offline%2Fdemo", "assistant/bob", "fast" } do
      local answer = server:get("/v1/models/" .. path)
      assert.are.same({ 200, (path:gsub("%%2F", "/")) }, { answer.status, answer.body.id })
    end
    local answer = server:get "/v1/models/nonesuch"
    assert.are.same({ 404, "model_not_found" }, { answer.status, answer.body.error.code })
  end)

  it("is in Anthropic's shape for Anthropic's clients, errors too", function()
    local server <close> = kit.start { define = define }
    local headers = { ["anthropic-version"] = "2023-06-01" }
    local list = server:get("/v1/models", headers).body
    assert.are.same({ false, list.data[1].id, list.data[#list.data].id }, { list.has_more, list.first_id, list.last_id })
    assert.are.same({ "model", list.first_id }, { list.data[1].type, list.data[1].display_name })
    assert.is_truthy(list.data[1].created_at:find "^%d%d%d%d%-%d%d%-%d%dT")
    assert.are.equal("model", server:get("/v1/models/fast", headers).body.type)
    assert.are.equal("not_found_error", server:get("/v1/models/nonesuch", headers).body.error.type)
  end)

  it("has pages for Anthropic's clients, forwards and backwards", function()
    local server <close> = kit.start { define = define }
    local headers = { ["anthropic-version"] = "2023-06-01" }
    local all = ids(server:get("/v1/models", headers).body.data)
    local function page(query)
      return server:get("/v1/models?limit=2" .. query, headers)
    end
    local up, list = {}, page("").body
    while true do
      up = table.move(ids(list.data), 1, #list.data, #up + 1, up)
      if not list.has_more then
        break
      end
      list = page("&after_id=" .. list.last_id).body
    end
    assert.are.same(all, up)
    list = page("&before_id=" .. all[#all]).body
    assert.are.same({ all[#all - 2], all[#all - 1], true }, { list.first_id, list.last_id, list.has_more })
    assert.are.same({ { all[1] }, false }, { ids(page("&before_id=" .. all[2]).body.data), page("&before_id=" .. all[2]).body.has_more })
    for _, query in ipairs { "after_id=nonesuch", "limit=0" } do
      assert.are.equal(400, server:get("/v1/models?" .. query, headers).status)
    end
  end)

  it("has only what the key may ask", function()
    local server <close> = kit.start { define = define }
    local text = assert(keys.create(server.server.db, { name = "a", scopes = { models = { "assistant/b*" } } }))
    server.headers = { authorization = "Bearer " .. text }
    assert.are.same({ "assistant/bob" }, ids(server:get "/v1/models".body.data))
    assert.are.equal(404, server:get "/v1/models/fast".status)
    assert.are.equal(403, server:get "/v1/capabilities?model=fast".status)
  end)

  it("comes with what each can do", function()
    local server <close> = kit.start { define = define }
    local one = server:get("/v1/capabilities?model=" .. MODEL).body
    assert.are.same({ "capability", true, false, 128000 }, { one.object, one.vision, one.audio, one.context_tokens })
    for _, name in ipairs { "fast", "assistant/bob" } do
      local behind = server:get("/v1/capabilities?model=" .. name).body
      assert.are.same({ name, 128000 }, { behind.id, behind.context_tokens })
    end
    local unknown = server:get "/v1/capabilities?model=assistant/made-up".body
    assert.are.same({ "assistant/made-up", json.null }, { unknown.id, unknown.vision })
    assert.are.equal(404, server:get "/v1/capabilities?model=nonesuch".status)
    assert.are.equal(404, server:get "/v1/capabilities?model=assistant/nobody".status)
  end)

  it("comes with what an assistant can do that leaves the model to the configuration", function()
    for _, case in ipairs { { { model = MODEL }, 128000 }, { {}, json.null } } do
      local server <close> = kit.start { settings = case[1], define = function(perilune)
        perilune.assistant { name = "modest" }
      end }
      local known = server:get "/v1/capabilities?model=assistant/modest".body
      assert.are.same({ "assistant/modest", true, case[2] }, { known.id, known.tools, known.context_tokens })
    end
  end)
end)


describe("the state of the providers", function()
  it("says who can be asked, and why not, and never a key", function()
    failover.reset()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream, { exclude = { "groq" } }) }
    assert.are.equal(200, server:post("/v1/chat/completions", question "Hello").status)
    local answer = server:get "/v1/providers/status"
    local found = {}
    for _, one in ipairs(answer.body.providers) do
      found[one.name] = one
    end
    assert.are.same({ true, json.null, upstream.url .. "/v1" }, { found.openai.is_usable, found.openai.reason, found.openai.base_url })
    assert.are.same({ false, "ANTHROPIC_API_KEY is not set" }, { found.anthropic.is_usable, found.anthropic.reason })
    assert.are.equal("excluded", found.groq.reason)
    assert.is_nil(answer.text:find("a-key", 1, true))
    local target = answer.body.targets[1]
    assert.are.same({ "openai", "gpt-4o-mini", 1 }, { target.provider, target.model, target.successes })
  end)

  it("is for those who may see it", function()
    local server <close> = kit.start {}
    local text = assert(keys.create(server.server.db, { name = "a", scopes = { routes = { "chat" } } }))
    local answer = server:get("/v1/providers/status", { authorization = "Bearer " .. text })
    assert.are.equal(403, answer.status)
  end)
end)
