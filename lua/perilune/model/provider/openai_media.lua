-- What the vendors of the chat.completions family have beside it: images/generations, embeddings, models. Pure, like the format
-- itself. The GPT image models answer with data and refuse to be asked for it.
local media = require "perilune.std.media"
local size = require "perilune.model.provider.media_size"
local usage = require "perilune.model.usage"
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"

local M = {}

---The flags of a vendor's images.
M.image_quirks = {
  size = '"fields": width and height; "ratio": aspect_ratio, the nearest shape; default: as it was given',
  data_word = 'what asks for data instead of an address; default "b64_json"',
  no_response_format = "it gives an address and refuses to be asked",
  one_each = "one image a request",
}

local image_options = { "n", "quality", "style", "background", "output_format", "seed", "user" }

local FLOAT_BYTES = 4


local function encode_size(body, request, style)
  if not request.size or request.size == "auto" then
    body.size = style == nil and request.size or nil
  elseif style == "fields" then
    body.width, body.height = size.numbers(request.size)
  elseif style == "ratio" then
    body.aspect_ratio = size.ratio(request.size)
  else
    body.size = request.size
  end
end


local function encode_images(request, target)
  local quirks = target.quirks or {}
  local body = { model = target.model, prompt = request.prompt }
  for _, option in ipairs(image_options) do
    body[option] = request[option]
  end
  encode_size(body, request, quirks.size)
  if not quirks.no_response_format and not target.model:find("gpt%-image") then
    local wants_data = request.response_format == "b64_json"
    body.response_format = wants_data and (quirks.data_word or "b64_json") or request.response_format
  end
  return whole.post(wire.join(target.base_url, "images/generations"), whole.bearer(target), target, body, request.provider_specific_params)
end


-- An image of a list; some vendors put data where the address should be.
local function read_image(item, format)
  local url, data = whole.text(item.url), whole.text(item.b64_json)
  if url then
    local media_type, inside = wire.split_data_url(url)
    if not inside then
      return { url = url, revised_prompt = whole.text(item.revised_prompt) }
    end
    data = inside
    format = format or media_type
  end
  if not data then
    return nil
  end
  return { b64_json = data, media_type = media.sniff_base64(data) or format, revised_prompt = whole.text(item.revised_prompt) }
end


local function decode_images(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local images = {}
  local format = whole.text(root.output_format)
  for _, item in ipairs(whole.list(root.data)) do
    images[#images + 1] = type(item) == "table" and read_image(item, format and "image/" .. format) or nil
  end
  if #images == 0 then
    return whole.missing("image", root)
  end
  return {
    created = whole.count(root.created), data = images, usage = usage.from_responses(root.usage) or usage.from_openai(root.usage),
  }
end


local function encode_embeddings(request, target)
  local body = {
    model = target.model, input = request.input, dimensions = request.dimensions, encoding_format = request.encoding_format,
    user = request.user,
  }
  return whole.post(wire.join(target.base_url, "embeddings"), whole.bearer(target), target, body, request.provider_specific_params)
end


-- Little-endian 32-bit floats.
local function read_floats(data)
  local bytes = media.bytes(data)
  if not bytes or #bytes == 0 or #bytes % FLOAT_BYTES ~= 0 then
    return nil
  end
  local vector = {}
  for position = 1, #bytes // FLOAT_BYTES do
    vector[position] = string.unpack("<f", bytes, (position - 1) * FLOAT_BYTES + 1)
  end
  return vector
end


local function decode_embeddings(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local vectors = {}
  for position, item in ipairs(whole.list(root.data)) do
    local vector = type(item) == "table" and item.embedding
    vector = type(vector) == "string" and read_floats(vector) or vector
    if not whole.is_vector(vector) then
      return whole.missing("vector", root)
    end
    local index = math.tointeger(item.index)
    vectors[index and index + 1 or position] = vector
  end
  return { vectors = vectors, model = whole.text(root.model), usage = usage.from_openai(root.usage) }
end


local function encode_catalogue(target)
  return whole.get(wire.join(target.base_url, "models"), whole.bearer(target), target)
end


-- Some vendors say how much a model can read; each has a word of its own.
local function read_model(item)
  return {
    id = whole.text(item.id), label = whole.text(item.display_name) or whole.text(item.name),
    context_tokens = whole.count(item.context_length) or whole.count(item.context_window) or whole.count(item.max_model_len)
      or whole.count(item.max_context_length),
    output_tokens = whole.count(item.max_completion_tokens),
  }
end


local function decode_catalogue(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local models = {}
  for _, item in ipairs(whole.list(root.data or root)) do -- Together sends the bare list
    if type(item) == "table" and whole.text(item.id) then
      models[#models + 1] = read_model(item)
    end
  end
  return models
end


---@type perilune.ImageFamily
M.images = { encode = encode_images, decode = decode_images, known_quirks = M.image_quirks, models = {} }

---@type perilune.EmbeddingFamily
M.embeddings = { encode = encode_embeddings, decode = decode_embeddings, inputs_max = 2048, takes_tokens = true, models = {} }

---@type perilune.CatalogueFamily
M.catalogue = { encode = encode_catalogue, decode = decode_catalogue }

return M
