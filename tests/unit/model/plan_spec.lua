-- Whom a plan asks and in which order: the listed ones, the tiers, chance; who is skipped and why.
local provider = require "perilune.model.provider"
local resolve = require "perilune.model.resolve"
local token = require "perilune.sys.token"

local ORDERS = 400


-- Settings under which these providers have a key. What other specs have registered stays out of it.
local function settings(names, more)
  local keys = {}
  for name in names:gmatch("%S+") do
    keys[name:upper() .. "_API_KEY"] = "sk-of-" .. name
  end
  more = more or {}
  more.env = function(variable) return (more.variables or {})[variable] or keys[variable] end
  more.exclude = more.exclude or {}
  for _, found in ipairs(provider.list()) do
    more.exclude[#more.exclude + 1] = found.source ~= "built in" and found.name or nil
  end
  return more
end


local function label(candidate)
  return candidate.target.name .. "/" .. candidate.target.model
end


local function labels(list)
  local names = {}
  for position, candidate in ipairs(list) do
    names[position] = label(candidate)
  end
  return names
end


local function plan(names, given)
  return assert(resolve.plan(names, given))
end


local function refused(names, given)
  local made, err = resolve.plan(names, given)
  assert.is_nil(made)
  return err
end


-- How often each provider came at each place, over many orders of one plan.
local function places(made)
  local counts = {}
  for _ = 1, ORDERS do
    local order, seen = made:order(), {}
    for place, candidate in ipairs(order) do
      assert.is_nil(seen[label(candidate)], "asked twice: " .. label(candidate))
      seen[label(candidate)] = true
      counts[place] = counts[place] or {}
      counts[place][candidate.target.name] = (counts[place][candidate.target.name] or 0) + 1
    end
  end
  return counts
end


local function sorted(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, " ")
end


before_each(function()
  token.seed(7)
end)


after_each(function()
  token.seed()
end)


describe("a plan of listed names", function()
  it("asks them in their order, and is the same list every time", function()
    local made = plan({ "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "offline/demo" }, settings "openai anthropic groq")
    assert.are.same({ "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "offline/demo" }, labels(made:order()))
    assert.are.equal(made:order(), made:order())
    assert.are.same({ 3, {}, nil }, { made.listed_n, made.skipped, made.context })
  end)

  it("asks the first alone when failover is off", function()
    local made = plan({ "openai/gpt-4o", "nobody/knows-this-at-all" }, settings("openai", { failover = "off" }))
    assert.are.same({ "openai/gpt-4o" }, labels(made:order()))
  end)

  it("skips who has no key and tells why; with nobody left it is the first one's error", function()
    local made = plan({ "openai/gpt-4o", "groq/llama-3.3-70b-versatile", "offline/demo" }, settings "")
    assert.are.same({ "offline/demo" }, labels(made:order()))
    local first, second = made.skipped[1], made.skipped[2]
    assert.are.same({ "attempt", "skipped", "openai", "gpt-4o", "no_key" },
      { first.type, first.reason, first.provider, first.model, first.error.code })
    assert.are.same({ "groq", "no_key" }, { second.provider, second.error.code })
    assert.matches("OPENAI_API_KEY", refused({ "openai/gpt-4o", "groq/x" }, settings "").message)
  end)

  it("skips an excluded fallback, and refuses a first that is excluded", function()
    local made = plan({ "openai/gpt-4o", "groq/x" }, settings("openai groq", { exclude = { "Groq" } }))
    assert.are.same({ "openai/gpt-4o" }, labels(made:order()))
    assert.are.equal("excluded", made.skipped[1].error.code)
    local err = refused({ "OpenAI/gpt-4o", "groq/x" }, settings("openai groq", { exclude = { "OPENAI" } }))
    assert.are.same({ "configuration", "excluded" }, { err.kind, err.code })
    assert.matches("openai is excluded", err.message)
    err = refused({ "x" }, settings("openai", { provider = "openai", exclude = { "openai" } }))
    assert.are.equal("excluded", err.code)
  end)

  it("refuses a fallback that nobody knows", function()
    assert.are.equal("model_not_found", refused({ "offline/demo", "zzzz-0000-qqqq" }, settings "").kind)
  end)

  it("gives what a script says of the first to nobody else", function()
    local own = {
      api_key = "sk-own", base_url = "http://127.0.0.1:1/v1", failover = "auto",
      headers = { Authorization = "Bearer own", ["X-Auth-Token"] = "own", ["X-Title"] = "title" },
      api_keys = { ["gpt-4o"] = "sk-by-model" },
    }
    local order = plan({ "openai/gpt-4.1", "anthropic/claude-sonnet-4-5" }, settings("openai anthropic groq", own)):order()
    assert.are.equal(4, #order) -- anthropic's other models are somebody else
    assert.are.same({ "sk-own", "http://127.0.0.1:1/v1", "Bearer own" },
      { order[1].target.api_key, order[1].target.base_url, order[1].target.headers.Authorization })
    for position = 2, 4 do
      local target = order[position].target
      assert.are.same({ "sk-of-" .. target.name, target.provider.base_url, { ["X-Title"] = "title" } },
        { target.api_key, target.base_url, target.headers })
    end
  end)

  it("takes keys by model, also by provider and model, for who is named alone", function()
    local keys = { ["openai/gpt-oss-120b"] = "sk-by-model", ["cerebras/gpt-oss-120b"] = "sk-by-pair" }
    local given = settings("together", { api_keys = keys, failover = "auto" })
    local order = plan({ "groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b" }, given):order()
    assert.are.same({ "groq", "sk-by-model", "cerebras", "sk-by-pair", "together", "sk-of-together" }, {
      order[1].target.name, order[1].target.api_key, order[2].target.name, order[2].target.api_key, order[3].target.name,
      order[3].target.api_key,
    })
  end)

  it("has who is asked about questions that are too long, beside the order", function()
    local given = settings("openai gemini", { context_fallbacks = { "gemini/gemini-2.5-pro", "groq/x" } })
    local made = plan({ "openai/gpt-4o" }, given)
    assert.are.same({ "gemini/gemini-2.5-pro" }, labels(made.context))
    assert.are.same({ 1, "groq" }, { #made:order(), made.skipped[1].provider })
  end)

  it("takes objects with `stream` in the place of names", function()
    local scripted = { name = "acted", model_name = "lines", stream = function() end }
    local plain = { stream = function() end }
    local made = plan({ scripted, "openai/gpt-4o", plain }, settings "openai")
    assert.are.same({ "acted/lines", "openai/gpt-4o", "testing/scripted" }, labels(made:order()))
    assert.are.equal("lines", made.name)
    assert.is_nil(made:order()[1].endpoint)
    assert.is_not_nil(made:order()[2].endpoint)
  end)

  it("makes each candidate once", function()
    local count = 0
    local made = assert(resolve.plan({ "auto" }, settings "openai groq", function(target)
      count = count + 1
      return target.name
    end))
    local seen, distinct = {}, 0
    for _ = 1, ORDERS do
      for _, candidate in ipairs(made:order()) do
        assert.are.equal(candidate.target.name, candidate.model)
        distinct = distinct + (seen[candidate] and 0 or 1)
        seen[candidate] = true
      end
    end
    assert.are.equal(distinct, count)
    assert.are.equal(#provider.get("openai").models + #provider.get("groq").models, count)
  end)
end)


describe("the tiers behind the listed names", function()
  local given = "groq together cerebras fireworks mistral anthropic xai"

  it("are who has the very model, who has one like it, the rest; each by chance, nobody twice", function()
    local made = plan({ "groq/openai/gpt-oss-120b", "mistral/mistral-small-latest" }, settings(given, { failover = "auto" }))
    local counts = places(made)
    assert.are.same({ "groq", "mistral", "together", "cerebras fireworks", "cerebras fireworks" },
      { sorted(counts[1]), sorted(counts[2]), sorted(counts[3]), sorted(counts[4]), sorted(counts[5]) })
    -- mistral comes again, with another of its models: only then is it another target
    assert.are.equal("anthropic mistral xai", sorted(counts[6]))
    for _, count in pairs(counts[4]) do
      assert.is_true(count > ORDERS * 0.4)
    end
    for _, count in pairs(counts[6]) do
      assert.is_true(count > ORDERS * 0.2)
    end
  end)

  it("ask the very model, the one that is like it, and any of the others' own", function()
    local made = plan({ "groq/openai/gpt-oss-120b" }, settings(given, { failover = "auto" }))
    local models = {}
    for _ = 1, ORDERS do
      for _, candidate in ipairs(made:order()) do
        local name = candidate.target.name
        models[name] = models[name] or {}
        models[name][candidate.target.model] = true
      end
    end
    assert.are.same({ "openai/gpt-oss-120b", "gpt-oss-120b", "accounts/fireworks/models/gpt-oss-120b" },
      { sorted(models.together), sorted(models.cerebras), sorted(models.fireworks) })
    for _, name in ipairs { "mistral", "anthropic", "xai" } do
      for _, model in ipairs(provider.get(name).models) do
        assert.is_true(models[name][model], name .. " was never asked for " .. model)
      end
    end
  end)

  it("are asked in the place of a first that has no key", function()
    local made = plan({ "groq/openai/gpt-oss-120b" }, settings("together mistral", { failover = "auto" }))
    assert.are.same({ "together", "mistral" }, { made:order()[1].target.name, made:order()[2].target.name })
    assert.are.equal("groq", made.skipped[1].provider)
  end)

  it("never hold the offline model, an excluded provider, or one without a key", function()
    local counts = places(plan({ "openai/gpt-4o" }, settings("openai groq xai", { failover = "auto", exclude = { "XAI" } })))
    assert.are.same({ 2, "openai", "groq" }, { #counts, sorted(counts[1]), sorted(counts[2]) })
  end)
end)


describe('the model "auto"', function()
  it("is any model of any provider that can be asked, with everybody else behind it", function()
    local made = plan({ "auto" }, settings "openai groq mistral")
    local counts, models = places(made), {}
    assert.are.equal(3, #counts)
    for _, name in ipairs { "openai", "groq", "mistral" } do
      assert.is_true(counts[1][name] > ORDERS * 0.25 and counts[1][name] < ORDERS * 0.42, name .. ": " .. counts[1][name])
    end
    for _ = 1, ORDERS do
      models[label(made:order()[1])] = true
    end
    for _, model in ipairs(provider.get("mistral").models) do
      assert.is_true(models["mistral/" .. model])
    end
  end)

  it("tells who was not considered, and why", function()
    local made = plan({ "auto" }, settings("openai groq", { exclude = { "groq" } }))
    local why = {}
    for _, row in ipairs(made.unusable) do
      why[row.found.name] = row.why
    end
    assert.are.same({ "excluded", "ANTHROPIC_API_KEY is not set", "OLLAMA_BASE_URL is not set", nil },
      { why.groq, why.anthropic, why.ollama, why.openai })
  end)

  it("keeps to the listed fallbacks, or to itself, when it is told to", function()
    local counts = places(plan({ "auto", "offline/demo" }, settings("openai groq", { failover = "listed" })))
    assert.are.same({ 2, "groq openai", "offline" }, { #counts, sorted(counts[1]), sorted(counts[2]) })
    assert.are.equal(1, #places(plan({ "auto", "offline/demo" }, settings("openai groq", { failover = "off" }))))
  end)

  it("of a named provider is one of its models, and nobody else's", function()
    local made, models = plan({ "auto" }, settings("openai groq", { provider = "Groq" })), {}
    for _ = 1, ORDERS do
      assert.are.equal(1, #made:order())
      models[made:order()[1].target.model] = true
    end
    for _, model in ipairs(provider.get("groq").models) do
      assert.is_true(models[model])
    end
  end)

  it("of a named provider is one that there is a key for", function()
    local made = plan({ "auto" }, settings("", { provider = "openai", api_keys = { ["gpt-4.1"] = "sk-for-one" } }))
    for _ = 1, 20 do
      assert.are.same({ "openai/gpt-4.1" }, labels(made:order()))
    end
    assert.are.equal("no_key", refused({ "auto" }, settings("", { provider = "openai" })).code)
  end)

  it("is the offline model when nobody is configured, and an error when somebody is who cannot be asked", function()
    assert.are.same({ "offline/demo" }, labels(plan({ "auto" }, settings ""):order()))
    local err = refused({ "auto" }, settings("openai azure_openai", { exclude = { "openai" } }))
    assert.are.same({ "configuration", "no_provider" }, { err.kind, err.code })
    for _, part in ipairs { "openai (excluded)", "azure (lists no model)", "groq (GROQ_API_KEY is not set)" } do
      assert.is_truthy(err.message:find(part, 1, true), err.message)
    end
    assert.are.equal("no_provider", refused({ "auto" }, settings("", { exclude = { "offline" } })).code)
  end)

  it("leaves out a provider whose key was not copied well", function()
    local given = settings("openai", { variables = { GROQ_API_KEY = "sk-\n" } })
    assert.are.equal("openai", sorted(places(plan({ "auto" }, given))[1]))
  end)

  it("never gives a key to whoever happens to be chosen", function()
    for _, own in ipairs { { api_key = "sk-own" }, { base_url = "http://127.0.0.1:1" } } do
      assert.are.equal("whose_key", refused({ "auto" }, settings("openai", own)).code)
      assert.are.equal("whose_key", refused({}, settings("openai", own)).code)
    end
  end)
end)


describe("a plan without a model's name", function()
  it("is of the configured model, with the listed fallbacks alone", function()
    local made = plan({ false, "offline/demo" }, settings("openai groq", { model = "openai/gpt-4.1" }))
    assert.are.same({ "openai/gpt-4.1", "offline/demo" }, labels(made:order()))
    assert.are.equal("openai/gpt-4.1", made.name)
  end)

  it("is of the first that can be asked, with everybody else behind it", function()
    local counts = places(plan({}, settings "groq mistral"))
    assert.are.same({ 2, "groq", "mistral" }, { #counts, sorted(counts[1]), sorted(counts[2]) })
  end)

  it("is of the named provider's first model", function()
    local made = plan({}, settings("openai groq", { provider = "groq", model = "openai/gpt-4o" }))
    assert.are.same({ "groq/" .. provider.get("groq").models[1] }, labels(made:order()))
  end)

  it('is "auto" when that is configured', function()
    assert.are.equal("groq openai", sorted(places(plan({}, settings("openai groq", { model = "auto" })))[1]))
  end)
end)


describe("a candidate's endpoint", function()
  it("is the same for the same target, and another at another address", function()
    local function endpoint(given)
      return plan({ "openai/gpt-4o" }, given):order()[1].endpoint
    end
    local one, same = endpoint(settings "openai"), endpoint(settings "openai")
    local other = endpoint(settings("openai", { base_url = "http://127.0.0.1:1/v1" }))
    assert.are.equal(one:status().credential, same:status().credential)
    assert.are_not.equal(one:status().credential, other:status().credential)
  end)
end)
