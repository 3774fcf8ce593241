-- Faults by name, for scripted models: the error objects that the real stages make of what providers and networks do.
local errors = require "perilune.std.errors"
local failure = require "perilune.model.provider.failure"

local M = {}

-- What a provider says: HTTP status, code and message, in OpenAI's shape.
local answers = {
  api = { 400, "invalid_request", "the request is not valid" },
  authentication = { 401, "invalid_api_key", "the key is not valid" },
  quota = { 402, "insufficient_quota", "the quota is used up" },
  permission = { 403, "permission_denied", "the key may not do this" },
  model_not_found = { 404, "model_not_found", "there is no such model" },
  context_length = { 400, "context_length_exceeded", "the prompt is longer than the context window" },
  content_filter = { 400, "content_filter", "the request was refused by the content filter" },
  rate_limit = { 429, "rate_limit_exceeded", "too many requests" },
  server = { 500, "server_error", "the server failed" },
  overloaded = { 503, "overloaded", "the server is overloaded" },
}

-- What happens on the way.
local events = {
  connection = { kind = "connection", code = "refused", message = "the connection was refused", retryable = true, maybe_billed = false },
  reset = {
    kind = "connection", code = "reset", message = "the connection was reset before the answer began", retryable = true,
    maybe_billed = true,
  },
  timeout = {
    kind = "timeout", code = "first_byte", message = "nothing was answered in time", retryable = true, maybe_billed = true,
  },
}

-- Those that the scripted model plays itself: silence, an end in the middle, an answer with nothing in it.
local played = { stall = true, cut = true, empty = true }


---The names of all faults.
---@return string[]
function M.names()
  local names = {}
  for _, group in ipairs { answers, events, played, { bad_response = true } } do
    for name in pairs(group) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end


---The error of a fault. `has_content`: something of the answer had arrived.
---@param name string
---@param has_content boolean
---@return perilune.Error?
function M.error(name, has_content)
  local answer, event = answers[name], events[name]
  if answer then
    local body = { error = { message = answer[3], code = answer[2] } }
    return failure.from_body(body, { status = answer[1], has_content = has_content })
  elseif name == "bad_response" then
    return failure.from_bytes("<html>", "the answer is not JSON", { status = 200, has_content = has_content })
  elseif name == "cut" or event and has_content then
    return failure.interrupted()
  elseif event then
    local copy = {}
    for field, value in pairs(event) do
      copy[field] = value
    end
    return errors.new(copy)
  end
end


---The error of an answer that did not come, or did not go on, in time.
---@param code "first_content"|"idle"|"total"
---@param seconds number
---@return perilune.Error
function M.late(code, seconds)
  return errors.new {
    kind = "timeout", code = code, retryable = true, maybe_billed = true,
    message = ("%s for %.3g s"):format(code == "first_content" and "no content" or "nothing was received", seconds),
  }
end


return M
