-- What a caller with a key cannot get around: accounts, scopes, limits, prices. And that no body makes a 500.
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local quota = require "perilune.serve.quota"
local replay = require "tests.support.replay"
local testing = require "perilune.testing"
local upstreams = require "tests.support.upstream"
local wait_until = require "tests.support.wait"

local CREDIT = credits.CREDIT
local MODEL = "openai/gpt-4o-mini"
local hello = { { role = "user", content = "Hello" } }
local weather = { type = "function", ["function"] = { name = "weather", parameters = { type = "object" } } }


local function key_for(server, options)
  return { authorization = "Bearer " .. assert(keys.create(server.server.db, options)) }
end


local function chat(server, more, headers)
  local body = { model = "offline/demo", messages = hello }
  for name, value in pairs(more) do
    body[name] = value
  end
  return server:post("/v1/chat/completions", body, headers)
end


-- A provider of whole answers; `usage_of` says what it counts.
local function start_provider(usage_of)
  return replay.serve { function(request)
    local gemini = request:path():find("v1beta", 1, true) and {
      candidates = { { content = { role = "model", parts = { { text = "Hello" } } }, finishReason = "STOP" } },
      usageMetadata = { promptTokenCount = 3, candidatesTokenCount = 1 },
    }
    request:reply { status = 200, headers = { ["content-type"] = "application/json" }, body = json.encode(gemini or {
      id = "x", object = "chat.completion", created = 1, model = "gpt-4o-mini", usage = usage_of and usage_of(request) or nil,
      choices = { { index = 0, finish_reason = "stop", message = { role = "assistant", content = ("word "):rep(100) } } },
    }) }
  end }
end


-- Who calls is whom a header names.
local function believe_header(perilune)
  perilune.on("authenticate", function(request)
    local user = request:header "x-user"
    return user and { name = user, account = user, models = { "openai/*" } }
  end)
end


local function flat(price)
  return { bands = { all = { models = { "*" }, request = price } } }
end


local function by_token(input)
  return { bands = { all = { models = { "*" }, input = input, output = 1000 } } }
end


describe("callers whom a script knows", function()
  it("have Idempotency-Keys of their own, account by account", function()
    local server <close> = kit.start { define = believe_header }
    local first = server:post("/v1/threads", {}, { ["x-user"] = "alice", ["idempotency-key"] = "1" })
    local other = server:post("/v1/threads", {}, { ["x-user"] = "bob", ["idempotency-key"] = "1" })
    local again = server:post("/v1/threads", {}, { ["x-user"] = "alice", ["idempotency-key"] = "1" })
    assert.are.same({ 200, 200, first.body.id }, { first.status, other.status, again.body.id })
    assert.are_not.equal(first.body.id, other.body.id)
  end)

  it("have runs that another process goes on with", function()
    local server <close> = kit.start { define = believe_header }
    local model = server.server:bill_account({ id = "run_1", account = "alice" }, testing.model { "Here I am." }, "offline/demo")
    assert.are.equal("Here I am.", model:stream({ messages = hello }):response().content)
  end)

  it("are not this machine, whatever they are called", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream), define = believe_header }
    local headers = { ["x-user"] = "local" }
    assert.are.equal(200, chat(server, { model = MODEL, provider_specific_params = { model = "vendor/model-with-slash" } }, headers).status)
    assert.are.equal("gpt-4o-mini", upstream.requests[#upstream.requests].body.model)
    assert.are.equal(403, server:get("/metrics", headers).status)
  end)
end)


describe("an account", function()
  it("does not notice what another one calls its assistants", function()
    local server <close> = kit.start {}
    local first, second = key_for(server, { name = "a" }), key_for(server, { name = "b" })
    local helper, ids = { model = "offline/demo", name = "helper" }, {}
    for _, headers in ipairs { first, second } do
      local made = server:post("/v1/assistants", helper, headers).body
      ids[headers] = made.id
      assert.are.equal(made.id, server:get("/v1/assistants/helper", headers).body.id)
      assert.are.equal(200, chat(server, { model = "assistant/helper" }, headers).status)
    end
    assert.are_not.equal(ids[first], ids[second])
    server:post("/v1/assistants", helper, first) -- a second one of the account keeps the name as a label
    assert.are.equal(ids[first], server:get("/v1/assistants/helper", first).body.id)
  end)
end)


describe("the scopes of a key", function()
  it("hold for names that would end the address of a provider", function()
    local provider <close> = start_provider()
    local server <close> = kit.start { settings = { max_retries = 0, env = function(name)
      return ({ GEMINI_API_KEY = "a-key", GEMINI_BASE_URL = provider.url .. "/v1beta" })[name]
    end } }
    server.headers = key_for(server, { name = "a", scopes = { models = { "*-flash" } } })
    assert.are.equal(403, chat(server, { model = "gemini/gemini-2.5-pro" }).status)
    chat(server, { model = "gemini/gemini-2.5-pro:generateContent?a=-flash" })
    assert.are.equal("/v1beta/models/gemini-2.5-pro%3AgenerateContent%3Fa%3D-flash:generateContent", provider.requests[1].path)
  end)

  it("hold for runs that another key of the account has begun", function()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    local wide = key_for(server, { name = "wide", account = "a" })
    local narrow = key_for(server, { name = "narrow", account = "a", scopes = { models = { "offline/*" } } })
    local assistant = server:post("/v1/assistants", { model = MODEL, tools = { weather } }, wide).body.id
    local run = server:post("/v1/threads/runs", {
      assistant_id = assistant, thread = { messages = { { role = "user", content = "call weather {}" } } },
    }, wide).body
    local path, seen = ("/v1/threads/%s/runs/%s"):format(run.thread_id, run.id), nil
    wait_until("the run waits", function()
      seen = server:get(path, wide).body
      return seen.status == "requires_action"
    end)
    local outputs = { tool_outputs = { { tool_call_id = seen.required_action.submit_tool_outputs.tool_calls[1].id, output = "rain" } } }
    local asked = #upstream.requests
    assert.are.equal(403, server:post(path .. "/submit_tool_outputs", outputs, narrow).status)
    assert.are.equal(asked, #upstream.requests)
    assert.are.equal(200, server:post(path .. "/submit_tool_outputs", outputs, wide).status)
    wait_until("the run goes on", function()
      return server:get(path, wide).body.status == "completed"
    end)
  end)

  it("hold for answers that were kept for another key of the account", function()
    local server <close> = kit.start {}
    local wide = key_for(server, { name = "wide", account = "a" })
    local narrow = key_for(server, { name = "narrow", account = "a", scopes = { models = { "openai/*" } } })
    wide["idempotency-key"], narrow["idempotency-key"] = "x", "x"
    assert.are.equal(200, chat(server, {}, wide).status)
    assert.are.equal(422, chat(server, {}, narrow).status)
  end)
end)


describe("the limits of a key", function()
  local spend = {
    ["an answer in the background"] = function(server)
      server:post("/v1/responses", { model = MODEL, input = "slow 20", background = true })
    end,
    ["a run in the background"] = function(server)
      server:post("/v1/threads/runs", { assistant_id = "bob", thread = { messages = { { role = "user", content = "slow 20" } } } })
    end,
    ["an answer whose client leaves"] = function(server)
      local handle <close> = assert(fetch.open {
        method = "POST", url = server.url .. "/v1/chat/completions", frame = "sse",
        headers = { ["content-type"] = "application/json", authorization = server.headers.authorization },
        body = json.encode { model = MODEL, stream = true, messages = { { role = "user", content = "slow 500" } } },
      })
      for _ = 1, 40 do
        handle:next()
      end
    end,
  }
  for what, use in pairs(spend) do
    it("count the tokens of " .. what, function()
      quota.forget()
      local upstream <close> = upstreams.start()
      local server <close> = kit.start { settings = kit.asking(upstream), define = function(perilune)
        perilune.assistant { name = "bob", model = MODEL }
      end }
      server.headers = key_for(server, { name = "a", limits = { tokens = 20 } })
      use(server)
      wait_until("the tokens are used up", function()
        return server:get("/v1/models").status == 429
      end)
    end)
  end

  it("count what runs in the background among the requests at once", function()
    quota.forget()
    local upstream <close> = upstreams.start()
    local server <close> = kit.start { settings = kit.asking(upstream) }
    server.headers = key_for(server, { name = "a", limits = { concurrency = 1 } })
    local body = { model = MODEL, input = "slow 50", background = true }
    local first = server:post("/v1/responses", body)
    assert.are.same({ 200, 429 }, { first.status, server:post("/v1/responses", body).status })
    wait_until("the first has ended", function()
      return server:get("/v1/responses/" .. first.body.id).status == 200
    end)
    assert.are.equal("completed", server:get("/v1/responses/" .. first.body.id).body.status)
  end)
end)


describe("what a key pays", function()
  it("does not wrap for any number of answers", function()
    local server <close> = kit.start { settings = { credits = by_token(1) } }
    server:sign_in(1000 * CREDIT)
    local function cost(more)
      local before = server:balance()
      local answer = chat(server, more)
      return answer.status == 200 and before - server:balance() or math.maxinteger, answer.status
    end
    local plain = cost { max_tokens = 1024 }
    assert.is_true(cost { max_tokens = 1024, n = 1 << 54 } >= plain)
    local _, status = cost { max_tokens = 1, n = 1 << 62 }
    assert.are_not.equal(500, status)
  end)

  local big = ("word "):rep(40000)
  local beside = {
    ["a schema"] = {
      response_format = { type = "json_schema", json_schema = { name = "a", schema = { type = "object", description = big } } },
    },
    ["a field that goes on"] = { prediction = { type = "content", content = big } },
  }
  for what, more in pairs(beside) do
    it("has " .. what .. " in it", function()
      local provider <close> = start_provider(function(request)
        return { prompt_tokens = #request:body() // 4, completion_tokens = 1 }
      end)
      local server <close> = kit.start { settings = kit.asking(provider, { credits = by_token(1000) }) }
      server:sign_in(1000 * CREDIT)
      more.model, more.max_tokens = MODEL, 1
      assert.are.equal(200, chat(server, more).status)
      assert.is_true(1000 * CREDIT - server:balance() > 45 * CREDIT) -- 50,000 tokens, a credit for a thousand
    end)
  end

  it("comes out of an allowance that is due for vectors, too", function()
    local upstream <close> = upstreams.start()
    local tiers = { free = { allowance = 50 } }
    local server <close> = kit.start { settings = kit.asking(upstream, { credits = { tiers = tiers, bands = flat(1).bands } }) }
    server.headers = key_for(server, { name = "customer", is_prepaid = true, tier = "free", resets_at = clock.wall() - 5 })
    assert.are.equal(200, server:post("/v1/embeddings", { model = "openai/text-embedding-3-small", input = "Hello" }).status)
    assert.are.equal(49 * CREDIT, server:balance())
  end)

  it("is paid once for an Idempotency-Key, however large the answer is", function()
    local provider <close> = replay.serve { function(request)
      local body = json.encode { created = 1, data = { { b64_json = ("A"):rep(6 << 20) } } }
      request:reply { status = 200, headers = { ["content-type"] = "application/json" }, body = body }
    end }
    local server <close> = kit.start { settings = kit.asking(provider, { credits = flat(1) }) }
    server:sign_in(10 * CREDIT)
    for _ = 1, 2 do
      local asked = { model = "openai/gpt-image-1", prompt = "x" }
      assert.are.equal(200, server:post("/v1/images/generations", asked, { ["idempotency-key"] = "i" }).status)
    end
    assert.are.equal(9 * CREDIT, server:balance())
  end)

  it("is counted here where a provider's counts cannot be", function()
    local counts = { { math.maxinteger, 1 }, { math.maxinteger, 1 }, { 0, 0 } }
    local position = 0
    local provider <close> = start_provider(function()
      position = position + 1
      return { prompt_tokens = counts[position][1], completion_tokens = counts[position][2] }
    end)
    local server <close> = kit.start { settings = kit.asking(provider, { credits = by_token(1000) }) }
    server:sign_in(1000 * CREDIT)
    for _ = 1, #counts do
      local before = server:balance()
      local answer = chat(server, { model = MODEL, max_tokens = 500 })
      assert.are.equal(200, answer.status)
      local cost = before - server:balance()
      assert.are.equal(cost, answer.body.usage.total_tokens * CREDIT // 1000)
      assert.is_true(cost > CREDIT // 10 and cost < CREDIT, cost) -- 100 words, a credit for a thousand tokens
    end
    assert.are.equal(200, server:get("/v1/credits/stats").status)
  end)

  it("is the model's price for a client's assistant, also where it has the name of a script's", function()
    local upstream <close> = upstreams.start()
    local bands = { bob = { models = { "assistant/bob" }, request = 1 }, dear = { models = { "openai/*" }, request = 50 } }
    local server <close> = kit.start { settings = kit.asking(upstream, { credits = { bands = bands } }), define = function(perilune)
      perilune.assistant { name = "bob", model = "offline/demo" }
    end }
    server:sign_in(1000 * CREDIT, { scopes = { models = { "openai/*", "assistant/asst_*" } } })
    local made = server:post("/v1/assistants", { name = "bob", model = MODEL }).body.id
    assert.are.equal(404, chat(server, { model = "assistant/asst_bob" }).status)
    assert.are.equal(200, chat(server, { model = "assistant/" .. made }).status)
    assert.are.equal(950 * CREDIT, server:balance())
  end)
end)


describe("no 500 comes of", function()
  local function tool(description, parameters)
    return { { type = "function", ["function"] = { name = "x", description = description, parameters = parameters } } }
  end
  local bodies = {
    ["a list in the place of fields"] = { "/v1/chat/completions", { messages = hello, provider_specific_params = json.array { 1 } } },
    ["a number in the place of items"] = {
      "/v1/chat/completions", { messages = { { role = "user", content = "x", provider_items = 5 } } },
    },
    ["an item that is a number"] = { "/v1/chat/completions", { messages = {
      { role = "assistant", content = "x", provider_items = { provider = "offline", model = "demo", items = { 5 } } },
    } } },
    ["a refusal that is an object"] = { "/v1/chat/completions", { messages = { { role = "assistant", refusal = {} } } } },
    ["a description that is an object"] = { "/v1/chat/completions", { messages = hello, tools = tool({}, { type = "object" }) } },
    ["parameters that are a number"] = { "/v1/chat/completions", { model = "assistant/bob", messages = hello, tools = tool("x", 5) } },
    ["a tool's name with a space"] = {
      "/v1/chat/completions",
      { model = "assistant/bob", messages = hello, tools = { { type = "function", ["function"] = { name = "a b" } } } },
    },
    ["a summary that is a number"] = { "/v1/responses", { input = { { type = "reasoning", summary = 5 } } } },
    ["a summary in a conversation"] = { "/v1/conversations", { items = { { type = "reasoning", summary = 5 } } } },
    ["a list in the place of text"] = { "/v1/responses", { input = "x", text = json.array { "x" } } },
  }
  for what, one in pairs(bodies) do
    it(what, function()
      local server <close> = kit.start { settings = { credits = flat(1) }, define = function(perilune)
        perilune.assistant { name = "bob", model = "offline/demo" }
      end }
      server:sign_in(10 * CREDIT)
      local path, body = one[1], one[2]
      body.model = path ~= "/v1/conversations" and (body.model or "offline/demo") or nil
      local answer = server:post(path, body)
      assert.is_true(answer.status < 500, answer.text)
      server:balance()
    end)
  end
end)
