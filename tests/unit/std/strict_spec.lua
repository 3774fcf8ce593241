local strict = require "perilune.std.strict"


describe("strict", function()
  local env

  before_each(function()
    env = { arg = { "x" }, _PROMPT = "> " }
    strict.install(env)
  end)

  it("keeps what was there", function()
    assert.equal("x", env.arg[1])
    env._PROMPT = "? "
    assert.equal("? ", env._PROMPT)
  end)

  it("refuses to read what is undefined, at the line that reads", function()
    local chunk = load("local a = 1\nreturn typo", "=script", "t", env)
    assert.equal("script:2: undefined variable 'typo'", select(2, pcall(chunk)))
  end)

  it("refuses to create a global by assignment", function()
    local chunk = load("total = 1", "=script", "t", env)
    assert.equal("script:1: assignment to undeclared global 'total' (declare it with local)", select(2, pcall(chunk)))
    assert.is_nil(rawget(env, "total"))
  end)

  it("allows a global that is declared on purpose", function()
    rawset(env, "shared", 1)
    assert.equal(1, env.shared)
  end)

  it("may be installed twice, but not over another guard", function()
    strict.install(env)
    assert.has_error(function() strict.install(setmetatable({}, {})) end, "strict.install: the table already has a metatable")
  end)
end)
