-- Images, embeddings and the list of models of Gemini. An image is the answer of a model that was asked for that modality: one
-- a request, in the nearest shape; blocked prompts have a reason instead.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local size = require "perilune.model.provider.media_size"
local usage = require "perilune.model.usage"
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"

local M = {}

-- Why there is no image, where the model was not allowed to draw it.
local filtered = {
  SAFETY = true, IMAGE_SAFETY = true, PROHIBITED_CONTENT = true, IMAGE_PROHIBITED_CONTENT = true, BLOCKLIST = true, SPII = true,
  RECITATION = true, IMAGE_RECITATION = true,
}


local function headers(target)
  return { ["x-goog-api-key"] = target.api_key }
end


local function address(target, method)
  local model = target.model:find("/", 1, true) and target.model or "models/" .. target.model
  return wire.join(target.base_url, wire.escape_path(model) .. ":" .. method), model
end


local function encode_images(request, target)
  local config = { responseModalities = json.array { "IMAGE" }, seed = request.seed }
  local ratio = size.ratio(request.size)
  if ratio then
    config.imageConfig = { aspectRatio = ratio }
  end
  local body = { contents = { { role = "user", parts = { { text = request.prompt } } } }, generationConfig = config }
  return whole.post(address(target, "generateContent"), headers(target), target, body, request.provider_specific_params)
end


local function no_image(root)
  local feedback = type(root.promptFeedback) == "table" and root.promptFeedback or {}
  local candidate = whole.list(root.candidates)[1]
  candidate = type(candidate) == "table" and candidate or {}
  local reason = whole.text(feedback.blockReason) or whole.text(candidate.finishReason)
  if not reason or not (feedback.blockReason or filtered[reason]) then
    return whole.missing("image", root)
  end
  local said = whole.text(candidate.finishMessage) or whole.text(feedback.blockReasonMessage)
  return nil, errors.new {
    kind = "content_filter", code = reason, retryable = false, details = { body = root },
    message = said or ("no image was drawn: " .. reason),
  }
end


local function decode_images(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local images = {}
  for _, candidate in ipairs(whole.list(root.candidates)) do
    local content = type(candidate) == "table" and candidate.content
    for _, part in ipairs(type(content) == "table" and whole.list(content.parts) or {}) do
      local inline = type(part) == "table" and not part.thought and part.inlineData
      if type(inline) == "table" and whole.text(inline.data) then
        images[#images + 1] = { b64_json = inline.data, media_type = whole.text(inline.mimeType) }
      end
    end
  end
  if #images == 0 then
    return no_image(root)
  end
  return { data = images, usage = usage.from_gemini(root.usageMetadata) }
end


local function encode_embeddings(request, target)
  local url, model = address(target, "batchEmbedContents")
  local requests = {}
  for position, text in ipairs(request.input) do
    requests[position] = {
      model = model, content = { parts = { { text = text } } }, outputDimensionality = request.dimensions, taskType = request.input_type,
    }
  end
  return whole.post(url, headers(target), target, { requests = json.array(requests) }, request.provider_specific_params)
end


local function decode_embeddings(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local vectors = {}
  for position, item in ipairs(whole.list(root.embeddings)) do
    local vector = type(item) == "table" and item.values
    if not whole.is_vector(vector) then
      return whole.missing("vector", root)
    end
    vectors[position] = vector
  end
  return { vectors = vectors, usage = usage.from_gemini(root.usageMetadata) }
end


local function encode_catalogue(target)
  return whole.get(wire.join(target.base_url, "models?pageSize=1000"), headers(target), target)
end


local function decode_catalogue(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local models = {}
  for _, item in ipairs(whole.list(root.models)) do
    if type(item) == "table" and whole.text(item.name) then
      models[#models + 1] = {
        id = item.name:gsub("^models/", ""), label = whole.text(item.displayName),
        context_tokens = whole.count(item.inputTokenLimit), output_tokens = whole.count(item.outputTokenLimit),
      }
    end
  end
  return models
end


---@type perilune.ImageFamily
M.images = {
  encode = encode_images, decode = decode_images, quirks = { one_each = true }, known_quirks = { one_each = "one image a request" },
  models = { "gemini-2.5-flash-image", "gemini-3-pro-image-preview" },
}

---@type perilune.EmbeddingFamily
M.embeddings = { encode = encode_embeddings, decode = decode_embeddings, inputs_max = 100, models = { "gemini-embedding-001" } }

---@type perilune.CatalogueFamily
M.catalogue = { encode = encode_catalogue, decode = decode_catalogue }

return M
