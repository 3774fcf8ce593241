-- Threads: persistent conversations, opened by a key or made without one.
local rows = require "perilune.store.rows"
local token = require "perilune.sys.token"

local M = {}

local LIST_MAX = 1000

local json_columns = { "metadata" }
local time_columns = { "created_at", "updated_at" }


---@class perilune.ThreadRow
---@field id string
---@field key? string
---@field title? string
---@field metadata? table
---@field next_seq integer the number that the next message gets
---@field created_at number
---@field updated_at number

local function decode(row)
  return rows.decode(row, json_columns, time_columns)
end


---Opens the thread with this key, or creates it; without a key, a new one. Processes may race: all get the same thread.
---@param db perilune.Database
---@param key? string
---@param options? { title: string?, metadata: table? } for a thread that is created
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.open(db, key, options)
  if key then
    local found, err = db:read("thread_by_key", { key = key })
    if not found then
      return nil, err
    elseif found[1] then
      return decode(found[1])
    end
  end
  options = options or {}
  local metadata, err = rows.encode(options.metadata)
  if err then
    return nil, err
  end
  local id = token.id("thread")
  local results
  results, err = db:write {
    { "thread_create", { id = id, key = key, title = options.title, metadata = metadata, now = rows.now() } },
    key and { "thread_by_key", { key = key }, expect = 1 } or { "thread_by_id", { id = id }, expect = 1 },
  }
  if not results then
    return nil, err
  end
  return decode(results[2][1])
end


---@param db perilune.Database
---@param ref string an id or a key
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.get(db, ref)
  local list, err = db:read("thread_get", { ref = ref })
  local row
  row, err = rows.one(list, err, "thread", ref)
  if not row then
    return nil, err
  end
  return decode(row)
end


---The newest first.
---@param db perilune.Database
---@param options? { limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.ThreadRow[]|nil
---@return perilune.Error?
function M.list(db, options)
  options = options or {}
  local list, err = db:read("thread_list", { after = options.after, limit = math.min(options.limit or 20, LIST_MAX) })
  return rows.each(list, err, decode)
end


---The thread that was used last: that of the newest run, or the newest one when nothing ever ran.
---@param db perilune.Database
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.latest(db)
  local list, err = db:read("thread_latest")
  local row
  row, err = rows.one(list, err, "thread", "yet")
  if not row then
    return nil, err
  end
  return decode(row)
end


---Deletes the thread with its messages, runs, steps and usage.
---@param db perilune.Database
---@param id string
---@return true|nil
---@return perilune.Error?
function M.delete(db, id)
  local results, err = db:write { { "thread_delete", { id = id } } }
  if not results then
    return nil, err
  elseif results[1].changes == 0 then
    return rows.missing("thread", id)
  end
  return true
end


return M
