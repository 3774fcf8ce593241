-- What a name stands for: a pair, an override, a listed name, something like one. Who is asked in which order is plan_spec's.
local provider = require "perilune.model.provider"
local resolve = require "perilune.model.resolve"
local similar = require "perilune.model.similar"


local function settings(more, environment)
  more = more or {}
  more.env = function(name) return (environment or {})[name] end
  return more
end


-- Settings under which these can be asked, all at a closed port of this machine, and nobody that another spec has registered.
local function of(names, more)
  local environment = {}
  for name in names:gmatch("%S+") do
    environment[name:upper() .. "_API_KEY"] = "sk-of-" .. name
    environment[name:upper() .. "_BASE_URL"] = "http://127.0.0.1:1/v1"
  end
  more = more or {}
  more.exclude = more.exclude or {}
  for _, found in ipairs(provider.list()) do
    more.exclude[#more.exclude + 1] = found.source ~= "built in" and found.name or nil
  end
  return settings(more, environment)
end


local function pair(name, given)
  local target = assert(resolve.target(name, given))
  return target.name .. "/" .. target.model
end


local function refused(name, given)
  local target, err = resolve.target(name, given)
  assert.is_nil(target)
  return err
end


describe("a model's name", function()
  it("is a provider and a model, whatever the provider's case", function()
    local target = assert(resolve.target("OpenAI/gpt-4o-mini", settings { api_key = "sk-own-key-1" }))
    assert.same({ "openai", "gpt-4o-mini", "sk-own-key-1" }, { target.name, target.model, target.api_key })
    assert.equal("https://api.openai.com/v1", target.base_url)
  end)

  it("may hold a slash of its own, and may stand alone", function()
    assert.equal("groq/openai/gpt-oss-120b", pair("groq/openai/gpt-oss-120b", of "groq"))
    assert.equal("anthropic/claude-sonnet-4-5", pair("claude-sonnet-4-5", of "anthropic"))
  end)

  it("takes key and address from the environment", function()
    local environment = { OPENAI_API_KEY = "sk-env-key-1", OPENAI_BASE_URL = "http://127.0.0.1:1/v1" }
    local target = assert(resolve.target("openai/x", settings({}, environment)))
    assert.same({ "sk-env-key-1", "http://127.0.0.1:1/v1" }, { target.api_key, target.base_url })
  end)

  it("is a model of the provider that is named beside it, whatever it looks like", function()
    local target = assert(resolve.target("openai/gpt-4o-mini", of("openrouter", { provider = "OpenRouter" })))
    assert.same({ "openrouter", "openai/gpt-4o-mini" }, { target.name, target.model })
    local err = refused("x", of("", { provider = "opnai" }))
    assert.same({ "configuration", "there is no provider 'opnai', did you mean 'openai'?" }, { err.kind, err.message })
  end)

  it("of a server of this machine is asked there, configured or not", function()
    assert.equal("http://127.0.0.1:11434", assert(resolve.target("ollama/llama3", settings())).base_url)
  end)
end)


describe("a bare name", function()
  it("is of who lists it and can be asked, before who cannot", function()
    assert.equal("together/deepseek-ai/DeepSeek-V3.1", pair("deepseek-ai/DeepSeek-V3.1", of "together openai"))
    assert.equal("cerebras/gpt-oss-120b", pair("gpt-oss-120b", of "cerebras openai"))
    local err = refused("gpt-4o", of "groq")
    assert.same({ "authentication", "no_key", "openai" }, { err.kind, err.code, err.provider })
  end)

  it("of an excluded provider says so", function()
    local err = refused("gpt-4o", of("openai", { exclude = { "OpenAI" } }))
    assert.same({ "excluded", "'gpt-4o' is a model of openai, which is excluded" }, { err.code, err.message })
  end)

  it("that nobody lists is read as the nearest one", function()
    assert.equal("openai/gpt-4o-mini", pair("gpt-4o-mini-typo", of "openai"))
    assert.equal("openai/gpt-4o-mini", pair("GPT-4O-MINI", of "openai"))
    assert.equal("openai/gpt-4o-mini", pair("nobody/gpt-4o-mini", of "openai"))
    assert.equal("anthropic/claude-sonnet-4-5", pair("claude-sonet-4.5", of "anthropic openai"))
    assert.equal("mistral/magistral-medium-latest", pair("magistral", of "mistral openai"))
  end)

  it("is read as the model of somebody who can be asked", function()
    assert.equal("openrouter/anthropic/claude-sonnet-4.5", pair("claude-sonet-4-5", of "openrouter"))
    local err = refused("claude-sonet-4-5", of "mistral")
    assert.equal("model_not_found", err.kind)
    assert.matches("did you mean 'anthropic/claude%-sonnet%-4%-5' %(ANTHROPIC_API_KEY is not set%)", err.message)
  end)

  it("that nobody knows is an error that helps", function()
    assert.matches("did you mean 'openai/gpt%-4o%-mini'", refused("gpt-4o-mimi", of "").message)
    assert.matches("did you mean 'openai/zzz%-9'", refused("opnai/zzz-9", of "").message)
    assert.matches("there is no provider 'qqqq'", refused("qqqq/0000", of "").message)
    assert.matches("write it as provider/model", refused("0000", of "").message)
    assert.equal("model_not_found", refused(("x"):rep(100000), of "openai").kind)
  end)

  it("tells whose list could not be read", function()
    local err = refused("zzzz-0000-qqqq", of "openai")
    assert.same({ "model_not_found", true }, { err.kind, err.retryable })
    assert.matches("openai did not list its models", err.message)
  end)

  it("beside a key of the script's own is of the one who lists it, and never a guess", function()
    local target = assert(resolve.target("gpt-4o", of("groq", { api_key = "sk-own" })))
    assert.same({ "openai", "sk-own" }, { target.name, target.api_key })
    for _, own in ipairs { { api_key = "sk-own" }, { base_url = "http://127.0.0.1:1" }, { api_keys = { ["gpt-4o-typo"] = "sk" } } } do
      local err = refused("gpt-4o-typo", of("openai", own))
      assert.same({ "configuration", "whose_key" }, { err.kind, err.code })
    end
  end)
end)


describe("a default model", function()
  it("is the configured one, else the first with a key, else the offline one", function()
    assert.equal("groq/x", resolve.default(of("", { model = "groq/x" })))
    assert.equal("mistral/mistral-small-latest", resolve.default(of "mistral"))
    assert.equal("offline/demo", resolve.default(of ""))
  end)

  it("is of a configured server, before the offline one", function()
    local given = of ""
    given.env = function(name) return name == "OLLAMA_BASE_URL" and "http://127.0.0.1:1" or nil end
    assert.equal("auto", resolve.default(given))
  end)
end)


describe("the nearest name", function()
  local function nearest(typed, ...)
    local found = similar.nearest(typed, { ... })
    return found and found.name, found and found.rank
  end

  it("is the very same, before one in other letters, before a part, before one that is alike", function()
    local rows = { { "abcd", 1 }, { "ABCD", 2 }, { "xxabcdxx", 3 }, { "abxd", 4 } }
    for from = 1, #rows do
      local names = {}
      for position = #rows, from, -1 do
        names[#names + 1] = rows[position][1]
      end
      assert.same(rows[from], { nearest("abcd", table.unpack(names)) })
    end
  end)

  it("of several parts is the one with most in common, of equals the first", function()
    assert.equal("gpt-4o-mini", (nearest("gpt-4o-mini-2024", "gpt-4o", "gpt-4o-mini", "gpt")))
    assert.equal("abx", (nearest("ab", "abx", "aby")))
  end)

  it("has at least half in common, as the ratio from the typed to the known name says", function()
    assert.is_nil(nearest("tide", "diet")) -- 0.25
    assert.equal("tide", (nearest("diet", "tide"))) -- 0.5: the ratio is not symmetric
    assert.is_nil(nearest("abc", "xyz"))
  end)

  it("is no part of a single letter", function()
    assert.is_nil(nearest("o", "gpt-4o"))
    assert.equal("o3", (nearest("o3-2025-04-16", "o3")))
  end)
end)
