-- From what people type ("openai/gpt-4o-mini", "gpt-4o-mini", "offline/demo") to targets that can be called, and from
-- targets to one model: meter around each call, failover around all of them.
local call = require "perilune.model.call"
local errors = require "perilune.std.errors"
local failover = require "perilune.model.failover"
local log = require "perilune.sys.log"
local meter = require "perilune.model.meter"
local offline = require "perilune.model.provider.offline"
local provider = require "perilune.model.provider"
local text = require "perilune.std.text"
local thinking = require "perilune.model.thinking"

local M = {}

-- The built-in model needs no wire, so it is no provider of the registry.
local offline_provider = {
  name = "offline", answer = offline.answer, models = { "demo" }, quirks = {}, base_url = "built in", source = "built in",
}


---@class perilune.Settings what a process is configured with
---@field env fun(name: string): string? environment variables, .env included
---@field model? string the default model
---@field api_key? string for the chosen provider, instead of the environment's
---@field api_keys? table<string, string> by model
---@field base_url? string
---@field provider? string
---@field api? string the wire format, where a vendor has several: "chat", "responses", "native"
---@field timeouts? table
---@field proxy? string
---@field https_proxy? string for https:// addresses only
---@field ca_file? string
---@field verify_ssl? boolean
---@field headers? table<string, string>
---@field prices? table<string, perilune.OwnPrice> the user's prices, by "provider/model"
---@field provider_folders? string[] where the user's own providers are

local function get_provider(name)
  return name:lower() == "offline" and offline_provider or provider.get(name)
end


local function env_name(name, suffix)
  return name:upper():gsub("[^A-Z0-9]", "_") .. suffix
end


local function key_of(found, model, settings)
  return settings.api_keys and settings.api_keys[model] or settings.api_key or found.key and settings.env(found.key) or nil
end


-- "Provider/model" with a known provider; anything else is a model's name as a whole.
local function split(name)
  local prefix, rest = name:match("^([^/]+)/(.+)$")
  local found = prefix and get_provider(prefix)
  if found then
    return found, rest
  end
  return nil, name
end


local function lists(found, model)
  for _, known in ipairs(found.models) do
    if known == model then
      return true
    end
  end
  return false
end


-- The provider of a bare model name: a usable one that lists it, else any that lists it.
local function provider_of(model, settings)
  local unusable
  for _, found in ipairs(provider.list()) do
    if lists(found, model) then
      if not found.key or key_of(found, model, settings) then
        return found
      end
      unusable = unusable or found
    end
  end
  return unusable
end


local function unknown_model(name)
  local candidates = { "offline/demo" }
  for _, found in ipairs(provider.list()) do
    for _, model in ipairs(found.models) do
      candidates[#candidates + 1] = found.name .. "/" .. model
      candidates[#candidates + 1] = model
    end
  end
  local nearest, prefix = text.suggest(name, candidates), name:match("^([^/]+)/.")
  local hint = nearest and (", did you mean '%s'?"):format(nearest)
    or prefix and (": there is no provider '%s' (perilune providers lists them)"):format(prefix)
    or ": write it as provider/model (perilune models lists the known ones)"
  return errors.new { kind = "model_not_found", message = ("no provider is known for the model '%s'%s"):format(name, hint) }
end


local function unknown_provider(name)
  local names = {}
  for position, found in ipairs(M.providers()) do
    names[position] = found.name
  end
  local nearest = text.suggest(name, names)
  return errors.new {
    kind = "configuration",
    message = ("there is no provider '%s'%s"):format(name, nearest and (", did you mean '%s'?"):format(nearest)
      or " (perilune providers lists them)"),
  }
end


local function no_key(found, model)
  return errors.new {
    kind = "authentication", code = "no_key", provider = found.name, model = model,
    message = ("no key for %s: set %s in the environment or in .env"):format(found.name, found.key),
  }
end


---Every provider that can be asked, the built-in offline model among them.
---@return perilune.Provider[]
function M.providers()
  local list = provider.list()
  list[#list + 1] = offline_provider
  return list
end


---Where a provider is asked: the address in the environment (`<NAME>_BASE_URL`), else its own.
---@param found perilune.Provider
---@param settings perilune.Settings
---@return string?
function M.base_url(found, settings)
  return settings.env(env_name(found.name, "_BASE_URL")) or found.base_url
end


---The target that a name stands for.
---@param name string
---@param settings perilune.Settings
---@return perilune.Target?
---@return perilune.Error?
function M.target(name, settings)
  local found, model
  if settings.provider then
    found, model = get_provider(settings.provider), name
    if not found then
      return nil, unknown_provider(settings.provider)
    elseif name == "auto" then
      return nil, errors.new {
        kind = "configuration", message = ("the provider '%s' lists no model: say which one, model = \"…\""):format(found.name),
      }
    end
  else
    found, model = split(name)
    found = found or provider_of(model, settings)
    if not found then
      return nil, unknown_model(name)
    end
  end
  if found == offline_provider then
    return { provider = found, name = "offline", model = model, base_url = found.base_url, quirks = {} }
  end
  local key = key_of(found, model, settings)
  if found.key and not key then
    return nil, no_key(found, model)
  end
  if key then
    log.secret(key)
    if key:find("[%c\x7F]") then
      return nil, errors.new {
        kind = "authentication", code = "bad_key", provider = found.name, model = model,
        message = ("the key for %s holds a line feed or another control character: it was not copied well"):format(found.name),
      }
    end
  end
  return provider.target(found, {
    model = model, api = settings.api or nil, api_key = key, headers = settings.headers,
    base_url = settings.base_url or M.base_url(found, settings),
  })
end


---The model that is used when nobody names one: the first of the provider, where one is named; the configured default, else
---the first provider whose key is set, else the built-in offline model.
---@param settings perilune.Settings
---@param provider_name? string
---@return string
function M.default(settings, provider_name)
  if provider_name then
    local found = get_provider(provider_name)
    return found and found.models[1] or "auto" -- an unknown provider is told of by `target`
  end
  if settings.model and settings.model ~= "auto" then
    return settings.model
  end
  for _, found in ipairs(provider.list()) do
    if found.key and found.models[1] and settings.env(found.key) then
      return found.name .. "/" .. found.models[1]
    end
  end
  return "offline/demo"
end


-- A fallback is another provider: the key, the address and the wire format that were given for the first are not for it.
local function without_own(settings)
  return setmetatable({ provider = false, api = false, api_key = false, base_url = false }, { __index = settings })
end


---One model over the listed names: the first that answers. A fallback that cannot be called (no key) is skipped; the first
---name must be callable.
---@param names string[]
---@param settings perilune.Settings
---@return table? model
---@return perilune.Error?
function M.model(names, settings)
  local candidates = {}
  local for_fallbacks = without_own(settings)
  for position, name in ipairs(names) do
    local target, err = M.target(name, position == 1 and settings or for_fallbacks)
    if target then
      local model = meter.new(thinking.new(call.new(target, settings)), target, settings.prices)
      candidates[#candidates + 1] = { model = model, target = target }
    elseif position == 1 and not names[2] or err.kind ~= "authentication" then
      return nil, err
    else
      log.write("info", "model", ("%s is skipped: %s"):format(name, err.message))
    end
  end
  if #candidates == 0 then
    return nil, select(2, M.target(names[1], settings))
  end
  return failover.new(candidates)
end


return M
