-- perilune db: the database as a file.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local rows = require "perilune.store.rows"

local M = {
  usage = "db migrate | check | backup FILE | info | stats",
  summary = [[
Brings the database up to date with this program (every command does), checks it (its file, its keys, and what must always be
true of it), copies it while it is in use, or says what it is and how much is in it. Nothing is ever repaired or deleted.]],
  options = {},
  examples = { "migrate", "check", "backup perilune-backup.db", "info --json", "stats" },
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


-- Opening it has migrated it.
function actions.migrate(values, _, db)
  local info, err = db:info()
  if not info then
    error(err, 0)
  elseif values.json then
    output.json { path = info.path, schema_version = info.schema_version }
  elseif not values.quiet then
    output.note(("%s has schema version %d, which is this program's"):format(info.path, info.schema_version))
  end
  return 0
end


local function decode_times(row)
  return rows.decode(row, {}, { "oldest_at", "newest_at" })
end


local function time_of(name)
  return function(row)
    return row[name] and clock.iso(row[name])
  end
end


function actions.stats(values, _, db)
  local tables, err = db:read("stats_tables")
  tables, err = rows.each(tables, err, decode_times)
  local info
  if tables then
    info, err = db:info()
  end
  if not info then
    error(err, 0)
  elseif values.json then
    output.json { path = info.path, bytes = info.size, schema_version = info.schema_version, tables = json.array(tables) }
    return 0
  end
  output.table(tables, {
    { "TABLE", "name" }, { "ROWS", "row_count" }, { "OLDEST", time_of "oldest_at" }, { "NEWEST", time_of "newest_at" },
  })
  output.write(("%d bytes in %s\n"):format(info.size, info.path))
  return 0
end


local names = "migrate, check, backup, info or stats"


function M.run(values, words, app)
  local action = actions[words[1]]
  if not action and words[1] then
    options.fail("db: unknown action '%s'; it is %s", words[1], names)
  elseif not action then
    options.fail("db: do what? %s", names)
  end
  options.at_most("db", words, words[1] == "backup" and 2 or 1)
  return action(values, words[2], app:database())
end


return M
