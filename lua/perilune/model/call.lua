-- One request to one target: encode, fetch, decode. The last stage before the socket. It retries nothing and decides
-- nothing; what goes wrong on the way becomes the stream's `error` event, as if the provider had said it.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local log = require "perilune.sys.log"
local rate_limits = require "perilune.model.rate_limits"
local stream = require "perilune.model.stream"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.call", __index = methods }

---Time limits of one attempt, in seconds. A whole answer may take long to begin: nothing comes before its last word.
M.timeouts = { connect = 5, first_byte = 60, first_byte_whole = 300, idle = 45, total = 600 }


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
---@param options? { timeouts: table?, proxy: string?, ca_file: string?, verify_ssl: boolean?, http2: boolean? }
---@return table model
function M.new(target, options)
  return setmetatable({ target = target, options = options or {} }, metatable)
end


-- Retry-After in seconds: milliseconds, seconds or an HTTP date; nil when there is none that makes sense.
local function retry_after(headers)
  local ms = tonumber(headers["retry-after-ms"])
  if ms and ms >= 0 then
    return ms / 1000
  end
  local text = headers["retry-after"]
  local seconds = tonumber(text)
  if not seconds and text then
    local at = clock.parse_http_date(text)
    seconds = at and math.max(0, at - clock.wall())
  end
  return seconds and seconds >= 0 and seconds or nil
end


local function describe(err, target, head)
  err.provider = err.provider or target.name
  err.model = err.model or target.model
  err.message = log.redact(err.message) -- some providers repeat the key
  if head then
    err.request_id = err.request_id or head.headers["x-request-id"] or head.headers["request-id"]
    err.retry_after = err.retry_after or retry_after(head.headers)
  end
  return err
end


-- What the network did, as an error of this target.
local function network_error(err, target, has_begun)
  if has_begun and err.kind == "connection" then
    err = errors.new {
      kind = "stream_interrupted", message = "the answer was cut off: " .. err.message, cause = err, maybe_billed = true,
    }
  end
  err.retryable = err.kind == "connection" or err.kind == "timeout" or err.kind == "stream_interrupted"
  err.message = ("%s (%s)"):format(err.message, target.base_url)
  return describe(err, target)
end


local function open(self, request)
  local target, options = self.target, self.options
  local http, err = target.provider.encode(request, target)
  if not http then
    return nil, err
  end
  local timeouts = setmetatable(options.timeouts or {}, { __index = M.timeouts })
  return fetch.open {
    method = http.method, url = http.url, headers = http.headers, body = http.body, frame = target.provider.frame,
    connect = timeouts.connect, idle = timeouts.idle, total = timeouts.total,
    first_byte = request.stream == false and timeouts.first_byte_whole or timeouts.first_byte,
    proxy = options.proxy or http.url:find("^https:") and options.https_proxy or nil, ca_file = options.ca_file,
    insecure = options.verify_ssl == false, http2 = options.http2,
  }
end


-- Reads frames until the decoder has events; the answer's state lives in `answer`.
local function read(answer)
  local target, handle = answer.target, answer.handle
  if not answer.head then
    local head, err = handle:head()
    if not head then
      return { { type = "error", error = network_error(err, target, false) } }
    end
    answer.head = head
    answer.rate_limits = rate_limits.parse(head.headers)
    answer.decoder = target.provider.decoder { status = head.status, request = answer.request, target = target }
  end
  while true do
    local data, event_name = handle:next()
    if data then
      local events = answer.decoder:feed(data, event_name)
      if #events > 0 then
        return events
      end
    elseif event_name then -- the error of handle:next
      return { { type = "error", error = network_error(event_name, target, answer.has_content) } }
    else
      answer.is_over = true
      return answer.decoder:finish()
    end
  end
end


local function dress(answer, event)
  if event.type == "start" then
    event.provider = answer.target.name
    event.model = event.model or answer.target.model
    event.request_id = event.request_id or answer.head.headers["x-request-id"] or answer.head.headers["request-id"]
    event.rate_limits = answer.rate_limits
  elseif event.type == "error" then
    event.rate_limits = answer.rate_limits
    describe(event.error, answer.target, answer.head)
  else
    answer.has_content = true
  end
  return event
end


---Starts the request.
---@param request perilune.Request
---@return perilune.Stream
function methods:stream(request)
  local target = self.target
  if target.provider.answer then -- a provider without a wire: the offline model
    return stream.from_list(target.provider.answer(request, target))
  end
  local handle, err = open(self, request)
  if not handle then
    return stream.from_list { { type = "error", error = describe(err, target) } }
  end
  local answer = { target = target, handle = handle, request = request }
  local events, position = {}, 0
  return stream.new(function()
    position = position + 1
    while not events[position] do
      if answer.is_over then
        return nil
      end
      events, position = read(answer), 1
    end
    return dress(answer, events[position])
  end, function()
    handle:close()
  end)
end


return M
