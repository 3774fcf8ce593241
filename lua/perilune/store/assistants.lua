-- Assistants that are rows: a name, and the options of perilune.assistant as JSON. What they mean is agent/definition.lua's.
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"
local token = require "perilune.sys.token"

local M = {}

local LIST_MAX = 1000

local json_columns = { "definition", "metadata" }
local time_columns = { "created_at", "updated_at" }


---@class perilune.AssistantRow
---@field id string
---@field name string
---@field definition table
---@field metadata? table
---@field created_at number
---@field updated_at number
---@field account? string whose it is; nil: this machine's scripts'

---A row as Lua wants it, in place.
---@param row table
---@return perilune.AssistantRow|nil
---@return perilune.Error?
function M.decode(row)
  return rows.decode(row, json_columns, time_columns, rows.ORDERED)
end


local decode = M.decode


local function encoded(assistant)
  local definition, err = rows.encode(assistant.definition)
  if not definition then
    return nil, nil, err
  end
  local metadata
  metadata, err = rows.encode(assistant.metadata)
  return definition, metadata, err
end


local function name_taken(name, cause)
  return nil, errors.new { kind = "conflict", code = "name", message = ("there is an assistant '%s' already"):format(name), cause = cause }
end


---@param db perilune.Database
---@param assistant { id: string?, name: string, definition: table, metadata: table?, account: string? }
---@return perilune.AssistantRow|nil
---@return perilune.Error? err a conflict when the account has one of this name
function M.create(db, assistant)
  local definition, metadata, err = encoded(assistant)
  if err then
    return nil, err
  end
  local id = assistant.id or token.id("asst")
  local results
  results, err = db:write {
    { "assistant_create", {
      id = id, name = assistant.name, definition = definition, metadata = metadata, now = rows.now(), account = assistant.account,
    }, expect = 1 },
    { "assistant_get", { ref = id }, expect = 1 },
  }
  if results then
    return decode(results[2][1])
  elseif err.code == "expectation" then
    return name_taken(assistant.name, err)
  end
  return nil, err
end


---@param db perilune.Database
---@param ref string an id or a name
---@param account? string whose name it is, where several accounts have one
---@return perilune.AssistantRow|nil
---@return perilune.Error?
function M.get(db, ref, account)
  local list, err = db:read("assistant_get", { ref = ref, account = account })
  local row
  row, err = rows.one(list, err, "assistant", ref)
  if not row then
    return nil, err
  end
  return decode(row)
end


---The newest first.
---@param db perilune.Database
---@param options? { limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.AssistantRow[]|nil
---@return perilune.Error?
function M.list(db, options)
  options = options or {}
  local list, err = db:read("assistant_list", { after = options.after, limit = math.min(options.limit or 20, LIST_MAX) })
  return rows.each(list, err, decode)
end


---Stores a row that was read and changed. When somebody else has changed it meanwhile, that is a conflict.
---@param db perilune.Database
---@param row perilune.AssistantRow
---@return perilune.AssistantRow|nil
---@return perilune.Error?
function M.update(db, row)
  local definition, metadata, err = encoded(row)
  if err then
    return nil, err
  end
  local seen = rows.milliseconds(row.updated_at)
  local results
  results, err = db:write {
    { "assistant_update", {
      id = row.id, seen = seen, name = row.name, definition = definition, metadata = metadata, now = math.max(rows.now(), seen + 1),
    }, expect = 1 },
    { "assistant_get", { ref = row.id }, expect = 1 },
  }
  if results then
    return decode(results[2][1])
  elseif err.code == "expectation" then
    return nil, errors.new {
      kind = "conflict", code = "changed", cause = err,
      message = ("the assistant '%s' was changed by somebody else meanwhile"):format(row.name),
    }
  elseif err.kind == "conflict" then
    return name_taken(row.name, err)
  end
  return nil, err
end


---@param db perilune.Database
---@param id string
---@return true|nil
---@return perilune.Error?
function M.delete(db, id)
  local results, err = db:write { { "assistant_delete", { id = id } } }
  if not results then
    return nil, err
  elseif results[1].changes == 0 then
    return rows.missing("assistant", id)
  end
  return true
end


return M
