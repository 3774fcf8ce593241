-- What is known of models: the table, its gaps, and lists of models as providers send them.
local capabilities = require "perilune.model.capabilities"
local json = require "perilune.json"
local provider = require "perilune.model.provider"


local function list(name, body, status)
  return provider.get(name).catalogue.decode(status or 200, assert(json.encode(body)))
end


describe("capabilities", function()
  it("say what a model takes, how much of it, and what it costs", function()
    local gpt = capabilities.get("openai", "gpt-4o")
    assert.are.same({ "openai/gpt-4o", true, true, false, false, true, 128000, 16384 },
      { gpt.id, gpt.vision, gpt.tools, gpt.reasoning, gpt.audio, gpt.structured_output, gpt.context_tokens, gpt.output_tokens })
    assert.are.equal(2500000000, gpt.price.input)
  end)

  it("hold for dated names and for vendors that serve the same model", function()
    assert.are.equal(200000, capabilities.get("anthropic", "claude-sonnet-4-5-20250929").context_tokens)
    local vertex = capabilities.get("vertex", "gemini-2.5-pro")
    assert.are.same({ "vertex/gemini-2.5-pro", "vertex", true }, { vertex.id, vertex.provider, vertex.audio })
  end)

  it("that nobody published are nil, not false", function()
    local gpt = capabilities.get("openai", "gpt-5")
    assert.are.same({ vision = true, audio = false }, { vision = gpt.vision, documents = gpt.documents, audio = gpt.audio })
    assert.are.equal(65536, capabilities.get("groq", "openai/gpt-oss-20b").output_tokens)
    local unknown = capabilities.get("groq", "something-new")
    assert.are.same({ id = "groq/something-new", provider = "groq", model = "something-new" }, unknown)
  end)

  it("take the limits that the provider itself reports over those of the table", function()
    local said = { kind = "chat", context_tokens = 64000 }
    local row = capabilities.get("openai", "gpt-4o", said)
    assert.are.same({ "chat", 64000, 16384 }, { row.kind, row.context_tokens, row.output_tokens })
  end)

  it("are found by a bare name too; an unknown one is an error", function()
    assert.are.equal("anthropic/claude-opus-4-5", capabilities.find("claude-opus-4-5").id)
    assert.are.equal("openai/gpt-4.1", capabilities.find("OpenAI/gpt-4.1").id)
    assert.are.equal("mistral/mistral-small-latest", capabilities.find("mistral-small-latest").id)
    local found, err = capabilities.find("nobody-knows-me")
    assert.is_nil(found)
    assert.are.equal("model_not_found", err.kind)
  end)

  it("have a date, a source and sane limits in every row, each model once, of a known provider", function()
    local seen = {}
    for _, row in ipairs(capabilities.rows) do
      local id = row.provider .. "/" .. row.model
      assert.is_nil(seen[id], id)
      seen[id] = true
      assert.is_truthy(row.date:find("^%d%d%d%d%-%d%d%-%d%d$"), id)
      assert.is_true(#row.source > 0, id)
      assert.is_true(row.provider == "offline" or provider.get(row.provider) ~= nil, id)
      assert.is_true((row.output_tokens or 1) <= (row.context_tokens or math.maxinteger), id)
    end
    assert.is_true(#capabilities.rows >= 12)
  end)
end)


describe("a list of models", function()
  it("of the chat.completions family is read with whatever limits the vendor names", function()
    assert.are.same({
      { id = "gpt-x" }, { id = "llama", context_tokens = 131072, output_tokens = 32768 }, { id = "local", context_tokens = 4096 },
      { id = "vendor/y", label = "Vendor: Y", context_tokens = 200000 },
    }, list("openai", { object = "list", data = {
      { id = "gpt-x", object = "model", owned_by = "system" }, { id = "llama", context_window = 131072, max_completion_tokens = 32768 },
      { id = "local", max_model_len = 4096 }, { id = "vendor/y", name = "Vendor: Y", context_length = 200000 }, { no_id = true }, 7,
    } }))
    assert.are.same({ { id = "bare" } }, list("together", { { id = "bare", type = "chat" } }))
  end)

  it("of Anthropic, Gemini, Cohere and Ollama has the same shape", function()
    local claude = { id = "claude-x", type = "model", display_name = "Claude X", max_input_tokens = 1000000, max_tokens = 128000 }
    assert.are.same({ { id = "claude-x", label = "Claude X", context_tokens = 1000000, output_tokens = 128000 } },
      list("anthropic", { data = { claude } }))
    local gemini = { name = "models/gemini-x", displayName = "Gemini X", inputTokenLimit = 1048576, outputTokenLimit = 65536 }
    assert.are.same({ { id = "gemini-x", label = "Gemini X", context_tokens = 1048576, output_tokens = 65536 } },
      list("gemini", { models = { gemini } }))
    assert.are.same({ { id = "command-x", context_tokens = 256000 } },
      list("cohere", { models = { { name = "command-x", context_length = 256000 } } }))
    assert.are.same({ { id = "llama3.2:latest" } }, list("ollama", { models = { { name = "llama3.2:latest", size = 2019393189 } } }))
  end)

  it("is asked for where the vendor has it", function()
    local addresses = {
      openai = "https://api.openai.com/v1/models", anthropic = "https://api.anthropic.com/v1/models?limit=1000",
      gemini = "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
      cohere = "https://api.cohere.com/v1/models?page_size=1000", ollama = "http://127.0.0.1:11434/api/tags",
    }
    for name, url in pairs(addresses) do
      local found = provider.get(name)
      local http = found.catalogue.encode(provider.target(found, { model = "", api_key = "sk-test" }))
      assert.are.same({ "GET", url }, { http.method, http.url })
      assert.is_nil(http.url:find("sk%-test"))
    end
  end)

  it("that is refused is an error", function()
    local models, err = list("openai", { error = { message = "Incorrect API key", code = "invalid_api_key" } }, 401)
    assert.is_nil(models)
    assert.are.equal("authentication", err.kind)
  end)
end)


describe("a provider of one's own", function()
  it("says in data what it draws and embeds", function()
    local own = assert(provider.compatible {
      name = "acme", base_url = "https://acme.example/v1", images = { models = { "acme-draw" }, quirks = { size = "ratio" } },
      embeddings = { models = { "acme-embed" } },
    })
    assert.are.same({ "function", "acme-draw", "acme-embed" }, { type(own.images.encode), own.images.models[1], own.embeddings.models[1] })
  end)

  it("with a family that is no family is refused with a reason", function()
    local made, err = provider.compatible { name = "acme", base_url = "https://acme.example/v1", images = { quirks = { sise = "ratio" } } }
    assert.is_nil(made)
    assert.is_truthy(err.message:find("unknown quirk 'sise', did you mean 'size'?", 1, true), err.message)
    made, err = provider.new {
      name = "acme", frame = "sse", encode = print, decoder = print, embeddings = { models = { "x" } },
    }
    assert.is_nil(made)
    assert.are.equal("provider acme: embeddings needs a function 'encode'", err.message)
  end)
end)
