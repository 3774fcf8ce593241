-- Assistants by name: those that the scripts of this process define, and those that are rows of the database, side by side. A script's
-- definition goes before a row of the same name. The functions of perilune.assistants are here; they raise.
local check = require "perilune.std.check"
local defined = require "perilune.agent.defined"
local definition = require "perilune.agent.definition"
local errors = require "perilune.std.errors"
local store = require "perilune.store.assistants"
local text = require "perilune.std.text"

local M = {}

local must = errors.must

local NAME_BYTES_MAX = 256
-- Of rows whose names are looked through for what was meant.
local SUGGESTIONS_MAX = 1000

local list_types = { limit = "integer", after = "string" }


local function not_found(db, name)
  local names = defined.names()
  for _, row in ipairs(must(store.list(db, { limit = SUGGESTIONS_MAX }))) do
    names[#names + 1] = row.name
  end
  local nearest = text.suggest(name, names)
  return errors.new {
    kind = "not_found", code = "assistant",
    message = ("there is no assistant '%s', neither defined by a script that runs here nor in the database%s"):format(
      name, nearest and ("; did you mean '" .. nearest .. "'?") or " (--script FILE names the script that defines it)"),
  }
end


local find


-- `built` has the rows that are being made into assistants by id: they may hand over to each other in circles.
local function build(app, row, built)
  local assistant = definition.build(app, row)
  built[row.id] = assistant
  for position, other in ipairs(row.definition.handoffs or {}) do
    assistant.handoffs[position] = find(app, other, built, row)
  end
  return assistant
end


-- A row that is the caller names those of its own account and of this machine.
function find(app, name, built, caller)
  local known = defined.get(name)
  if known then
    return known
  end
  local db = app:database()
  local row, err = store.get(db, name, caller and caller.account)
  if row and caller and row.account and row.account ~= caller.account then
    error(not_found(db, name), 0)
  elseif not row then
    error(err.kind == "not_found" and not_found(db, name) or err, 0)
  elseif built[row.id] then
    return built[row.id]
  end
  return build(app, row, built)
end


---The assistant of a row, as it is or was.
---@param app perilune.App
---@param row perilune.AssistantRow
---@return perilune.Assistant
function M.of_row(app, row)
  return build(app, row, {})
end


---The assistant of that name: the one that a script of this process has defined, else the one of the row. Raises `not_found`, or what
---is wrong with the row.
---@param app perilune.App
---@param name string a row may also be named by its id
---@return perilune.Assistant
function M.find(app, name)
  return find(app, name, {})
end


-- What is stored of the options of an assistant, after it was made once, so that a mistake is found now.
local function checked(app, where, options)
  definition.check_data(where, options)
  local name = options.name
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES_MAX or not utf8.len(name) then
    check.fail(("%s: 'name' must be a text of 1 to %d bytes"):format(where, NAME_BYTES_MAX), 3)
  end
  local row = { name = name, metadata = options.metadata, definition = options }
  options.name, options.metadata = nil, nil
  local assistant, others = definition.build(app, row), {}
  for position, other in ipairs(options.handoffs or {}) do
    others[position] = other == name and assistant or M.find(app, other)
  end
  assistant:with { handoffs = others } -- the names of its tools are told apart
  return row
end


---Stores an assistant under its name: the options of perilune.assistant, with tools and handoffs by name.
---@param app perilune.App
---@param options table
---@return perilune.AssistantRow
function M.create(app, options)
  check.value("perilune.assistants.create: the definition", options, "table")
  return must(store.create(app:database(), checked(app, "perilune.assistants.create", definition.without_nulls(options))))
end


---Stores an assistant under its name, in the place of the one that has it.
---@param app perilune.App
---@param options table
---@return perilune.AssistantRow
function M.put(app, options)
  check.value("perilune.assistants.put: the definition", options, "table")
  local row, db = checked(app, "perilune.assistants.put", definition.without_nulls(options)), app:database()
  local old, err = store.get(db, row.name)
  if old and old.name == row.name then
    row.id, row.updated_at = old.id, old.updated_at
    return must(store.update(db, row))
  elseif err and err.kind ~= "not_found" then
    error(err, 0)
  end
  return must(store.create(db, row))
end


---@param app perilune.App
---@param ref string its name or id
---@return perilune.AssistantRow
function M.get(app, ref)
  check.string("perilune.assistants.get: name", ref)
  return must(store.get(app:database(), ref))
end


---Those that are rows, the newest first.
---@param app perilune.App
---@param options? { limit: integer?, after: string? }
---@return perilune.AssistantRow[]
function M.list(app, options)
  options = check.options("perilune.assistants.list", options, list_types)
  if options.limit and options.limit < 1 then
    check.fail("perilune.assistants.list: 'limit' must be at least 1")
  end
  return must(store.list(app:database(), options))
end


---Changes the options that are given; perilune.json.null removes one.
---@param app perilune.App
---@param ref string its name or id
---@param changes table
---@return perilune.AssistantRow
function M.update(app, ref, changes)
  check.string("perilune.assistants.update: name", ref)
  check.value("perilune.assistants.update: the changes", changes, "table")
  local db = app:database()
  local row = must(store.get(db, ref))
  local options = row.definition
  options.name, options.metadata = row.name, row.metadata
  for name, value in pairs(changes) do
    options[name] = value
  end
  local changed = checked(app, "perilune.assistants.update", definition.without_nulls(options))
  changed.id, changed.updated_at = row.id, row.updated_at
  return must(store.update(db, changed))
end


---@param app perilune.App
---@param ref string its name or id
function M.delete(app, ref)
  check.string("perilune.assistants.delete: name", ref)
  local db = app:database()
  must(store.delete(db, must(store.get(db, ref)).id))
end


return M
