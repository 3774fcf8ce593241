local json = require "perilune.json"
local providers = require "perilune.model.provider"


local function encode(options, request)
  local provider = providers.get "azure"
  local target = assert(providers.target(provider, {
    model = options.model or "my-gpt", api_key = "k", base_url = options.base_url, quirks = options.quirks, headers = options.headers,
  }))
  request = request or {}
  request.messages = { { role = "developer", content = "s" }, { role = "user", content = "q" } }
  local http, err = provider.encode(request, target)
  return http, err, http and json.decode(http.body)
end


describe("Azure OpenAI", function()
  local rows = {
    { "https://x.openai.azure.com", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21" },
    { "https://x.openai.azure.com/", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21" },
    { "https://x.openai.azure.com/openai", "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21" },
    { "https://x.openai.azure.com?api-version=preview", "/openai/deployments/my-gpt/chat/completions?api-version=preview" },
    { "https://x.openai.azure.com/openai/deployments/other", "/openai/deployments/other/chat/completions?api-version=2024-10-21" },
    { "https://x.openai.azure.com/openai/v1", "/openai/v1/chat/completions" },
    { "https://x.openai.azure.com/openai/v1/", "/openai/v1/chat/completions" },
    { "https://x.openai.azure.com/openai/v1?api-version=preview", "/openai/v1/chat/completions?api-version=preview" },
  }
  for _, row in ipairs(rows) do
    it("makes its address out of " .. row[1], function()
      local http = assert(encode { base_url = row[1] })
      assert.are.equal("https://x.openai.azure.com" .. row[2], http.url)
    end)
  end

  it("takes the version from a quirk and escapes the deployment's name", function()
    local http = encode { base_url = "https://x", model = "a b/c", quirks = { api_version = "2025-03-01-preview" } }
    assert.are.equal("https://x/openai/deployments/a%20b%2Fc/chat/completions?api-version=2025-03-01-preview", http.url)
  end)

  it("sends the key in its own header, or whatever the caller sends", function()
    local http = encode { base_url = "https://x" }
    assert.are.equal("k", http.headers["api-key"])
    assert.is_nil(http.headers.authorization)
    http = encode { base_url = "https://x", headers = { Authorization = "Bearer entra" } }
    assert.are.equal("Bearer entra", http.headers.authorization)
    assert.is_nil(http.headers["api-key"])
  end)

  it("knows the reasoning families of OpenAI by the deployment's name", function()
    local _, _, body = encode({ base_url = "https://x", model = "o4-mini" }, { max_tokens = 9, temperature = 0.5 })
    assert.are.equal(9, body.max_completion_tokens)
    assert.is_nil(body.max_tokens)
    assert.is_nil(body.temperature)
    assert.are.equal("developer", body.messages[1].role)
    _, _, body = encode({ base_url = "https://x" }, { max_tokens = 9, temperature = 0.5 })
    assert.are.equal(9, body.max_tokens)
    assert.are.equal(0.5, body.temperature)
  end)

  it("says what to set when it has no address", function()
    local none, err = encode {}
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
    assert.is_truthy(err.message:find("AZURE_BASE_URL", 1, true))
  end)
end)
