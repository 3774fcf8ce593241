-- What this process may ask: which providers there are, where each is asked and with which key, who is left out and why, and
-- targets made of all that. It asks nobody.
local errors = require "perilune.std.errors"
local log = require "perilune.sys.log"
local offline = require "perilune.model.provider.offline"
local offline_media = require "perilune.model.provider.offline_media"
local provider = require "perilune.model.provider"
local secrets = require "perilune.net.secrets"
local text = require "perilune.std.text"

local M = {}

---The built-in model needs no wire, so it is no provider of the registry.
M.offline = {
  name = "offline", answer = offline.answer, models = { "demo" }, quirks = {}, base_url = "built in", source = "built in",
  images = offline_media.images, embeddings = offline_media.embeddings,
}


---@class perilune.Settings what a process is configured with
---@field env fun(name: string): string? environment variables, .env included
---@field files? string[] the configuration files that were read and say something
---@field model? string the default model
---@field api_key? string for the chosen provider, instead of the environment's
---@field api_keys? table<string, string> by model, or by "provider/model"
---@field base_url? string
---@field provider? string
---@field api? string the wire format, where a vendor has several: "chat", "responses", "native"
---@field failover? "listed"|"auto"|"off"
---@field exclude? string[] providers that are never asked
---@field exclude_images? string[] providers that are never asked for images
---@field context_fallbacks? string[] models for questions that are too long for the others
---@field timeouts? table
---@field proxy? string
---@field https_proxy? string for https:// addresses only
---@field ca_file? string
---@field verify_ssl? boolean
---@field headers? table<string, string>
---@field prices? table<string, perilune.OwnPrice> the user's prices, by "provider/model"
---@field provider_folders? string[] where the user's own providers are
---@field listed? table what providers said of their models (model/catalogue.lua); one a process

---Every provider that can be asked, the built-in offline model last.
---@return perilune.Provider[]
function M.providers()
  local list = provider.list()
  list[#list + 1] = M.offline
  return list
end


---The provider of that name; case does not matter.
---@param name string
---@return perilune.Provider?
function M.get(name)
  return name:lower() == "offline" and M.offline or provider.get(name)
end


---The error for a name that no provider has.
---@param name string
---@return perilune.Error
function M.unknown(name)
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


local function address_variable(found)
  return found.name:upper():gsub("[^A-Z0-9]", "_") .. "_BASE_URL"
end


---Where a provider is asked: the address in the environment (`<NAME>_BASE_URL`), else its own.
---@param found perilune.Provider
---@param settings perilune.Settings
---@return string?
function M.base_url(found, settings)
  return settings.env(address_variable(found)) or found.base_url
end


---The same for people: without a user, a password or a key in it.
---@param found perilune.Provider
---@param settings perilune.Settings
---@return string?
function M.shown_url(found, settings)
  local url = M.base_url(found, settings)
  return url and secrets.hide_in_url(url)
end


---Was the address of this provider said, and not only its own taken?
---@param found perilune.Provider
---@param settings perilune.Settings
---@return boolean
function M.is_url_said(found, settings)
  return settings.env(address_variable(found)) ~= nil
end


---What a script says of one target (its key, its address, its wire format) is for nobody else.
---@param settings perilune.Settings
---@param keeps_keys? boolean keys by model stay: for models that are named
---@return perilune.Settings
function M.for_others(settings, keeps_keys)
  local headers = {}
  for name, value in pairs(settings.headers or {}) do
    headers[name] = not secrets.is_name(name) and value or nil
  end
  local own = { provider = false, image_provider = false, api = false, api_key = false, base_url = false, headers = headers }
  own.api_keys = keeps_keys and settings.api_keys or false
  return setmetatable(own, { __index = settings })
end


---Did a script give a key or an address without saying whose they are? Then nobody but the script can choose the provider.
---@param settings perilune.Settings
---@param name? string the model
---@return boolean
function M.has_own(settings, name)
  return (settings.api_key or settings.base_url or name and settings.api_keys and settings.api_keys[name]) and true or false
end


---Is a provider left out by its name?
---@param found perilune.Provider
---@param excluded string[]?
---@return boolean
function M.is_excluded(found, excluded)
  for _, name in ipairs(excluded or {}) do
    if name:lower() == found.name then
      return true
    end
  end
  return false
end


local function is_local(url)
  local host = url and url:match("^%a+://([^/?#]*)")
  host = host and host:gsub("^.*@", "")
  return host ~= nil and (host:find("^127%.%d+%.%d+%.%d+") or host:find("^localhost%f[:\0]") or host:find("^%[::1%]")) ~= nil
end


local function is_sound(key)
  return not key:find("[%c\x7F]")
end


---Does a cassette answer? Then nobody is asked, and nobody needs a key.
---@param settings perilune.Settings
---@return boolean
function M.is_replayed(settings)
  return settings.cassette ~= nil and settings.cassette.mode == "replay"
end


---Why a provider that nobody named cannot be asked; nil: it can. A built-in server of this machine counts once its address is
---configured: nobody knows whether it runs, and every "auto" would knock at a closed door.
---@param found perilune.Provider
---@param settings perilune.Settings
---@return string? why
function M.unusable(found, settings)
  if M.is_replayed(settings) then
    return not settings.cassette.tape:has(found.name) and "the cassette has no answer of it" or nil
  end
  local key = found.key and settings.env(found.key)
  if found.key and not key then
    return found.key .. " is not set"
  elseif key and not is_sound(key) then
    return found.key .. " holds a control character"
  elseif not found.key and found.source == "built in" and is_local(found.base_url) and not M.is_url_said(found, settings) then
    return address_variable(found) .. " is not set"
  end
end


local function key_of(found, model, settings)
  local keys = settings.api_keys
  return keys and (keys[found.name .. "/" .. model] or keys[model]) or settings.api_key or found.key and settings.env(found.key) or nil
end


local function refuse_key(found, model, code, problem)
  return nil, errors.new { kind = "authentication", code = code, provider = found.name, model = model, message = problem }
end


---Something that can be called.
---@param found perilune.Provider
---@param model string
---@param settings perilune.Settings
---@return perilune.Target?
---@return perilune.Error?
function M.target(found, model, settings)
  if found == M.offline then
    return { provider = found, name = "offline", model = model, base_url = found.base_url, quirks = {} }
  end
  local key = key_of(found, model, settings)
  if found.key and not key and not M.is_replayed(settings) then
    return refuse_key(found, model, "no_key", ("no key for %s: set %s in the environment or in .env"):format(found.name, found.key))
  elseif key then
    log.secret(key)
    if not is_sound(key) then
      local problem = "the key for %s holds a line feed or another control character: it was not copied well"
      return refuse_key(found, model, "bad_key", problem:format(found.name))
    end
  end
  return provider.target(found, {
    model = model, api = settings.api or nil, api_key = key, headers = settings.headers,
    base_url = settings.base_url or M.base_url(found, settings),
  })
end


return M
