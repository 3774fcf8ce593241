-- Which models there are: the built-in lists, and what the providers say when they are asked. A provider is asked once a
-- process; one that does not answer leaves its built-in list, and why it did not is told.
local exchange = require "perilune.model.exchange"
local family = require "perilune.model.family"
local provider = require "perilune.model.provider"
local resolve = require "perilune.model.resolve"
local task = require "perilune.sys.task"

local M = {}

---Time limit of one list in seconds.
M.TIMEOUT = 10

local families = { { "models", "chat" }, { "images", "image" }, { "embeddings", "embedding" } }


---@class perilune.ModelEntry
---@field id string "provider/model"
---@field provider string
---@field model string
---@field kind? "chat"|"image"|"embedding" nil: the provider did not say
---@field label? string its name for people
---@field context_tokens? integer what it can read, as the provider says
---@field output_tokens? integer what it can write, as the provider says
---@field is_listed boolean the provider listed it, in this process


local function models_of(found, field)
  local value = found[field]
  return field == "models" and value or value and value.models or {}
end


-- The built-in lists of a provider, as entries by model and in order.
local function built_in(found)
  local entries, by_model = {}, {}
  for _, row in ipairs(families) do
    for _, model in ipairs(models_of(found, row[1])) do
      if not by_model[model] then
        local entry = { id = found.name .. "/" .. model, provider = found.name, model = model, kind = row[2], is_listed = false }
        entries[#entries + 1] = entry
        by_model[model] = entry
      end
    end
  end
  return entries, by_model
end


-- The built-in lists with what the provider said laid over them.
local function merge(found, listed)
  local entries, by_model = built_in(found)
  for _, said in ipairs(listed or {}) do
    local entry = by_model[said.id]
    if not entry then
      entry = { id = found.name .. "/" .. said.id, provider = found.name, model = said.id }
      entries[#entries + 1] = entry
      by_model[said.id] = entry
    end
    entry.is_listed = true
    entry.label, entry.context_tokens, entry.output_tokens = said.label, said.context_tokens, said.output_tokens
  end
  return entries
end


-- What the provider says; nil without an error when it has no address of its own.
local function ask(found, settings)
  local target, err = resolve.target("", settings)
  if not target or not target.base_url then
    return nil, err
  end
  local http = found.catalogue.encode(target)
  target.model = nil
  return exchange.run(http, nil, target, found.catalogue.decode, { settings = settings, timeout = M.TIMEOUT })
end


-- The address and the key decide whose list it is.
local function cache_key(settings)
  return table.concat({ settings.provider, settings.base_url or "", settings.api_key or "" }, "\0")
end


-- Whom to ask, each with its settings: the named provider, else all that can be called.
local function chosen(settings)
  local list = {}
  for _, found in ipairs(provider.list()) do
    local is_meant = settings.provider ~= nil and settings.provider:lower() == found.name
    if is_meant or not settings.provider and family.is_usable(found, settings) then
      list[#list + 1] = { found = found, settings = family.settings_for(settings, found, is_meant) }
    end
  end
  return list
end


---Every model that can be called with these settings, by provider.
---@param settings perilune.Settings
---@param cache table<string, table[]> what was listed before; kept by the caller, one a process
---@return perilune.ModelEntry[]
---@return table<string, perilune.Error> errors by provider, of those who did not answer
function M.list(settings, cache)
  local asked, problems, entries = chosen(settings), {}, {}
  do
    local group <close> = task.group()
    for _, one in ipairs(asked) do
      local key = cache_key(one.settings)
      if one.found.catalogue and not cache[key] then
        group:spawn(function()
          cache[key], problems[one.found.name] = ask(one.found, one.settings)
        end)
      end
    end
  end
  for _, one in ipairs(asked) do
    local own = merge(one.found, cache[cache_key(one.settings)])
    table.move(own, 1, #own, #entries + 1, entries)
  end
  if not settings.provider or settings.provider:lower() == "offline" then
    entries[#entries + 1] = { id = "offline/demo", provider = "offline", model = "demo", kind = "chat", is_listed = true }
  end
  return entries, problems
end


return M
