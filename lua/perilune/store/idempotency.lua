-- The place of a request among those with an Idempotency-Key: one of all who send the same is answered, the others get that answer.
local proc = require "perilune.sys.proc"
local rows = require "perilune.store.rows"

local M = {}

---How long an answer is kept, in seconds.
M.KEEP_SECONDS = 7 * 86400


---@class perilune.Repeat
---@field account_no integer 0: the local caller
---@field key string
---@field request_hash string
---@field owner string this process
---@field request_id string
---@field status? integer for `finish`
---@field headers? string JSON
---@field body? string

---Takes the place: "new", it is ours (from a process that is gone: the row says who had it); "again", it was answered (the row has it);
---"running", somebody answers it; "other", the key stands for another request.
---@param db perilune.Database
---@param place perilune.Repeat
---@return "new"|"again"|"running"|"other"|nil
---@return table|perilune.Error|nil row
function M.begin(db, place)
  local which = { account_no = place.account_no, key = place.key }
  local results, err = db:write {
    { "idempotency_begin", {
      account_no = place.account_no, key = place.key, request_hash = place.request_hash, owner = place.owner,
      request_id = place.request_id, now = rows.now(),
    } },
    { "idempotency_get", which, expect = 1 },
  }
  if not results then
    return nil, err
  end
  local row = results[2][1]
  if results[1].changes == 1 then
    return "new"
  elseif row.request_hash ~= place.request_hash then
    return "other"
  elseif row.status then
    return "again", row
  elseif row.owner ~= place.owner and not proc.is_alive(row.owner) then
    local taken = db:write { { "idempotency_take", {
      account_no = place.account_no, key = place.key, was = row.owner, owner = place.owner, request_id = place.request_id, now = rows.now(),
    }, expect = 1 } }
    return taken and "new" or "running", row
  end
  return "running"
end


---Keeps the answer.
---@param db perilune.Database
---@param place perilune.Repeat
---@return true|nil
---@return perilune.Error?
function M.finish(db, place)
  local done, err = db:write { { "idempotency_finish", {
    account_no = place.account_no, key = place.key, owner = place.owner, status = place.status, headers = place.headers,
    body = place.body, now = rows.now(),
  }, expect = 1 } }
  return done and true, err
end


---Gives the place up: the next who asks is answered anew.
---@param db perilune.Database
---@param place perilune.Repeat
---@return true|nil
---@return perilune.Error?
function M.abandon(db, place)
  local done, err = db:write { { "idempotency_abandon", { account_no = place.account_no, key = place.key, owner = place.owner } } }
  return done and true, err
end


---Forgets what is older than it must be.
---@param db perilune.Database
---@return true|nil
---@return perilune.Error?
function M.sweep(db)
  local done, err = db:write { { "idempotency_sweep", { before = rows.now() - M.KEEP_SECONDS * 1000 } } }
  return done and true, err
end


return M
