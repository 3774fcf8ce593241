local apps = require "perilune.app"
local assistants = require "perilune.agent.assistant"
local defined = require "perilune.agent.defined"
local json = require "perilune.json"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local registry = require "perilune.agent.registry"


describe("assistants by name", function()
  local app

  before_each(function()
    app = apps.new { db = ":memory:", env = function() end, tools = { read_file = { roots = { "." } } } }
    perilune.use(app)
  end)

  after_each(function()
    perilune.use(nil)
    defined.clear()
    app:close()
  end)

  local function fails(kind, part, f, ...)
    local value, err = perilune.try(f, ...)
    assert.is_nil(value)
    assert.equal(kind, err.kind, tostring(err))
    assert.matches(part, err.message, 1, true)
  end

  it("are found where a script has defined them, before a row of the same name", function()
    local row = perilune.assistants.create { name = "a", model = "offline/demo", instructions = "of the row" }
    assert.equal("of the row", registry.find(app, "a").instructions)
    assert.equal("of the row", registry.find(app, row.id).instructions)
    local mine = perilune.assistant { name = "a", model = "offline/demo" }
    assert.equal(mine, registry.find(app, "a"))
    local newer = perilune.assistant { name = "a", model = "offline/demo" }
    assert.equal(newer, registry.find(app, "a"))
    perilune.assistant { model = "offline/demo" } -- has no name, and takes nobody's
    assert.same({ "a" }, defined.names())
  end)

  it("are assistants like others when they are rows", function()
    perilune.assistants.create {
      name = "a", model = "x/y", fallbacks = { "offline/demo" }, instructions = "Be brief.", temperature = 0.2, max_steps = 3,
      tools = { "calculator", "read_file" }, tool_choice = "auto", history = { messages = 5 }, metadata = { team = "red" },
    }
    local found = registry.find(app, "a")
    assert.is_true(assistants.is(found))
    assert.same({ "a", "x/y", { "offline/demo" }, 0.2, 3, 5 },
      { found.name, found.model, found.fallbacks, found.request.temperature, found.max_steps, found.history.messages })
    assert.is_truthy(found.tools.calculator and found.tools.read_file)
    assert.same({ team = "red" }, found.metadata)
  end)

  it("that do not exist are not found, with the name that was meant", function()
    perilune.assistants.create { name = "forecaster" }
    local said = "'forecastr', neither defined by a script that runs here nor in the database; did you mean 'forecaster'?"
    fails("not_found", said, registry.find, app, "forecastr")
    perilune.assistant { name = "translator" }
    fails("not_found", "did you mean 'translator'?", registry.find, app, "transltor")
    fails("not_found", "there is no assistant 'x'", registry.find, app, "x")
  end)

  it("hand over to each other, also in circles", function()
    perilune.assistants.create { name = "b" }
    perilune.assistants.create { name = "a", handoffs = { "b" } }
    perilune.assistants.update("b", { handoffs = { "a", "b" } })
    local a = registry.find(app, "a")
    local b = a.handoffs[1]
    assert.equal("b", b.name)
    assert.same({ true, true }, { b.handoffs[1] == a, b.handoffs[2] == b })
    fails("not_found", "there is no assistant 'c'", perilune.assistants.create, { name = "d", handoffs = { "c" } })
  end)

  it("cannot be rows with what only a script can define", function()
    local tool = perilune.tool { name = "get_weather", description = "x", run = function() end }
    for part, options in pairs {
      ["only a script can define a tool like 'get_weather'"] = { tools = { tool } },
      ["tools[1] must be the name of a built-in tool or of a configured MCP server: got a number"] = { tools = { 5 } },
      ["'calculater', did you mean 'calculator'?"] = { tools = { "calculater" } },
      ["instructions is a function: only a script can define that"] = { instructions = function() end },
      ["metadata.a[2].f is a function"] = { metadata = { a = { 1, { f = print } } } },
      ["handoffs[1] must be the name of an assistant, got a table"] = { handoffs = { perilune.assistant { name = "b" } } },
      ["unknown option 'modell', did you mean 'model'?"] = { modell = "x" },
      ["unknown option 'temprature', did you mean 'temperature'?"] = { temprature = 1 },
      ["'name' must be a text of 1 to 256 bytes"] = { name = "" },
    } do
      options.name = options.name or "a"
      fails("configuration", part, perilune.assistants.create, options)
    end
    fails("configuration", "'name' must be a text", perilune.assistants.create, {})
    assert.same({}, perilune.assistants.list())
  end)

  it("that are rows get no more from a tool than the configuration gives it", function()
    app.settings.tools = nil
    fails("configuration", "roots", perilune.assistants.create, { name = "a", tools = { "read_file" } })
  end)

  it("that are rows get the tools of MCP servers that are configured, over one connection", function()
    local lua = proc.env "PERILUNE_LUA"
    local own <close> = apps.new { db = ":memory:", env = function() end, mcp = { toy = {
      command = { "/proc/self/exe", "run", programs.path "tests/support/mcp_server.lua" },
      env = { PERILUNE_LUA = lua and programs.path(lua) },
    } } }
    registry.create(own, { name = "a", tools = { "calculator", "toy" } })
    local found = registry.find(own, "a")
    assert.is_truthy(found.tools.calculator and found.tools.toy_echo)
    assert.equal(own:mcp("toy"), own:mcp("toy"))
    fails("configuration", "'toi', did you mean 'toy'?", registry.create, own, { name = "b", tools = { "toi" } })
  end)

  it("are blamed on the line that called", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local _, err = perilune.try(function() perilune.assistants.create { name = "a", instructions = print } end)
    assert.matches(":" .. line .. "$", err.where)
  end)

  it("are listed, changed and deleted", function()
    local row = perilune.assistants.create { name = "a", model = "x/y", temperature = 1, max_tokens = json.null, metadata = { k = 1 } }
    assert.same({ model = "x/y", temperature = 1 }, row.definition)
    local changed = perilune.assistants.update("a", { temperature = json.null, instructions = "i", name = "b" })
    assert.same({ "b", row.id, { model = "x/y", instructions = "i" }, { k = 1 } },
      { changed.name, changed.id, changed.definition, changed.metadata })
    assert.same({ "b" }, { perilune.assistants.list { limit = 5 }[1].name })
    assert.equal(row.id, perilune.assistants.get("b").id)
    fails("configuration", "must be at least 1", perilune.assistants.update, "b", { max_steps = 0 })
    assert.equal("i", perilune.assistants.get("b").definition.instructions)
    perilune.assistants.delete("b")
    assert.same({}, perilune.assistants.list())
    fails("not_found", "there is no assistant b", perilune.assistants.delete, "b")
  end)

  it("take the place of the one of their name when that is asked for", function()
    local first = registry.put(app, { name = "a", model = "x/y" })
    local second = registry.put(app, { name = "a", instructions = "i" })
    assert.same({ first.id, { instructions = "i" } }, { second.id, second.definition })
  end)
end)


describe("perilune.threads", function()
  local app

  before_each(function()
    app = apps.new { db = ":memory:", env = function() end }
    perilune.use(app)
  end)

  after_each(function()
    perilune.use(nil)
    app:close()
  end)

  it("gives threads that can be used", function()
    local made = perilune.threads.create { key = "k", title = "T", metadata = { a = 1 } }
    made:add("user", "hello")
    assert.equal(made.id, perilune.thread("k").id)
    assert.equal("hello", perilune.threads.get("k"):messages()[1].message.content)
    assert.equal("T", perilune.threads.get(made.id).title)
    perilune.threads.create():add("user", "bye")
    local list = perilune.threads.list { limit = 5 }
    assert.same({ "bye", "hello" }, { list[1]:messages()[1].message.content, list[2]:messages()[1].message.content })
    local found = perilune.threads.search("HELL")
    assert.same({ "k", "message", 1 }, { found[1].key, found[1].match.field, #found })
    perilune.threads.delete("k")
    assert.equal(1, #perilune.threads.list())
  end)

  it("lets a thread be copied, exported and changed", function()
    local thread = perilune.threads.create { key = "k", title = "T", metadata = { a = 1 } }
    thread:add("user", "one")
    thread:add("user", "two")
    local fork = thread:fork(1, { key = "f" })
    fork:add("user", "other")
    assert.same({ 2, "other", "T" }, { #fork:messages(), fork:messages()[2].message.content, fork.title })
    assert.matches("## user\n\n.-\n\ntwo\n", thread:export())
    assert.equal(2, #json.decode(thread:export "json").messages)
    assert.equal(thread, thread:update { title = json.null, metadata = { b = 2 } })
    assert.same({ { b = 2 } }, { perilune.threads.get("k").metadata, perilune.threads.get("k").title })
    local _, err = perilune.try(thread.fork, thread, 1, { key = "f" })
    assert.equal("conflict", err.kind)
  end)

  it("refuses what makes no sense, at the line that called", function()
    for part, call in pairs {
      ["unknown option 'titel', did you mean 'title'?"] = function() perilune.threads.create { titel = "x" } end,
      ["a key is 1 to 1024 bytes of text"] = function() perilune.threads.create { key = "" } end,
      ["'limit' must be at least 1"] = function() perilune.threads.list { limit = 0 } end,
      ["is a text that is not empty"] = function() perilune.threads.search "" end,
      ["must be a string, got 5"] = function() perilune.threads.get(5) end,
    } do
      local _, err = perilune.try(call)
      assert.matches(part, err.message, 1, true)
      assert.matches("registry_spec.lua:%d+$", err.where)
    end
    local _, err = perilune.try(perilune.threads.get, "x")
    assert.equal("not_found", err.kind)
    _, err = perilune.try(function() return perilune.thread_s end)
    assert.matches("did you mean perilune.threads?", err.message, 1, true)
  end)
end)
