-- Requests with an Idempotency-Key: the first one is answered, its answer is kept, and whoever sends the same again gets the same.
local errors = require "perilune.std.errors"
local idempotency = require "perilune.store.idempotency"
local ids = require "perilune.serve.ids"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local problem = require "perilune.serve.problem"
local run_jobs = require "perilune.serve.run_jobs"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local M = {}

local KEY_BYTES_MAX = 255
-- How long somebody who asks the same at the same time is kept waiting for the first one's answer.
local ATTACH_SECONDS = 30
local LOOK_SECONDS = 0.1
local WRITE_SECONDS = 30


local function must(value, err)
  if value == nil then
    error(err, 0)
  end
  return value, err
end


-- The answer that was kept.
local function again(exchange, row)
  local headers = row.headers and json.decode(row.headers) or {}
  headers["idempotency-replayed"] = "true"
  exchange:reply(row.status, row.body, headers)
end


-- Somebody asks what is being answered: he gets that answer, if it comes soon.
local function attach(ask)
  for _ = 1, ATTACH_SECONDS / LOOK_SECONDS do
    task.sleep(LOOK_SECONDS)
    local state, row = must(ask())
    if state ~= "running" then
      return state, row
    end
  end
  error(problem.new {
    status = 409, type = "invalid_request_error", code = "idempotency_in_progress", headers = { ["retry-after"] = "5" },
    message = "The request with this Idempotency-Key is still being answered.",
  }, 0)
end


local function answer_lost()
  return problem.new {
    status = 409, type = "invalid_request_error", code = "idempotency_answer_lost", is_retryable = false,
    message = "The answer to the request with this Idempotency-Key broke off, or was too long to be kept. It is not made, and charged, "
      .. "again: ask with another key.",
  }
end


-- What those get who ask the same again: the answer, also one that broke off. Nil: nothing has come of it, it may be asked for anew. Where
-- something has come of it, which was paid for, and there is no answer to give, they get the refusal that it ended in, or are told so.
local function kept_of(exchange, raised)
  local copy = exchange.copy
  if copy and (copy.status < 500 or exchange.has_content) then
    return copy.status, copy.body, { ["content-type"] = copy.type }
  elseif exchange.has_content then
    local answer = raised and not exchange.has_begun and exchange:explain(raised)
    if not answer or answer.status >= 499 then
      answer = problem.answer_of(answer_lost())
    end
    answer.headers["content-type"] = "application/json"
    return answer.status, exchange:error_text(answer), answer.headers
  end
end


-- Keeps what came of a request; one that came to nothing gives its place up.
local function conclude(exchange, db, place, raised)
  local status, body, headers = kept_of(exchange, raised)
  if not status then
    return idempotency.abandon(db, place)
  end
  place.status, place.body, place.headers = status, body, json.encode(headers)
  local done, err = idempotency.finish(db, place)
  if not done then
    log.write("error", "serve", ("%s: what was answered could not be kept: %s"):format(exchange.id, tostring(err)))
  end
end


-- Runs the route, however it ends.
local function answer_once(exchange, db, place, run)
  exchange.wants_copy = true
  local leaving <close> = setmetatable({}, { __close = function(_, raised) -- luacheck: ignore 211
    task.shield(WRITE_SECONDS, conclude, exchange, db, place, raised)
  end })
  run(exchange)
end


-- A process that is gone had begun to answer. What answers instead when the run that it began goes on; nil: none does.
local function goes_on(db, request_id)
  local id = ids.run_of_request(request_id)
  local row, err = runs.get(db, id)
  if not row and not errors.is(err, "not_found") then
    error(err, 0)
  elseif not row or run_jobs.is_passing(row) then
    return nil
  end
  return function(exchange)
    exchange.has_content = true -- what it comes to is paid for
    error(problem.new {
      status = 409, type = "invalid_request_error", code = "idempotency_answer_lost", is_retryable = false,
      message = ("The answer to the request with this Idempotency-Key broke off, and is not made again: the run %s goes on with it, and "
        .. "/v1/runs/%s/events shows what comes of it."):format(id, id),
    }, 0)
  end
end


---Runs the function of a route, once for each Idempotency-Key.
---@param exchange perilune.Exchange
---@param run fun(exchange: perilune.Exchange)
function M.run(exchange, run)
  local key = exchange.method == "POST" and exchange:header("idempotency-key")
  if not key then
    return run(exchange)
  elseif key == "" or #key > KEY_BYTES_MAX or key:find("[^\x20-\x7E]") then
    problem.invalid("Idempotency-Key", ("The Idempotency-Key must be 1 to %d printable ASCII characters."):format(KEY_BYTES_MAX))
  end
  local db, caller = exchange.server.db, exchange.key
  local may_ask = table.concat(caller.scopes.models or {}, "\n") -- whoever may ask less is not given what another key has asked
  if caller.account_no == 0 and caller.account then -- a script knows the account, the database does not
    key = caller.account .. "\n" .. key
  end
  local place = {
    account_no = caller.account_no, key = key, owner = exchange.server.owner, request_id = exchange.id,
    request_hash = token.sha256(exchange.method .. "\n" .. exchange.path .. "\n" .. may_ask .. "\n\n" .. exchange.request:body()),
  }
  local function ask()
    return idempotency.begin(db, place)
  end
  local state, row = must(ask())
  if state == "running" then
    state, row = attach(ask)
  end
  if state == "again" then
    return again(exchange, row)
  elseif state == "other" then
    error(problem.new {
      status = 422, type = "invalid_request_error", code = "idempotency_key_reused", is_retryable = false,
      message = "This Idempotency-Key was used for another request before.",
    }, 0)
  end
  return answer_once(exchange, db, place, row and goes_on(db, row.request_id) or run)
end


return M
