-- One request to one target: encode, fetch, decode. The last stage before the socket. It retries nothing and decides
-- nothing; what goes wrong on the way becomes the stream's `error` event, as if the provider had said it.
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local http_log = require "perilune.model.http_log"
local log = require "perilune.sys.log"
local rate_limits = require "perilune.model.rate_limits"
local retry_after = require "perilune.model.retry_after"
local secrets = require "perilune.net.secrets"
local stream = require "perilune.model.stream"
local text = require "perilune.std.text"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.call", __index = methods }

---Time limits of one attempt, in seconds. `progress` is the longest time without anything that is part of an answer; `idle` without any
---frame. A whole answer may take long to begin (nothing comes before its last word), and so may one that is thought about.
M.timeouts = {
  connect = 5, first_byte = 60, first_byte_whole = 300, first_content = 60, first_content_patient = 300, idle = 45, progress = 120,
  total = 600,
}

---How much of a provider's own words an error holds, in bytes.
M.ERROR_BYTES_MAX = 500


---@class perilune.Target docs/model.md
---@field provider perilune.Provider
---@field name string
---@field model string
---@field base_url? string
---@field api_key? string
---@field headers? table<string, string>
---@field quirks table

---A model that calls one target.
---@param target perilune.Target
---@param options? { timeouts: table?, proxy: string?, ca_file: string?, verify_ssl: boolean?, http2: boolean?, log_http: boolean?,
---log_http_requests: boolean?, log_http_responses: boolean?, max_error_length: integer?, truncate_long_errors: boolean? }
---@return table model
function M.new(target, options)
  options = options or {}
  local own = options.timeouts or {}
  local timeouts = {}
  for name, default in pairs(M.timeouts) do
    timeouts[name] = own[name] or default
  end
  local bytes_max = options.truncate_long_errors ~= false and (options.max_error_length or M.ERROR_BYTES_MAX) or nil
  return setmetatable({
    target = target, options = options, timeouts = timeouts, own_first_content = own.first_content, error_bytes_max = bytes_max,
    logs_requests = options.log_http or options.log_http_requests, logs_responses = options.log_http or options.log_http_responses,
  }, metatable)
end


-- An error of this target, with everything that is known about it.
function methods:describe(err, head, limits)
  local target = self.target
  err.provider = err.provider or target.name
  err.model = err.model or target.model
  err.message = log.redact(err.message) -- some providers repeat the key
  if self.error_bytes_max then
    err.message = text.truncate(err.message, self.error_bytes_max)
  end
  if head then
    err.request_id = err.request_id or head.headers["x-request-id"] or head.headers["request-id"]
    err.retry_after = retry_after.of(err, head.headers, limits)
  end
  return err
end


-- What the network did, as an error of this target.
function methods:network_error(err, has_begun, head)
  local target = self.target
  if has_begun and err.kind == "connection" then
    err = errors.new {
      kind = "stream_interrupted", code = err.code, message = "the answer was cut off: " .. err.message, cause = err, maybe_billed = true,
    }
  end
  err.retryable = err.kind == "connection" or err.kind == "timeout" or err.kind == "stream_interrupted"
  err.message = ("%s (%s)"):format(err.message, secrets.hide_in_url(target.base_url))
  return self:describe(err, head)
end


-- Seconds for the first content: what the user said; else, for a streamed answer that is not thought about, what failover grants.
function methods:first_content(request, limits)
  if self.own_first_content then
    return self.own_first_content
  elseif request.stream == false or request.reasoning_effort or request.enable_thinking then
    return self.timeouts.first_content_patient
  end
  return limits and limits.first_content or self.timeouts.first_content
end


-- The headers with the caller's own name of the request; the provider's table may be one that it keeps.
local function with_name(headers, id)
  local named = { ["x-client-request-id"] = id }
  for name, value in pairs(headers or {}) do
    named[name] = value
  end
  return named
end


function methods:open(request, limits)
  local target, options, timeouts = self.target, self.options, self.timeouts
  local http, err = target.provider.encode(request, target)
  if not http then
    return nil, err
  end
  local headers = http.headers
  if request.request_id then
    headers = with_name(headers, request.request_id)
  end
  if self.logs_requests then
    http_log.request(target, http)
  end
  return fetch.open {
    method = http.method, url = http.url, headers = headers, body = http.body, frame = target.provider.frame,
    connect = timeouts.connect, first_byte = request.stream == false and timeouts.first_byte_whole or timeouts.first_byte,
    first_content = self:first_content(request, limits), idle = timeouts.idle, progress = timeouts.progress,
    total = limits and limits.total and math.min(limits.total, timeouts.total) or timeouts.total,
    proxy = options.proxy or http.url:find("^https:") and options.https_proxy or nil, ca_file = options.ca_file,
    insecure = options.verify_ssl == false, http2 = options.http2,
  }
end


local answer_methods = {}
answer_methods.__index = answer_methods


-- The head has come: a decoder for what follows, or an error when nothing can follow.
function answer_methods:begin()
  local call, target = self.call, self.call.target
  local head, err = self.handle:head()
  if not head then
    return call:network_error(err, false)
  end
  self.head = head
  self.limits = rate_limits.parse(head.headers)
  if call.logs_responses then
    http_log.head(target, head)
  end
  if head.status >= 300 and head.status < 400 then
    local place = head.headers.location
    return call:describe(errors.new {
      kind = "configuration", status = head.status, retryable = false,
      message = ("%s answers with a redirect%s, and those are not followed: set its base_url to where it is"):format(
        secrets.hide_in_url(target.base_url), place and " to " .. secrets.hide_in_url(place) or ""),
    }, head)
  end
  self.decoder = target.provider.decoder { status = head.status, request = self.request, target = target }
end


-- The next frame; or the text of several, where the decoder knows what stands around it. The log shows every frame as it came.
function answer_methods:next()
  local decoder = self.decoder
  if decoder.alike and not self.call.logs_responses then
    local before, after = decoder:alike()
    if before then
      return self.handle:next_texts(before, after, self.request.keeps_pieces)
    end
  end
  return self.handle:next()
end


-- Reads frames until the decoder has events.
function answer_methods:read()
  if not self.head then
    local err = self:begin()
    if err then
      self.is_over = true
      return { { type = "error", error = err } }
    end
  end
  while true do
    local data, event_name, count, pieces = self:next()
    if data then
      if self.call.logs_responses then
        http_log.frame(self.call.target, data)
      end
      local events = count and self.decoder:feed_text(data, count, pieces) or self.decoder:feed(data, event_name)
      local n = #events
      if n > 0 then
        if n > 1 or events[1].type ~= "start" then
          self.handle:progress()
        end
        return events
      end
    elseif event_name then -- the error of handle:next
      self.is_over = true
      return { { type = "error", error = self.call:network_error(event_name, self.has_content, self.head) } }
    else
      self.is_over = true
      return self.decoder:finish()
    end
  end
end


function answer_methods:dress(event)
  local kind = event.type
  if kind == "start" then
    local target, headers = self.call.target, self.head.headers
    event.provider = target.name
    event.model = event.model or target.model
    event.request_id = event.request_id or headers["x-request-id"] or headers["request-id"]
    event.rate_limits = self.limits
  elseif kind == "error" then
    event.rate_limits = self.limits
    self.call:describe(event.error, self.head, self.limits)
  else
    self.has_content = true
  end
  return event
end


---Starts the request.
---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local target = self.target
  if target.provider.answer then -- a provider without a wire: the offline model
    return stream.from_list(target.provider.answer(request, target))
  end
  local handle, err = self:open(request, limits)
  if not handle then
    return stream.from_list { { type = "error", error = self:describe(err) } }
  end
  local answer = setmetatable({ call = self, handle = handle, request = request }, answer_methods)
  local events, position = {}, 0
  return stream.new(function()
    position = position + 1
    while not events[position] do
      if answer.is_over then
        return nil
      end
      events, position = answer:read(), 1
    end
    return answer:dress(events[position])
  end, function()
    handle:close()
  end)
end


return M
