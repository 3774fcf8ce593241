local check = require "perilune.std.check"
local errors = require "perilune.std.errors"


-- What fn raised; it must be an error object.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "configuration"), tostring(err))
  return err
end


describe("check.options", function()
  local function run(options)
    local checked = check.options("thread:run", options, { temperature = "number", stop = "string|table", stream = true, n = "integer" })
    return checked -- not a tail call, which would hide this function from `where`
  end

  it("lets pass what is allowed, and nothing at all", function()
    local options = { temperature = 0.5, stop = { "a" }, stream = "anything", n = 2 }
    assert.equal(options, run(options))
    assert.same({}, run(nil))
  end)

  it("takes a list of names and a set of names", function()
    assert.same({ a = 1 }, check.options("f", { a = 1 }, { "a", "b" }))
    assert.same({ a = 1 }, check.options("f", { a = 1 }, { a = true }))
    assert.equal("f: unknown option 'c'", raised(check.options, "f", { c = 1 }, { "a", "b" }).message)
  end)

  it("suggests what was meant", function()
    assert.equal("thread:run: unknown option 'temprature', did you mean 'temperature'?",
      raised(run, { temprature = 1 }).message)
  end)

  it("names the type it wants and what it got", function()
    assert.equal("thread:run: option 'temperature' must be a number, got the string \"hot\"",
      raised(run, { temperature = "hot" }).message)
    assert.equal("thread:run: option 'stop' must be a string or a table, got 3", raised(run, { stop = 3 }).message)
    assert.equal("thread:run: option 'n' must be an integer, got 1.5", raised(run, { n = 1.5 }).message)
    assert.equal("thread:run: options must be a table, got the string \"x\"", raised(run, "x").message)
    assert.equal("thread:run: options have names, got one at [1]", raised(run, { "x" }).message)
  end)

  it("says where it was called", function()
    local function script() run { temprature = 1 } end
    local line = debug.getinfo(script, "S").linedefined
    assert.matches("check_spec.lua:" .. line .. "$", raised(script).where)
    local function deeper(options)
      local function inner() check.options("client", options, { "a" }, 3) end
      inner()
    end
    local function outer() deeper { b = 1 } end
    assert.matches("check_spec.lua:" .. debug.getinfo(outer, "S").linedefined .. "$", raised(outer).where)
  end)
end)


describe("typed checks", function()
  it("blame the line that called", function()
    local function thing(t)
      check.value("thing: it", t, "table")
      check.field("thing", t, "name", "string")
      check.list("thing: list", t.list, "string")
      check.map("thing: map", t.map, "string")
    end
    for _, wrong in ipairs { 5, { name = 5 }, { name = "x" }, { name = "x", list = {}, map = { 1 } } } do
      local function script() thing(wrong) end
      assert.matches("check_spec.lua:" .. debug.getinfo(script, "S").linedefined .. "$", raised(script).where)
    end
  end)

  it("look into lists and maps", function()
    local list, map = { "a", "b" }, { x = "y" }
    assert.equal(list, check.list("f", list, "string"))
    assert.equal(map, check.map("f", map, "string"))
    assert.equal("f[2] must be a string, got 5", raised(check.list, "f", { "a", 5 }, "string").message)
    assert.equal("f must be a list, and has a field [x]", raised(check.list, "f", { x = "a" }, "string").message)
    assert.equal("f['x'] must be a string, got 5", raised(check.map, "f", { x = 5 }, "string").message)
    assert.equal("f: values have names, got one at [1]", raised(check.map, "f", { "a" }, "string").message)
  end)

  it("return the value", function()
    assert.equal("k", check.string("perilune.thread: key", "k"))
    assert.equal(0, check.value("n", 0, "integer"))
    assert.equal("b", check.choice("mode", "b", { "a", "b" }))
    assert.equal("x", check.field("perilune.tool", { name = "x" }, "name", "string"))
    assert.is_nil(check.field("perilune.tool", {}, "name", "string", { optional = true }))
  end)

  it("raise with what they wanted", function()
    assert.equal("perilune.thread: key must be a string, got nil", raised(check.string, "perilune.thread: key").message)
    assert.equal("perilune.tool: 'run' is missing, it must be a function",
      raised(check.field, "perilune.tool", {}, "run", "function").message)
    assert.equal("perilune.tool: 'run' must be a function, got a table",
      raised(check.field, "perilune.tool", { run = {} }, "run", "function", { optional = true }).message)
    assert.equal("mode must be one of 'listed', 'auto', got the string \"atuo\", did you mean 'auto'?",
      raised(check.choice, "mode", "atuo", { "listed", "auto" }).message)
  end)

  it("tell integers from numbers and anything from nothing", function()
    assert.is_true(check.is(1, "integer"))
    assert.is_false(check.is(1.0, "integer"))
    assert.is_true(check.is(false, "any"))
    assert.is_false(check.is(nil, "any"))
    assert.is_true(check.is(nil, "string|nil"))
  end)
end)
