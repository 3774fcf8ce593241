-- MCP over streamable HTTP: every message is a POST of its own, its answer JSON or a stream of events; what the server has to
-- say besides comes over a GET. A stream that breaks is taken up again after its last event.
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local sse = require "perilune.tool.mcp.sse"
local task = require "perilune.sys.task"
local text_of = require "perilune.std.text"

local M = {}

M.MESSAGE_BYTES_MAX = 8 * 1024 * 1024

local STREAM_BYTES_MAX = 1 << 30 -- of one stream; then it is taken up again
local POSTS_MAX = 1024 -- under way at a time
local CONNECT_SECONDS = 10
local NOTICE_SECONDS = 30 -- for a message that has no answer
local GOODBYE_SECONDS = 2
local DRAIN_SECONDS = 1 -- for a stream to end after the answer was there
local RESUMES_MAX = 5 -- in a row without a new event
local DELAY_SECONDS, DELAY_SECONDS_MAX = 0.25, 60
local EXCERPT_BYTES = 200

local methods = {}
local metatable = { __name = "perilune.mcp.Http", __index = methods }

local kinds = { [401] = "authentication", [403] = "permission", [404] = "not_found", [408] = "timeout", [429] = "rate_limit" }


local function open(self, method, fields)
  local options, headers = self.options, {}
  for name, value in pairs(options.headers) do
    headers[name] = value
  end
  headers.accept = fields.accept
  headers["content-type"] = fields.body and "application/json" or nil
  headers["mcp-session-id"], headers["mcp-protocol-version"] = self.session_id, self.protocol
  headers["last-event-id"] = fields.last_id
  return fetch.open {
    url = options.url, method = method, headers = headers, body = fields.body, frame = "bytes", total = fields.total,
    connect = CONNECT_SECONDS, body_bytes = STREAM_BYTES_MAX, proxy = options.proxy, ca_file = options.ca_file,
    insecure = options.verify_ssl == false,
  }
end


local function read_whole(handle)
  local parts, size = {}, 0
  while true do
    local bytes, err = handle:next()
    if not bytes then
      return not err and table.concat(parts) or nil, err
    end
    size = size + #bytes
    if size > M.MESSAGE_BYTES_MAX then
      return nil, errors.new {
        kind = "bad_response", code = "limit", maybe_billed = true,
        message = ("an answer of more than %d bytes"):format(M.MESSAGE_BYTES_MAX),
      }
    end
    parts[#parts + 1] = bytes
  end
end


-- What a status of 400 or more says; the body may be an error of JSON-RPC.
local function refusal(self, status, body)
  local value = json.decode(body or "", { repair = true })
  local inner = type(value) == "table" and type(value.error) == "table" and value.error.message
  local said = type(inner) == "string" and inner or text_of.truncate(text_of.to_utf8(body or ""):gsub("%s+", " "), EXCERPT_BYTES)
  local hint = status == 401 and not self.options.headers.authorization
    and "; give it headers = { authorization = \"Bearer ...\" }" or ""
  return errors.new {
    kind = kinds[status] or status >= 500 and "server" or "api", status = status, maybe_billed = status >= 500 or nil,
    message = ("the server answers with status %d%s%s"):format(status, said ~= "" and ": " .. said or "", hint),
  }
end


local function is_stream(head)
  return (head.headers["content-type"] or ""):lower():find("^text/event%-stream") ~= nil
end


-- Hands over what comes until the stream ends; returns why when it broke.
local function follow(self, handle, events)
  while true do
    local bytes, err = handle:next()
    if not bytes then
      return err
    end
    local list, problem = events:feed(bytes)
    if not list then
      problem.maybe_billed = true
      return problem
    end
    for _, text in ipairs(list) do
      self.receiver:take(text)
    end
  end
end


-- One GET. Says whether the server does not want that, and why it ended.
local function listen_once(self, events)
  local handle <close>, open_error = open(self, "GET", { accept = "text/event-stream", last_id = events.last_id })
  if not handle then
    return false, open_error
  end
  local head, err = handle:head()
  if not head then
    return false, err
  elseif head.status ~= 200 or not is_stream(head) then
    return head.status < 500, refusal(self, head.status)
  end
  events:restart()
  return false, follow(self, handle, events)
end


local function delay(events, tries)
  return math.max(DELAY_SECONDS, events.retry or math.min(DELAY_SECONDS * 2.0 ^ (tries - 1), DELAY_SECONDS_MAX))
end


-- The stream of an answer has ended before the answer came.
local function resume(self, id, events, err)
  local tries = 0
  while self.receiver:is_waiting(id) and events.last_id and tries < RESUMES_MAX do
    local last_id = events.last_id
    tries = tries + 1
    task.sleep(delay(events, tries))
    local is_refused
    is_refused, err = listen_once(self, events)
    if is_refused then
      break
    end
    tries = events.last_id == last_id and tries or 0
  end
  return err
end


-- The answer of a POST; returns what went wrong.
local function read_answer(self, post, handle, head)
  if not is_stream(head) then
    local text, err = read_whole(handle)
    if text and text:find("%S") and head.status ~= 202 then
      self.receiver:take(text)
    end
    return err
  end
  local events = sse.new(M.MESSAGE_BYTES_MAX)
  post.is_stream = true
  local err = follow(self, handle, events)
  handle:close()
  return post.id and resume(self, post.id, events, err) or err
end


-- A server that does not know the session says 404; those made after a well-known example say 400 and why.
local function refused(self, session_id, status, body)
  local err = refusal(self, status, body)
  if session_id and (status == 404 or status == 400 and err.message:lower():find("session", 1, true)) then
    self.receiver:expired()
    return errors.new { kind = "connection", code = "session_expired", message = "the server has ended the session", cause = err }
  end
  return err
end


local function exchange(self, post, text)
  local handle <close>, open_error = open(self, "POST", {
    accept = "application/json, text/event-stream", body = text, total = not post.id and NOTICE_SECONDS or nil,
  })
  if not handle then
    return open_error
  end
  local session_id = self.session_id
  local head, err = handle:head()
  if not head then
    return err
  elseif head.status >= 300 then
    return refused(self, session_id, head.status, (read_whole(handle)))
  end
  local given = head.headers["mcp-session-id"]
  if not self.protocol and given and given:find("^[\x21-\x7E]+$") then
    self.session_id = given
  end
  return read_answer(self, post, handle, head)
end


-- The task of one message.
local function deliver(self, post, text)
  local owned <close> = post -- luacheck: ignore 211
  local err = exchange(self, post, text)
  if post.id then
    self.receiver:failed(post.id, err or errors.new {
      kind = "bad_response", code = "no_answer", message = "the server ended its answer without one", maybe_billed = true,
    })
  elseif err then
    log.write("info", "mcp", ("%s: a message could not be delivered: %s"):format(self.options.name, err.message))
  end
end


local post_metatable = { __name = "perilune.mcp.Post" }


function post_metatable:__close()
  local transport = self.transport
  transport.posts[self] = nil
  transport.count = transport.count - 1
  if self.id then
    transport.by_id[self.id] = nil
  end
end


-- What the server says on its own.
local function listen(self)
  local events, tries = sse.new(M.MESSAGE_BYTES_MAX), 0
  repeat
    local last_id = events.last_id
    local is_refused, err = listen_once(self, events)
    tries = events.last_id == last_id and tries + 1 or 1
    log.write("debug", "mcp", ("%s: the stream of server messages ended%s"):format(self.options.name, err and ": " .. err.message or ""))
    if not is_refused then
      task.sleep(delay(events, tries))
    end
  until is_refused
end


---Nothing is sent yet.
---@param options table name, url, headers, proxy, ca_file, verify_ssl
---@param receiver perilune.mcp.Session gets what arrives (`take`), and hears of requests that fail (`failed`, `expired`)
---@return table transport
function M.open(options, receiver)
  return setmetatable({ options = options, receiver = receiver, posts = {}, by_id = {}, draining = {}, count = 0 }, metatable)
end


---Sends a message in a task of its own; waits for nothing.
---@param text string
---@param id? integer of a request
---@return true?
---@return perilune.Error?
function methods:send(text, id)
  if self.is_closed or self.count >= POSTS_MAX then
    return nil, errors.new { kind = "overloaded", message = ("more than %d messages are under way"):format(POSTS_MAX) }
  end
  local post = setmetatable({ transport = self, id = id }, post_metatable)
  self.count = self.count + 1
  post.task = task.spawn(deliver, self, post, text)
  self.posts[post] = true
  if id then
    self.by_id[id] = post
  end
  return true
end


---After the handshake: its version goes with every request. The first message has arrived before others follow.
---@param protocol string
---@param text string
---@return true?
---@return perilune.Error?
function methods:begin(protocol, text)
  self.protocol = protocol
  local err = exchange(self, {}, text)
  if err then
    return nil, err
  end
  self.listener = task.spawn(listen, self)
  return true
end


---Gives up a request that nobody waits for any more.
---@param id integer
function methods:drop(id)
  local post = self.by_id[id]
  if post then
    post.task:cancel()
  end
end


-- A stream should end with its answer. One that does not is closed, a little later, so that the others' connections live on.
local function drain(self)
  repeat
    local posts = self.draining
    self.draining = {}
    task.sleep(DRAIN_SECONDS)
    for _, post in ipairs(posts) do
      if self.posts[post] then
        post.task:cancel()
      end
    end
  until #self.draining == 0
  self.drainer = nil
end


---A request has its answer.
---@param id integer
function methods:answered(id)
  local post = self.by_id[id]
  if post and post.is_stream and not self.is_closed then
    self.draining[#self.draining + 1] = post
    self.drainer = self.drainer or task.spawn(drain, self)
  end
end


---The session is over: nothing can be heard on it any more.
function methods:stop_listening()
  if self.listener then
    self.listener:cancel()
  end
end


local function say_goodbye(self)
  local handle <close> = open(self, "DELETE", { accept = "application/json, text/event-stream", total = GOODBYE_SECONDS })
  if handle then
    handle:head()
  end
end


---Ends the session, and what is under way.
function methods:close()
  if self.is_closed then
    return
  end
  self.is_closed = true
  self:stop_listening()
  if self.drainer then
    self.drainer:cancel()
  end
  for post in pairs(self.posts) do
    post.task:cancel()
  end
  if self.session_id and self.protocol then
    task.shield(GOODBYE_SECONDS + 1, say_goodbye, self)
  end
end


return M
