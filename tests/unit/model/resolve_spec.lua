local resolve = require "perilune.model.resolve"


local function settings(more, environment)
  more = more or {}
  more.env = function(name) return (environment or {})[name] end
  return more
end


-- The targets behind a model, in the order they are tried.
local function targets(names, given)
  local model = assert(resolve.model(names, given))
  local list = {}
  for position, candidate in ipairs(model.candidates) do
    list[position] = candidate.target
  end
  return list
end


describe("a model's name", function()
  it("is a provider and a model, whatever the provider's case", function()
    local target = assert(resolve.target("OpenAI/gpt-4o-mini", settings { api_key = "sk-own-key-1" }))
    assert.same({ "openai", "gpt-4o-mini", "sk-own-key-1" }, { target.name, target.model, target.api_key })
    assert.equal("https://api.openai.com/v1", target.base_url)
  end)

  it("may hold a slash of its own, and may stand alone", function()
    local target = assert(resolve.target("groq/openai/gpt-oss-120b", settings({}, { GROQ_API_KEY = "gsk-12345678" })))
    assert.same({ "groq", "openai/gpt-oss-120b" }, { target.name, target.model })
    target = assert(resolve.target("claude-sonnet-4-5", settings({}, { ANTHROPIC_API_KEY = "sk-ant-1234" })))
    assert.equal("anthropic", target.name)
  end)

  it("takes key and address from the environment", function()
    local environment = { OPENAI_API_KEY = "sk-env-key-1", OPENAI_BASE_URL = "http://127.0.0.1:1/v1" }
    local target = assert(resolve.target("openai/x", settings({}, environment)))
    assert.same({ "sk-env-key-1", "http://127.0.0.1:1/v1" }, { target.api_key, target.base_url })
  end)

  it("is an error that helps when nobody knows it, or when its key is missing", function()
    local _, err = resolve.target("gpt-4o-mimi", settings())
    assert.equal("model_not_found", err.kind)
    assert.matches("did you mean 'gpt%-4o%-mini'", err.message)
    _, err = resolve.target("openai/gpt-4o", settings())
    assert.equal("authentication", err.kind)
    assert.matches("OPENAI_API_KEY", err.message)
  end)
end)


describe("a default model", function()
  it("is the configured one, else the first with a key, else the offline one", function()
    assert.equal("groq/x", resolve.default(settings { model = "groq/x" }))
    assert.equal("mistral/mistral-small-latest", resolve.default(settings({}, { MISTRAL_API_KEY = "m-12345678" })))
    assert.equal("offline/demo", resolve.default(settings()))
  end)
end)


describe("fallbacks", function()
  it("never get the key or the address that were given for the first", function()
    local list = targets({ "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "offline/demo" },
      settings({ api_key = "sk-for-openai", base_url = "http://127.0.0.1:1/v1", api = "responses" }, { ANTHROPIC_API_KEY = "sk-ant-1234" }))
    assert.same({ "sk-for-openai", "http://127.0.0.1:1/v1" }, { list[1].api_key, list[1].base_url })
    assert.same({ "sk-ant-1234", "https://api.anthropic.com" }, { list[2].api_key, list[2].base_url })
    assert.equal("offline", list[3].name)
  end)

  it("are skipped without a key; with nothing left the first one's error is raised", function()
    local list = targets({ "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "offline/demo" }, settings())
    assert.equal(1, #list)
    assert.equal("offline", list[1].name)
    local model, err = resolve.model({ "openai/gpt-4o", "anthropic/claude-sonnet-4-5" }, settings())
    assert.is_nil(model)
    assert.matches("OPENAI_API_KEY", err.message)
  end)
end)
