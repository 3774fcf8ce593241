-- perilune assistants: those that are rows of the database.
local clock = require "perilune.sys.clock"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local proc = require "perilune.sys.proc"
local registry = require "perilune.agent.registry"

local M = {
  usage = "assistants list | show NAME | create FILE | delete NAME",
  summary = [[
Lists, shows, creates and deletes the assistants that are rows of the database. FILE is JSON (- is standard input): the options
of perilune.assistant, with tools (the built-in ones and configured MCP servers) and handoffs by name.]],
  options = {
    { names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1, of = { "list" }, help = "how many (50)" },
    { names = { "--replace" }, key = "replace", of = { "create" }, help = "change the one of that name, if there is one" },
  },
  examples = {
    "list", "show forecaster --json", "create forecaster.json", "create --replace forecaster.json", "delete forecaster",
  },
}

local LIMIT = 50

local actions = {}


function actions.list(values, _, app)
  local list = registry.list(app, { limit = values.limit or LIMIT })
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "NAME", function(row) return (row.name:gsub("%c", " ")) end },
    { "MODEL", function(row) return row.definition.model or "auto" end },
    { "TOOLS", function(row) return row.definition.tools and row.definition.tools[1] and table.concat(row.definition.tools, ",") end },
    { "UPDATED", function(row) return clock.iso(row.updated_at) end },
  })
end


function actions.show(values, name, app)
  local row = registry.get(app, name)
  if values.json then
    return output.json(row)
  end
  output.write(("%s (%s), updated %s\n"):format(row.name, row.id, clock.iso(row.updated_at)))
  row.definition.metadata = row.metadata
  output.json(row.definition)
end


local function read_definition(path)
  local text, err
  if path == "-" then
    text, err = proc.read_stdin()
  else
    text, err = fs.read(path)
  end
  if not text then
    options.fail("assistants: %s", err.message)
  end
  local definition
  definition, err = json.decode(text)
  if err or type(definition) ~= "table" then
    options.fail("assistants: %s holds no JSON object%s", path, err and ": " .. err.message or "")
  end
  return definition
end


function actions.create(values, path, app)
  local definition = read_definition(path)
  local row = values.replace and registry.put(app, definition) or registry.create(app, definition)
  if values.json then
    output.json(row)
  elseif not values.quiet then
    output.note(("%s is stored as %s"):format(row.name, row.id))
  end
end


function actions.delete(values, name, app)
  registry.delete(app, name)
  if values.json then
    output.json { name = name, deleted = true }
  elseif not values.quiet then
    output.note("deleted " .. name)
  end
end


function M.run(values, words, app)
  local name = words[1] or "list"
  local action = actions[name]
  if not action then
    options.fail("assistants: unknown action '%s'; it is list, show, create or delete", name)
  end
  options.only("assistants", M.options, values, name)
  options.at_most("assistants", words, name == "list" and 1 or 2)
  if name ~= "list" and not words[2] then
    options.fail(name == "create" and "assistants: which file? (perilune assistants create FILE)"
      or "assistants: which one? (perilune assistants %s NAME)", name)
  end
  action(values, words[2], app)
  return 0
end


return M
