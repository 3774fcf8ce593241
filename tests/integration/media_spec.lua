-- The whole client over real HTTP: media in, images out, vectors, lists of models.
local apps = require "perilune.app"
local clients = require "perilune.client"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local png = require "perilune.model.provider.offline_png"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"
local token = require "perilune.sys.token"

local PICTURE = png.draw(3)
local DATA = token.base64(PICTURE)

local reply = replay.reply


-- A client of one provider, whose address is the fake server's.
local function client_of(server, provider, options)
  local app = apps.new {
    db = ":memory:",
    env = function(name)
      return name:find("_API_KEY$") and "sk-test-key" or name:find("_BASE_URL$") and server.url .. "/v1" or nil
    end,
  }
  options = options or {}
  options.provider = provider
  return clients.new(app, options)
end


-- What f raises.
local function error_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, "it raised nothing")
  return err
end


describe("media in", function()
  -- A whole answer of each format, and where its request has the image.
  local dialects = {
    openai = {
      { choices = { { index = 0, message = { role = "assistant", content = "a crater" }, finish_reason = "stop" } } },
      function(body) return body.messages[1].content[2].image_url.url, "data:image/png;base64," .. DATA end,
    },
    anthropic = {
      { type = "message", role = "assistant", content = { { type = "text", text = "a crater" } }, stop_reason = "end_turn" },
      function(body)
        local source = body.messages[1].content[2].source
        return source.data, source.media_type == "image/png" and DATA
      end,
    },
    gemini = {
      { candidates = { { content = { role = "model", parts = { { text = "a crater" } } }, finishReason = "STOP" } } },
      function(body) return body.contents[1].parts[2].inlineData.data, DATA end,
    },
    ollama = {
      { message = { role = "assistant", content = "a crater" }, done = true, done_reason = "stop" },
      function(body) return body.messages[1].images[1], DATA end,
    },
    cohere = {
      { message = { role = "assistant", content = { { type = "text", text = "a crater" } } }, finish_reason = "COMPLETE" },
      function(body) return body.messages[1].content[2].image_url.url, "data:image/png;base64," .. DATA end,
    },
  }

  for provider, dialect in pairs(dialects) do
    it("goes to " .. provider .. " in its own words", function()
      local server <close> = replay.serve { reply(200, dialect[1]) }
      local answer = client_of(server, provider):chat("What is this?", { model = "m", images = PICTURE })
      local found, expected = dialect[2](server.requests[1].body)
      assert.are.same({ "a crater", expected }, { answer.content, found })
    end)
  end

  it("that cannot be sent raises before anything is sent", function()
    local server <close> = replay.serve { reply(500, {}) }
    local client = client_of(server, "openai")
    local err = error_of(client.chat, client, "What is this?", { images = "no-such-file.png" })
    assert.are.same({ "media", "no-such-file.png" }, { err.kind, err.details.file })
    err = error_of(client.stream, client, "What is this?", { files = "words\0words" })
    assert.are.equal("media", err.kind)
    assert.are.equal(0, #server.requests)
  end)
end)


describe("images out", function()
  it("are data or addresses; an address is fetched when it is saved", function()
    local folder = assert(fs.temp_dir("images"))
    local server <close> = replay.serve {
      function(request)
        local url = "http://" .. request:header("host") .. "/made/1.png"
        reply(200, { created = 1763000000, data = { { url = url }, { b64_json = DATA } } })(request)
      end,
      reply(200, PICTURE, { ["content-type"] = "image/png" }),
    }
    local client = client_of(server, "openai", { model = "gpt-4o" }) -- the model that talks is not the one that draws
    local images = client:image { prompt = "a crater", n = 2 }
    assert.are.same({ "/v1/images/generations", "gpt-image-1", "Bearer sk-test-key" },
      { server.requests[1].path, server.requests[1].body.model, server.requests[1].headers.authorization })
    assert.are.same({ 1763000000, "openai", "gpt-image-1" }, { images.created, images.provider, images.model })
    assert.are.equal(folder .. "/a.png", images:save(folder .. "/a.png"))
    assert.are.equal(folder .. "/b.png", images.data[2]:save(folder .. "/b.png"))
    assert.are.same({ PICTURE, PICTURE }, { fs.read(folder .. "/a.png"), (fs.read(folder .. "/b.png")) })
    assert.are.same({ "/made/1.png", nil }, { server.requests[2].path, server.requests[2].headers.authorization })
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("are data when data was asked for, also from who only gives addresses", function()
    local server <close> = replay.serve {
      function(request)
        reply(200, { data = { { url = "http://" .. request:header("host") .. "/made/1" } } })(request)
      end,
      reply(200, PICTURE),
    }
    local images = client_of(server, "zai").images.generate { prompt = "a crater", response_format = "b64_json" }
    assert.are.same({ DATA, "image/png", nil }, { images.data[1].b64_json, images.data[1].media_type, images.data[1].url })
    assert.is_truthy(json.encode(images.data[1]))
  end)

  it("of who draws one at a time are asked for side by side", function()
    local server
    local drawn = reply(200, {
      candidates = { { content = { parts = { { inlineData = { mimeType = "image/png", data = DATA } } } } } },
      usageMetadata = { promptTokenCount = 5, candidatesTokenCount = 1290 },
    })
    local owned <close> = replay.serve { -- luacheck: ignore 211
      function(request)
        server:wait_requests(3) -- answers none before all three are there
        drawn(request)
      end,
    }
    server = owned
    local images = client_of(server, "gemini"):image { prompt = "a crater", n = 3 }
    assert.are.same({ 3, 3, 15, 3870 }, { #server.requests, #images.data, images.usage.prompt_tokens, images.usage.completion_tokens })
  end)

  it("that fail raise the provider's error, with its name and without the key", function()
    local server <close> = replay.serve {
      reply(429, { error = { message = "slow down, sk-test-key", code = "rate_limit_exceeded" } }, { ["retry-after"] = "7" }),
    }
    local client = client_of(server, "openai")
    local err = error_of(client.image, client, { prompt = "a crater" })
    assert.are.same({ "rate_limit", 429, "openai", "gpt-image-1", 7, true },
      { err.kind, err.status, err.provider, err.model, err.retry_after, err.retryable })
    assert.is_nil(err.message:find("sk%-test%-key"))
  end)

  it("whose address is gone cannot be saved, and the error says so", function()
    local server <close> = replay.serve {
      function(request)
        reply(200, { data = { { url = "http://" .. request:header("host") .. "/gone" } } })(request)
      end,
      reply(404, "gone"),
    }
    local images = client_of(server, "xai"):image { prompt = "a crater" }
    local err = error_of(images.save, images, "never-written.png")
    assert.are.equal("media", err.kind)
    assert.is_truthy(err.message:find("HTTP 404", 1, true))
  end)

  it("take no longer than they may", function()
    local server <close> = replay.serve { replay.stalled() }
    local client = client_of(server, "openai")
    assert.are.equal("timeout", error_of(client.image, client, { prompt = "a crater", timeout = 0.05 }).kind)
  end)

  it("refuse an option that is none, with a suggestion", function()
    local client = client_of({ url = "http://127.0.0.1:1" }, "openai")
    local err = error_of(client.image, client, { promt = "a crater" })
    assert.is_truthy(err.message:find("unknown option 'promt', did you mean 'prompt'?", 1, true), err.message)
  end)
end)


describe("vectors", function()
  it("come back in order, many texts in several requests", function()
    local server <close> = replay.serve {
      function(request)
        local vectors = {}
        for position, text in ipairs(assert(json.decode(request:body())).texts) do
          vectors[position] = { tonumber(text), 0.5 }
        end
        reply(200, { embeddings = { float = vectors }, meta = { billed_units = { input_tokens = #vectors } } })(request)
      end,
    }
    local texts = {}
    for number = 1, 200 do
      texts[number] = tostring(number)
    end
    local result = client_of(server, "cohere"):embed { input = texts }
    assert.are.same({ 3, 200, 200, 96, 8 },
      { #server.requests, #result.vectors, result.usage.prompt_tokens, #server.requests[1].body.texts, #server.requests[3].body.texts })
    for number, vector in ipairs(result.vectors) do
      assert.are.equal(number, vector[1])
    end
  end)

  it("fewer than texts are an error", function()
    local server <close> = replay.serve { reply(200, { data = { { index = 0, embedding = { 1, 0 } } } }) }
    local client = client_of(server, "openai")
    local err = error_of(client.embed, client, { input = { "a", "b" } })
    assert.are.same({ "bad_response", "2 texts were sent, 1 vectors came back" }, { err.kind, err.message })
  end)
end)


describe("lists of models", function()
  it("are the built-in ones with what the provider says, asked once a process", function()
    local server <close> = replay.serve { reply(200, { data = { { id = "gpt-4o" }, { id = "gpt-new", context_length = 1000 } } }) }
    local client = client_of(server, "openai")
    local models, problems = client:models()
    assert.are.same({}, problems)
    local by_id = {}
    for _, entry in ipairs(models) do
      by_id[entry.id] = entry
    end
    assert.are.same({ true, "chat" }, { by_id["openai/gpt-4o"].is_listed, by_id["openai/gpt-4o"].kind })
    assert.are.same({ false, "image" }, { by_id["openai/gpt-image-1"].is_listed, by_id["openai/gpt-image-1"].kind })
    assert.are.same({ true, 1000 }, { by_id["openai/gpt-new"].is_listed, by_id["openai/gpt-new"].context_tokens })
    local capabilities = client:capabilities()
    assert.are.equal(#models, #capabilities)
    assert.are.equal(1, #server.requests)
  end)

  it("of one who does not answer are the built-in ones, and the next call asks again", function()
    local server <close> = replay.serve { reply(503, { error = { message = "later" } }), reply(200, { data = {} }) }
    local client = client_of(server, "openai")
    local models, problems = client:models()
    assert.are.same({ "openai/gpt-4o-mini", "overloaded" }, { models[1].id, problems.openai.kind })
    assert.are.same({}, (select(2, client:models())))
    assert.are.equal(2, #server.requests)
  end)

  it("are merged over all providers that can be called; the offline model is always there", function()
    local server <close> = replay.serve { reply(404, {}) }
    local app = apps.new {
      db = ":memory:", env = function(name)
        return name == "ANTHROPIC_API_KEY" and "sk-ant" or name:find("_BASE_URL$") and server.url or nil
      end,
    }
    local ids = {}
    local models, problems = clients.new(app, { api_key = "sk-for-someone", base_url = "http://127.0.0.1:1" }):models()
    for _, entry in ipairs(models) do
      ids[entry.id] = true
    end
    assert.is_true(ids["anthropic/claude-sonnet-4-5"] and ids["offline/demo"])
    assert.is_nil(ids["openai/gpt-4o"])
    assert.is_truthy(problems.anthropic)
    for _, request in ipairs(server.requests) do -- a key that was given to a client goes nowhere without a provider's name
      assert.is_nil((request.headers.authorization or ""):find("sk-for-someone", 1, true))
    end
  end)

  it("tell what one model can do without any key", function()
    local app = apps.new { db = ":memory:", env = function() end }
    local client = clients.new(app)
    assert.are.equal(200000, client:capabilities("anthropic/claude-sonnet-4-5").context_tokens)
    assert.are.equal("model_not_found", error_of(client.capabilities, client, "nobody-knows-me").kind)
  end)
end)


describe("perilune ask", function()
  it("sends what --image and --file name, each as often as it is given", function()
    local server <close> = replay.serve {
      reply(200, { choices = { { index = 0, message = { role = "assistant", content = "two" }, finish_reason = "stop" } } }),
    }
    local program <close> = programs.new { OPENAI_API_KEY = "sk-test", OPENAI_BASE_URL = server.url .. "/v1" }
    program:file("a.png", PICTURE)
    program:file("b.png", PICTURE)
    program:file("c.pdf", "%PDF-1.4\n...")
    local result = program:run {
      "ask", "--model", "openai/gpt-4o", "--no-stream", "--image", "a.png", "-i", "b.png", "--file=c.pdf", "How many?", stdin = "",
    }
    assert.are.same({ 0, "", "two\n" }, { result.status, result.stderr, result.stdout })
    local types = {}
    for position, part in ipairs(server.requests[1].body.messages[1].content) do
      types[position] = part.type
    end
    assert.are.same({ "text", "image_url", "image_url", "file" }, types)
  end)

  it("says which file is missing", function()
    local program <close> = programs.new()
    local result = program:run { "ask", "--image", "none.png", "What?", stdin = "" }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:find("cannot look at none.png: No such file", 1, true), result.stderr)
  end)
end)
