-- Provider files: what is found, what is skipped and why; and what `extend` keeps.
local discovery = require "perilune.model.discovery"
local fs = require "perilune.sys.fs"
local perilune = require "perilune"
local providers = require "perilune.model.provider"

local folder


local function file(name, ...)
  assert(fs.write(folder .. "/" .. name, table.concat({ 'local perilune = require "perilune"', ... }, "\n") .. "\n"))
  return folder .. "/" .. name
end


-- A provider file; every test has names of its own, because the registry is the process's.
local function vendor(file_name, name)
  return file(file_name, ('return perilune.provider.compatible { name = "%s", base_url = "http://127.0.0.1:9/v1" }'):format(name))
end


local function errors_of(found)
  local list = {}
  for position, broken in ipairs(found.broken) do
    list[position] = broken.file:match("[^/]+$") .. ": " .. broken.error
  end
  return list
end


before_each(function()
  folder = assert(fs.temp_dir "perilune-providers")
end)


after_each(function()
  assert(fs.remove(folder, { recursive = true }))
end)


describe("the discovery of providers", function()
  it("makes known what the files return, and says where it comes from", function()
    local path = vendor("one.lua", "found-one")
    local found = discovery.load { folder }
    assert.are.same({ files = { path }, broken = {} }, found)
    assert.are.equal(path, providers.get("Found-One").source)
    assert.are.equal("built in", providers.get("openai").source)
  end)

  it("reads only Lua files of the folder itself, and none where there is no folder", function()
    vendor("one.lua.orig", "orig-one")
    vendor(".one.lua", "hidden-one")
    assert(fs.mkdir(folder .. "/inner.lua"))
    local found = discovery.load { folder .. "/nowhere", folder }
    assert.are.same({}, found.files)
    assert.are.equal(1, #found.broken) -- a folder that is called like a file
    assert.is_nil(providers.get "orig-one")
    assert.is_nil(providers.get "hidden-one")
  end)

  it("skips a broken file, says what is wrong with it, and goes on", function()
    file("a.lua", "return perilune.provider.compatible {")
    file("b.lua", "local nothing", "nothing.field = 1")
    file("c.lua", "return 5")
    file("d.lua")
    file("e.lua", 'local spec = { name = "e", base_url = "http://127.0.0.1:9", quirks = { max_token_field = "x" } }',
      "local made = perilune.provider.compatible(spec)", "return made")
    file("f.lua", 'return perilune.provider.new { name = "f", frame = "sse", encode = print, decode = print }')
    file("g.lua", 'error { "an odd error" }')
    vendor("h.lua", "found-h")
    local found = discovery.load { folder }
    local said = errors_of(found)
    assert.are.equal(7, #said)
    for position, part in ipairs {
      "a.lua: line 3:", "b.lua: line 3: attempt to index a nil value", "c.lua: it must return a provider",
      "d.lua: it must return a provider", "e.lua: line 3: provider e: unknown quirk 'max_token_field', did you mean 'max_tokens_field'?",
      "f.lua: provider f: unknown field 'decode', did you mean 'decoder'?", "g.lua: table:",
    } do
      assert.are.equal(part, said[position]:sub(1, #part))
    end
    assert.are.same({ folder .. "/h.lua" }, found.files)
  end)

  it("lets the first folder have a name, and no file one that is built in", function()
    vendor("one.lua", "twice")
    local second = folder .. "/second"
    assert(fs.mkdir(second))
    assert(fs.write(second .. "/two.lua", assert(fs.read(folder .. "/one.lua"))))
    vendor("openai.lua", "openai")
    vendor("zero.lua", "offline")
    local found = discovery.load { folder, second }
    assert.are.same({
      "openai.lua: provider openai: this name is taken (built in)", "zero.lua: provider offline: this name is taken (built in)",
      ("two.lua: provider twice: this name is taken (%s/one.lua)"):format(folder),
    }, errors_of(found))
  end)

  it("reads a file again: what it says now is in the place of what it said", function()
    vendor("one.lua", "again")
    discovery.load { folder }
    local place
    for position, provider in ipairs(providers.list()) do
      place = provider.name == "again" and position or place
    end
    file("one.lua", 'return perilune.provider.compatible { name = "again", base_url = "http://127.0.0.1:10" }')
    assert.are.same({}, discovery.load({ folder }).broken)
    assert.are.equal("http://127.0.0.1:10", providers.get("again").base_url)
    assert.are.equal(providers.get "again", providers.list()[place])
  end)

  it("reads files in order, so that one may extend another", function()
    vendor("1.lua", "base-of-two")
    file("2.lua", 'return perilune.provider.extend("base-of-two", { name = "made-of-one", models = { "m" } })')
    assert.are.same({}, discovery.load({ folder }).broken)
    assert.are.equal("http://127.0.0.1:9/v1", providers.get("made-of-one").base_url)
  end)

  it("does not swallow a cancel", function()
    local path = file("one.lua", "perilune.sleep(60)")
    local reading = perilune.spawn(discovery.file, path)
    perilune.sleep(0)
    reading:cancel()
    local ok, err = pcall(reading.wait, reading)
    assert.is_false(ok)
    assert.are.equal("cancelled", err.kind)
  end)
end)


describe("an extended provider", function()
  it("keeps what it is not told, adds quirks, and lists its own models", function()
    local made = perilune.provider.extend("mistral", { name = "mistral-eu", quirks = { drop = { "n" }, no_strict_tools = true } })
    local base = providers.get "mistral"
    assert.are.equal(base.encode, made.encode)
    assert.are.equal(base.base_url, made.base_url)
    assert.are.equal("MISTRAL_API_KEY", made.key)
    assert.are.same({ "n" }, made.quirks.drop)
    assert.is_true(made.quirks.no_strict_tools)
    assert.are.equal("any", made.quirks.tool_choice_required)
    assert.is_nil(base.quirks.no_strict_tools)
  end)

  it("never sends a key to another address unless it is told to", function()
    local gateway = { name = "gateway", base_url = "http://127.0.0.1:9/v1" }
    local made = perilune.provider.extend("openai", gateway)
    assert.is_nil(made.key)
    assert.is_nil(made.apis.responses.key)
    assert.are.equal("http://127.0.0.1:9/v1", made.apis.responses.base_url)
    assert.are.equal("gateway", made.apis.responses.name)
    gateway.key = "OPENAI_API_KEY"
    assert.are.equal("OPENAI_API_KEY", perilune.provider.extend("openai", gateway).apis.responses.key)
  end)

  it("asks the reasoning models of OpenAI as OpenAI does", function()
    local made = perilune.provider.extend("openai", { name = "proxy" })
    local target = assert(providers.target(made, { model = "gpt-5" }))
    local http = assert(made.encode({ messages = { { role = "user", content = "?" } }, temperature = 0.5, max_tokens = 9 }, target))
    assert.is_truthy(http.body:find('"max_completion_tokens":9', 1, true))
    assert.is_nil(http.body:find("temperature", 1, true))
  end)

  local mistakes = {
    { "opnai", { name = "x" }, "there is no provider 'opnai', did you mean 'openai'?" },
    { "openai", {}, "field 'name' is missing" },
    { "openai", "x", "must be a table" },
    { "openai", { name = "x", quirk = {} }, "unknown field 'quirk', did you mean 'quirks'?" },
    { "openai", { name = "x", quirks = { drops = {} } }, "unknown quirk 'drops', did you mean 'drop'?" },
    { "openai", { name = "x", quirks = 5 }, "must be a table" },
    { "openai", { name = "X" }, "lower-case" },
  }
  for _, mistake in ipairs(mistakes) do
    it("is refused: " .. mistake[3], function()
      local ok, err = pcall(perilune.provider.extend, mistake[1], mistake[2])
      assert.is_false(ok)
      assert.are.equal("configuration", err.kind)
      assert.is_truthy(err.message:find(mistake[3], 1, true), err.message)
    end)
  end
end)


describe("perilune.provider", function()
  it("raises a mistake, with the line that made it", function()
    local ok, err = pcall(function()
      local made = perilune.provider.compatible { name = "acme" }
      return made
    end)
    assert.is_false(ok)
    assert.is_truthy(err.where:find("discovery_spec.lua:%d+$"), err.where)
    assert.are.equal("provider acme: field 'base_url' is missing", err.message)
  end)

  it("makes a provider known to this process, once", function()
    local spec = { name = "of-a-script", base_url = "http://127.0.0.1:9/v1" }
    assert.are.equal("a script", perilune.provider.register(perilune.provider.compatible(spec)).source)
    local ok, err = pcall(perilune.provider.register, perilune.provider.compatible(spec))
    assert.is_false(ok)
    assert.is_truthy(err.message:find("this name is taken (a script)", 1, true))
  end)

  it("suggests what was meant", function()
    local ok, err = pcall(function()
      return perilune.providers { kinds = "chat" }
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("did you mean 'kind'?", 1, true))
    ok, err = pcall(perilune.providers, { kind = "images" })
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("did you mean 'image'?", 1, true))
  end)
end)
