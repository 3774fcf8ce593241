-- What models can do, as published on a date: what they take and give, how much, and for what price. A field that nobody
-- published is nil, never a guess; a model that is not in the table has none.
local errors = require "perilune.std.errors"
local prices = require "perilune.model.prices"
local provider = require "perilune.model.provider"

local M = {}

-- What the names in `can` stand for.
local abilities = {
  vision = true, audio = true, video = true, documents = true, tools = true, reasoning = true, structured_output = true,
}

local LOOKS = "vision documents tools structured_output"
local THINKS = "vision documents? tools structured_output reasoning" -- whether PDF is taken is published for some only
local READS = "vision documents tools structured_output reasoning"
local HEARS = "vision audio video documents tools structured_output reasoning"

-- Columns: model, tokens it can read, tokens it can write, what it can. What is not named it cannot; a `?` says that nobody
-- published it. `date` is when the source was read.
local groups = {
  {
    provider = "openai", date = "2026-11-21", source = "https://github.com/anomalyco/models.dev (models/openai)",
    { "gpt-4o", 128000, 16384, LOOKS },
    { "gpt-4o-mini", 128000, 16384, LOOKS },
    { "gpt-4.1", 1047576, 32768, LOOKS },
    { "gpt-4.1-mini", 1047576, 32768, LOOKS },
    { "gpt-4.1-nano", 1047576, 32768, "vision documents? tools structured_output" },
    { "gpt-5", 400000, 128000, THINKS },
    { "gpt-5-mini", 400000, 128000, THINKS },
    { "gpt-5-nano", 400000, 128000, THINKS },
    { "gpt-5.4", 1050000, 128000, READS },
    { "o3", 200000, 100000, READS },
    { "o4-mini", 200000, 100000, THINKS },
  },
  {
    provider = "anthropic", date = "2026-11-21", source = "https://platform.claude.com/docs/en/about-claude/models/overview",
    { "claude-opus-4-5", 200000, 64000, READS },
    { "claude-sonnet-4-5", 200000, 64000, READS },
    { "claude-haiku-4-5", 200000, 64000, READS },
    { "claude-opus-5", 1000000, 128000, THINKS },
    { "claude-sonnet-5", 1000000, 128000, THINKS },
    { "claude-opus-5-5", 1000000, 128000, THINKS },
    { "claude-sonnet-5-5", 1000000, 128000, THINKS },
    { "claude-haiku-5-5", 1000000, 128000, THINKS },
  },
  {
    provider = "gemini", date = "2026-11-21", source = "https://github.com/anomalyco/models.dev (models/google)",
    { "gemini-2.5-pro", 1048576, 65536, HEARS },
    { "gemini-2.5-flash", 1048576, 65536, HEARS },
    { "gemini-3.5-flash", 1048576, 65536, HEARS },
  },
  {
    provider = "groq", date = "2026-11-21", source = "https://github.com/anomalyco/models.dev (providers/groq)",
    { "openai/gpt-oss-120b", 131072, 65536, "tools structured_output reasoning" },
    { "openai/gpt-oss-20b", 131072, 65536, "tools structured_output reasoning" },
  },
  { provider = "offline", date = "2026-11-21", source = "runs here", { "demo", nil, nil, "tools structured_output" } },
}

-- Vendors that serve the models of another one under the same names.
local same_as = { vertex = "gemini" }

---Every model of the table, in its order.
---@type perilune.Capability[]
M.rows = {}

local by_id = {}

for _, group in ipairs(groups) do
  for _, row in ipairs(group) do
    local capability = {
      provider = group.provider, model = row[1], context_tokens = row[2], output_tokens = row[3], date = group.date,
      source = group.source,
    }
    for ability in pairs(abilities) do
      capability[ability] = false
    end
    for ability, doubt in row[4]:gmatch("([%a_]+)(%??)") do
      assert(abilities[ability], ability)
      capability[ability] = doubt == "" or nil
    end
    M.rows[#M.rows + 1] = capability
    by_id[capability.provider .. "/" .. capability.model] = capability
  end
end


---What a model can do; a date at the end of its name may be missing in the table. A model that is not in it has only its names
---and, where that is known, a price.
---@param vendor string
---@param model string
---@param said? perilune.ModelEntry what the provider says of its limits: that wins
---@return perilune.Capability
function M.get(vendor, model, said)
  local id = (same_as[vendor] or vendor) .. "/" .. model
  local row = by_id[id] or by_id[(id:gsub("%-%d%d%d%d%-?%d%d%-?%d%d$", ""))] or {}
  local capability = { id = vendor .. "/" .. model, provider = vendor, model = model, price = prices.get(vendor, model) }
  for field, value in pairs(row) do
    if capability[field] == nil then
      capability[field] = value
    end
  end
  for _, field in ipairs { "kind", "context_tokens", "output_tokens" } do
    capability[field] = said and said[field] or capability[field]
  end
  return capability
end


-- Who serves a model of that name: whoever the table says, else whoever lists it.
local function vendor_of(model)
  for _, row in ipairs(M.rows) do
    if row.model == model then
      return row.provider
    end
  end
  for _, found in ipairs(provider.list()) do
    for _, known in ipairs(found.models) do
      if known == model then
        return found.name
      end
    end
  end
end


---What the model of that name can do; no key is needed to ask.
---@param name string "provider/model", or a model that is known
---@return perilune.Capability?
---@return perilune.Error?
function M.find(name)
  local prefix, rest = name:match("^([^/]+)/(.+)$")
  if prefix and (prefix:lower() == "offline" or provider.get(prefix)) then
    return M.get(prefix:lower(), rest)
  end
  local vendor = vendor_of(name)
  if not vendor then
    local message = ("no provider is known for the model '%s'. Write it as provider/model."):format(name)
    return nil, errors.new { kind = "model_not_found", message = message }
  end
  return M.get(vendor, name)
end


---@class perilune.Capability a field is nil where nothing is known
---@field id string "provider/model"
---@field provider string
---@field model string
---@field kind? "chat"|"image"|"embedding"
---@field vision? boolean takes images
---@field audio? boolean takes sound
---@field video? boolean takes moving pictures
---@field documents? boolean takes PDF
---@field tools? boolean
---@field reasoning? boolean
---@field structured_output? boolean keeps to a JSON Schema
---@field context_tokens? integer how much it can read
---@field output_tokens? integer how much it can write
---@field price? perilune.Price nano-dollars per million tokens
---@field date? string when this was read
---@field source? string where it is published

return M
