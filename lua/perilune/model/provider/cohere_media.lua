-- Embeddings and the list of models of Cohere. It wants to know what a text is for; a document to be searched, unless said.
local usage = require "perilune.model.usage"
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"
local json = require "perilune.json"

local M = {}


local function encode_embeddings(request, target)
  local body = {
    model = target.model, texts = request.input, input_type = request.input_type or "search_document",
    embedding_types = json.array { "float" }, output_dimension = request.dimensions,
  }
  return whole.post(wire.join(target.base_url, "embed"), whole.bearer(target), target, body, request.provider_specific_params)
end


local function decode_embeddings(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local vectors = type(root.embeddings) == "table" and whole.list(root.embeddings.float) or {}
  for _, vector in ipairs(vectors) do
    if not whole.is_vector(vector) then
      return whole.missing("vector", root)
    end
  end
  return { vectors = vectors, usage = usage.from_cohere(root.meta) }
end


-- The list has no second version.
local function encode_catalogue(target)
  local base = target.base_url:gsub("/v2/*$", "/v1")
  return whole.get(wire.join(base, "models?page_size=1000"), whole.bearer(target), target)
end


local function decode_catalogue(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local models = {}
  for _, item in ipairs(whole.list(root.models)) do
    if type(item) == "table" and whole.text(item.name) then
      models[#models + 1] = { id = item.name, context_tokens = whole.count(item.context_length) }
    end
  end
  return models
end


---@type perilune.EmbeddingFamily
M.embeddings = { encode = encode_embeddings, decode = decode_embeddings, inputs_max = 96, models = { "embed-v4.0" } }

---@type perilune.CatalogueFamily
M.catalogue = { encode = encode_catalogue, decode = decode_catalogue }

return M
