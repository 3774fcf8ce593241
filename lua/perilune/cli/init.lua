-- The command line: global options, the table of commands, and what an error becomes (a message and an exit code).
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local proc = require "perilune.sys.proc"
local strict = require "perilune.std.strict"
local text = require "perilune.std.text"

local M = {}

---@class perilune.Command
---@field usage string
---@field summary string
---@field options table[] see cli/options.lua
---@field examples string[]
---@field run fun(values: table, words: string[], global: table): integer?

-- In the order of the help text; each is perilune.cli.<name>, or of the name that comes third.
local commands = {
  { "run", "run an agent script" },
  { "ask", "one answer on standard output" },
  { "chat", "talk to a model in the terminal" },
  { "threads", "list, show, search, fork, export and delete conversations" },
  { "runs", "what assistants did; approve, reject, resume, cancel" },
  { "assistants", "assistants that are rows of the database" },
  { "workflows", "executions of workflows; answer, resume, cancel" },
  { "usage", "what was used, and what it cost" },
  { "providers", "what is known; `providers test FILE` runs the conformance kit" },
  { "models", "the known models, and what they cost" },
  { "db", "migrate, check and back up the database" },
  { "serve", "serve the OpenAI-compatible API, and what scripts define" },
  { "keys", "who may call a server: create, list, revoke, rotate" },
  { "credits", "what accounts have: balance, grant, history" },
  { "test", "run busted specs inside the host" },
  { "doctor", "versions, configuration, keys, database; do the providers answer?" },
  { "init", "a small project to begin with: an assistant, a spec, a configuration", "project" },
}

local global_options = {
  { names = { "--db" }, key = "db", value = "URL", help = "the database: a path, sqlite:PATH or :memory:" },
  { names = { "--config" }, key = "config", value = "FILE", help = "a configuration file, besides the usual ones" },
  { names = { "--log-level" }, key = "log_level", value = "LEVEL", help = "debug, info, warn (default), error or off" },
  { names = { "--log-format" }, key = "log_format", value = "FORMAT", help = "text or json" },
  { names = { "--json" }, key = "json", help = "print data as JSON" },
  { names = { "--quiet", "-q" }, key = "quiet", help = "print nothing but data and errors" },
  { names = { "--color" }, key = "color", help = "colours; --no-color (or NO_COLOR) turns them off" },
  { names = { "--help", "-h" }, key = "help", help = "this text, or the command's" },
  { names = { "--version", "-V" }, key = "version", help = "the versions of the program and its parts" },
}


local function global_help()
  local lines = { "usage: perilune [OPTION...] COMMAND [ARGUMENT...]", "", "commands:" }
  for _, command in ipairs(commands) do
    lines[#lines + 1] = ("  %-10s %s"):format(command[1], command[2])
  end
  lines[#lines + 1] = "\noptions (before or after the command):\n" .. options.help(global_options)
  lines[#lines + 1] = "\n`perilune COMMAND --help` says more. Exit codes: 0 done, 1 the script failed, 2 usage, 3 configuration,"
  lines[#lines + 1] = "4 authentication, 5 rate limit or credits, 6 network or provider, 7 database, 130 interrupted."
  return table.concat(lines, "\n") .. "\n"
end


local function command_help(name, command)
  local lines = { "usage: perilune " .. command.usage, "", command.summary }
  if #command.options > 0 then
    lines[#lines + 1] = "\noptions:\n" .. options.help(command.options)
  end
  lines[#lines + 1] = "\nexamples:"
  for _, example in ipairs(command.examples) do
    lines[#lines + 1] = "  perilune " .. name .. (example ~= "" and " " or "") .. example
  end
  return table.concat(lines, "\n") .. "\n"
end


local function find_command(name)
  local names = {}
  for position, command in ipairs(commands) do
    if command[1] == name then
      return require("perilune.cli." .. (command[3] or name))
    end
    names[position] = command[1]
  end
  local nearest = text.suggest(name, names)
  options.fail("unknown command '%s'%s", name, nearest and (", did you mean '" .. nearest .. "'?") or "; try perilune --help")
end


-- The command's options and the global ones, both allowed after the command.
local function all_options(command)
  local all = table.move(global_options, 1, #global_options, 1, {})
  return table.move(command.options, 1, #command.options, #all + 1, all)
end


local function set_up_log(settings)
  local log = require "perilune.sys.log"
  log.set_level(settings.log_level or "warn")
  if settings.log_format then
    log.set_format(settings.log_format)
  end
  for _, note in ipairs(settings.notes) do
    log.write("warn", "config", note)
  end
end


-- The application of this command, configured by the options; also the one that scripts get.
local function make_app(global)
  local settings, err = require("perilune.config").load {
    db = global.db, config = global.config, log_level = global.log_level, log_format = global.log_format, model = global.model,
  }
  if not settings then
    error(err, 0)
  end
  set_up_log(settings)
  local app = require("perilune.app").new(settings)
  require("perilune").use(app)
  return app
end


local function version_text(version)
  return ("perilune %s (%s, SQLite %s)\n"):format(version, _VERSION, require("perilune.sys.store").library())
end


---The whole command line.
---@param arg string[]
---@param version string
---@return integer exit code
function M.main(arg, version)
  local global, words = options.parse(arg, global_options, true)
  if words[1] == "help" then
    table.remove(words, 1)
    options.at_most("help", words, 1)
    global.help = true
  end
  if global.version then
    output.write(version_text(version))
    return 0
  elseif global.help and not words[1] then
    output.write(global_help())
    return 0
  elseif not words[1] then
    proc.write(2, global_help())
    return 2
  end
  local name = table.remove(words, 1)
  local command = find_command(name)
  if global.help then
    words = { "--help" }
  end
  local values, rest = options.parse(words, all_options(command), command.stops_at_word)
  if values.help then
    output.write(command_help(name, command))
    return 0
  end
  setmetatable(values, { __index = global })
  if name ~= "test" then -- a test framework makes globals of its own
    strict.install(_G)
  end
  local app <close> = make_app(values)
  app.version = version
  return command.run(values, rest, app) or 0
end


---Prints an error; returns the exit code for it.
---@param err perilune.Error
---@return integer
function M.report(err)
  return require("perilune.cli.report").print(err)
end


return M
