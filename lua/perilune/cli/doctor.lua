-- perilune doctor: is everything there that the other commands need? Nothing is changed, made or paid for.
local configured = require "perilune.model.configured"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local known = require "perilune.model.known"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local report = require "perilune.cli.report"
local store = require "perilune.store"
local text = require "perilune.std.text"

local OTHERS = 0x3f -- the permission bits of the group and of everybody
local WHAT_BYTES_MAX = 400 -- in the table; --json says all of it

local M = {
  usage = "doctor [--offline]",
  summary = [[
Says what this program is made of, which configuration it reads, which keys are set (never their values), how the database is, and
whether the providers that could be asked answer (their lists of models are asked for, which costs nothing). Nothing is changed.
The exit code is that of the first check that failed, 0 when none did.]],
  options = {
    { names = { "--offline" }, key = "offline", help = "ask no provider" },
  },
  examples = { "", "--offline", "--json" },
}

---@class perilune.Check
---@field check string what was looked at
---@field state "ok"|"note"|"failed" note: no failure, but worth knowing
---@field what string
---@field err? { kind: string, code: string?, provider: string? } why it failed


local function failed(check, err)
  return { check = check, state = "failed", what = tostring(err), err = err }
end


local function parts(rows, app)
  rows[#rows + 1] = { check = "perilune", state = "ok", what = ("%s, %s"):format(app.version, _VERSION) }
  rows[#rows + 1] = { check = "sqlite", state = "ok", what = require("perilune.sys.store").library() }
  local libcurl, err = require("perilune.sys.fetch").library()
  rows[#rows + 1] = libcurl and { check = "libcurl", state = "ok", what = libcurl } or failed("libcurl", err)
end


local function configuration(rows, app)
  local files = app.settings.files
  rows[#rows + 1] = {
    check = "configuration", state = "ok", what = files[1] and table.concat(files, ", ") or "no file, the built-in defaults",
  }
  for _, line in ipairs(app.settings.notes) do
    rows[#rows + 1] = { check = "configuration", state = "note", what = line }
  end
  local stat = fs.stat ".env"
  if stat and stat.mode & OTHERS ~= 0 then
    rows[#rows + 1] = { check = "configuration", state = "note", what = "other users may read .env, which is for keys: chmod 600 .env" }
  end
  for _, broken in ipairs(app:discover().broken) do
    rows[#rows + 1] = failed("providers", errors.new { kind = "configuration", message = ("%s: %s"):format(broken.file, broken.error) })
  end
end


local function keys(rows, app)
  local names, seen = {}, {}
  for _, provider in ipairs(known.providers(app.settings)) do
    if provider.is_key_set and not seen[provider.key] then
      names[#names + 1], seen[provider.key] = provider.key, true
    end
  end
  rows[#rows + 1] = {
    check = "keys", state = names[1] and "ok" or "note",
    what = names[1] and table.concat(names, ", ") or "none is set (in the environment or in .env), like OPENAI_API_KEY=…",
  }
end


-- Read only: opening it for writing would make it, or migrate it.
local function info_of(path)
  local db <close>, err = store.open(path, { read_only = true })
  if not db then
    return nil, err
  end
  return db:info()
end


local function database_row(url)
  local path, err = store.path(url)
  if not path then
    return failed("database", err)
  elseif path == ":memory:" then
    return { check = "database", state = "ok", what = "in memory, gone with each process" }
  elseif not fs.stat(path) then
    return { check = "database", state = "ok", what = path .. " is not there yet: the first command that needs it makes it" }
  end
  local info
  info, err = info_of(path)
  if info then
    local what = ("%s, schema %d, %.1f MB (`perilune db check` looks into it)"):format(path, info.schema_version, info.size / 1e6)
    return { check = "database", state = "ok", what = what }
  elseif err.code == "read_only" then -- of an earlier program
    return { check = "database", state = "note", what = err.message .. " (perilune db migrate, or any command)" }
  end
  return failed("database", err)
end


local function database(rows, app)
  rows[#rows + 1] = database_row(app.settings.db)
end


local function model(rows, app)
  local found, name = require("perilune.model.resolve").model({ false }, app.settings)
  rows[#rows + 1] = found and { check = "model", state = "ok", what = name .. " answers when none is named" } or failed("model", name)
end


local function providers(rows, app)
  for _, row in ipairs(require("perilune.model.probe").all(app.settings)) do
    local check = "provider " .. row.provider
    if row.state == "ok" and row.provider ~= configured.offline.name then
      local what = ("%d models, listed in %d ms by %s"):format(row.models, row.ms, row.base_url)
      rows[#rows + 1] = { check = check, state = "ok", what = what }
    elseif row.state == "failed" and not row.is_local then
      rows[#rows + 1] = { check = check, state = "failed", what = row.error, err = { kind = row.kind, provider = row.provider } }
    elseif row.state == "not asked" then
      rows[#rows + 1] = { check = check, state = "note", what = "has no list of models to ask for" }
    end
  end
end


function M.run(values, words, app)
  options.at_most("doctor", words, 0)
  local rows, code = {}, 0
  for _, look in ipairs { parts, configuration, keys, database, model, not values.offline and providers or nil } do
    look(rows, app)
  end
  for _, row in ipairs(rows) do
    code = code == 0 and row.err and report.exit_code(row.err) or code
    row.err = nil
  end
  if values.json then
    output.json { ok = code == 0, checks = json.array(rows) }
    return code
  end
  output.table(rows, { { "CHECK", "check" }, { "STATE", "state" }, { "WHAT", function(row)
    return text.truncate((row.what:gsub("%s+", " ")), WHAT_BYTES_MAX)
  end } })
  return code
end


return M
