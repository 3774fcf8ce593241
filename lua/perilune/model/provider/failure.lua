-- Provider errors in one shape: reads the error bodies that exist in the wild and maps them to a kind. Every wire
-- format shares it. It does not read headers (retry-after belongs to the fetch). The message stays the provider's
-- own, verbatim.
local errors = require "perilune.std.errors"
local null = require("perilune.json").null

local M = {}

M.EXCERPT_BYTES_MAX = 200

-- Codes and types, lower case. `code` is looked up before `type`: it is the more precise of the two.
local kind_of_word = {
  invalid_api_key = "authentication", authentication_error = "authentication", unauthorized = "authentication",
  invalid_authentication = "authentication", invalid_authentication_error = "authentication",
  permission_error = "permission", permission_denied = "permission",
  insufficient_quota = "quota", billing_hard_limit_reached = "quota", billing_not_active = "quota",
  enforced_spend_limit_reached = "quota", billing_error = "quota", insufficient_balance = "quota", insufficient_credits = "quota",
  rate_limit_exceeded = "rate_limit", rate_limit_error = "rate_limit", rate_limited = "rate_limit",
  ratelimitreached = "rate_limit", too_many_requests = "rate_limit",
  context_length_exceeded = "context_length", exceed_context_size_error = "context_length",
  model_context_window_exceeded = "context_length",
  model_not_found = "model_not_found", model_decommissioned = "model_not_found", deploymentnotfound = "model_not_found",
  content_filter = "content_filter", content_policy_violation = "content_filter",
  responsibleaipolicyviolation = "content_filter",
  overloaded_error = "overloaded", overloaded = "overloaded", insufficient_system_resource = "overloaded",
  service_unavailable = "overloaded", service_unavailable_error = "overloaded",
  api_error = "server", server_error = "server", internal_server_error = "server", internal_error = "server",
  tool_use_failed = "bad_response",
  unauthenticated = "authentication", api_key_invalid = "authentication", quota_per_day = "quota",
  resource_exhausted = "rate_limit", unavailable = "overloaded", deadline_exceeded = "timeout",
  internal = "server", cancelled = "server",
}

-- What only the message says. Plain, lower-case fragments, tried in order.
local kind_of_fragment = {
  { "context length", "context_length" }, { "context_length", "context_length" },
  { "maximum context", "context_length" }, { "context window", "context_length" },
  { "context size", "context_length" }, { "prompt is too long", "context_length" },
  { "prompt too long", "context_length" }, { "input is too long", "context_length" },
  { "insufficient balance", "quota" }, { "insufficient credit", "quota" }, { "credit balance is too low", "quota" },
  { "requires more credits", "quota" },
  { "exceeds the maximum number of tokens", "context_length" }, { "model not found", "model_not_found" },
  { "too many tokens: size limit", "context_length" },
  { "content management policy", "content_filter" }, { "content policy", "content_filter" },
}

local kind_of_status = {
  [401] = "authentication", [402] = "quota", [403] = "permission", [404] = "not_found", [408] = "timeout",
  [429] = "rate_limit", [498] = "overloaded", [503] = "overloaded", [529] = "overloaded",
}

local is_retryable = {
  rate_limit = true, overloaded = true, server = true, timeout = true, stream_interrupted = true, bad_response = true,
}

-- Statuses that say "try again" whatever the body says.
local is_retryable_status = { [408] = true, [409] = true, [425] = true }

-- The provider may have done the work, or part of it, before it failed. An error that it reports itself, in an error status or in
-- place of an answer, is not billed.
local is_maybe_billed = { timeout = true, stream_interrupted = true, bad_response = true, content_filter = true }


local function may_be_billed(kind, status, context)
  return context.has_content or not status and is_maybe_billed[kind] or false
end


local function said(value)
  if value ~= nil and value ~= null and value ~= "" then
    return value
  end
end


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


-- The error codes that some vendors repeat as numbers count as a status when HTTP said 200.
local function effective_status(status, code)
  if status and status >= 400 then
    return status
  end
  local number = math.tointeger(code)
  return number and number >= 400 and number < 600 and number or nil
end


local function kind_from_words(words)
  for _, word in ipairs(words) do
    local kind = kind_of_word[word:lower()]
    if kind then
      return kind
    end
  end
end


local function kind_from_message(message)
  for _, rule in ipairs(kind_of_fragment) do
    if message:find(rule[1], 1, true) then
      return rule[2]
    end
  end
end


---The kind of a provider's error.
---@param status integer? HTTP status; errors inside a 200 have none
---@param words string[] code, type and the like, the most precise first
---@param message string
---@return string kind
function M.kind(status, words, message)
  local kind = kind_from_words(words)
  if kind then
    return kind
  end
  local lower = message:lower()
  kind = kind_from_message(lower)
  if kind then
    return kind
  end
  if (status == 404 or words[1] == "not_found_error") and lower:find("model", 1, true) then
    return "model_not_found"
  end
  return kind_of_status[status] or (status and status >= 500 and "server") or "api"
end


-- FastAPI answers with a text or with a list of `{ loc, msg, type }`.
local function detail_message(detail)
  if type(detail) ~= "table" then
    return text(detail)
  end
  local parts = {}
  for _, item in ipairs(detail) do
    parts[#parts + 1] = type(item) == "table" and text(item.msg) or text(item)
  end
  return text(table.concat(parts, "; "))
end


-- What Google says in its list of details: a reason ("API_KEY_INVALID"), which quota it was, when to come back.
local function read_details(details)
  local reason, retry_after
  for _, detail in ipairs(type(details) == "table" and details or {}) do
    if type(detail) == "table" then
      reason = reason or text(detail.reason)
      local delay = type(detail.retryDelay) == "string" and tonumber(detail.retryDelay:match("^([%d.]+)s$"))
      retry_after = delay or retry_after
      for _, violation in ipairs(type(detail.violations) == "table" and detail.violations or {}) do
        local quota = type(violation) == "table" and text(violation.quotaId)
        reason = quota and quota:find("PerDay", 1, true) and "quota_per_day" or reason
      end
    end
  end
  return reason, retry_after
end


---Reads an error body of any known shape.
---@param root table the decoded body or frame
---@return { message: string?, type: string?, code: (string|integer)?, param: string?, words: string[], retry_after: number? }
function M.parse(root)
  local inner = said(root.error)
  local from = type(inner) == "table" and inner or root
  local code, kind = said(from.code), text(from.type)
  local found = {
    message = text(inner) or text(from.message) or detail_message(from.detail) or text(from.msg),
    code = (type(code) == "string" or math.type(code) == "integer") and code or nil, param = text(from.param),
    type = kind ~= "error" and kind or from == inner and text(from.status) or text(code),
    words = {},
  }
  local innermost = type(from.innererror) == "table" and text(from.innererror.code) or nil
  if not innermost then
    innermost, found.retry_after = read_details(from.details)
  end
  for _, word in ipairs { innermost or false, text(code) or false, found.type or false } do
    if word then
      found.words[#found.words + 1] = word
    end
  end
  return found
end


---Does this frame carry an error? True for every shape seen in recordings.
---@param root table
---@param event_name string?
---@return boolean
function M.is_error(root, event_name)
  return said(root.error) and true or event_name == "error" or root.object == "error" or root.type == "error"
end


---The error object of an error body.
---@param root table the decoded body or frame
---@param context { status: integer?, finish_reason: string?, has_content: boolean? }
---@return perilune.Error
function M.from_body(root, context)
  local found = M.parse(root)
  local status = context.status and context.status >= 400 and context.status or nil
  local where = status and (" (HTTP " .. status .. ")") or ""
  local message = found.message or ("the provider reported an error without a message" .. where)
  local kind = M.kind(effective_status(status, found.code), found.words, message)
  return errors.new {
    kind = kind,
    message = message,
    status = status,
    type = found.type,
    code = found.code,
    param = found.param,
    request_id = text(root.request_id),
    retryable = is_retryable[kind] or is_retryable_status[status] or false,
    retry_after = found.retry_after,
    maybe_billed = may_be_billed(kind, status, context),
    details = { body = root, finish_reason = context.finish_reason },
  }
end


---The beginning of bytes that were not understood, safe to print and to store.
---@param bytes string
---@return string
function M.excerpt(bytes)
  local head = bytes:sub(1, M.EXCERPT_BYTES_MAX)
  local length, bad = utf8.len(head)
  if not length and bad > #head - 4 and #bytes > #head then
    head = head:sub(1, bad - 1) -- a character was cut in two
    length = utf8.len(head)
  end
  return length and head or (head:gsub("[\128-\255]", "?"))
end


---The error object for bytes that are not an answer: HTML, a cut body, an unknown document. The status decides where
---it can.
---@param bytes string?
---@param reason string what is wrong with them
---@param context { status: integer?, has_content: boolean? }
---@return perilune.Error
function M.from_bytes(bytes, reason, context)
  local status = context.status and context.status >= 400 and context.status or nil
  local kind = status and M.kind(status, {}, "") or "bad_response"
  return errors.new {
    kind = kind,
    message = status and ("HTTP " .. status .. ": " .. reason) or reason,
    status = status,
    retryable = is_retryable[kind] or is_retryable_status[status] or false,
    maybe_billed = may_be_billed(kind, status, context),
    details = bytes and { excerpt = M.excerpt(bytes) } or nil,
  }
end


---The error object of a stream that ended too early.
---@param finish_reason string?
---@return perilune.Error
function M.interrupted(finish_reason)
  return errors.new {
    kind = "stream_interrupted",
    message = "the stream ended before the answer was complete",
    retryable = true,
    maybe_billed = true,
    details = finish_reason and { finish_reason = finish_reason } or nil,
  }
end


return M
