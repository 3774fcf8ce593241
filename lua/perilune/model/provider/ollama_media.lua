-- Embeddings and the list of models of Ollama: what is on its disk.
local body = require "perilune.model.provider.ollama_body"
local usage = require "perilune.model.usage"
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"

local M = {}


local function encode_embeddings(request, target)
  local document = { model = target.model, input = request.input, dimensions = request.dimensions }
  local url = wire.join(body.root(target.base_url), "api/embed")
  return whole.post(url, whole.bearer(target), target, document, request.provider_specific_params)
end


local function decode_embeddings(status, bytes)
  local root, err = whole.read(status, bytes)
  if not root then
    return nil, err
  end
  local vectors = whole.list(root.embeddings)
  for _, vector in ipairs(vectors) do
    if not whole.is_vector(vector) then
      return whole.missing("vector", root)
    end
  end
  return { vectors = vectors, model = whole.text(root.model), usage = usage.from_ollama(root) }
end


local function encode_catalogue(target)
  return whole.get(wire.join(body.root(target.base_url), "api/tags"), whole.bearer(target), target)
end


local function decode_catalogue(status, bytes)
  local root, err = whole.read(status, bytes)
  if not root then
    return nil, err
  end
  local models = {}
  for _, item in ipairs(whole.list(root.models)) do
    local id = type(item) == "table" and (whole.text(item.model) or whole.text(item.name))
    models[#models + 1] = id and { id = id } or nil
  end
  return models
end


---@type perilune.EmbeddingFamily
M.embeddings = { encode = encode_embeddings, decode = decode_embeddings, inputs_max = 512, models = {} }

---@type perilune.CatalogueFamily
M.catalogue = { encode = encode_catalogue, decode = decode_catalogue }

return M
