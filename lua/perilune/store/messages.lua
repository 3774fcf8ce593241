-- Messages of a thread, numbered from 1 without gaps. A message is never changed.
local rows = require "perilune.store.rows"

local M = {}

local LIST_MAX = 10000
-- Above every number that a message can have.
local SEQ_END = 1 << 20

local json_columns = { "body" }
local time_columns = { "created_at" }


---@class perilune.StoredMessage
---@field seq integer
---@field role string
---@field status "complete"|"partial"
---@field run_id? string
---@field created_at number
---@field message perilune.Message

local function decode(row)
  local decoded, err = rows.decode(row, json_columns, time_columns)
  if not decoded then
    return nil, err
  end
  decoded.message, decoded.body = decoded.body, nil
  return decoded
end


---The statements that append a message, for a batch: the first returns its `seq`. With `run` only while that run is active
---and still its owner's.
---@param thread_id string
---@param message perilune.Message
---@param options { run: perilune.RunRow?, run_id: string?, status: string?, now: integer }
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
  end
  return { { name, params, expect = 1 }, { "thread_advance", { id = thread_id, now = options.now }, expect = 1 } }
end


---@param db perilune.Database
---@param thread string|{ id: string }
---@param message perilune.Message
---@param options? { run_id: string?, status: "complete"|"partial"|nil }
---@return integer|nil seq
---@return perilune.Error?
function M.append(db, thread, message, options)
  options = options or {}
  local id = rows.id(thread)
  local batch, err = M.calls(id, message, { run_id = options.run_id, status = options.status, now = rows.now() })
  if not batch then
    return nil, err
  end
  local results
  results, err = db:write(batch)
  if results then
    return results[1][1].seq
  elseif err.code == "expectation" then
    return rows.missing("thread", id)
  end
  return nil, err
end


---@param db perilune.Database
---@param thread string|{ id: string }
---@param options? { limit: integer?, after: integer?, order: "asc"|"desc"|nil } after: the seq of the last one of the previous page
---@return perilune.StoredMessage[]|nil
---@return perilune.Error?
function M.list(db, thread, options)
  options = options or {}
  local id, limit = rows.id(thread), math.min(options.limit or 100, LIST_MAX)
  local list, err
  if options.order == "desc" then
    list, err = db:read("message_list_down", { thread_id = id, before = options.after or SEQ_END, limit = limit })
  else
    list, err = db:read("message_list_up", { thread_id = id, after = options.after or 0, limit = limit })
  end
  return rows.each(list, err, decode)
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
