-- One session with an MCP server: JSON-RPC 2.0 over a transport, from the handshake to the end of the process or of the HTTP
-- session. Many calls at a time; each has an id, waits for its own answer, and ends in a value or an error.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local http = require "perilune.tool.mcp.http"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local stdio = require "perilune.tool.mcp.stdio"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"
local text_of = require "perilune.std.text"

local M = {}

M.PROTOCOL = "2025-06-18" -- what we ask for

local CALLS_MAX = 1024 -- under way at a time
local MESSAGE_BYTES_MAX = 8 * 1024 * 1024
local EXCERPT_BYTES = 120

-- The revisions that this code can speak.
local protocols = tables.set { "2025-06-18", "2025-03-26", "2024-11-05" }

local METHOD_NOT_FOUND = -32601
local RESOURCE_NOT_FOUND = -32002

local methods = {}
local metatable = { __name = "perilune.mcp.Session", __index = methods }


local function write_log(self, level, message, ...)
  log.write(level, "mcp", ("%s: %s"):format(self.name, message:format(...)))
end


local function encode(message)
  message.jsonrpc = "2.0"
  return json.encode(message, { repair = true })
end


-- Calls

-- Why a call has no result. Only a tool that may have run leaves it open what it did.
local function failure(self, call, err)
  local is_unknown = call.method == "tools/call" and err.maybe_billed == true
  return errors.new {
    kind = err.kind, code = err.code, status = err.status, cause = err, retryable = err.retryable,
    message = ("MCP server '%s': %s%s"):format(self.name, err.message, is_unknown
      and "; whether the tool did its work is not known" or ""),
    details = is_unknown and { outcome_unknown = true } or err.details,
  }
end


local function settle(self, call, result, err)
  self.calls[call.id], self.count = nil, self.count - 1
  call.is_over, call.result, call.problem = true, result, err
  call.changed:wake()
end


local call_metatable = { __name = "perilune.mcp.Call" }


-- A call that is left before its answer has come: cancelled, out of time, or its task has failed.
function call_metatable:__close()
  if self.is_over then
    return
  end
  local session = self.session
  settle(session, self)
  session.transport:drop(self.id)
  if self.method ~= "initialize" then -- which must not be cancelled
    session:notify("notifications/cancelled", { requestId = self.id, reason = "nobody waits for it any more" })
  end
end


-- Waits for the answer. A progress gives it new time, up to the total.
local function await(self, call, on_progress)
  local limits = self.timeouts
  local limit = call.method == "initialize" and limits.start or limits.call
  local idle_at, total_at = clock.mono() + limit, clock.mono() + limits.total
  while true do
    local progress = call.progress
    if progress then
      call.progress = nil
      on_progress(progress)
      idle_at = clock.mono() + limit
    elseif call.is_over then
      return call.result, call.problem
    else
      local left = math.min(idle_at, total_at) - clock.mono()
      if left <= 0 then
        return nil, failure(self, call, {
          kind = "timeout", code = "no_answer", maybe_billed = true,
          message = ("no answer to %s in time (%g s, %g s in all)"):format(call.method, limit, limits.total),
        })
      end
      call.changed:wait(left)
    end
  end
end


---Sends a request and waits for its result.
---@param method string
---@param params? table
---@param on_progress? fun(progress: table) hears of progress, in the task that waits
---@return table? result
---@return perilune.Error?
function methods:request(method, params, on_progress)
  local call = { session = self, method = method, id = self.next_id, changed = task.signal() }
  if self.is_over then
    return nil, failure(self, call, { kind = "connection", code = "closed", message = self.problem.message })
  elseif self.count >= CALLS_MAX then
    return nil, failure(self, call, { kind = "overloaded", message = ("more than %d calls are under way"):format(CALLS_MAX) })
  end
  self.next_id = self.next_id + 1
  params = params or {}
  params._meta = on_progress and { progressToken = call.id } or nil
  local text, err = encode { id = call.id, method = method, params = params }
  local owned <close> = setmetatable(call, call_metatable)
  self.calls[call.id], self.count = call, self.count + 1
  if text then
    text, err = self.transport:send(text, call.id)
  end
  if not text then
    err = failure(self, call, err)
    settle(self, owned, nil, err)
    return nil, err
  end
  return await(self, owned, on_progress)
end


---@param method string
---@param params? table
---@return true?
---@return perilune.Error?
function methods:notify(method, params)
  local text, err = encode { method = method, params = params }
  if text and not self.is_over then
    return self.transport:send(text)
  end
  return nil, err or self.problem
end


-- What the server says

-- What we do for a server. Roots only when the script has given some; no sampling, no questions to the user.
local answers = {}


function answers.ping()
  return {}
end


answers["roots/list"] = function(self)
  return self.roots and { roots = json.array(self.roots) }
end


local function answer(self, message)
  local handler = answers[message.method]
  local reply = { id = message.id, result = handler and handler(self) or nil }
  if not reply.result then
    local name = text_of.truncate(message.method, EXCERPT_BYTES)
    write_log(self, "info", "it asks for %s, which this client does not do", name)
    reply.error = { code = METHOD_NOT_FOUND, message = "this client does not do " .. name }
  end
  local text = encode(reply)
  if text then
    self.transport:send(text)
  end
end


local levels = {
  debug = "debug", info = "info", notice = "info", warning = "warn", error = "error", critical = "error", alert = "error",
  emergency = "error",
}

local notices = {}


notices["notifications/progress"] = function(self, params)
  local call = self.calls[params.progressToken]
  if call and type(params.progress) == "number" then
    call.progress = {
      progress = params.progress, total = type(params.total) == "number" and params.total or nil,
      message = type(params.message) == "string" and params.message or nil,
    }
    call.changed:wake()
  end
end


notices["notifications/message"] = function(self, params)
  local data = type(params.data) == "string" and params.data or json.encode(params.data) or ""
  write_log(self, levels[params.level] or "info", "%s", data)
end


notices["notifications/tools/list_changed"] = function(self)
  self.changes = self.changes + 1
end


local function rpc_error(self, call, given)
  local kind = call.method == "tools/call" and "tool" or given.code == RESOURCE_NOT_FOUND and "not_found" or "api"
  local message = type(given.message) == "string" and given.message or "an error without a message"
  return errors.new {
    kind = kind, code = math.tointeger(given.code), details = given.data,
    message = ("MCP server '%s': %s"):format(self.name, message),
  }
end


local function take_answer(self, message)
  local call = self.calls[message.id]
  if not call then
    write_log(self, "info", "an answer with the id %s, which nobody waits for, is ignored", json.encode(message.id) or "?")
  elseif type(message.error) == "table" then
    settle(self, call, nil, rpc_error(self, call, message.error))
  elseif type(message.result) == "table" then
    settle(self, call, message.result)
  else
    local text = "an answer with neither result nor error"
    settle(self, call, nil, failure(self, call, { kind = "bad_response", code = "protocol", message = text, maybe_billed = true }))
  end
  if call then
    self.transport:answered(call.id)
  end
end


local function take_one(self, message)
  local method = type(message) == "table" and message.method
  if type(method) == "string" and message.id ~= nil then
    answer(self, message)
  elseif type(method) == "string" then
    local notice = notices[method]
    if notice then
      notice(self, type(message.params) == "table" and message.params or {})
    end
  elseif type(message) == "table" and message.id ~= nil then
    take_answer(self, message)
  else
    write_log(self, "warn", "something that is no message of JSON-RPC is ignored")
  end
end


---For the transport: the text of a message, or of a batch of them, as older revisions had it.
---@param text string
function methods:take(text)
  local message = json.decode(text, { repair = true, bytes = MESSAGE_BYTES_MAX })
  if message == nil then
    write_log(self, "warn", "something that is not JSON is ignored: %s", text_of.truncate(text_of.to_utf8(text), EXCERPT_BYTES))
  elseif json.is_array(message) then
    for _, one in ipairs(message) do
      take_one(self, one)
    end
  else
    take_one(self, message)
  end
end


---For the transport: does a request still wait for its answer?
---@param id integer
---@return boolean
function methods:is_waiting(id)
  return self.calls[id] ~= nil
end


---For the transport: a request got no answer.
---@param id integer
---@param err perilune.Error
function methods:failed(id, err)
  local call = self.calls[id]
  if call then
    settle(self, call, nil, failure(self, call, err))
  end
end


---For the transport: the server does not know the session any more. What is under way goes on; nothing else begins here.
function methods:expired()
  self.is_over = true
  self.problem = self.problem or errors.new { kind = "connection", code = "session_expired", message = "the server has ended the session" }
  self.transport:stop_listening()
end


---For the transport: it is over.
---@param err perilune.Error
function methods:ended(err)
  self.is_over = true
  self.problem = self.problem or err
  for _, id in ipairs(tables.sorted_keys(self.calls)) do
    self:failed(id, err)
  end
end


-- Life

---Starts the server, or gets ready to ask it. `initialize` comes next.
---@param options table of the connection
---@return perilune.mcp.Session?
---@return perilune.Error?
function M.open(options)
  local self = setmetatable({
    name = options.name, roots = options.roots, timeouts = options.timeouts, calls = {}, count = 0, next_id = 1, is_over = false,
    is_ready = false, changes = 0, server = {},
  }, metatable)
  local err
  self.transport, err = (options.url and http or stdio).open(options, self)
  if not self.transport then
    return nil, failure(self, {}, err)
  end
  return self
end


---@class perilune.mcp.Session
---@field server table what the server said of itself: protocolVersion, capabilities, serverInfo, instructions
---@field is_over boolean nothing can be asked any more
---@field is_ready boolean
---@field problem? perilune.Error why it is over
---@field changes integer how often the server said that its tools have changed

---The handshake.
---@return true?
---@return perilune.Error?
function methods:initialize()
  local result, err = self:request("initialize", {
    protocolVersion = M.PROTOCOL, capabilities = { roots = self.roots and {} or nil },
    clientInfo = { name = "perilune", version = "1" }, -- of this client, not of the program
  })
  if not result then
    return nil, err
  elseif not protocols[result.protocolVersion] then
    return nil, failure(self, {}, {
      kind = "bad_response", code = "protocol",
      message = ("it speaks revision %s of MCP, and we %s"):format(tostring(result.protocolVersion), M.PROTOCOL),
    })
  end
  self.server = result
  self.server.capabilities = type(result.capabilities) == "table" and result.capabilities or {}
  local ok
  ok, err = self.transport:begin(result.protocolVersion, assert(encode { method = "notifications/initialized" }))
  return ok, err and failure(self, {}, err)
end


---Ends it: calls that are under way fail.
function methods:close()
  self:ended(errors.new { kind = "connection", code = "closed", message = "the connection was closed", maybe_billed = true })
  self.transport:close()
end


return M
