-- perilune db: the database as a file.
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"

local M = {
  usage = "db check | backup FILE | info",
  summary = [[
Checks the database (its file, its keys, and what must always be true of it), copies it while it is in use,
or says what it is. Nothing is ever repaired or deleted.]],
  options = {},
  examples = { "check", "backup perilune-backup.db", "info --json" },
}

local actions = {}


function actions.check(values, _, db)
  local problems, err = db:check()
  if not problems then
    error(err, 0)
  elseif values.json then
    output.json { ok = #problems == 0, problems = json.array(problems) }
  elseif #problems == 0 then
    output.write("ok\n")
  else
    output.write(table.concat(problems, "\n") .. "\n")
  end
  return #problems == 0 and 0 or 7
end


function actions.backup(values, path, db)
  if not path then
    options.fail("db: where to? (perilune db backup FILE)")
  end
  local ok, err = db:backup(path)
  if not ok then
    error(err, 0)
  elseif values.json then
    output.json { path = path }
  elseif not values.quiet then
    output.note("written to " .. path)
  end
  return 0
end


function actions.info(values, _, db)
  local info, err = db:info()
  if not info then
    error(err, 0)
  elseif values.json then
    output.json(info)
  else
    output.table({ info }, {
      { "PATH", "path" }, { "SCHEMA", "schema_version" }, { "SQLITE", "sqlite_version" }, { "JOURNAL", "journal_mode" },
      { "BYTES", "size" },
    })
  end
  return 0
end


function M.run(values, words, app)
  local action = actions[words[1]]
  if not action then
    options.fail(words[1] and "db: unknown action '%s'; it is check, backup or info" or "db: do what? check, backup or info", words[1])
  end
  options.at_most("db", words, words[1] == "backup" and 2 or 1)
  return action(values, words[2], app:database())
end


return M
