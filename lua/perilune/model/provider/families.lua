-- What may stand beside a wire format, in the same style: images, embeddings, the list of models. Each encodes a request and
-- decodes a whole answer.
local shape = require "perilune.model.shape"

local M = {}

local names = { "images", "embeddings", "catalogue" }

local needed = { "encode", "decode" }


---Checks the families of a provider.
---@param where string
---@param spec table
---@return boolean?
---@return perilune.Error?
function M.check(where, spec)
  for _, name in ipairs(names) do
    local family = spec[name] or {}
    for _, field in ipairs(needed) do
      if spec[name] and type(family[field]) ~= "function" then
        return shape.refuse(where, "%s needs a function '%s'", name, field)
      end
    end
    local is_right, err = shape.check_known(where .. ", " .. name, "quirk", family.quirks or {}, family.known_quirks or {})
    if not is_right then
      return nil, err
    end
  end
  return true
end


---@class perilune.ImageFamily what stands beside a wire format, in the same style; `known_quirks` are its own flags
---@field encode fun(request: table, target: perilune.Target): perilune.HttpRequest?, perilune.Error?
---@field decode fun(status: integer, body: string): { data: perilune.Image[], created: integer?, usage: perilune.Usage? }?, perilune.Error?
---@field models string[]
---@field quirks? table
---@field known_quirks? table<string, string>

---@class perilune.EmbeddingFamily
---@field encode fun(request: table, target: perilune.Target): perilune.HttpRequest?, perilune.Error?
---@field decode fun(status: integer, body: string): { vectors: number[][], usage: perilune.Usage? }?, perilune.Error?
---@field models string[]
---@field inputs_max? integer texts in one request
---@field takes_tokens? boolean lists of tokens instead of texts, too

---@class perilune.CatalogueFamily
---@field encode fun(target: perilune.Target): perilune.HttpRequest
---@field decode fun(status: integer, body: string): { id: string, label: string?, context_tokens: integer?, output_tokens: integer? }[]?, perilune.Error?

return M
