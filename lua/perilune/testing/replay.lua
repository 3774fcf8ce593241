-- A provider for tests without a provider: answers, as they were recorded, over real HTTP on a free port of this machine, and everything that can
-- go wrong on the way. An answer is a function that gets the request and writes to it; the n-th request gets the n-th answer,
-- later ones the last. The byte-exact answers write the whole of HTTP themselves, head and chunks included.
local clock = require "perilune.sys.clock"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.testing.replay", __index = methods }

-- How long a test waits for what must happen before it fails.
local PATIENCE_SECONDS = 10
local PING_SECONDS = 0.005

-- The body of a recording is stored decoded and whole: these headers are made anew.
local framing_headers = {
  ["content-length"] = true, ["content-encoding"] = true, ["transfer-encoding"] = true, connection = true, date = true,
}


---@class perilune.testing.Recording
---@field status integer
---@field headers table<string, string>
---@field body string
---@field chunks? integer[] bytes of the network reads as they were recorded

---@alias perilune.testing.Answer fun(request: perilune.serve.Request)

---A recording out of its parts.
---@param body string
---@param options? { status: integer?, headers: table<string, string>?, chunks: integer[]? }
---@return perilune.testing.Recording
function M.recording(body, options)
  options = options or {}
  local media_type = body:find("^%s*[{%[]") and "application/json" or "text/event-stream"
  return {
    status = options.status or 200, headers = options.headers or { ["content-type"] = media_type }, body = body,
    chunks = options.chunks,
  }
end


-- A JSON file of a recording; nil when there is none.
local function read_json(path)
  local text, err = fs.read(path)
  if text then
    local value
    value, err = json.decode(text)
    if value ~= nil then
      return value
    end
    err.message = path .. ": " .. err.message
  elseif err.kind == "not_found" then
    return nil
  end
  error(err, 0)
end


---Reads a recorded case: response.body, and where they are there meta.json (its status, headers, and what else it says),
---chunks.json and expect.json. Raises what cannot be read.
---@param folder string
---@return perilune.testing.Recording
---@return table meta
---@return table? expect
function M.load(folder)
  local body, err = fs.read(folder .. "/response.body")
  if not body then
    error(err, 0)
  end
  local meta, headers = read_json(folder .. "/meta.json") or {}, nil
  for name, value in pairs(meta.headers or {}) do
    headers = headers or {}
    headers[name] = not framing_headers[name:lower()] and value or nil
  end
  local chunks = read_json(folder .. "/chunks.json")
  local recording = M.recording(body, { status = meta.status, headers = headers, chunks = chunks })
  return recording, meta, read_json(folder .. "/expect.json")
end


local function chunk(delta, finish_reason)
  return ("data: %s\n\n"):format(assert(json.encode {
    id = "chatcmpl-replayed", object = "chat.completion.chunk", model = "replayed",
    choices = { { index = 0, delta = delta, finish_reason = finish_reason or json.null } },
  }))
end


-- One chunk for each delta, then usage and the end.
local function stream_of(deltas, finish_reason)
  local parts = {}
  for position, delta in ipairs(deltas) do
    parts[position] = chunk(delta)
  end
  parts[#parts + 1] = chunk({}, finish_reason)
  parts[#parts + 1] = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}\n\n'
  parts[#parts + 1] = "data: [DONE]\n\n"
  local chunks = {}
  for position, part in ipairs(parts) do
    chunks[position] = #part
  end
  return M.recording(table.concat(parts), { chunks = chunks })
end


---A streamed chat.completions answer, word by word.
---@param text string
---@return perilune.testing.Recording
function M.text(text)
  local deltas = {}
  for word in text:gmatch("%S+%s*") do
    deltas[#deltas + 1] = { content = word }
  end
  return stream_of(deltas, "stop")
end


---A streamed chat.completions answer that calls tools; `arguments` is the text as the model wrote it.
---@param calls { id: string, name: string, arguments: string }[]
---@return perilune.testing.Recording
function M.calls(calls)
  local deltas = {}
  for position, call in ipairs(calls) do
    deltas[position] = { tool_calls = { {
      index = position - 1, id = call.id, type = "function", ["function"] = { name = call.name, arguments = call.arguments },
    } } }
  end
  return stream_of(deltas, "tool_calls")
end


-- The head as it goes over the wire.
local function head_of(recording)
  local lines = { ("HTTP/1.1 %d Replayed"):format(recording.status) }
  for name, value in pairs(recording.headers) do
    lines[#lines + 1] = ("%s: %s"):format(name, value)
  end
  return table.concat(lines, "\r\n") .. "\r\ntransfer-encoding: chunked\r\n\r\n"
end


-- The body as one HTTP chunk for each recorded read.
local function body_of(recording)
  local parts, first = {}, 1
  for _, length in ipairs(recording.chunks or { #recording.body }) do
    parts[#parts + 1] = ("%x\r\n%s\r\n"):format(length, recording.body:sub(first, first + length - 1))
    first = first + length
  end
  return table.concat(parts) .. "0\r\n\r\n"
end


-- Sends the text up to each place in a write of its own. The turn of the loop in between lets the reader take it.
local function send_pieces(request, text, places)
  local first = 1
  for _, place in ipairs(places) do
    if place >= first then
      if not request:raw(text:sub(first, place)) then
        return
      end
      first = place + 1
      task.yield()
    end
  end
  if not request:raw(text:sub(first)) then
    return
  end
  request:finish()
end


---The whole answer at once.
---@param recording perilune.testing.Recording
---@return perilune.testing.Answer
function M.whole(recording)
  return function(request)
    request:reply { status = recording.status, headers = recording.headers, body = recording.body }
  end
end


---In the recorded chunks, each of them one write and one HTTP chunk; without any, the whole body is one.
---@param recording perilune.testing.Recording
---@return perilune.testing.Answer
function M.recorded(recording)
  return function(request)
    request:start { status = recording.status, headers = recording.headers }
    local first = 1
    for _, length in ipairs(recording.chunks or { #recording.body }) do
      if not request:write(recording.body:sub(first, first + length - 1)) then
        return
      end
      first = first + length
      task.yield()
    end
    request:finish()
  end
end


---Byte by byte, the head and the framing of the chunks too.
---@param recording perilune.testing.Recording
---@return perilune.testing.Answer
function M.bytes(recording)
  local text, places = head_of(recording) .. body_of(recording), {}
  for place = 1, #text - 1 do
    places[place] = place
  end
  return function(request)
    send_pieces(request, text, places)
  end
end


---Cut at `count` random places, the same ones for the same seed.
---@param recording perilune.testing.Recording
---@param count integer
---@param seed integer
---@return perilune.testing.Answer
function M.cut(recording, count, seed)
  local text, places, state = head_of(recording) .. body_of(recording), {}, seed
  for position = 1, count do
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    places[position] = (state >> 24) % (#text - 1) + 1
  end
  table.sort(places)
  return function(request)
    send_pieces(request, text, places)
  end
end


---Ends in the middle: after `bytes` of the body the connection is closed, or reset.
---@param recording perilune.testing.Recording
---@param bytes integer
---@param how? "close"|"reset"
---@return perilune.testing.Answer
function M.broken(recording, bytes, how)
  local part = M.recording(recording.body:sub(1, bytes), recording)
  local text = head_of(part) .. body_of(part):sub(1, -6) -- without the last chunk
  return function(request)
    request:raw(text)
    if how == "reset" then
      task.yield()
      request:reset()
    end
  end
end


---Says nothing for ever: after `bytes` of the body, or with nil before the head.
---@param recording? perilune.testing.Recording
---@param bytes? integer
---@return perilune.testing.Answer
function M.stalled(recording, bytes)
  local text
  if bytes then
    local part = M.recording(recording.body:sub(1, bytes), recording)
    text = head_of(part) .. (bytes > 0 and body_of(part):sub(1, -6) or "")
  end
  return function(request)
    if text then
      request:raw(text)
    end
    request:gone()
  end
end


---Sends the same text again and again until the client goes: pings, comments.
---@param text string
---@return perilune.testing.Answer
function M.endless(text)
  return function(request)
    request:start { headers = { ["content-type"] = "text/event-stream" } }
    while request:write(text) do
      task.sleep(PING_SECONDS)
    end
  end
end


---An answer out of its parts; tables become JSON.
---@param status integer
---@param body string|table
---@param headers? table<string, string>
---@return perilune.testing.Answer
function M.reply(status, body, headers)
  local text = type(body) == "table" and assert(json.encode(body)) or body
  return M.whole(M.recording(text, { status = status, headers = headers }))
end


---@class perilune.testing.SeenRequest
---@field method string
---@field path string
---@field headers table<string, string> names in lower case
---@field text string
---@field body? table the text as JSON
---@field is_over? boolean answered, or the client has gone
---@field over_at? number clock.mono()

-- What is kept of a request after it was answered.
local function see(request)
  local headers = {}
  for _, pair in ipairs(request:headers()) do
    headers[pair[1]:lower()] = pair[2]
  end
  local text = request:body()
  return {
    method = request:method(), path = request:path(), headers = headers, text = text, body = text ~= "" and json.decode(text) or nil,
  }
end


local function handle(self, request)
  local owned <close> = request -- luacheck: ignore 211
  local seen = see(request)
  local position = #self.requests + 1
  self.requests[position] = seen
  self.changed:wake()
  local answer = self.by_path and self.answers[seen.path:match("^/([^/]*)")] or self.answers[math.min(position, #self.answers)]
  answer(request)
  seen.is_over, seen.over_at = true, clock.mono()
  self.changed:wake()
end


---@class perilune.testing.Replay
---@field url string without a slash at the end
---@field requests perilune.testing.SeenRequest[] in order of arrival

---Starts a server: a list of answers by order, or a table of them by the first part of the path. Own it with `<close>`.
---@param answers perilune.testing.Answer[]|table<string, perilune.testing.Answer>
---@return perilune.testing.Replay
function M.serve(answers)
  local server = assert(serve.listen {})
  local self = setmetatable({
    server = server, url = "http://127.0.0.1:" .. server:port(), answers = answers, by_path = answers[1] == nil, requests = {},
    changed = task.signal(), group = task.group(),
  }, metatable)
  self.group:spawn(function()
    for request in server.accept, server do
      self.group:spawn(handle, self, request)
    end
  end)
  return self
end


---Waits until `is_true()`, which is asked again whenever a request begins or ends; fails the test when it takes too long.
---@param is_true fun(): any
function methods:wait_until(is_true)
  task.deadline(PATIENCE_SECONDS, function()
    while not is_true() do
      self.changed:wait()
    end
  end)
end


---Waits until `count` requests have arrived.
---@param count integer
function methods:wait_requests(count)
  self:wait_until(function()
    return #self.requests >= count
  end)
end


---Stops; connections that are still open are closed.
function methods:close()
  self.server:close()
  self.group:wait()
end


metatable.__close = methods.close


---The address of a port where nobody listens.
---@return string url
function M.closed_port()
  local server <close> = assert(serve.listen {})
  return "http://127.0.0.1:" .. server:port()
end


return M
