-- The list of models of Anthropic. It has no images and no embeddings.
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"

local M = {}

local VERSION = "2023-06-01"


local function encode_catalogue(target)
  local path = target.base_url:find("/v1/*$") and "models" or "v1/models"
  local headers = { ["x-api-key"] = target.api_key, ["anthropic-version"] = VERSION }
  return whole.get(wire.join(target.base_url, path .. "?limit=1000"), headers, target)
end


local function decode_catalogue(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local models = {}
  for _, item in ipairs(whole.list(root.data)) do
    if type(item) == "table" and whole.text(item.id) then
      models[#models + 1] = {
        id = item.id, label = whole.text(item.display_name), context_tokens = whole.count(item.max_input_tokens),
        output_tokens = whole.count(item.max_tokens),
      }
    end
  end
  return models
end


---@type perilune.CatalogueFamily
M.catalogue = { encode = encode_catalogue, decode = decode_catalogue }

return M
