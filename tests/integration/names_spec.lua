-- What a name of a model allows and costs: that of the model it is read as, not of what the client has written.
local credits = require "perilune.store.credits"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local names = require "perilune.serve.names"
local replay = require "tests.support.replay"
local testing = require "perilune.testing"

-- Nobody has a model of this name; it is read as openai/o3.
local BORROWED = "o3-mini"


-- A provider that answers to every name, and lists none.
local function start_upstream()
  local words, nothing = replay.whole(replay.text("Good morning.")), replay.reply(404, { error = { message = "nothing" } })
  return replay.serve { v1 = function(request)
    return (request:method() == "POST" and words or nothing)(request)
  end }
end


-- Nobody steps in for a model.
local function settings_of(upstream, more)
  local settings = kit.asking(upstream, more)
  settings.failover = "off"
  return settings
end


-- Signs in with a key that may ask for these models only.
local function may_ask(server, ...)
  server.headers = { authorization = "Bearer " .. assert(keys.create(server.server.db, { name = "a", scopes = { models = { ... } } })) }
end


local function chat(server, model)
  local answer = server:post("/v1/chat/completions", {
    model = model, max_tokens = 10, messages = { { role = "user", content = "Hello" } },
  })
  return answer.status, answer.body.error and answer.body.error.code
end


describe("the models that a key may ask", function()
  it("are those that names are read as", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start { settings = settings_of(upstream) }
    may_ask(server, "*-mini")
    assert.are.equal("openai/o3", names.full(server.app, "models", BORROWED))
    assert.are.same({ 403, "model_not_allowed" }, { chat(server, BORROWED) })
    assert.are.same({ 403, "model_not_allowed" }, { chat(server, "openai/o3") })
    assert.are.same({ 200 }, { chat(server, "openai/gpt-4o-mini") })
    assert.are.same({ 200 }, { chat(server, "gpt4o mini") })
    assert.are.same({ 404, "model_not_found" }, { chat(server, "nobody-mini/nothing") })
    may_ask(server, "openai/*")
    assert.are.same({ 200 }, { chat(server, BORROWED) })
    may_ask(server, "o3")
    assert.are.same({ 200 }, { chat(server, "openai/o3") })
  end)

  it("are the same in every family of the API", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start { settings = settings_of(upstream) }
    may_ask(server, "*-mini", "*-small", "assistant/*")
    local thread = server:post("/v1/threads", {}).body.id
    local asked = {
      ["/v1/messages"] = { max_tokens = 5, messages = { { role = "user", content = "Hello" } } },
      ["/v1/messages/count_tokens"] = { messages = { { role = "user", content = "Hello" } } },
      ["/v1/responses"] = { input = "Hello" }, ["/v1/completions"] = { prompt = "Hello" }, ["/v1/assistants"] = {},
      ["/v1/embeddings"] = { model = "text-embedding-3-large-mini", input = "Hello" },
      ["/v1/images/generations"] = { model = "gpt-image-1-small", prompt = "Hello" },
    }
    for path, body in pairs(asked) do
      body.model = body.model or BORROWED
      local answer = server:post(path, body)
      assert.are.equal(403, answer.status, path .. " " .. answer.text)
    end
    assert.are.equal(403, server:get("/v1/capabilities?model=" .. BORROWED).status)
    local assistant = server:post("/v1/assistants", { model = "gpt-4o-mini" })
    assert.are.equal(200, assistant.status, assistant.text)
    local path = "/v1/assistants/" .. assistant.body.id
    assert.are.equal(403, server:post(path, { model = BORROWED }).status)
    assert.are.equal(403, server:post("/v1/threads/" .. thread .. "/runs", { assistant_id = assistant.body.id, model = BORROWED }).status)
    for _, request in ipairs(upstream.requests) do
      assert.are.equal("GET", request.method)
    end
  end)

  it("leave out assistants of scripts, whatever model is to stand in for theirs", function()
    local server <close> = kit.start { define = function(perilune)
      perilune.assistant { name = "bob", model = "offline/demo", instructions = "secret" }
      perilune.assistant { name = "carol", model = "offline/demo" }
    end }
    may_ask(server, "offline/*", "assistant/carol")
    local asked = { assistant_id = "bob", model = "offline/demo", thread = { messages = { { role = "user", content = "Hello" } } } }
    assert.are.equal(404, server:post("/v1/threads/runs", asked).status)
    assert.are.equal(404, server:get("/v1/assistants/asst_bob").status)
    assert.are.equal("asst_carol", server:get("/v1/assistants/asst_carol").body.id)
    local list = server:get("/v1/assistants").body.data
    assert.are.same({ 1, "asst_carol" }, { #list, list[1].id })
  end)

  it("include an alias, an assistant and auto only by that name", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start {
      settings = settings_of(upstream), define = function(perilune)
        perilune.alias("fast", { "openai/gpt-4o-mini" })
        perilune.assistant { name = "bob", model = testing.model { "I am Bob", repeat_last = true } }
      end,
    }
    may_ask(server, "openai/*", "testing/*")
    for _, model in ipairs { "fast", "assistant/bob", "auto" } do
      assert.are.same({ 403, "model_not_allowed" }, { chat(server, model) })
    end
    may_ask(server, "fast", "assistant/b*", "auto")
    for _, model in ipairs { "fast", "assistant/bob", "auto" } do
      assert.are.same({ 200 }, { chat(server, model) })
    end
  end)

  it("are listed", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start { settings = settings_of(upstream) }
    may_ask(server, "gpt-4o*")
    local list = server:get("/v1/models").body.data
    assert.is_true(#list > 1)
    for _, model in ipairs(list) do
      assert.matches("^openai/gpt%-4o", model.id)
    end
  end)
end)


describe("a field that nobody here knows", function()
  local question = { model = "openai/gpt-4o-mini", max_tokens = 10, messages = { { role = "user", content = "Hello" } } }

  local function ask(server, more)
    local body = {}
    for _, fields in ipairs { question, more } do
      for name, value in pairs(fields) do
        body[name] = value
      end
    end
    local answer = server:post("/v1/chat/completions", body)
    return answer.status
  end

  it("does not change for a key what is asked, or how much", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start { settings = settings_of(upstream, { serve = { extra_fields = { "routing" } } }) }
    may_ask(server, "*-mini")
    assert.are.equal(200, ask(server, {}))
    local plain = upstream.requests[1].body
    local function sent(more)
      assert.are.equal(200, ask(server, more))
      return upstream.requests[#upstream.requests].body
    end
    assert.are.same(plain, sent { provider_specific_params = {
      model = "o3", n = 50, max_tokens = 100000, messages = {}, max_completion_tokens = 5, models = { "o3" },
    } })
    assert.are.same(plain, sent {
      models = { "o3" }, generationConfig = { maxOutputTokens = 9 }, options = { num_predict = 9 }, web_search_options = {}, store = true,
    })
    local body = sent { top_k = 5, routing = "cheap", provider_specific_params = { min_p = 0.5 } }
    assert.are.same({ "gpt-4o-mini", 5, "cheap", 0.5 }, { body.model, body.top_k, body.routing, body.min_p })
  end)

  it("goes on to the provider for whoever needs no key", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start { settings = settings_of(upstream) }
    assert.are.equal(200, ask(server, { web_search_options = { search_context_size = "low" } }))
    assert.are.equal("low", upstream.requests[#upstream.requests].body.web_search_options.search_context_size)
  end)
end)


describe("the price of a model", function()
  local bands = {
    cheap = { models = { "*-mini" }, request = 1 }, dear = { models = { "*/o3" }, request = 50 },
    fast = { models = { "fast" }, request = 2 }, bob = { models = { "assistant/bob*", "assistant/thrifty" }, request = 3 },
  }

  it("is that of the model a name is read as; a label has a price of its own", function()
    local upstream <close> = start_upstream()
    local server <close> = kit.start {
      settings = settings_of(upstream, { credits = { bands = bands } }), define = function(perilune)
        perilune.alias("fast", { "openai/o3" })
        perilune.assistant { name = "bob", model = "o3-mini" }
      end,
    }
    server:sign_in(1000 * credits.CREDIT)
    local function cost_of(ask, ...)
      local before = server:balance()
      assert.are.equal(200, (ask(...)))
      return (before - server:balance()) // credits.CREDIT
    end
    assert.are.equal(50, cost_of(chat, server, BORROWED))
    assert.are.equal(1, cost_of(chat, server, "gpt4o mini"))
    assert.are.equal(2, cost_of(chat, server, "fast"))
    assert.are.equal(3, cost_of(chat, server, "assistant/bob"))
    assert.are.equal(3, cost_of(chat, server, "assistant/asst_bob"))
    assert.are.equal(200, server:post("/v1/assistants", { name = "thrifty", model = "o3" }).status)
    assert.are.equal(50, cost_of(chat, server, "assistant/thrifty"))
    assert.are.equal(3, cost_of(function()
      local answer = server:post("/v1/threads/runs", {
        assistant_id = "bob", stream = true, thread = { messages = { { role = "user", content = "Hello" } } },
      })
      assert.matches("thread.run.completed", answer.text)
      return answer.status
    end))
  end)
end)
