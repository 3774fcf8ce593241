-- From what people type ("openai/gpt-4o-mini", "gpt-4o-mini", "auto") to one model that can be asked: the targets it stands for are
-- a plan, around each target there is a meter, and failover goes around all of them.
local call = require "perilune.model.call"
local cassette = require "perilune.model.cassette"
local choice = require "perilune.model.choice"
local configured = require "perilune.model.configured"
local endpoints = require "perilune.sys.failover"
local errors = require "perilune.std.errors"
local failover = require "perilune.model.failover"
local log = require "perilune.sys.log"
local meter = require "perilune.model.meter"
local plans = require "perilune.model.plan"
local thinking = require "perilune.model.thinking"

local M = {}

M.base_url = configured.base_url


---The target that a name other than "auto" stands for.
---@param name string
---@param settings perilune.Settings
---@return perilune.Target?
---@return perilune.Error?
function M.target(name, settings)
  local chosen, err = choice.find("models", name, settings)
  if not chosen then
    return nil, err
  end
  return configured.target(chosen.found, chosen.model, chosen.settings)
end


---The name that is used when nobody names a model: of the named provider its first; else the configured default, the first model of
---the first provider that can be asked, the built-in offline model.
---@param settings perilune.Settings
---@return string
function M.default(settings)
  if settings.provider then
    local found = configured.get(settings.provider)
    return found and found.models[1] or "auto"
  elseif settings.model then
    return settings.model
  elseif configured.has_own(settings) then
    return "auto" -- whose key it is nobody said: "auto" tells
  end
  for _, found in ipairs(configured.providers()) do
    if found ~= configured.offline and found.models[1] and not configured.unusable(found, settings)
      and not configured.is_excluded(found, settings.exclude) then
      return found.name .. "/" .. found.models[1]
    end
  end
  return choice.is_anybody_configured("models", settings) and "auto" or "offline/demo"
end


-- Requests at once with one key, in the whole process, unless somebody asks for more.
local KEY_INFLIGHT = 64


-- The breaker of an endpoint, and how much its key may carry; nil for the defaults.
local function endpoint_settings(settings)
  local most = settings.max_inflight
  if not most or most <= KEY_INFLIGHT then
    return settings.breaker
  end
  local options = { max_inflight = most }
  for name, value in pairs(settings.breaker or {}) do
    options[name] = value
  end
  return options
end


-- What the process knows of a target. Another address is another endpoint: its failures are its own.
local function endpoint_of(target, settings)
  local credential = target.api_key or ""
  if target.base_url and target.base_url ~= target.provider.base_url then
    credential = credential .. "\0" .. target.base_url
  end
  return endpoints.endpoint(target.name, credential, target.model, endpoint_settings(settings))
end


-- The stages around one target, and its endpoint; a model of a script's own has none.
local function maker(settings)
  return function(target)
    local asked = target.scripted or cassette.new(call.new(target, settings), target, settings)
    local has_endpoint = not target.scripted and not configured.is_replayed(settings)
    return meter.new(thinking.new(asked), target, settings.prices), has_endpoint and endpoint_of(target, settings) or nil
  end
end


-- A model of a script's own, in the place of a name: an object with `stream`.
local function scripted(model)
  return { name = model.name or "testing", model = model.model_name or "scripted", scripted = model, quirks = {} }
end


-- May an answer be had without this one? A missing key, an exclusion, and for a fallback a list that cannot be read just now.
local function is_passed_over(err, is_fallback)
  return err.kind == "authentication" or is_fallback and (err.code == "excluded" or err.kind == "model_not_found" and err.retryable)
end


local function skip(parts, name, err)
  parts.skipped[#parts.skipped + 1] = {
    type = "attempt", reason = "skipped", provider = err.provider or "unknown", model = err.model or name, error = err,
  }
  log.write("info", "model", ("%s is skipped: %s"):format(name, err.message))
end


-- Adds the candidate that a name stands for; returns why there cannot be a plan.
local function add_named(parts, name, settings, is_fallback)
  if type(name) == "table" then
    parts.listed[#parts.listed + 1] = plans.candidate(scripted(name), parts.make)
    return nil
  end
  local target
  local chosen, err = choice.find("models", name, settings)
  if chosen then
    target, err = configured.target(chosen.found, chosen.model, chosen.settings)
  end
  if target then
    parts.listed[#parts.listed + 1] = plans.candidate(target, parts.make)
  elseif not is_passed_over(err, is_fallback) then
    return err
  else
    skip(parts, name, err)
    if not is_fallback then
      parts.wanted = { name = chosen.found.name, model = chosen.model }
    end
  end
end


local function add_fallbacks(parts, names, settings)
  settings = configured.for_others(settings, true)
  for _, name in ipairs(names) do
    local err = add_named(parts, name, settings, true)
    if err then
      return err
    end
  end
end


-- "auto" of a named provider: those of its models that can be called.
local function add_own_choices(parts, found, settings)
  local row, err = choice.row("models", found, settings)
  if not row then
    return err
  end
  local models, problem = {}, nil
  for _, model in ipairs(row.models) do
    local target
    target, err = configured.target(found, model, settings)
    models[#models + 1] = target and model
    problem = problem or err
  end
  row.models, parts.choices = models, { row }
  return not models[1] and problem or nil
end


-- "auto": one of anybody's models; the offline model where nobody is configured.
local function add_choices(parts, settings)
  local found, err = choice.override("models", settings)
  if err then
    return err
  elseif found then
    return add_own_choices(parts, found, settings)
  elseif configured.has_own(settings) then
    return errors.new {
      kind = "configuration", code = "whose_key",
      message = "api_key and base_url are for one provider: say which, with provider = \"…\" or model = \"provider/model\"",
    }
  end
  parts.pool, parts.unusable = choice.pool("models", settings)
  if parts.pool[1] then
    parts.choices = parts.pool
  elseif choice.is_anybody_configured("models", settings) or configured.is_excluded(configured.offline, settings.exclude) then
    return choice.nobody(parts.unusable)
  else
    return add_named(parts, "offline/demo", settings)
  end
end


-- Who is asked when a question is too long for the others.
local function add_context(parts, settings)
  local larger = { make = parts.make, listed = {}, skipped = parts.skipped }
  local err = add_fallbacks(larger, settings.context_fallbacks or {}, settings)
  parts.context = larger.listed[1] and larger.listed
  return err
end


-- Fills the plan; returns why it cannot be followed.
local function fill(parts, first, fallbacks, settings, mode)
  local err
  if first == "auto" then
    err = add_choices(parts, settings)
  else
    err = add_named(parts, first, settings, false)
  end
  if not err and mode ~= "off" then
    err = add_fallbacks(parts, fallbacks, settings)
  end
  if not err and mode == "auto" and not parts.pool then
    parts.pool, parts.unusable = choice.pool("models", settings)
  end
  if mode ~= "auto" or parts.pool and not parts.pool[1] then
    parts.pool = nil
  end
  if not err and not parts.listed[1] and not parts.choices and not parts.pool then
    err = parts.skipped[1].error
  end
  return err or add_context(parts, settings)
end


-- Who may answer beside those that are listed.
local function mode_of(first, is_named, settings)
  local is_open = not settings.provider and (first == "auto" or not is_named and not settings.model)
  return settings.failover or is_open and "auto" or "listed"
end


---Whom to ask. Names are strings, or objects with `stream`; the first may be nil or false: nobody named a model.
---@param names (string|table|false|nil)[]
---@param settings perilune.Settings
---@param make? fun(target: perilune.Target): table, table? what is asked, and the target's endpoint; by default the stages around one call
---@return perilune.Plan?
---@return perilune.Error?
function M.plan(names, settings, make)
  local first = names[1] or M.default(settings)
  local parts = {
    settings = settings,
    name = type(first) == "table" and scripted(first).model or first, make = make or maker(settings), listed = {}, skipped = {},
  }
  local fallbacks = { table.unpack(names, 2) }
  if not names[1] and not fallbacks[1] then
    fallbacks = settings.fallbacks or fallbacks
  end
  local err = fill(parts, first, fallbacks, settings, mode_of(first, names[1], settings))
  if err then
    return nil, err
  end
  return plans.new(parts)
end


---One model over all of them.
---@param names (string|table|false|nil)[]
---@param settings perilune.Settings
---@return table? model
---@return string|perilune.Error name_or_err
function M.model(names, settings)
  local plan, err = M.plan(names, settings)
  if not plan then
    return nil, err
  end
  return failover.new(plan, settings), plan.name
end


return M
