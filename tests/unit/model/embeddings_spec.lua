-- Vectors: requests and answers of each vendor, what a request may say, the vectors of the offline model.
local embeddings = require "perilune.model.embeddings"
local json = require "perilune.json"
local provider = require "perilune.model.provider"
local token = require "perilune.sys.token"


local function encode(name, request, model)
  local found = assert(provider.get(name))
  local target = assert(provider.target(found, { model = model or found.embeddings.models[1], api_key = "sk-test" }))
  local http = assert(found.embeddings.encode(request, target))
  return http, assert(json.decode(http.body))
end


local function decode(name, status, body)
  return provider.get(name).embeddings.decode(status, type(body) == "table" and assert(json.encode(body)) or body)
end


local function settings(values)
  values.env = function(name)
    return values[name]
  end
  return values
end


local function dot(a, b)
  local sum = 0
  for position = 1, #a do
    sum = sum + a[position] * b[position]
  end
  return sum
end


describe("a request for vectors", function()
  local texts = { "a", "b" }

  it("of the chat.completions family has a list of texts", function()
    local http, body = encode("openai", { input = texts, dimensions = 256, encoding_format = "base64" })
    assert.are.equal("https://api.openai.com/v1/embeddings", http.url)
    assert.are.same({ model = "text-embedding-3-small", input = { "a", "b" }, dimensions = 256, encoding_format = "base64" }, body)
  end)

  it("of Gemini is a batch", function()
    local http, body = encode("gemini", { input = texts, dimensions = 768, input_type = "RETRIEVAL_QUERY" })
    assert.are.equal("https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:batchEmbedContents", http.url)
    assert.are.same({
      model = "models/gemini-embedding-001", content = { parts = { { text = "b" } } }, outputDimensionality = 768,
      taskType = "RETRIEVAL_QUERY",
    }, body.requests[2])
  end)

  it("of Cohere says what the texts are for", function()
    local http, body = encode("cohere", { input = texts })
    assert.are.equal("https://api.cohere.com/v2/embed", http.url)
    assert.are.same({ model = "embed-v4.0", texts = { "a", "b" }, input_type = "search_document", embedding_types = { "float" } }, body)
    local _, asked = encode("cohere", { input = texts, input_type = "search_query", dimensions = 256 })
    assert.are.same({ "search_query", 256 }, { asked.input_type, asked.output_dimension })
  end)

  it("of Ollama goes to its own address", function()
    local http, body = encode("ollama", { input = texts }, "nomic-embed-text")
    assert.are.equal("http://127.0.0.1:11434/api/embed", http.url)
    assert.are.same({ model = "nomic-embed-text", input = { "a", "b" } }, body)
  end)
end)


describe("an answer with vectors", function()
  it("is put in the order of its indexes, base64 read as 32-bit floats", function()
    local floats = token.base64(string.pack("<fff", 0.5, -2, 0.25))
    local result = assert(decode("openai", 200, {
      object = "list", model = "text-embedding-3-small", usage = { prompt_tokens = 5, total_tokens = 5 },
      data = { { index = 1, embedding = floats }, { index = 0, embedding = { 1, 0.5, 0 } } },
    }))
    assert.are.same({ { 1, 0.5, 0 }, { 0.5, -2, 0.25 } }, result.vectors)
    assert.are.same({ 5, 0, 5 }, { result.usage.prompt_tokens, result.usage.completion_tokens, result.usage.total_tokens })
  end)

  it("of Gemini, Cohere and Ollama has the same shape", function()
    assert.are.same({ { 1, 2 }, { 3, 4 } },
      decode("gemini", 200, { embeddings = { { values = { 1, 2 } }, { values = { 3, 4 } } } }).vectors)
    local cohere = assert(decode("cohere", 200, {
      embeddings = { float = { { 1, 2 } } }, meta = { billed_units = { input_tokens = 3 } },
    }))
    assert.are.same({ { { 1, 2 } }, 3 }, { cohere.vectors, cohere.usage.prompt_tokens })
    local ollama = assert(decode("ollama", 200, { model = "m", embeddings = { { 0.5, 0 } }, prompt_eval_count = 2 }))
    assert.are.same({ { { 0.5, 0 } }, 2 }, { ollama.vectors, ollama.usage.prompt_tokens })
  end)

  it("that is broken is an error, never half a vector", function()
    local cases = {
      { "openai", { data = { { index = 0, embedding = "AAA" } } } }, { "openai", { data = { { index = 0, embedding = { 1, "x" } } } } },
      { "openai", { data = { { index = 0, embedding = token.base64("12345") } } } }, { "openai", { data = { 7 } } },
      { "gemini", { embeddings = { { values = json.array {} } } } }, { "cohere", { embeddings = { float = { "x" } } } },
      { "ollama", { embeddings = { json.null } } }, { "openai", "<html>" },
    }
    for _, case in ipairs(cases) do
      local result, err = decode(case[1], 200, case[2])
      assert.is_nil(result)
      assert.are.equal("bad_response", err.kind)
    end
    local _, err = decode("openai", 429, { error = { message = "slow down", code = "rate_limit_exceeded" } })
    assert.are.same({ "rate_limit", true }, { err.kind, err.retryable })
  end)
end)


describe("embeddings.embed", function()
  it("refuses what makes no sense before anything is sent", function()
    local cases = {
      { {}, "'input' is missing" }, { { input = {} }, "'input' is missing" }, { { input = { "a", "" } }, "number 2 is none" },
      { { input = { "a", 7 } }, "number 2 is none" }, { { input = "a", dimensions = 0 }, "at least 1" },
      { { input = "a", encoding_format = "int8" }, "'encoding_format' is" },
      { { input = "a", model = "anthropic/x" }, "anthropic has no embeddings" },
      { { input = { 1, -2 } }, "number 1 is none" }, { { input = { { 1 }, {} } }, "number 2 is none" },
      { { input = { 1, 2 }, model = "offline/demo" }, "offline takes texts, and no tokens" },
    }
    for _, case in ipairs(cases) do
      local result, err = embeddings.embed(case[1], settings {})
      assert.is_nil(result)
      assert.are.equal("configuration", err.kind)
      assert.is_truthy(err.message:find(case[2], 1, true), err.message)
    end
  end)

  it("offline gives unit vectors of 64 numbers, the same for the same text", function()
    local first = assert(embeddings.embed({ input = { "The moon is far away.", "Bread needs flour." } }, settings {}))
    local again = assert(embeddings.embed({ input = "The moon is far away.", model = "offline/demo" }, settings {}))
    assert.are.same({ "offline", "demo", 2, 64 }, { first.provider, first.model, #first.vectors, #first.vectors[1] })
    assert.are.same(first.vectors[1], again.vectors[1])
    for _, vector in ipairs(first.vectors) do
      assert.is_true(math.abs(dot(vector, vector) - 1) < 1e-12)
    end
    assert.are.same({ 8, true }, { first.usage.prompt_tokens, first.usage.estimated })
    assert.are.equal(16, #embeddings.embed({ input = "x", dimensions = 16 }, settings {}).vectors[1])
  end)

  it("offline puts texts that share words near each other, and takes texts without words", function()
    local texts = { "the moon orbits the earth", "the moon circles the earth", "fresh bread and butter", "..." }
    local vectors = embeddings.embed({ input = texts }, settings {}).vectors
    assert.is_true(dot(vectors[1], vectors[2]) > dot(vectors[1], vectors[3]))
    assert.is_true(math.abs(dot(vectors[4], vectors[4]) - 1) < 1e-12)
  end)

  it("sends no provider a key that was given for another one", function()
    local result = assert(embeddings.embed({ input = "a" }, settings { api_key = "sk-of-someone" }))
    assert.are.equal("offline", result.provider)
  end)
end)
