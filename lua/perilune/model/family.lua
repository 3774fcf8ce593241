-- Who draws images, who makes embeddings: from what people type to a target of that family. Names are read like those of
-- conversations: "provider/model", or a model that a provider lists.
local errors = require "perilune.std.errors"
local offline_media = require "perilune.model.provider.offline_media"
local provider = require "perilune.model.provider"
local resolve = require "perilune.model.resolve"
local text = require "perilune.std.text"

local M = {}

-- The built-in model needs no wire, so it is no provider of the registry.
local offline = { name = "offline", images = offline_media.images, embeddings = offline_media.embeddings }


local function get(name)
  return name:lower() == "offline" and offline or provider.get(name)
end


---All providers that have this family, the built-in one last.
---@param family "images"|"embeddings"
---@return perilune.Provider[]
function M.list(family)
  local found = {}
  for _, one in ipairs(provider.list()) do
    found[#found + 1] = one[family] and one or nil
  end
  found[#found + 1] = offline
  return found
end


-- What a script says of one provider is no setting of the others: its key must not go to them, its address is not theirs.
local of_one = { api_key = true, api_keys = true, base_url = true }


---The settings for requests to this provider that are no conversation.
---@param settings perilune.Settings
---@param found perilune.Provider
---@param is_meant boolean was it named, or chosen here among all?
---@return perilune.Settings
function M.settings_for(settings, found, is_meant)
  return setmetatable({ provider = found.name }, {
    __index = function(_, name)
      if name ~= "api" and (is_meant or not of_one[name]) then -- `api` is a wire format of conversations
        return settings[name]
      end
    end,
  })
end


---Can it be called with the keys of the environment: does it need none, or is there one?
---@param found perilune.Provider
---@param settings perilune.Settings
---@return boolean
function M.is_usable(found, settings)
  return not found.key or settings.env(found.key) ~= nil
end


local function is_excluded(found, settings)
  for _, name in ipairs(settings.exclude_images or {}) do
    if name:lower() == found.name then
      return true
    end
  end
  return false
end


local function lists(found, family, model)
  for _, known in ipairs(found[family].models) do
    if known == model then
      return true
    end
  end
  return false
end


-- The first that can be called, else the first; nil when nobody lists the model.
local function provider_of(family, model, settings)
  local unusable
  for _, found in ipairs(M.list(family)) do
    if lists(found, family, model) and not is_excluded(found, settings) then
      if settings.api_key or M.is_usable(found, settings) then
        return found
      end
      unusable = unusable or found
    end
  end
  return unusable
end


-- Whoever has a key and lists models; the built-in one when nobody does.
local function default(family, settings)
  for _, found in ipairs(M.list(family)) do
    if found.key and found[family].models[1] and M.is_usable(found, settings) and not is_excluded(found, settings) then
      return found
    end
  end
  return offline
end


local function unknown_model(family, name)
  local known = {}
  for _, found in ipairs(M.list(family)) do
    for _, model in ipairs(found[family].models) do
      known[#known + 1] = model
      known[#known + 1] = found.name .. "/" .. model
    end
  end
  local nearest = text.suggest(name, known)
  return nil, errors.new {
    kind = "model_not_found",
    message = ("no provider is known for the %s of '%s'%s Write it as provider/model.")
      :format(family, name, nearest and ("; did you mean '" .. nearest .. "'?") or "."),
  }
end


local function named(name)
  local found = get(name)
  if not found then
    return nil, errors.new { kind = "configuration", message = ("there is no provider '%s'"):format(name) }
  end
  return found
end


-- Who, which of its models (nil for its first), and whether that was said or chosen here.
local function choose(family, name, settings)
  local wanted = family == "images" and settings.image_provider or settings.provider
  if wanted then
    local found, err = named(wanted)
    return found, found and name or err, true
  elseif not name or name == "auto" then
    return default(family, settings), nil, false
  end
  local prefix, model = name:match("^([^/]+)/(.+)$")
  local found = prefix and get(prefix)
  if found then
    return found, model, true
  end
  found = provider_of(family, name, settings)
  if not found then
    return unknown_model(family, name)
  end
  return found, name, true
end


---The target that a name stands for; without a name, or with "auto", the first model of whoever can be called.
---@param family "images"|"embeddings"
---@param name string?
---@param settings perilune.Settings
---@return perilune.Target? target its quirks are those of the family
---@return table|perilune.Error family_or_err
function M.target(family, name, settings)
  local found, model, is_meant = choose(family, name, settings)
  if not found then
    return nil, model
  end
  local it = found[family]
  if not it then
    local problem = ("%s has no %s that are known here"):format(found.name, family)
    return nil, errors.new { kind = "configuration", provider = found.name, message = problem }
  end
  model = model ~= "auto" and model or it.models[1]
  if not model then
    return nil, errors.new { kind = "configuration", provider = found.name, message = ("%s: name a model"):format(found.name) }
  end
  local target, err = resolve.target(model, M.settings_for(settings, found, is_meant))
  if not target then
    return nil, err
  end
  target.quirks = it.quirks or {}
  return target, it
end


return M
