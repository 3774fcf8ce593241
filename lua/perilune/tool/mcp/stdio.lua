-- MCP over the standard input and output of a child process: one message a line. What it says on standard error goes to our
-- log. Four tasks belong to a child: one writes, two read, one waits for its exit; all of them end with it.
local errors = require "perilune.std.errors"
local lines = require "perilune.tool.mcp.lines"
local log = require "perilune.sys.log"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {}

M.MESSAGE_BYTES_MAX = 8 * 1024 * 1024

local UNREAD_BYTES_MAX = 1024 * 1024 -- of the child's output; then it waits for us
local ERROR_LINE_BYTES_MAX = 64 * 1024
local OUTBOX_MAX = 2048 -- messages that a child has not read yet
local STOP_SECONDS, TERM_SECONDS = 1, 1 -- for a child to end by itself, after the end of its input and after SIGTERM
local LINGER_SECONDS = 2 -- something that the child left running may hold its output open so long

-- What a child gets of our environment, besides what the script gives it: no keys.
local inherited = { "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR" }

local methods = {}
local metatable = { __name = "perilune.mcp.Stdio", __index = methods }


local function variables(env)
  local all = {}
  for _, name in ipairs(inherited) do
    all[name] = proc.env(name)
  end
  for name, value in pairs(env or {}) do
    all[name] = value
  end
  return all
end


-- Its outputs are at their end, or its input: the exit should follow.
local function await_exit(self)
  if not self.has_exited then
    self.exited:wait(STOP_SECONDS)
  end
end


local function ended(self)
  await_exit(self)
  local status = self.status
  local how = status and (status.signal and "killed by SIG" .. status.signal or "exit code " .. status.status) or "it closed its output"
  return errors.new { kind = "connection", code = "ended", message = ("the server has ended (%s)"):format(how), maybe_billed = true }
end


-- The child is over, however that came about.
function metatable:__close()
  self.is_over = true
  self.child:close()
  self.outbox_changed:wake()
  self.over:wake()
  self.receiver:ended(self.problem or errors.new {
    kind = "connection", code = "ended", message = "the server was stopped", maybe_billed = true,
  })
end


local function read_messages(self)
  local owned <close> = self -- luacheck: ignore 211
  local cutter = lines.new(M.MESSAGE_BYTES_MAX)
  while true do
    local bytes = self.child:read()
    if not bytes then
      self.problem = self.problem or ended(self)
      return
    end
    local list, err = cutter:feed(bytes)
    if not list then
      err.maybe_billed = true
      self.problem = err
      return
    end
    for _, line in ipairs(list) do
      if line:find("%S") then
        self.receiver:take(line)
      end
    end
    task.yield()
  end
end


local function read_errors(self)
  local cutter = lines.new(ERROR_LINE_BYTES_MAX)
  local bytes = self.child:read("stderr")
  while bytes do
    local list = cutter:feed(bytes)
    for _, line in ipairs(list or { "(a line that is too long for the log)" }) do
      log.write("info", "mcp", ("%s: %s"):format(self.name, line))
    end
    cutter = list and cutter or lines.new(ERROR_LINE_BYTES_MAX)
    task.yield()
    bytes = self.child:read("stderr")
  end
end


local function write_messages(self)
  while not self.is_over do
    local waiting = self.outbox
    self.outbox = {}
    for _, text in ipairs(waiting) do
      if not self.child:write(text) then
        await_exit(self)
        self.child:close()
        return
      end
    end
    if #self.outbox == 0 and not self.is_over then
      self.outbox_changed:wait()
    end
  end
end


local function wait_for_exit(self)
  self.status = self.child:wait()
  self.has_exited = true
  self.exited:wake()
  if not self.is_over and not self.over:wait(LINGER_SECONDS) then
    self.child:close()
  end
end


---Starts the program.
---@param options table name, command, cwd, env
---@param receiver perilune.mcp.Session gets what arrives (`take`), and hears of the end (`ended`)
---@return table? transport
---@return perilune.Error?
function M.open(options, receiver)
  local child, err = proc.start {
    argv = options.command, cwd = options.cwd, env = variables(options.env), out_bytes = UNREAD_BYTES_MAX,
  }
  if not child then
    return nil, err
  end
  local self = setmetatable({
    child = child, name = options.name, receiver = receiver, outbox = {}, outbox_changed = task.signal(), exited = task.signal(),
    over = task.signal(), has_exited = false, is_over = false,
  }, metatable)
  for _, work in ipairs { read_messages, read_errors, write_messages, wait_for_exit } do
    task.spawn(work, self)
  end
  return self
end


---Queues a message; waits for nothing.
---@param text string
---@return true?
---@return perilune.Error?
function methods:send(text)
  if #self.outbox >= OUTBOX_MAX then
    return nil, errors.new { kind = "overloaded", message = "the server does not read what it is sent" }
  end
  self.outbox[#self.outbox + 1] = text .. "\n"
  self.outbox_changed:wake()
  return true
end


---The first message after the handshake.
---@param text string
---@return true?
---@return perilune.Error?
function methods:begin(_, text)
  return self:send(text)
end


-- Requests have nothing of their own here that could be given back.
methods.drop = function() end
methods.answered = methods.drop


local function stop(self)
  self.child:close_stdin()
  if not self.over:wait(STOP_SECONDS) then
    self.child:kill("TERM")
    self.over:wait(TERM_SECONDS)
  end
end


---Ends the child: the end of its input, SIGTERM, then SIGKILL for it and all it started.
function methods:close()
  if not self.is_over then
    task.shield(STOP_SECONDS + TERM_SECONDS + 1, stop, self)
  end
  self.child:close()
end


return M
