-- Messages of a thread, numbered from 1 without gaps. A message is never changed; what was deleted of it (store/notes.lua) is left out
-- where messages are read.
local errors = require "perilune.std.errors"
local notes = require "perilune.store.notes"
local rows = require "perilune.store.rows"

local M = {}

local LIST_MAX = 10000
-- Above every number that a message can have.
local SEQ_END = 1 << 20

local json_columns = { "body", "metadata", "deleted" }
local time_columns = { "created_at" }


---@class perilune.StoredMessage
---@field seq integer
---@field role string
---@field status "complete"|"partial"
---@field run_id? string
---@field created_at number
---@field message perilune.Message
---@field metadata? table
---@field deleted? string[] parts that were deleted

local function decode_whole(row)
  local decoded, err = rows.decode(row, json_columns, time_columns)
  if not decoded then
    return nil, err
  end
  decoded.message, decoded.body = decoded.body, nil
  return decoded
end


local function decode(row)
  local decoded, err = decode_whole(row)
  if decoded and decoded.deleted then
    decoded.message = notes.without(decoded.message, decoded.deleted)
  end
  return decoded, err
end


---The statements that append a message, for a batch: the first returns its `seq`. With `run` only while that run is active
---and still its owner's; with `is_idle` only while no run of the thread is active.
---@param thread_id string
---@param message perilune.Message
---@param options { run: perilune.RunRow?, run_id: string?, status: string?, now: integer, metadata: table?, is_idle: boolean? }
---@return perilune.StoreCall[]|nil
---@return perilune.Error?
function M.calls(thread_id, message, options)
  local body, err = rows.encode(message)
  if not body then
    return nil, err
  end
  local run = options.run
  local params = {
    thread_id = thread_id, run_id = run and run.id or options.run_id, role = message.role, status = options.status or "complete",
    body = body, now = options.now,
  }
  local name = "message_append"
  if run then
    name, params.owner, params.epoch = "message_append_guarded", run.lease_owner, run.lease_epoch
  elseif options.is_idle then
    name, params.run_id = "message_append_idle", nil
  end
  local calls = { { name, params, expect = 1 }, { "thread_advance", { id = thread_id, now = options.now }, expect = 1 } }
  if options.metadata then
    calls[3], err = notes.of_last_call(thread_id, options.metadata)
    if not calls[3] then
      return nil, err
    end
  end
  return calls
end


-- A message that was to come between runs, and found one.
local function locked(thread_id)
  return nil, errors.new {
    kind = "conflict", code = "active_run",
    message = ("the thread %s has an active run: no message can be added meanwhile"):format(thread_id),
  }
end


---@param db perilune.Database
---@param thread string|{ id: string }
---@param message perilune.Message
---@param options? { run_id: string?, status: "complete"|"partial"|nil, metadata: table?, is_idle: boolean? } is_idle: only while no run of
---the thread is active, else a conflict
---@return integer|nil seq
---@return perilune.Error?
function M.append(db, thread, message, options)
  options = options or {}
  local id = rows.id(thread)
  local batch, err = M.calls(id, message, {
    run_id = options.run_id, status = options.status, now = rows.now(), metadata = options.metadata, is_idle = options.is_idle,
  })
  if not batch then
    return nil, err
  end
  local results
  results, err = db:write(batch)
  if results then
    return results[1][1].seq
  elseif err.code == "expectation" then
    local found = options.is_idle and db:read("thread_by_id", { id = id })
    if found and found[1] then
      return locked(id)
    end
    return rows.missing("thread", id)
  end
  return nil, err
end


---@param db perilune.Database
---@param thread string|{ id: string }
---@param options? { limit: integer?, after: integer?, order: "asc"|"desc"|nil, is_whole: boolean? } after: the seq of the last one of the
---previous page; is_whole: also what was deleted
---@return perilune.StoredMessage[]|nil
---@return perilune.Error?
function M.list(db, thread, options)
  options = options or {}
  local id, limit = rows.id(thread), math.min(options.limit or 100, LIST_MAX)
  local params = { thread_id = id, limit = limit, is_whole = options.is_whole or false }
  local list, err
  if options.order == "desc" then
    params.before = options.after or SEQ_END
    list, err = db:read("message_list_down", params)
  else
    params.after = options.after or 0
    list, err = db:read("message_list_up", params)
  end
  return rows.each(list, err, options.is_whole and decode_whole or decode)
end


---The last `n` messages, oldest first.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param n integer
---@return perilune.StoredMessage[]|nil
---@return perilune.Error?
function M.window(db, thread, n)
  local list, err = M.list(db, thread, { limit = n, order = "desc" })
  if not list then
    return nil, err
  end
  local count = #list
  for position = 1, count // 2 do
    list[position], list[count + 1 - position] = list[count + 1 - position], list[position]
  end
  return list
end


return M
