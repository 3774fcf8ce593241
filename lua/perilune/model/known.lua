-- What is known, as rows for people: providers with the state of their configuration (never the value of a key), and models
-- with their prices.
local configured = require "perilune.model.configured"
local json = require "perilune.json"
local prices = require "perilune.model.prices"
local tables = require "perilune.std.tables"

local M = {}

---@class perilune.KnownProvider
---@field name string
---@field kinds string[] "chat", "image", "embedding"
---@field apis string[] its wire formats by name, the one that is used unless another is asked for first
---@field base_url? string
---@field key? string name of the variable that holds the key; nil when none is needed
---@field is_key_set? boolean nil when none is needed
---@field models string[]
---@field source string "built in", a file, "a script"

---@class perilune.KnownModel
---@field provider string
---@field model string
---@field price? perilune.Price


local function kinds_of(provider)
  local kinds = { "chat" }
  for field, kind in pairs { images = "image", embeddings = "embedding" } do
    kinds[#kinds + 1] = provider[field] and kind
  end
  table.sort(kinds)
  return kinds
end


local function apis_of(provider)
  local apis = tables.sorted_keys(provider.apis or {})
  table.insert(apis, 1, provider.default_api or "native")
  return apis
end


local function row_of(provider, settings)
  local row = {
    name = provider.name, kinds = kinds_of(provider), apis = apis_of(provider),
    base_url = configured.shown_url(provider, settings), key = provider.key,
    models = json.array(table.move(provider.models, 1, #provider.models, 1, {})), source = provider.source,
  }
  if provider.key then
    row.is_key_set = settings.env(provider.key) ~= nil
  end
  return row
end


---Every provider, or those of a kind, or those that need no key.
---@param settings perilune.Settings
---@param filter? { kind: string?, free: boolean? }
---@return perilune.KnownProvider[]
function M.providers(settings, filter)
  filter = filter or {}
  local rows = {}
  for _, provider in ipairs(configured.providers()) do
    local row = row_of(provider, settings)
    local is_kind = not filter.kind or tables.set(row.kinds)[filter.kind]
    local is_free = filter.free == nil or filter.free == (row.key == nil)
    if is_kind and is_free then
      rows[#rows + 1] = row
    end
  end
  return rows
end


---The models that the providers list, with the price of each where it is known.
---@param settings perilune.Settings
---@return perilune.KnownModel[]
function M.models(settings)
  local rows = {}
  for _, provider in ipairs(configured.providers()) do
    for _, model in ipairs(provider.models) do
      rows[#rows + 1] = { provider = provider.name, model = model, price = prices.get(provider.name, model, settings.prices) }
    end
  end
  return rows
end


return M
