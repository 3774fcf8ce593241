-- Threads: persistent conversations, opened by a key or made without one.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
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
---@field account? string whose it is; nil: this machine's scripts'

---A row as Lua wants it, in place.
---@param row table
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.decode(row)
  return rows.decode(row, json_columns, time_columns)
end


-- The statement that makes a thread, and its id.
local function create_call(key, options, expect)
  local metadata, err = rows.encode(options.metadata)
  if err then
    return nil, err
  end
  local id = token.id("thread")
  return { "thread_create", {
    id = id, key = key, title = options.title, metadata = metadata, now = rows.now(), account = options.account,
  }, expect = expect }, id
end


---Opens the thread with this key, or creates it; without a key, a new one. Processes may race: all get the same thread.
---@param db perilune.Database
---@param key? string
---@param options? { title: string?, metadata: table?, account: string? } for a thread that is created
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.open(db, key, options)
  if key then
    local found, err = db:read("thread_by_key", { key = key })
    if not found then
      return nil, err
    elseif found[1] then
      return M.decode(found[1])
    end
  end
  local create, id = create_call(key, options or {})
  if not create then
    return nil, id
  end
  local results, err = db:write {
    create, key and { "thread_by_key", { key = key }, expect = 1 } or { "thread_by_id", { id = id }, expect = 1 },
  }
  if not results then
    return nil, err
  end
  return M.decode(results[2][1])
end


-- Of a batch that begins with thread_create: the row its last statement returns; a key that is taken is a conflict.
local function created(results, err, key)
  if results then
    return M.decode(results[#results][1])
  elseif err.code == "expectation" and err.details.statement == "thread_create" then
    err = errors.new { kind = "conflict", code = "key", message = ("there is a thread with the key '%s' already"):format(key), cause = err }
  end
  return nil, err
end


---Makes a new thread. A key that is taken is a conflict.
---@param db perilune.Database
---@param options? { key: string?, title: string?, metadata: table?, account: string?,
---messages: { message: perilune.Message, metadata: table? }[]? } messages: those that it begins with
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.create(db, options)
  options = options or {}
  local create, id = create_call(options.key, options, 1)
  if not create then
    return nil, id
  end
  local batch = { create }
  for _, one in ipairs(options.messages or {}) do
    local calls, err = messages.calls(id, one.message, { now = rows.now(), metadata = one.metadata })
    if not calls then
      return nil, err
    end
    table.move(calls, 1, #calls, #batch + 1, batch)
  end
  batch[#batch + 1] = { "thread_by_id", { id = id }, expect = 1 }
  local results, err = db:write(batch)
  return created(results, err, options.key)
end


---Makes a new thread of the messages of another one, up to a number, all of them without one. The messages, and what they were
---summarised to, are copies; the runs stay where they were.
---@param db perilune.Database
---@param source string|{ id: string }
---@param at_seq? integer
---@param options? { key: string?, title: string?, metadata: table? } without title and metadata, those of the source
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.fork(db, source, at_seq, options)
  local from, err = M.get(db, rows.id(source))
  if not from then
    return nil, err
  end
  local last_seq = from.next_seq - 1
  if at_seq and (at_seq < 0 or at_seq > last_seq) then
    return nil, errors.new {
      kind = "not_found", code = "message",
      message = ("the thread %s has %d messages, there is no message %d"):format(from.id, last_seq, at_seq),
    }
  end
  options = options or {}
  local create, id = create_call(options.key, {
    title = options.title or from.title, metadata = options.metadata or from.metadata, account = from.account,
  }, 1)
  if not create then
    return nil, id
  end
  local copy = { id = id, source_id = from.id, upto_seq = at_seq or last_seq }
  local results
  results, err = db:write {
    create, { "thread_fork", copy }, { "thread_fork_notes", copy }, { "thread_fork_summaries", copy },
    { "thread_forked", { id = id }, expect = 1 },
    { "thread_by_id", { id = id }, expect = 1 },
  }
  return created(results, err, options.key)
end


---Changes what is given; json.null removes it. The metadata is replaced as a whole.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param changes { title: string?, metadata: table? }
---@return perilune.ThreadRow|nil
---@return perilune.Error?
function M.update(db, thread, changes)
  local id, metadata, err = rows.id(thread), changes.metadata, nil
  if metadata ~= json.null then
    metadata, err = rows.encode(metadata)
  end
  if err then
    return nil, err
  end
  local results
  results, err = db:write {
    { "thread_update", {
      id = id, has_title = changes.title ~= nil, title = changes.title, has_metadata = changes.metadata ~= nil, metadata = metadata,
      now = rows.now(),
    } },
    { "thread_by_id", { id = id } },
  }
  local row
  row, err = rows.one(results and results[2], err, "thread", id)
  return row and M.decode(row), err
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
  return M.decode(row)
end


---The newest first.
---@param db perilune.Database
---@param options? { limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.ThreadRow[]|nil
---@return perilune.Error?
function M.list(db, options)
  options = options or {}
  local list, err = db:read("thread_list", { after = options.after, limit = math.min(options.limit or 20, LIST_MAX) })
  return rows.each(list, err, M.decode)
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
  return M.decode(row)
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
