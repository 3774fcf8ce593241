-- perilune serve: the API that OpenAI's clients speak, over providers, assistants, threads and accounts.
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local log = require "perilune.sys.log"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local proc = require "perilune.sys.proc"
local reload = require "perilune.serve.reload"
local servers = require "perilune.serve"
local task = require "perilune.sys.task"

-- What the server itself takes, and a few requests, in MB.
local MEMORY_MIN = 16

local M = {
  usage = "serve [OPTION...] [SCRIPT...]",
  summary = [[
Serves the OpenAI-compatible API, and everything the scripts define: assistants (as the model assistant/NAME), routes, jobs.
Without a key only this machine may call; `perilune keys create NAME` makes one. SIGHUP loads the scripts anew, SIGTERM lets what is
under way end (10 s) and exits with 0. The address is printed on standard output once requests are taken.]],
  options = {
    { names = { "--listen", "-l" }, key = "listen", value = "[HOST:]PORT", help = "where (127.0.0.1:8080); port 0 is any free one" },
    { names = { "--watch", "-w" }, key = "watch", help = "load the scripts anew when they or their modules change" },
    {
      names = { "--connections" }, key = "connections", value = "N", type = "integer", min = 1, max = 1e6,
      help = "connections at once; above it new ones wait (10000)",
    },
    {
      names = { "--memory" }, key = "memory", value = "MB", type = "number", min = MEMORY_MIN, max = 1e6,
      help = "memory of the scripts (1024)",
    },
  },
  examples = { "", "scripts/serve.lua", "--listen 0.0.0.0:8080 --watch agents/*.lua", "--listen 0 --json" },
}

local HOST, PORT = "127.0.0.1", 8080


-- "8080", ":8080", "0.0.0.0:8080", "[::1]:8080".
local function parse_listen(text)
  if not text then
    return HOST, PORT
  end
  local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then
    host, port = text:match("^([^:/]*):(%d+)$")
  end
  if not host then
    host, port = "", text:match("^(%d+)$")
  end
  port = port and #port < 6 and math.tointeger(tonumber(port))
  if not port or port > 65535 then
    options.fail("serve: --listen is PORT or HOST:PORT, not '%s'", text)
  end
  if host ~= "" and host ~= "localhost" and not fetch.is_range(host) then
    options.fail("serve: --listen: '%s' is no address, like 0.0.0.0 or [::1]", host)
  end
  return host ~= "" and host or HOST, port
end


local function check_scripts(paths)
  for _, path in ipairs(paths) do
    local found, err = fs.stat(path)
    if not found then
      options.fail("serve: %s", err.kind == "not_found" and ("there is no script '%s'"):format(path) or err.message)
    elseif found.type == "directory" then
      options.fail("serve: '%s' is a folder, and no script", path)
    end
  end
end


local function address(host, port)
  return ("http://%s:%d"):format(host:find(":", 1, true) and "[" .. host .. "]" or host, port)
end


-- Tells where it serves, and what a user should know.
local function announce(server, host, values)
  local url = address(host, server.listener:port())
  if values.json then
    output.json { url = url }
  elseif not values.quiet then
    output.write(("Perilune serves on %s/v1\n"):format(url))
  end
  if not server.auth:has_keys() then
    log.write("warn", "serve", "there is no key yet: only this machine may call (perilune keys create NAME makes one)")
  end
end


-- Waits for what the process is told from outside.
local function until_told(server, signals, paths, kept)
  while true do
    local name = signals:wait()
    if name ~= "HUP" then
      return
    end
    reload.reload(server, paths, kept)
  end
end


function M.run(values, words, app)
  local host, port = parse_listen(values.listen)
  check_scripts(words)
  if values.memory then
    task.memory(math.floor(values.memory * 1024 * 1024))
  end
  app.is_serving = true
  local kept = reload.loaded()
  local signals <close> = proc.signals()
  reload.load(words)
  local server = servers.new(app)
  server:listen {
    host = host, port = port, connections = values.connections, connections_per_address = server.options.connections_per_address,
  }
  local beside <close> = task.group()
  if values.watch then
    beside:spawn(reload.watch, server, words, kept)
  end
  server:run(function()
    announce(server, host, values)
    until_told(server, signals, words, kept)
    beside:cancel("shutdown")
  end)
  return 0
end


return M
