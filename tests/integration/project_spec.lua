-- The first commands of a new user: a project of one's own, and what the program finds where it is.
local fs = require "perilune.sys.fs"
local has = require "tests.support.has"
local json = require "perilune.json"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"

describe("perilune init", function()
  it("writes a project that runs, passes its own specs and can be served", function()
    local program <close> = programs.new()
    local result = program:run { "init" }
    assert.are.same({ 0, "" }, { result.status, result.stderr })
    result = program:run { "run", "main.lua", "What's the weather in Rome?" }
    assert.are.equal(0, result.status, result.stderr)
    has(result.stdout, "sunny")
    result = program:run { "test", "--db", ":memory:" }
    assert.are.equal(0, result.status, result.stdout .. result.stderr)
    has(result.stdout, "2 successes / 0 failures")
    result = program:run { "run", "-e", 'print(require("forecaster").name)' }
    assert.are.equal("forecaster\n", result.stdout)
  end)

  it("makes the folder that is named, and says what to do there", function()
    local program <close> = programs.new()
    local result = program:run { "init", "deep/weather" }
    assert.are.equal(0, result.status, result.stderr)
    has(result.stdout, "cd deep/weather\n")
    assert.is_truthy(fs.stat(program.folder .. "/deep/weather/spec/forecaster_spec.lua"))
    local data = assert(json.decode(program:run({ "init", "other", "--json" }).stdout))
    assert.are.equal("other", data.folder)
    assert.are.same({ ".gitignore", "forecaster.lua", "main.lua", "perilune.lua", "spec/forecaster_spec.lua" }, data.files)
  end)

  it("overwrites nothing, and then writes nothing", function()
    local program <close> = programs.new()
    program:file("main.lua", "mine")
    local result = program:run { "init" }
    assert.are.same({ 2, "" }, { result.status, result.stdout })
    has(result.stderr, "this folder has main.lua already, and nothing is overwritten")
    assert.are.equal("mine", fs.read(program.folder .. "/main.lua"))
    assert.is_nil((fs.stat(program.folder .. "/forecaster.lua")))
  end)

  it("keeps the .gitignore of the folder, and says what it should have", function()
    local program <close> = programs.new()
    program:file(".gitignore", "mine")
    local result = program:run { "init" }
    assert.are.equal(0, result.status)
    has(result.stderr, ".gitignore was there, and is left as it is: see that it has .env, *.db")
    assert.are.equal("mine", fs.read(program.folder .. "/.gitignore"))
  end)
end)


describe("perilune doctor", function()
  -- The rows of its JSON by what was checked, and the exit code.
  local function doctor(program, words)
    local result = program:run(table.move(words or {}, 1, #(words or {}), 3, { "doctor", "--json" }))
    local rows = {}
    for _, row in ipairs(assert(json.decode(result.stdout), result.stderr).checks) do
      rows[row.check] = rows[row.check] or {}
      table.insert(rows[row.check], row)
    end
    return rows, result.status, result.stdout .. result.stderr
  end

  it("finds nothing wrong where nothing is configured, and makes nothing", function()
    local program <close> = programs.new()
    local rows, status = doctor(program)
    assert.are.equal(0, status)
    for _, check in ipairs { "perilune", "sqlite", "libcurl", "configuration", "database", "model" } do
      assert.are.equal("ok", rows[check][1].state, check)
    end
    assert.are.equal("note", rows.keys[1].state)
    has(rows.model[1].what, "offline/demo")
    assert.is_nil((fs.stat(program.db)))
  end)

  it("names the keys that are set, never their values, and asks who has one", function()
    local server <close> = replay.serve { replay.reply(200, { data = { { id = "gpt-4o-mini" } } }) }
    local program <close> = programs.new { OPENAI_API_KEY = "sk-hidden", OPENAI_BASE_URL = server.url }
    local rows, status, said = doctor(program)
    assert.are.same({ 0, "ok", "OPENAI_API_KEY" }, { status, rows.keys[1].state, rows.keys[1].what })
    has(rows["provider openai"][1].what, "1 models, listed in")
    assert.is_nil(said:find("sk-hidden", 1, true))
    assert.is_nil(doctor(program, { "--offline" })["provider openai"])
  end)

  it("exits with 6 when a provider with a key cannot be reached, with 4 when it refuses the key", function()
    local program <close> = programs.new { OPENAI_API_KEY = "sk-hidden", OPENAI_BASE_URL = "http://127.0.0.1:1" }
    local rows, status = doctor(program)
    assert.are.same({ 6, "failed" }, { status, rows["provider openai"][1].state })
    local server <close> = replay.serve { replay.reply(401, { error = { message = "no such key" } }) }
    program.env.OPENAI_BASE_URL = server.url
    rows, status = doctor(program)
    assert.are.same({ 4, "failed" }, { status, rows["provider openai"][1].state })
  end)

  it("says what is wrong with the files: .env, a provider, the database", function()
    local program <close> = programs.new()
    program:file(".env", "A=b\nno line\n")
    assert(fs.mkdir(program.folder .. "/providers"))
    program:file("providers/acme.lua", "return {")
    program:file("perilune.db", "no database")
    local rows, status, said = doctor(program, { "--offline" })
    has(rows.configuration[1].what, ".env")
    has(rows.configuration[2].what, ".env:2: this is not NAME=value")
    has(rows.configuration[3].what, "chmod 600 .env")
    has(rows.providers[1].what, "providers/acme.lua")
    assert.are.same({ "failed", 3 }, { rows.database[1].state, status }, said)
    assert.are.equal("no database", fs.read(program.db))
  end)

  it("takes a database of an earlier program for one that is to be migrated, and does not touch it", function()
    local program <close> = programs.new()
    program:run { "db", "migrate" }
    local bytes = assert(fs.read(program.db))
    bytes = bytes:sub(1, 60) .. string.pack(">I4", 1) .. bytes:sub(65) -- the schema version in the file's head
    program:file("perilune.db", bytes)
    local rows, status = doctor(program, { "--offline" })
    assert.are.same({ 0, "note" }, { status, rows.database[1].state })
    has(rows.database[1].what, "perilune db migrate")
    assert.are.equal(bytes, fs.read(program.db))
  end)

  it("does not take a database that cannot be for one that is not there yet", function()
    local program <close> = programs.new()
    local rows, status = doctor(program, { "--offline", "--db", "postgres://host/name" })
    assert.are.same({ 3, "failed" }, { status, rows.database[1].state })
    has(rows.database[1].what, "postgres://… is not supported")
  end)

  it("says an error of the configuration as every command does, and exits with 3", function()
    local program <close> = programs.new()
    program:file("perilune.lua", "return { modle = 1 }")
    local result = program:run { "doctor" }
    assert.are.equal(3, result.status)
    has(result.stderr, "did you mean 'model'")
  end)
end)
