local json = require "perilune.json"
local providers = require "perilune.model.provider"


local function encode(name, request)
  local provider = providers.get(name)
  local target = providers.target(provider, { model = "m", api_key = provider.key and "k" })
  local http = assert(provider.encode(request, target))
  return json.decode(http.body), http
end


local function valid(changes)
  local spec = { name = "acme", frame = "sse", encode = function() end, decoder = function() end }
  for field, value in pairs(changes or {}) do
    spec[field] = value
  end
  return spec
end


describe("the registry of providers", function()
  it("knows the built-in vendors, whatever the case of the name", function()
    local names = "openai anthropic cohere groq mistral deepseek openrouter xai perplexity zai moonshot together fireworks "
      .. "cerebras ollama llamacpp vllm lmstudio"
    for name in names:gmatch "%S+" do
      local provider = assert(providers.get(name), name)
      assert.are.equal(name, provider.name)
      assert.are.equal("string", type(provider.base_url))
    end
    assert.are.equal("openai", providers.get("OpenAI").name)
    assert.is_nil(providers.get "nobody")
    assert.is_nil(providers.get("ollama").key)
    assert.are.equal("GROQ_API_KEY", providers.get("groq").key)
  end)

  it("lists them in the order they became known, as a copy", function()
    local list = providers.list()
    assert.are.equal("openai", list[1].name)
    list[1] = nil
    assert.are.equal("openai", providers.list()[1].name)
  end)

  it("suggests what was meant", function()
    local none, err = providers.new(valid { encoder = print })
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
    assert.is_truthy(err.message:find("unknown field 'encoder', did you mean 'encode'?", 1, true))
    none, err = providers.compatible { name = "acme", base_url = "http://127.0.0.1", quirks = { max_token_field = "x" } }
    assert.is_nil(none)
    assert.is_truthy(err.message:find("did you mean 'max_tokens_field'?", 1, true))
  end)

  local wrong = {
    { { name = "Acme" }, "lower%-case" }, { { frame = "xml" }, "frame must be" }, { { api = 2 }, "version" },
    { { models = "m" }, "must be a table" }, { { decoder = 1 }, "must be a function" },
  }
  for _, row in ipairs(wrong) do
    it("refuses a provider whose " .. next(row[1]) .. " is wrong", function()
      local none, err = providers.new(valid(row[1]))
      assert.is_nil(none)
      assert.is_truthy(err.message:find(row[2]))
    end)
  end

  it("refuses what is missing, taken or no table", function()
    local spec = valid()
    spec.decoder = nil
    assert.is_truthy(select(2, providers.new(spec)).message:find("'decoder' is missing", 1, true))
    assert.is_truthy(select(2, providers.register(valid { name = "groq" })).message:find("taken", 1, true))
    assert.is_truthy(select(2, providers.register(valid { name = "offline" })).message:find("taken", 1, true))
    assert.is_truthy(select(2, providers.new "acme").message:find("must be a table", 1, true))
    assert.is_truthy(select(2, providers.compatible { name = "acme" }).message:find("base_url", 1, true))
  end)

  it("fills in what may be left out", function()
    local provider = assert(providers.new(valid()))
    assert.are.same({}, provider.models)
    assert.are.same({}, provider.quirks)
    assert.are.equal(1, provider.api)
  end)
end)


describe("dialects", function()
  local turn = { messages = {
    { role = "user", content = "old" }, { role = "assistant", content = "o", reasoning = "long ago" },
    { role = "user", content = "q" },
    { role = "assistant", reasoning = "just now", tool_calls = { { id = "call_1", name = "f", arguments = "{}" } } },
    { role = "tool", tool_call_id = "call_1", content = "r" },
  }, seed = 7, user = "u" }

  it("maps tool call ids for mistral, always to the same nine characters", function()
    local body = encode("mistral", turn)
    local id = body.messages[4].tool_calls[1].id
    assert.is_truthy(id:find("^%w%w%w%w%w%w%w%w%w$"))
    assert.are.equal(id, body.messages[5].tool_call_id)
    assert.are.equal(id, encode("mistral", turn).messages[4].tool_calls[1].id)
    assert.are.equal("call_1", encode("groq", turn).messages[4].tool_calls[1].id)
  end)

  it("keeps ids that mistral made itself", function()
    local own = { messages = { { role = "tool", tool_call_id = "aB3dE6gH9", content = "r" } } }
    assert.are.equal("aB3dE6gH9", encode("mistral", own).messages[1].tool_call_id)
  end)

  it("renames and leaves out options", function()
    local body = encode("mistral", turn)
    assert.are.equal(7, body.random_seed)
    assert.is_nil(body.seed)
    assert.is_nil(body.user)
    assert.is_nil(body.stream_options)
    assert.are.equal(7, encode("groq", turn).seed)
  end)

  it("sends reasoning of the same turn back to deepseek, and to nobody else", function()
    local body = encode("deepseek", turn)
    assert.is_nil(body.messages[2].reasoning_content)
    assert.are.equal("just now", body.messages[4].reasoning_content)
    assert.is_nil(encode("groq", turn).messages[4].reasoning_content)
  end)

  it("returns reasoning details to openrouter and the same model", function()
    local items = { { type = "reasoning.text", text = "t" } }
    local request = { messages = {
      { role = "assistant", content = "a", provider_items = { provider = "openrouter", model = "m", items = items } },
    } }
    assert.are.same(items, encode("openrouter", request).messages[1].reasoning_details)
    request.messages[1].provider_items.model = "other"
    assert.is_nil(encode("openrouter", request).messages[1].reasoning_details)
    request.messages[1].provider_items.model, request.messages[1].provider_items.provider = "m", "groq"
    assert.is_nil(encode("openrouter", request).messages[1].reasoning_details)
    assert.is_nil(encode("groq", request).messages[1].reasoning_details)
  end)

  it("gives a vendor with few tool choices the nearest one", function()
    local request = { messages = { { role = "user", content = "q" } }, tools = { { name = "f", strict = true }, { name = "g" } } }
    local function choose(name, choice)
      request.tool_choice = choice
      return encode(name, request)
    end
    assert.are.equal("required", choose("groq", "required").tool_choice)
    assert.is_nil(choose("moonshot", "required").tool_choice)
    assert.are.equal("none", choose("moonshot", "none").tool_choice)
    assert.is_nil(choose("zai", "none").tools)
    assert.are.equal("auto", choose("zai", "auto").tool_choice)
    local body = choose("zai", { name = "g" })
    assert.is_nil(body.tool_choice)
    assert.are.equal("g", body.tools[1]["function"].name)
    assert.is_nil(choose("zai", "auto").tools[1]["function"].strict)
    assert.is_true(choose("groq", "auto").tools[1]["function"].strict)
  end)

  it("leaves out what a vendor refuses", function()
    local request = { messages = { { role = "user", content = "q" } }, frequency_penalty = 0.5, user = "u", max_tokens = 9 }
    local body = encode("cerebras", request)
    assert.is_nil(body.frequency_penalty)
    assert.are.equal(9, body.max_completion_tokens)
    body = encode("perplexity", request)
    assert.is_nil(body.user)
    assert.is_nil(body.stream_options)
    assert.are.equal(0.5, body.frequency_penalty)
    assert.are.equal("u", encode("zai", request).user_id)
  end)

  it("switches thinking where the server has a switch", function()
    local request = { messages = { { role = "user", content = "q" } }, enable_thinking = false }
    assert.are.same({ enable_thinking = false }, encode("vllm", request).chat_template_kwargs)
    assert.is_nil(encode("groq", request).chat_template_kwargs)
    assert.are.same({ type = "disabled" }, encode("zai", request).thinking)
  end)
end)
