-- Which models there are: the built-in lists, and what the providers say when they are asked. A provider is asked once a
-- process; one that does not answer leaves its built-in list, and why it did not is told.
local clock = require "perilune.sys.clock"
local configured = require "perilune.model.configured"
local exchange = require "perilune.model.exchange"
local provider = require "perilune.model.provider"
local task = require "perilune.sys.task"

local M = {}

---Time limit of one list in seconds.
M.TIMEOUT = 10

---Who did not answer is asked again after so many seconds.
M.AGAIN_AFTER = 60

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

---@class perilune.Asked a provider and the settings for asking it
---@field found perilune.Provider
---@field settings perilune.Settings

---The built-in list of one family; nil when the provider does not have it.
---@param found perilune.Provider
---@param family "models"|"images"|"embeddings"
---@return string[]?
function M.built_in(found, family)
  local value = found[family]
  if family == "models" then
    return value
  end
  return value and value.models
end


-- The built-in lists of a provider, as entries by model and in order.
local function built_in_entries(found)
  local entries, by_model = {}, {}
  for _, row in ipairs(families) do
    for _, model in ipairs(M.built_in(found, row[1]) or {}) do
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
  local entries, by_model = built_in_entries(found)
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


local function read(found, target, settings)
  local http = found.catalogue.encode(target)
  return exchange.run(http, nil, target, found.catalogue.decode, { settings = settings, timeout = M.TIMEOUT })
end


-- Whom to ask for one list, and whose list it is: the address and the key decide. Nil: nobody, or (third result) there is no way to.
local function source_of(one)
  local target, err
  if one.found.catalogue then
    target, err = configured.target(one.found, "", one.settings)
  end
  if not target or not target.base_url then
    return nil, nil, err
  end
  target.model = nil
  return target, table.concat({ one.found.name, target.base_url, target.api_key or "" }, "\0")
end


-- Starts reading one list, in a task of its own, so that whoever asks meanwhile waits for the same answer.
local function start(one, cache, failed_since)
  local target, key, err = source_of(one)
  local reading = target and cache[key]
  if target and (not reading or reading.failed_at and reading.failed_at <= failed_since) then
    reading = { task = task.spawn(read, one.found, target, one.settings) }
    cache[key] = reading
  end
  return reading, err
end


---Has this provider said already what it has?
---@param one perilune.Asked
---@param cache table
---@return boolean
function M.has_answered(one, cache)
  local target, key = source_of(one)
  local reading = target and cache[key]
  return (reading and reading.has_answered) == true
end


---What these providers say, who are asked side by side. Whoever failed lately is asked again only when `is_again`.
---@param asked perilune.Asked[]
---@param cache table kept by the caller, one a process
---@param is_again? boolean
---@return table<string, table[]> lists by provider
---@return table<string, perilune.Error> errors by provider, of those who did not answer
function M.ask(asked, cache, is_again)
  local lists, problems, readings = {}, {}, {}
  local failed_since = is_again and clock.mono() or clock.mono() - M.AGAIN_AFTER
  for position, one in ipairs(asked) do
    local reading, err = start(one, cache, failed_since)
    readings[position], problems[one.found.name] = reading or false, err
  end
  for position, one in ipairs(asked) do
    local reading = readings[position]
    if reading then
      local list, err = reading.task:wait()
      reading.has_answered = list ~= nil
      reading.failed_at = not list and (reading.failed_at or clock.mono()) or nil
      lists[one.found.name], problems[one.found.name] = list, err
    end
  end
  return lists, problems
end


---The models of a provider that may be asked a question, as it listed them. Those that make vectors are known by their names
---alone: no list says what a model is for.
---@param said { id: string }[]?
---@return string[]
function M.talking(said)
  local models = {}
  for _, item in ipairs(said or {}) do
    models[#models + 1] = not item.id:lower():find("embed", 1, true) and item.id or nil
  end
  return models
end


-- Whom to ask, each with its settings: the named provider, else all that can be called.
local function chosen(settings)
  local list = {}
  for _, found in ipairs(provider.list()) do
    if settings.provider and settings.provider:lower() == found.name then
      list[#list + 1] = { found = found, settings = setmetatable({ api = false }, { __index = settings }) }
    elseif not settings.provider and (not found.key or settings.env(found.key)) then
      list[#list + 1] = { found = found, settings = configured.for_others(settings) }
    end
  end
  return list
end


---Every model that can be called with these settings, by provider.
---@param settings perilune.Settings
---@return perilune.ModelEntry[]
---@return table<string, perilune.Error> errors by provider, of those who did not answer
function M.list(settings)
  local asked, entries = chosen(settings), {}
  local lists, problems = M.ask(asked, settings.listed or {}, true)
  for _, one in ipairs(asked) do
    local own = merge(one.found, lists[one.found.name])
    table.move(own, 1, #own, #entries + 1, entries)
  end
  if not settings.provider or settings.provider:lower() == "offline" then
    entries[#entries + 1] = { id = "offline/demo", provider = "offline", model = "demo", kind = "chat", is_listed = true }
  end
  return entries, problems
end


return M
