-- perilune.mcp: the tools, resources and prompts of an MCP server, for scripts and assistants. A connection outlives the
-- server's process: one that ends is started again by the next call, at most three times in ten minutes.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local content = require "perilune.tool.mcp.content"
local errors = require "perilune.std.errors"
local option_reader = require "perilune.tool.mcp.options"
local pins = require "perilune.tool.mcp.pins"
local sessions = require "perilune.tool.mcp.session"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"
local tools = require "perilune.tool.mcp.tools"

local M = {}

local RESTARTS_MAX, RESTARTS_SECONDS = 3, 600
local PAGES_MAX, ITEMS_MAX = 100, 2000 -- of one list of a server

local tool_types = { only = "table", prefix = "boolean", approval = "string|function", idempotent = "table" }

local methods = {}
local metatable = { __name = "perilune.mcp.Server", __index = methods }


-- Some of what is asked here answers false and an error.
local function must(value, err)
  return errors.must(value or nil, err)
end


-- Sessions

local function failure(self, kind, code, message)
  return errors.new { kind = kind, code = code, message = ("MCP server '%s': %s"):format(self.name, message) }
end


-- All pages of a list.
local function list_all(self, session, method, field)
  local list, cursor = {}, nil
  for _ = 1, PAGES_MAX do
    local result, err = session:request(method, { cursor = cursor })
    if not result then
      return nil, err
    end
    for _, item in ipairs(type(result[field]) == "table" and result[field] or {}) do
      list[#list + 1] = item
    end
    if #list > ITEMS_MAX then
      return nil, failure(self, "bad_response", "limit", ("%s lists more than %d"):format(method, ITEMS_MAX))
    end
    cursor = type(result.nextCursor) == "string" and result.nextCursor or nil
    if not cursor then
      return list
    end
  end
  return nil, failure(self, "bad_response", "limit", ("%s has more than %d pages"):format(method, PAGES_MAX))
end


-- Looks at the tools again when they have changed since the last look.
local function look(self, session)
  local changes = session.changes
  if session.seen == changes then
    return true
  end
  local list, err = {}, nil
  if session.server.capabilities.tools then
    list, err = list_all(self, session, "tools/list", "tools")
  end
  if not list then
    return nil, err
  end
  session.seen = changes
  return self.pins:look(list)
end


-- How often the server was started of late; a server over HTTP may be asked for a session as often as it likes.
local function may_start(self)
  local now, recent = clock.mono(), {}
  for _, at in ipairs(self.starts) do
    if now - at < RESTARTS_SECONDS then
      recent[#recent + 1] = at
    end
  end
  self.starts = recent
  return self.options.url ~= nil or #recent <= RESTARTS_MAX
end


local function open_session(self, session)
  local ok, err = session:initialize()
  if ok then
    ok, err = look(self, session)
  end
  if not ok then
    session:close()
    return nil, err
  end
  session.is_ready = true
  return session
end


-- The task that starts the server; everybody who needs it waits for the same one.
local function start(self)
  local session, err
  if self.is_closed then
    err = failure(self, "connection", "closed", "the connection is closed")
  elseif not may_start(self) then
    local what = "it was started again %d times in %d minutes, and has ended again"
    err = failure(self, "connection", "restarts", what:format(RESTARTS_MAX, RESTARTS_SECONDS // 60))
  else
    self.starts[#self.starts + 1] = clock.mono()
    session, err = sessions.open(self.options)
    if session then
      self.session = session
      session, err = open_session(self, session)
    end
  end
  self.starting, self.problem = nil, err
  return session, err
end


-- The session; a new one when there is none, or the last one has ended.
local function current(self)
  local session = self.session
  if session and session.is_ready and not session.is_over then
    return session
  end
  self.starting = self.starting or task.spawn(start, self)
  return self.starting:wait()
end


-- Is this tool, as far as the server has said, what was approved?
local function check_tool(self, session, name)
  local ok, err = look(self, session)
  if ok then
    ok, err = self.pins:check(name)
  end
  return ok, err
end


-- Asks the server.
local function ask_once(self, method, params, options)
  local session, err = current(self)
  if session and options.tool then
    local ok
    ok, err = check_tool(self, session, options.tool)
    session = ok and session
  end
  if not session then
    return nil, err
  end
  return session:request(method, params, options.on_progress)
end


-- The same; a session that the server has forgotten, which it says before it does anything, is replaced once.
local function ask(self, method, params, options)
  options = options or {}
  local result, err = ask_once(self, method, params, options)
  if err and err.code == "session_expired" then
    result, err = ask_once(self, method, params, options)
  end
  return result, err
end


local function call_tool(self, name, arguments, on_progress)
  return ask(self, "tools/call", { name = name, arguments = arguments }, { tool = name, on_progress = on_progress })
end


-- The session when the server says that it offers this.
local function offering(self, capability)
  local session = must(current(self))
  return session.server.capabilities[capability] and session or nil
end


-- The public side

---@class perilune.mcp.Server
---@field name string

---Connects to a server; raises when that fails. Own it with `local server <close> = perilune.mcp{...}`.
---@param options perilune.mcp.Options
---@return perilune.mcp.Server
function M.connect(options)
  check.value("perilune.mcp: options", options, "table")
  local checked = option_reader.read(options)
  local self = setmetatable({ name = checked.name, options = checked, starts = {} }, metatable)
  self.pins = must(pins.open(checked.name, checked.pins))
  local unfinished <close> = setmetatable({ server = self }, { __close = function(guard)
    if guard.server then
      guard.server:close()
    end
  end })
  must(current(self))
  unfinished.server = nil
  return self
end


---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == metatable
end


local function check_names(self, where, names)
  for _, name in ipairs(check.list(where, names or {}, "string", 3)) do
    if not self.pins.seen[name] then
      local better = text.suggest(name, self.pins.order)
      check.fail(("%s: MCP server '%s' has no tool '%s'%s"):format(where, self.name, name,
        better and (", did you mean '%s'?"):format(better) or ""), 3)
    end
  end
end


---The server's tools, for an assistant. Those that are not approved are left out.
---@param options? perilune.mcp.ToolOptions
---@return perilune.Tool[]
function methods:tools(options)
  options = check.options("server:tools", options, tool_types)
  must(look(self, must(current(self))))
  check_names(self, "server:tools: only", options.only)
  check_names(self, "server:tools: idempotent", options.idempotent)
  local wanted = options.only and tables.set(options.only)
  local definitions = {}
  for _, name in ipairs(self.pins.order) do
    local definition = (not wanted or wanted[name]) and self.pins:check(name)
    definitions[#definitions + 1] = definition or nil
  end
  return tools.make(self.name, definitions, options, function(...)
    return call_tool(self, ...)
  end)
end


---Calls a tool by the server's name for it.
---@param name string
---@param arguments? table
---@param on_progress? fun(progress: { progress: number, total: number?, message: string? })
---@return table result as the server says it: content, structuredContent, isError
function methods:call(name, arguments, on_progress)
  check.string("server:call: the name", name)
  return must(call_tool(self, name, arguments or {}, on_progress))
end


---The tools that wait for approval, because they appeared or changed after the first look.
---@return { name: string, state: "new"|"changed", description: string?, schema: table? }[]
function methods:waiting()
  must(look(self, must(current(self))))
  return self.pins:waiting()
end


---Approves a tool as the server describes it now; `server:tools()` has it from then on.
---@param name string the server's name for it
function methods:approve(name)
  check.string("server:approve: the name", name)
  must(look(self, must(current(self))))
  must(self.pins:approve(name))
end


---@return { uri: string, name: string, [string]: any }[] as the server lists them
function methods:resources()
  local session = offering(self, "resources")
  return session and must(list_all(self, session, "resources/list", "resources")) or {}
end


---@param uri string
---@return { uri: string, media_type: string?, text: string?, data: string? }[] data in base64
function methods:read_resource(uri)
  check.string("server:read_resource: the address", uri)
  return content.resources(must(ask(self, "resources/read", { uri = uri })).contents)
end


---@return { name: string, [string]: any }[] as the server lists them
function methods:prompts()
  local session = offering(self, "prompts")
  return session and must(list_all(self, session, "prompts/list", "prompts")) or {}
end


---A prompt, filled in.
---@param name string
---@param arguments? table<string, string>
---@return { description: string?, messages: perilune.Message[] } messages for client:chat
function methods:get_prompt(name, arguments)
  check.string("server:get_prompt: the name", name)
  local result = must(ask(self, "prompts/get", { name = name, arguments = arguments or {} }))
  return { description = result.description, messages = content.messages(result.messages) }
end


---@return number seconds
function methods:ping()
  local begun = clock.mono()
  must(ask(self, "ping"))
  return clock.mono() - begun
end


---What the server says of itself.
---@return { name: string?, version: string?, protocol: string, instructions: string?, capabilities: table }
function methods:about()
  local said = must(current(self)).server
  local info = type(said.serverInfo) == "table" and said.serverInfo or {}
  return {
    name = info.name, version = info.version, protocol = said.protocolVersion, instructions = said.instructions,
    capabilities = said.capabilities,
  }
end


---"down": it has ended, the next call starts it again; "failed": it has ended too often for that.
---@return "starting"|"ready"|"down"|"failed"|"closed"
---@return perilune.Error? err why
function methods:state()
  local session = self.session
  if self.is_closed then
    return "closed"
  elseif self.starting then
    return "starting"
  elseif session and session.is_ready and not session.is_over then
    return "ready"
  end
  return may_start(self) and "down" or "failed", self.problem or session and session.problem
end


---Ends the server's process or session; calls that are under way fail. May be called again.
function methods:close()
  self.is_closed = true
  if self.session then
    self.session:close()
  end
end


function metatable:__close()
  self:close()
end


function metatable:__tostring()
  return ("MCP server '%s' (%s)"):format(self.name, (self:state()))
end


return M
