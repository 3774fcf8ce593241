-- The fault server (server.c) for specs: plays scripts on ports, and knows what it saw there.
local clock = require "perilune.sys.clock"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {}

local methods, port_methods = {}, {}
local metatable = { __name = "tests.faults.server", __index = methods }
local port_metatable = { __name = "tests.faults.port", __index = port_methods }

-- How long a test waits for what must happen before it fails.
local PATIENCE_SECONDS = 10


---Where the build put what the tests need: beside the binary that runs them.
---@param name string
---@return string path
function M.built(name)
  local pid = assert(proc.self()):match(":(%d+):")
  local link = assert(proc.run { argv = { "readlink", ("/proc/%s/exe"):format(pid) } })
  return link.stdout:match("^(.*)/") .. "/tests/" .. name
end


---@class tests.faults.Connection what the server saw, times in its own seconds
---@field opened_at number
---@field requests { at: number, head: integer, body: integer }[]
---@field full? integer bytes that were sent when the client read no more
---@field over_at? number

---@class tests.faults.Port
---@field url string
---@field connections tests.faults.Connection[]

-- `NAME n WHAT A B MS` happened on a connection; anything else answers a command.
local function take(self, line)
  local name, number, what, a, b, ms = line:match("^(%S+) (%d+) (%l+) (%d+) (%d+) ([%d.]+)$")
  local port = self.ports[name or line:match("^%S+")]
  if not port then
    return
  elseif not name then
    port.said = line
  else
    local position, at = math.tointeger(tonumber(number)), tonumber(ms) / 1000
    local connection = port.connections[position] or { requests = {} }
    port.connections[position] = connection
    if what == "open" then
      connection.opened_at = at
    elseif what == "request" then
      table.insert(connection.requests, { at = at, head = math.tointeger(tonumber(a)), body = math.tointeger(tonumber(b)) })
    elseif what == "full" then
      connection.full = math.tointeger(tonumber(a))
    elseif what == "over" then
      connection.over_at, connection.told_at = at, clock.mono()
    end
  end
  self.changed:wake()
end


local function listen(self)
  local rest = ""
  while true do
    local bytes = self.child:read()
    if not bytes then
      return
    end
    rest = rest .. bytes
    local from = 1
    for line, after in rest:gmatch("([^\n]*)\n()") do
      take(self, line)
      from = after
    end
    rest = rest:sub(from)
  end
end


---Starts the server. Own it with `<close>`, after the group of the tasks that use it.
---@return table server
function M.start()
  local self = setmetatable({ ports = {}, played = 0, changed = task.signal(), group = task.group() }, metatable)
  self.child = assert(proc.start { argv = { M.built("fault_server") } })
  self.group:spawn(listen, self)
  return self
end


---Waits until `is_true()`, which is asked again whenever the server has told something.
---@param is_true fun(): any
function methods:wait_until(is_true)
  task.deadline(PATIENCE_SECONDS, function()
    while not is_true() do
      self.changed:wait()
    end
  end)
end


local function command(self, port, script)
  port.said = nil
  assert(self.child:write(("%s %s\n"):format(port.name, script)))
  self:wait_until(function() return port.said end)
end


---Opens a port that plays a script. Own it with `<close>`.
---@param script string without names
---@return tests.faults.Port
function methods:play(script)
  self.played = self.played + 1
  local port = setmetatable({ server = self, name = "p" .. self.played, connections = {} }, port_metatable)
  self.ports[port.name] = port
  command(self, port, script)
  port.url = "http://127.0.0.1:" .. (port.said:match(" port (%d+)$") or error(port.said .. " in: " .. script))
  return port
end


---The process that serves.
---@return integer
function methods:pid()
  return assert(self.child:pid())
end


function methods:close()
  self.child:kill "CONT" -- a test may have stopped it
  self.child:close_stdin()
  self.group:wait()
  self.child:close()
end


metatable.__close = methods.close


---What connections get from here on.
---@param script string
function port_methods:play(script)
  command(self.server, self, script)
end


---Waits until all that has happened there is known here.
function port_methods:sync()
  command(self.server, self, "tell")
end


---Whole requests that have arrived, in order.
---@return { at: number, head: integer, body: integer }[]
function port_methods:requests()
  local list = {}
  for _, connection in ipairs(self.connections) do
    table.move(connection.requests, 1, #connection.requests, #list + 1, list)
  end
  return list
end


---Waits until every connection of this port is gone; returns the last one.
---@return tests.faults.Connection
function port_methods:wait_over()
  self.server:wait_until(function()
    for _, connection in ipairs(self.connections) do
      if not connection.over_at then
        return false
      end
    end
    return true
  end)
  return self.connections[#self.connections]
end


function port_methods:close()
  command(self.server, self, "")
  self.server.ports[self.name] = nil
end


port_metatable.__close = port_methods.close

return M
