-- What an error is to an HTTP client: a status, OpenAI's type and code, a message, and whether trying again makes sense. One table for
-- every door; the shapes of other vendors are made of the same answer.
local errors = require "perilune.std.errors"
local json = require "perilune.json"

local M = {}


---@class perilune.serve.Answer
---@field status integer
---@field type string
---@field code? string
---@field param? string
---@field message string
---@field headers table<string, string>

---@class perilune.serve.AnswerFields
---@field status integer
---@field message string
---@field type? string default by status
---@field code? string
---@field param? string
---@field headers? table<string, string>
---@field is_retryable? boolean

-- Types by status, where a kind says nothing else.
local types = {
  [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error", [429] = "rate_limit_exceeded",
}


local function type_of(status)
  return types[status] or status >= 500 and "server_error" or "invalid_request_error"
end


---An error that says how it is answered.
---@param fields perilune.serve.AnswerFields
---@return perilune.Error
function M.new(fields)
  local headers = fields.headers or {}
  if fields.is_retryable ~= nil then
    headers["x-should-retry"] = tostring(fields.is_retryable)
  end
  return errors.new {
    kind = "api", message = fields.message, code = fields.code,
    answer = {
      status = fields.status, type = fields.type or type_of(fields.status), code = fields.code, param = fields.param,
      message = fields.message, headers = headers,
    },
  }
end


---Raises: something in the request is wrong.
---@param param string? the field
---@param message string
---@param code? string default "invalid_value"
function M.invalid(param, message, code)
  error(M.new { status = 400, type = "invalid_request_error", code = code or "invalid_value", param = param, message = message }, 0)
end


---Raises: there is no such thing, or it is somebody else's.
---@param what string "thread"
---@param id string
function M.not_found(what, id)
  error(M.new {
    status = 404, type = "invalid_request_error", code = "not_found", message = ("No %s found with id '%s'."):format(what, id),
  }, 0)
end


---@class perilune.serve.Kind
---@field status integer
---@field type? string
---@field code? string
---@field retry? boolean

-- Of a provider that does not answer because of this server's key for it.
local OF_KEY = { status = 502, type = "server_error", code = "upstream_credentials_exhausted", retry = false }

-- Errors of the layers below, by kind. Where no status is said the provider's own one of 4xx holds.
local kinds = {
  model_not_found = { status = 404, type = "invalid_request_error", code = "model_not_found", retry = false },
  not_found = { status = 404, type = "invalid_request_error", code = "not_found", retry = false },
  rate_limit = { status = 429, type = "rate_limit_exceeded", code = "rate_limit_exceeded" },
  quota = { status = 429, type = "insufficient_quota", code = "insufficient_quota", retry = false },
  context_length = { status = 400, type = "invalid_request_error", code = "context_length_exceeded", retry = false },
  content_filter = { status = 400, type = "invalid_request_error", code = "content_policy_violation", retry = false },
  media = { status = 400, type = "invalid_request_error", code = "invalid_media", retry = false },
  overloaded = { status = 503, type = "server_error", code = "overloaded", retry = true },
  timeout = { status = 504, type = "server_error", code = "upstream_timeout", retry = true },
  connection = { status = 502, type = "server_error", code = "upstream_error" },
  tls = { status = 502, type = "server_error", code = "upstream_error", retry = false },
  server = { status = 502, type = "server_error", code = "upstream_error" },
  bad_response = { status = 502, type = "server_error", code = "upstream_error" },
  empty_response = { status = 502, type = "server_error", code = "upstream_error" },
  tool = { status = 502, type = "server_error", code = "upstream_error", retry = false }, -- calls that the model did not get right
  schema = { status = 502, type = "server_error", code = "upstream_error", retry = false },
  stream_interrupted = { status = 502, type = "server_error", code = "stream_interrupted" },
  conflict = { status = 409, type = "invalid_request_error", code = "conflict", retry = false },
  database = { status = 503, type = "server_error", code = "storage_unavailable", retry = true },
  budget = { status = 500, type = "server_error", code = "budget_exceeded", retry = false },
  cancelled = { status = 499, type = "server_error", code = "cancelled", retry = false },
}

local LOCKED = { status = 400, type = "invalid_request_error", code = "thread_locked", retry = false }
local MALFORMED = { status = 400, type = "invalid_request_error", code = "invalid_value", retry = false }

-- What says more than its kind, by kind and code: providers have codes of their own. Of a run that is in the way 409 would be tried
-- again by every SDK.
local codes = {
  ["conflict:active_run"] = LOCKED, ["conflict:waiting_run"] = LOCKED,
  ["schema:malformed"] = MALFORMED, ["configuration:malformed"] = MALFORMED, -- tokens
  ["configuration:unsupported"] = { status = 400, type = "invalid_request_error", code = "unsupported_parameter", retry = false },
  ["not_found:assistant"] = { status = 404, type = "invalid_request_error", code = "model_not_found", retry = false },
}


-- Is it about this server's key for a provider? The caller's own keys and credits are refused before any provider is known.
local function is_of_key(err)
  return err.kind == "authentication" or err.kind == "permission" or err.kind == "quota" and err.provider ~= nil
end


-- What made all targets fail: the first one that was really asked.
local function first_cause(err)
  for _, attempt in ipairs(err.attempts or {}) do
    if attempt.error and attempt.reason ~= "skipped" then
      return attempt.error
    end
  end
  return err.cause
end


-- An upstream's refusal of the request itself is passed on as such.
local function passed_on(err)
  local status = err.status
  if err.kind == "api" and status and status >= 400 and status < 500 then
    status = (status == 413 or status == 422) and status or 400
    return { status = status, type = "invalid_request_error", code = "upstream_rejected", retry = false }
  end
end


local function known_of(err)
  return passed_on(err) or is_of_key(err) and OF_KEY or codes[("%s:%s"):format(err.kind, err.code)] or kinds[err.kind]
    or { status = 500, type = "server_error", code = err.kind == "configuration" and "configuration" or "internal_error" }
end


-- What is nobody's outside: it may name files, keys, accounts. The log has it (serve/handler.lua writes it).
local is_inside = { internal = true, database = true }
local INSIDE = "The server has failed to answer this request; its log says why, by the request's id."
local KEY = "The provider does not let this server in: the server's key for it is missing, refused, used up, or not allowed to do this. "
  .. "The server's log says more, by the request's id."
local ALL_FAILED = "No provider could answer"


-- A refusal speaks of the account whatever else it is: that this project has no such model, for one.
local function is_of_account(err)
  return is_of_key(err) or err.status == 401 or err.status == 403
end


---What is said of an error to a client.
---@param err perilune.Error|table one that was stored has only some of the fields
---@return string
function M.words(err)
  if is_inside[err.kind] then
    return INSIDE
  elseif is_of_account(err) then
    return KEY
  elseif err.kind ~= "all_failed" then
    return err.provider and err.message:gsub("%s*%(https?://[^)]*%)", "") or err.message -- where a provider is reached is the server's
  end
  local parts = {}
  for _, attempt in ipairs(err.attempts or {}) do
    if attempt.reason ~= "retried" then -- the last word of each target
      parts[#parts + 1] = ("%s/%s: %s"):format(attempt.provider, attempt.model, M.words(attempt.error))
    end
  end
  return parts[1] and ("%s: %s"):format(ALL_FAILED, table.concat(parts, "; ")) or ALL_FAILED .. "."
end


---How an error is answered.
---@param err any what was raised
---@return perilune.serve.Answer
function M.answer_of(err)
  err = errors.wrap(err)
  if err.answer then
    return err.answer
  end
  local cause = err.kind == "all_failed" and first_cause(err) or err
  if errors.is(cause) and cause.answer then
    return cause.answer
  end
  local known, headers = known_of(cause), {}
  if known.retry ~= nil then
    headers["x-should-retry"] = tostring(known.retry)
  end
  if known.retry ~= false and (known.status == 429 or known.status == 503) then
    local seconds = err.retry_after or cause.retry_after or 1
    headers["retry-after"], headers["retry-after-ms"] = tostring(math.max(1, math.ceil(seconds))), tostring(math.ceil(seconds * 1000))
  end
  return {
    status = known.status, type = known.type or type_of(known.status), code = known.code, headers = headers,
    param = known.code == "model_not_found" and "model" or known.status < 500 and cause.param or nil, message = M.words(err),
  }
end


---OpenAI's JSON of it.
---@param answer perilune.serve.Answer
---@return table
function M.body(answer)
  return { error = {
    message = answer.message, type = answer.type, param = answer.param or json.null, code = answer.code or json.null,
  } }
end


return M
