-- A stream of server-sent events to one client. The head is sent with the first event, so that what fails before it is answered with a
-- status; while nothing comes a comment is sent, so that what stands in between does not hang up. The first of them takes the head along:
-- from then on what fails is told in the stream.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local problem = require "perilune.serve.problem"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.EventStream", __index = methods }

---How long nothing may be sent, and how often that is looked at.
M.KEEP_ALIVE_SECONDS, M.LOOK_SECONDS = 10, 1

---The longest stream that is kept of a request with an Idempotency-Key. It is given again in one write, which has 64 MB at most.
M.COPY_BYTES_MAX = 60 << 20


---@class perilune.serve.EventStream
---@field has_begun boolean the head was sent

---@param exchange perilune.Exchange
---@param options? { encode_error: (fun(answer: perilune.serve.Answer): table)?, name_error: string? } the error in the stream, and its name
---@return perilune.serve.EventStream
function M.new(exchange, options)
  local self = setmetatable({
    exchange = exchange, request = exchange.request, options = options or {}, has_begun = false, is_over = false,
    copy = exchange.wants_copy and {} or nil, copied = 0, sent_at = clock.mono(),
  }, metatable)
  exchange.server.streams[self] = true
  return self
end


local function must_write(self, ok, err)
  if not ok then
    self.is_over = true
    error(err, 0) -- the client has gone
  end
end


local function begin(self)
  local exchange = self.exchange
  self.has_begun, exchange.has_begun, exchange.status = true, true, 200
  local headers = exchange:head {
    ["content-type"] = "text/event-stream; charset=utf-8", ["cache-control"] = "no-cache", ["x-accel-buffering"] = "no",
  }
  return self.request:start { status = 200, headers = headers }
end


-- Writes, one at a time: a comment may be on its way.
local function write(self, bytes)
  while self.is_writing do
    task.yield()
  end
  self.is_writing = true
  local ok, err = self.request:write(bytes)
  self.is_writing, self.sent_at = false, clock.mono()
  if self.copy then
    self.copied = self.copied + #bytes
    self.copy[#self.copy + 1] = bytes
    if self.copied > M.COPY_BYTES_MAX then
      self.copy = nil
    end
  end
  must_write(self, ok, err)
end


---It is over: nothing is sent any more, and no comments.
function methods:leave()
  self.is_over = true
  self.exchange.server.streams[self] = nil
end


---Sends a comment: readers take no notice of it. Whether the client is still there is for its handler to see.
function methods:comment()
  if not self.is_over and not self.is_writing and (self.has_begun or begin(self)) then
    self.sent_at = clock.mono()
    self.request:write(": keep-alive\n\n")
  end
end


---Sends a comment to every stream to which nothing was sent for a while. One task of the server does it for all of them.
---@param streams table<perilune.serve.EventStream, true>
function M.keep_alive(streams)
  while true do
    task.sleep(M.LOOK_SECONDS)
    local now, quiet = clock.mono(), {}
    for one in pairs(streams) do
      if now - one.sent_at >= M.KEEP_ALIVE_SECONDS and not one.is_writing then
        quiet[#quiet + 1] = one
      end
    end
    for _, one in ipairs(quiet) do
      one:comment()
    end
  end
end


---Sends one event.
---@param value table|string data: a table becomes JSON
---@param name? string its `event:` line
---@param id? string|integer its `id:` line
function methods:send(value, name, id)
  local data = type(value) == "string" and value or json.encode(value)
  local text = "data: " .. data .. "\n\n"
  if name then
    text = "event: " .. name .. "\n" .. text
  end
  if id then
    text = "id: " .. id .. "\n" .. text
  end
  self:write(text)
end


---Sends events that are text already, framing included.
---@param text string
function methods:write(text)
  if not self.has_begun then
    must_write(self, begin(self))
  end
  write(self, text)
end


---Sends OpenAI's last event.
function methods:done()
  self:send("[DONE]")
end


---Ends the stream with what went wrong. Before the head it raises that instead: it can still have a status.
---@param err any
function methods:fail(err)
  if not self.has_begun then
    error(err, 0)
  end
  local answer = problem.answer_of(err)
  local exchange = self.exchange
  exchange.failure = answer
  if answer.status >= 500 then
    log.write("warn", "serve", ("%s broke off: %s"):format(exchange.id, errors.wrap(err).message))
  end
  local encode = self.options.encode_error or problem.body
  self:send(encode(answer), self.options.name_error)
  self:close()
end


---Ends the body. Harmless when called again.
function methods:close()
  if self.is_over then
    return
  end
  self:leave()
  if self.has_begun then
    while self.is_writing do
      task.yield()
    end
    self.request:finish()
    self.exchange.is_answered = true
    if self.copy and (not self.exchange.failure or self.exchange.has_content) then
      self.exchange.copy = { status = 200, type = "text/event-stream; charset=utf-8", body = table.concat(self.copy) }
    end
  end
end


-- An error that leaves the handler's scope is no end of the stream: the client must see that it was cut.
function metatable.__close(self, err)
  if err == nil then
    self:close()
    return
  end
  self:leave()
end


return M
