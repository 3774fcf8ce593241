-- Who draws images, who makes vectors: from what people type to a plan of targets of that family. Names are read like those of
-- questions; what is asked of a candidate is the provider's family (`candidate.model`).
local choice = require "perilune.model.choice"
local configured = require "perilune.model.configured"
local plans = require "perilune.model.plan"

local M = {}

-- Anybody may draw. Vectors of two models cannot be compared: who makes them is never left to chance, and nobody else steps in.
local is_open = { images = true }


local function maker(family)
  return function(target)
    local it = target.provider[family]
    target.quirks = it.quirks or {} -- the family has flags of its own
    return it
  end
end


-- Adds a target; returns why it cannot be called.
local function add(parts, found, model, settings)
  local target, err = configured.target(found, model, settings)
  if not target then
    return err
  end
  parts.listed[1] = plans.candidate(target, parts.make)
end


-- Nobody was named: everybody who can be asked, the built-in model where nobody is configured.
local function add_anybody(parts, family, settings)
  local pool, unusable = choice.pool(family, settings)
  if not pool[1] and choice.is_anybody_configured(family, settings) then
    return choice.nobody(unusable)
  elseif not pool[1] then
    return add(parts, configured.offline, "demo", settings)
  elseif not is_open[family] then
    return add(parts, pool[1].found, pool[1].models[1], pool[1].settings)
  end
  parts.choices, parts.pool = pool, pool
end


-- A provider was named, but no model: its first, or for "auto" one of its models.
local function add_any_of(parts, family, found, name, settings)
  local row, err = choice.row(family, found, settings)
  if not row then
    return err
  end
  err = add(parts, found, row.models[1], settings)
  if not err and name and is_open[family] then
    parts.choices, parts.listed = { row }, {}
  end
  return err
end


-- A model was named, and perhaps its provider.
local function add_named(parts, family, name, settings)
  local chosen, err = choice.find(family, name, settings)
  if not chosen then
    return err
  end
  if is_open[family] and (settings.failover or chosen.is_named and "listed" or "auto") == "auto" then
    parts.pool = choice.pool(family, settings)
  end
  return add(parts, chosen.found, chosen.model, chosen.settings)
end


---Whom to ask: for images others too, unless a provider is named or `failover` says otherwise.
---@param family "images"|"embeddings"
---@param name string? nil: the first model of the named provider, or of whoever can be asked
---@param settings perilune.Settings
---@return perilune.Plan?
---@return perilune.Error?
function M.plan(family, name, settings)
  settings = setmetatable({ api = false }, { __index = settings }) -- the wire format that a script chose is one of questions
  local parts = { name = name or "auto", make = maker(family), listed = {} }
  local found, err = choice.override(family, settings)
  if not err then
    if name and name ~= "auto" then
      err = add_named(parts, family, name, settings)
    elseif found then
      err = add_any_of(parts, family, found, name, settings)
    else
      err = add_anybody(parts, family, settings)
    end
  end
  if err then
    return nil, err
  end
  if settings.failover and settings.failover ~= "auto" then
    parts.pool = nil
  end
  return plans.new(parts)
end


return M
