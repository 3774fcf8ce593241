-- Who is meant by what people type ("openai/gpt-4o-mini", "gpt-4o-mini", "gpt4o mini"), and who could answer instead: for
-- questions, images and vectors alike. A family is the field of a provider that has its models.
local catalogue = require "perilune.model.catalogue"
local configured = require "perilune.model.configured"
local errors = require "perilune.std.errors"
local log = require "perilune.sys.log"
local similar = require "perilune.model.similar"
local text = require "perilune.std.text"

local M = {}

---@alias perilune.Family "models"|"images"|"embeddings"

---@class perilune.Choice what a name stands for
---@field found perilune.Provider
---@field model string
---@field settings perilune.Settings those that are for it
---@field is_named? boolean its provider was named

---@class perilune.Row a provider that may be asked, and what it has
---@field found perilune.Provider
---@field settings perilune.Settings
---@field models string[] of these it can be asked for any
---@field known string[] these names are compared; what it listed itself is among them

---@class perilune.Unusable
---@field found perilune.Provider
---@field why string


---The error for a configuration that makes no sense.
---@param found perilune.Provider?
---@param code string?
---@param problem string
---@return nil
---@return perilune.Error
function M.refuse(found, code, problem, ...)
  return nil, errors.new { kind = "configuration", code = code, provider = found and found.name, message = problem:format(...) }
end


local function append(list, more)
  return table.move(more, 1, #more, #list + 1, list)
end


local function is_excluded(family, found, settings)
  return configured.is_excluded(found, settings.exclude)
    or family == "images" and configured.is_excluded(found, settings.exclude_images)
end


-- Everybody of a family: who may be asked without having been named, who may not, and who is left out by name.
local function consider(family, settings)
  local usable, unusable, excluded = {}, {}, {}
  local for_others = configured.for_others(settings)
  for _, found in ipairs(configured.providers()) do
    local models = catalogue.built_in(found, family)
    if models and found ~= configured.offline then
      local why = configured.unusable(found, settings)
      if is_excluded(family, found, settings) then
        excluded[#excluded + 1] = { found = found, why = "excluded" }
      elseif why then
        unusable[#unusable + 1] = { found = found, why = why }
      else
        usable[#usable + 1] = { found = found, settings = for_others, models = models, known = models }
      end
    end
  end
  return usable, unusable, excluded
end


-- What some of the rows' providers say of their models, as far as it is of use, added to what is known.
local function add_listed(rows, settings, is_wanted, useful)
  local asked, cache = {}, settings.listed or {}
  for _, row in ipairs(rows) do
    asked[#asked + 1] = is_wanted(row, cache) and row or nil
  end
  local lists, problems = catalogue.ask(asked, cache)
  for _, row in ipairs(asked) do
    local models = useful(lists[row.found.name] or {})
    row.known = append(append({}, row.models), models)
    row.models = row.models[1] and row.models or models
  end
  return problems
end


local function is_silent_or_known(row, cache)
  return not row.models[1] or catalogue.has_answered(row, cache)
end


local function everybody()
  return true
end


-- Of a list that does not say what its models are for, for images and vectors: the very name.
local function only(name)
  return function(said)
    for _, item in ipairs(said) do
      if item.id == name then
        return { name }
      end
    end
    return {}
  end
end


---Who may be asked without having been named, with models to ask for; and who may not, and why. Who has no built-in list of
---models that talk is asked for it.
---@param family perilune.Family
---@param settings perilune.Settings
---@return perilune.Row[]
---@return perilune.Unusable[]
function M.pool(family, settings)
  local usable, unusable, excluded = consider(family, settings)
  append(unusable, excluded)
  local problems = family == "models" and add_listed(usable, settings, is_silent_or_known, catalogue.talking) or {}
  local rows = {}
  for _, row in ipairs(usable) do
    local err = problems[row.found.name]
    if row.models[1] then
      rows[#rows + 1] = row
    else
      unusable[#unusable + 1] = { found = row.found, why = err and "no list of models: " .. err.message or "lists no model" }
    end
  end
  return rows, unusable
end


---Why "auto" finds nobody.
---@param unusable perilune.Unusable[]
---@return perilune.Error
function M.nobody(unusable)
  local parts, details = {}, {}
  for position, row in ipairs(unusable) do
    parts[position] = ("%s (%s)"):format(row.found.name, row.why)
    details[position] = { provider = row.found.name, why = row.why }
  end
  return errors.new {
    kind = "configuration", code = "no_provider", details = details,
    message = 'no provider can be chosen for the model "auto"; skipped: ' .. table.concat(parts, ", "),
  }
end


---Is there a key, or the address of a server, for anybody of this family?
---@param family perilune.Family
---@param settings perilune.Settings
---@return boolean
function M.is_anybody_configured(family, settings)
  for _, found in ipairs(configured.providers()) do
    if found ~= configured.offline and catalogue.built_in(found, family) and not configured.unusable(found, settings) then
      return true
    end
  end
  return false
end


-- Names

local function listing(rows, family, name)
  local hits = {}
  for _, row in ipairs(rows) do
    if similar.is_listed(name, catalogue.built_in(row.found, family)) then
      hits[#hits + 1] = row
    end
  end
  return hits
end


local function nearest(name, rows, family)
  local best, best_row
  for _, row in ipairs(rows) do
    local likeness = similar.nearest(name, row.known or catalogue.built_in(row.found, family))
    if likeness and similar.is_nearer(likeness, best) then
      best, best_row = likeness, row
    end
  end
  return best, best_row
end


-- The model that was probably meant: a typo of it, else something like it.
local function meant_model(family, name, rows)
  local models, row_of = {}, {}
  for _, row in ipairs(rows) do
    for _, model in ipairs(catalogue.built_in(row.found, family)) do
      models[#models + 1] = model
      row_of[model] = row_of[model] or row
    end
  end
  local typo = text.suggest(name, models)
  if typo then
    return typo, row_of[typo]
  end
  local best, row = nearest(name, rows, family)
  return best and best.name, row
end


local function meant_provider(prefix)
  local names = {}
  for position, found in ipairs(configured.providers()) do
    names[position] = found.name
  end
  return text.suggest(prefix, names)
end


-- What to say of a name that nobody knows, and that is not read as another either.
local function hint(family, name, rows)
  local prefix, rest = name:match("^([^/]+)/(.+)$")
  local provider = prefix and meant_provider(prefix)
  if provider then
    return (", did you mean '%s/%s'?"):format(provider, rest)
  end
  local model, row = meant_model(family, name, rows)
  if model then
    return (", did you mean '%s/%s'%s?"):format(row.found.name, model, row.why and (" (%s)"):format(row.why) or "")
  elseif prefix then
    return (": there is no provider '%s' (perilune providers lists them)"):format(prefix)
  end
  return ": write it as provider/model (perilune models lists the known ones)"
end


local function unknown_model(family, name, rows, problems)
  local silent = {}
  for _, row in ipairs(rows) do
    local err = problems[row.found.name]
    silent[#silent + 1] = err and ("%s did not list its models (%s)"):format(row.found.name, err.message) or nil
  end
  local rest = silent[1] and "; " .. table.concat(silent, "; ") or ""
  return nil, errors.new {
    kind = "model_not_found", retryable = silent[1] ~= nil,
    message = ("no provider is known for the %s '%s'%s%s"):format(family == "models" and "model" or family .. " of", name,
      hint(family, name, rows), rest),
  }
end


-- A bare name together with a key or an address of a script's own: it must be plain whose they are.
local function owned(family, name, rows)
  local hits = listing(rows, family, name)
  if #hits == 1 then
    return hits[1].found
  end
  local what = hits[1] and "several providers list the model '%s'" or "no provider is known for the model '%s'"
  return M.refuse(nil, "whose_key", what .. ": say whose the key or the address is, with provider = \"…\" or model = \"provider/%s\"",
    name, name)
end


-- The providers that may be asked, by what they have: the very name in a built-in list, in a list of their own, something like it.
local function by_model(family, name, settings)
  local usable, unusable, excluded = consider(family, settings)
  if configured.has_own(settings, name) then
    local found, err = owned(family, name, append(usable, unusable))
    return found and { found = found, model = name, settings = settings }, err
  end
  local hit = listing(usable, family, name)[1] or listing(unusable, family, name)[1]
  if hit then -- what somebody lacks who cannot be asked, making the target will say
    return { found = hit.found, model = name, settings = hit.settings or settings }
  end
  hit = listing(excluded, family, name)[1]
  if hit then
    return M.refuse(hit.found, "excluded", "'%s' is a model of %s, which is excluded", name, hit.found.name)
  end
  local problems = add_listed(usable, settings, everybody, family == "models" and catalogue.talking or only(name))
  local best, row = nearest(name, usable, family)
  if not best then
    return unknown_model(family, name, append(usable, unusable), problems)
  elseif best.name ~= name then
    log.write("info", "model", ("'%s' is read as %s/%s"):format(name, row.found.name, best.name))
  end
  return { found = row.found, model = best.name, settings = row.settings }
end


local function by_provider(family, found, model, settings)
  if is_excluded(family, found, settings) then
    return M.refuse(found, "excluded", "the provider %s is excluded: it cannot be asked for '%s'", found.name, model)
  elseif not catalogue.built_in(found, family) then
    return M.refuse(found, nil, "%s has no %s that are known here", found.name, family)
  end
  return { found = found, model = model, settings = settings, is_named = true }
end


---The provider that the settings name for this family; nil without an error when they name none.
---@param family perilune.Family
---@param settings perilune.Settings
---@return perilune.Provider?
---@return perilune.Error?
function M.override(family, settings)
  local name = family == "images" and settings.image_provider or settings.provider
  if not name then
    return nil
  end
  local found = configured.get(name)
  if not found then
    return nil, configured.unknown(name)
  end
  return found
end


---Who is meant by a name that is not "auto".
---@param family perilune.Family
---@param name string
---@param settings perilune.Settings
---@return perilune.Choice?
---@return perilune.Error?
function M.find(family, name, settings)
  local found, err = M.override(family, settings)
  if err then
    return nil, err
  elseif found then
    return by_provider(family, found, name, settings)
  end
  local prefix, model = name:match("^([^/]+)/(.+)$")
  found = prefix and configured.get(prefix)
  if found then
    return by_provider(family, found, model, settings)
  end
  return by_model(family, name, settings)
end


---A row of the provider that was named, for one of its models.
---@param family perilune.Family
---@param found perilune.Provider
---@param settings perilune.Settings
---@return perilune.Row?
---@return perilune.Error?
function M.row(family, found, settings)
  local named, err = by_provider(family, found, "auto", settings)
  if not named then
    return nil, err
  end
  local row = { found = found, settings = settings, models = catalogue.built_in(found, family) }
  row.known = row.models
  local problems = family == "models" and not row.models[1] and add_listed({ row }, settings, everybody, catalogue.talking) or {}
  err = problems[found.name]
  if row.models[1] then
    return row
  elseif err then
    return nil, err
  end
  return M.refuse(found, nil, "the provider '%s' lists no model: say which one, model = \"…\"", found.name)
end


return M
