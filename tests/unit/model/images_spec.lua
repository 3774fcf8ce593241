-- Images out, as requests and answers of each vendor; what a request may say; the picture of the offline model.
local images = require "perilune.model.images"
local json = require "perilune.json"
local png = require "perilune.model.provider.offline_png"
local provider = require "perilune.model.provider"
local token = require "perilune.sys.token"

local PICTURE = token.base64(png.draw(7))


local function target_of(name, model)
  local found = assert(provider.get(name))
  local target = assert(provider.target(found, { model = model or found.images.models[1], api_key = "sk-test" }))
  target.quirks = found.images.quirks or {}
  return target, found.images
end


local function encode(name, request, model)
  local target, family = target_of(name, model)
  local http = assert(family.encode(request, target))
  return http, assert(json.decode(http.body))
end


local function settings(values)
  values.env = function(name)
    return values[name]
  end
  return values
end


describe("a request for images", function()
  it("of OpenAI carries what was asked, and a GPT image model is not asked for a format", function()
    local http, body = encode("openai", { prompt = "a cat", n = 2, size = "1024x1536", quality = "high", response_format = "url" })
    assert.are.equal("https://api.openai.com/v1/images/generations", http.url)
    assert.are.equal("Bearer sk-test", http.headers.authorization)
    assert.are.same({ model = "gpt-image-1", prompt = "a cat", n = 2, size = "1024x1536", quality = "high" }, body)
  end)

  it("of an older OpenAI model says in which form", function()
    local _, body = encode("openai", { prompt = "a cat", response_format = "b64_json" }, "dall-e-3")
    assert.are.same({ model = "dall-e-3", prompt = "a cat", response_format = "b64_json" }, body)
  end)

  it("of Together has a width and a height, and its own word for data", function()
    local _, body = encode("together", { prompt = "a cat", size = "512x256", response_format = "b64_json" })
    assert.are.same({
      model = "black-forest-labs/FLUX.1-schnell", prompt = "a cat", width = 512, height = 256, response_format = "base64",
    }, body)
  end)

  it("of xAI has the nearest shape", function()
    local _, body = encode("xai", { prompt = "a cat", size = "1920x1080" })
    assert.are.same({ model = "grok-imagine-image", prompt = "a cat", aspect_ratio = "16:9" }, body)
  end)

  it("of Z.ai asks for no format", function()
    local _, body = encode("zai", { prompt = "a cat", size = "1024x1024", response_format = "url" })
    assert.are.same({ model = "glm-image", prompt = "a cat", size = "1024x1024" }, body)
  end)

  it("of Fireworks has the model in its address", function()
    local http, body = encode("fireworks", { prompt = "a cat", size = "1024x1024", n = 3 })
    assert.are.equal("https://api.fireworks.ai/inference/v1/workflows/accounts/fireworks/models/flux-1-schnell-fp8/text_to_image", http.url)
    assert.are.same({ prompt = "a cat", aspect_ratio = "1:1" }, body)
  end)

  it("of Gemini asks a model for that modality", function()
    local http, body = encode("gemini", { prompt = "a cat", size = "1024x1536" })
    assert.are.equal("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash-image:generateContent", http.url)
    assert.are.equal("sk-test", http.headers["x-goog-api-key"])
    assert.are.same({
      contents = { { role = "user", parts = { { text = "a cat" } } } },
      generationConfig = { responseModalities = { "IMAGE" }, imageConfig = { aspectRatio = "2:3" } },
    }, body)
  end)

  it("is laid over by params of the provider, last", function()
    local _, body = encode("xai", { prompt = "a cat", n = 1, provider_specific_params = { n = 4, resolution = "2k" } })
    assert.are.same({ 4, "2k" }, { body.n, body.resolution })
  end)
end)


describe("an answer with images", function()
  local openai = provider.get("openai").images.decode
  local gemini = provider.get("gemini").images.decode
  local fireworks = provider.get("fireworks").images.decode

  it("has addresses or data, a time and a usage", function()
    local result = assert(openai(200, json.encode {
      created = 1763000000, output_format = "png",
      data = { { b64_json = PICTURE, revised_prompt = "a small cat" }, { url = "https://images.example/1.png", b64_json = json.null } },
      usage = { input_tokens = 10, output_tokens = 1056, total_tokens = 1066, input_tokens_details = { text_tokens = 10 } },
    }))
    assert.are.equal(1763000000, result.created)
    assert.are.same({
      { b64_json = PICTURE, media_type = "image/png", revised_prompt = "a small cat" }, { url = "https://images.example/1.png" },
    }, result.data)
    assert.are.same({ 10, 1056, 1066 }, { result.usage.prompt_tokens, result.usage.completion_tokens, result.usage.total_tokens })
  end)

  it("whose address is a data URL has data", function()
    local result = assert(openai(200, json.encode { data = { { url = "data:image/png;base64," .. PICTURE } } }))
    assert.are.same({ { b64_json = PICTURE, media_type = "image/png" } }, result.data)
  end)

  it("of Fireworks is a text or a list", function()
    assert.are.same({ { b64_json = PICTURE, media_type = "image/png" } }, fireworks(200, json.encode { base64 = PICTURE }).data)
    local result = assert(fireworks(200, json.encode { base64 = { "data:image/png;base64," .. PICTURE }, finishReason = "SUCCESS" }))
    assert.are.same({ { b64_json = PICTURE, media_type = "image/png" } }, result.data)
  end)

  it("of Gemini is a part among words and thoughts", function()
    local result = assert(gemini(200, json.encode {
      candidates = { { finishReason = "STOP", content = { parts = {
        { thought = true, inlineData = { mimeType = "image/png", data = "AAAA" } }, { text = "Here it is:" },
        { inlineData = { mimeType = "image/png", data = PICTURE } },
      } } } },
      usageMetadata = { promptTokenCount = 7, candidatesTokenCount = 1290, totalTokenCount = 1297 },
    }))
    assert.are.same({ { b64_json = PICTURE, media_type = "image/png" } }, result.data)
    assert.are.equal(1297, result.usage.total_tokens)
  end)

  it("of Gemini that was blocked says why", function()
    for _, body in ipairs {
      { promptFeedback = { blockReason = "PROHIBITED_CONTENT" } },
      { candidates = { { finishReason = "IMAGE_SAFETY", finishMessage = "Unable to show the image." } } },
    } do
      local result, err = gemini(200, json.encode(body))
      assert.is_nil(result)
      assert.are.equal("content_filter", err.kind)
    end
    local _, err = gemini(200, json.encode { candidates = { { finishReason = "STOP", content = { parts = { { text = "no" } } } } } })
    assert.are.equal("bad_response", err.kind)
  end)

  it("that is an error, no JSON, or without an image is an error", function()
    local cases = {
      { 401, json.encode { error = { message = "Incorrect API key", code = "invalid_api_key" } }, "authentication" },
      { 400, json.encode { error = { message = "Your request was rejected", code = "content_policy_violation" } }, "content_filter" },
      { 200, json.encode { error = { message = "overloaded", type = "overloaded_error" } }, "overloaded" },
      { 502, "<html>Bad Gateway</html>", "server" },
      { 200, "", "bad_response" },
      { 200, "[1, 2", "bad_response" },
      { 200, json.encode { created = 1, data = json.array {} }, "bad_response" },
      { 200, '{"data":"no list"}', "bad_response" },
      { 200, '{"data":[7,null,{"url":7}]}', "bad_response" },
    }
    for _, case in ipairs(cases) do
      local result, err = openai(case[1], case[2])
      assert.is_nil(result, case[2])
      assert.are.equal(case[3], err.kind, case[2])
    end
  end)
end)


describe("images.generate", function()
  it("refuses what makes no sense before anything is sent", function()
    local cases = {
      { {}, "'prompt' is missing" }, { { prompt = " " }, "'prompt' is missing" }, { { prompt = "a", n = 0 }, "'n' is 1 to 10, not 0" },
      { { prompt = "a", n = 11 }, "'n' is 1 to 10, not 11" }, { { prompt = "a", size = "big" }, "'size' is like" },
      { { prompt = "a", size = "0x10" }, "'size' is like" }, { { prompt = "a", response_format = "png" }, "'response_format' is" },
    }
    for _, case in ipairs(cases) do
      local result, err = images.generate(case[1], settings {})
      assert.is_nil(result)
      assert.are.equal("configuration", err.kind)
      assert.is_truthy(err.message:find(case[2], 1, true), err.message)
    end
  end)

  it("says who draws nothing, what is unknown, and which key is missing", function()
    local cases = {
      { { model = "anthropic/claude-sonnet-4-5" }, "configuration", "anthropic has no images" },
      { { model = "gpt-image-7" }, "model_not_found", "did you mean 'openai/gpt-image-1' (OPENAI_API_KEY is not set)?" },
      { { model = "openai/gpt-image-1" }, "authentication", "set OPENAI_API_KEY" },
    }
    for _, case in ipairs(cases) do
      case[1].prompt = "a cat"
      local result, err = images.generate(case[1], settings {})
      assert.is_nil(result)
      assert.are.equal(case[2], err.kind)
      assert.is_truthy(err.message:find(case[3], 1, true), err.message)
    end
    local _, err = images.generate({ prompt = "a" }, settings { image_provider = "nobody" })
    assert.are.equal("there is no provider 'nobody' (perilune providers lists them)", err.message)
  end)

  it("draws offline when nobody else can, and the same picture for the same words", function()
    local first = assert(images.generate({ prompt = "a cat", n = 2 }, settings {}))
    local again = assert(images.generate({ prompt = "a cat" }, settings {}))
    local other = assert(images.generate({ prompt = "a dog" }, settings {}))
    assert.are.same({ "offline", "demo", 2, "image/png" }, { first.provider, first.model, #first.data, first.data[1].media_type })
    assert.are.equal(first.data[1].b64_json, again.data[1].b64_json)
    assert.are_not.equal(first.data[1].b64_json, first.data[2].b64_json)
    assert.are_not.equal(first.data[1].b64_json, other.data[1].b64_json)
    assert.is_true(first.created > 1700000000)
  end)
end)


describe("the picture of the offline model", function()
  -- The chunks of a PNG, by name.
  local function chunks_of(bytes)
    local chunks, position = {}, 9
    while position <= #bytes do
      local length, name = string.unpack(">I4c4", bytes, position)
      chunks[name] = bytes:sub(position + 8, position + 7 + length)
      position = position + 12 + length
    end
    return chunks, position
  end

  it("is a PNG of 64 by 64 pixels whose two halves mirror each other", function()
    local bytes = png.draw(0x123456789abcdef)
    local chunks, stop = chunks_of(bytes)
    assert.are.equal(#bytes + 1, stop)
    assert.are.equal(string.pack(">I4I4BBBBB", 64, 64, 8, 3, 0, 0, 0), chunks.IHDR)
    local length, complement = string.unpack("<I2I2", chunks.IDAT, 4)
    assert.are.same({ 64 * 65, 0xffff }, { length, length ~ complement })
    for row = 0, 63 do
      local line = chunks.IDAT:sub(8 + row * 65, 8 + row * 65 + 64)
      assert.are.equal("\0", line:sub(1, 1))
      assert.are.equal(line:sub(2, 33), line:sub(34, 65):reverse())
    end
  end)

  it("has the checksums that zlib computes for it", function()
    local chunks = chunks_of(png.draw(1))
    assert.are.equal(0xaea90081, (string.unpack(">I4", chunks.IDAT:sub(-4))))
    local bytes = png.draw(1)
    assert.are.equal(0x9db781ec, (string.unpack(">I4", bytes, bytes:find("PLTE", 1, true) - 8)))
    assert.are.equal(0xae426082, (string.unpack(">I4", bytes, #bytes - 3))) -- of IEND, the same in every PNG
  end)
end)
