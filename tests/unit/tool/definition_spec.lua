local errors = require "perilune.std.errors"
local json = require "perilune.json"
local tool = require "perilune.tool"


local function define(changes)
  local options = { name = "get_weather", description = "Get the weather", run = function() return {} end }
  for key, value in pairs(changes or {}) do
    options[key] = value
  end
  local defined = tool.define(options)
  return defined
end


local function misuse(changes)
  local ok, err = pcall(define, changes)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "configuration"), tostring(err))
  return err.message
end


local function schema_of(parameters)
  return json.encode(define({ parameters = parameters }).parameters)
end


describe("tool.define", function()
  it("makes a tool with defaults", function()
    local weather = define()
    assert.is_true(tool.is(weather))
    assert.is_false(tool.is {})
    assert.equal("tool 'get_weather'", tostring(weather))
    assert.is_false(weather.idempotent)
    assert.is_nil(weather.timeout)
    assert.is_true(define({ strict = true }).strict)
  end)

  it("refuses what a tool has not, with what was meant", function()
    assert.equal("perilune.tool: unknown option 'paramters', did you mean 'parameters'?", misuse { paramters = {} })
    assert.equal("perilune.tool: option 'timeout' must be a number, got the string \"10s\"", misuse { timeout = "10s" })
  end)

  it("needs a name and a description", function()
    local _, err = pcall(tool.define, { description = "d" })
    assert.equal("perilune.tool: 'name' is missing, it must be a string", err.message)
    _, err = pcall(tool.define, { name = "n" })
    assert.equal("perilune.tool 'n': 'description' is missing, it must be a string", err.message)
    _, err = pcall(tool.define, "n")
    assert.equal("perilune.tool: the definition must be a table, got the string \"n\"", err.message)
  end)

  it("checks what the fields say", function()
    for _, name in ipairs { "", "get weather", "wéather", "a.b", ("a"):rep(65) } do
      assert.matches("a name has 1 to 64 letters", misuse { name = name })
    end
    assert.matches("'timeout' must be more than 0 seconds", misuse { timeout = 0 })
    assert.matches("'timeout' must be more than 0 seconds", misuse { timeout = 0 / 0 })
    assert.matches("'approval' must be 'never', 'always' or a function, got 'sometimes'", misuse { approval = "sometimes" })
    assert.matches("'result_bytes' must be more than 0", misuse { result_bytes = 0 })
    assert.equal(64, #define({ name = ("a"):rep(64) }).name)
  end)

  it("reports misuse at the line of the script, however deep it was found", function()
    local function script(parameters) tool.define { name = "n", description = "d", parameters = parameters } end
    local line = debug.getinfo(script, "S").linedefined
    for _, parameters in ipairs { { a = "strng" }, { a = { typ = "string" } }, { a = 1 }, { "string" }, "string" } do
      local _, err = pcall(script, parameters)
      assert.matches("definition_spec.lua:" .. line .. "$", err.where, err.message)
    end
  end)
end)


describe("parameters", function()
  it("in shorthand become a strict schema", function()
    assert.equal('{"additionalProperties":false,"properties":{"location":{"description":"city name","type":"string"},'
      .. '"unit":{"enum":["c","f"],"type":"string"}},"required":["location"],"type":"object"}',
      schema_of { location = "string: city name", unit = { type = "string", enum = { "c", "f" }, optional = true } })
  end)

  it("in shorthand have every type, lists and options", function()
    local schema = define({ parameters = {
      a = "string", b = "number?", c = "integer?: how many", d = "boolean", e = "string[]", f = "integer[]?: some: all",
      g = "object", h = "array", i = { description = "anything" },
    } }).parameters
    assert.same({ "a", "d", "e", "g", "h", "i" }, schema.required)
    assert.same({
      a = { type = "string" }, b = { type = "number" }, c = { type = "integer", description = "how many" }, d = { type = "boolean" },
      e = { type = "array", items = { type = "string" } },
      f = { type = "array", items = { type = "integer" }, description = "some: all" },
      g = { type = "object" }, h = { type = "array" }, i = { description = "anything" },
    }, schema.properties)
  end)

  it("may be called `type` or `properties`", function()
    assert.same({ "properties", "type" }, define({ parameters = { type = "string: kind", properties = "string[]" } }).parameters.required)
  end)

  it("may be absent", function()
    local empty = '{"additionalProperties":false,"properties":{},"required":[],"type":"object"}'
    assert.equal(empty, schema_of(nil))
    assert.equal(empty, schema_of {})
  end)

  it("as JSON Schema stay as they are, but their own copy", function()
    local given = { type = "object", properties = { a = { type = "string", ["x-mine"] = 1 } }, required = {} }
    local defined = define { parameters = given }
    assert.equal('{"properties":{"a":{"type":"string","x-mine":1}},"required":[],"type":"object"}', json.encode(defined.parameters))
    given.properties.a.type = "number"
    assert.equal("string", defined.parameters.properties.a.type)
  end)

  it("as raw JSON are passed on unread", function()
    local text = '{"type" : "object", "properties":{"a":{"type":"string"}}}'
    local defined = define { parameters = json.raw(text) }
    assert.equal(text, json.encode(defined.parameters))
    assert.is_nil(tool.parse_arguments(defined, '{"a":1}'))
  end)

  it("with a mistake are refused", function()
    assert.equal("perilune.tool 'get_weather': parameter 'a': unknown type 'strng', did you mean 'string'? (write \"string: what it is\")",
      misuse { parameters = { a = "strng: x" } })
    assert.matches("unknown type 'the city name'", misuse { parameters = { a = "the city name" } })
    assert.matches("parameter 'a': unknown keyword 'optinal', did you mean 'optional'?",
      misuse { parameters = { a = { type = "string", optinal = true } } })
    assert.matches("'optional' must be true or false", misuse { parameters = { a = { optional = "yes" } } })
    assert.matches("parameters have names, this is a list", misuse { parameters = { "string" } })
    assert.matches("parameter 'a' must be a string or a table, is a number", misuse { parameters = { a = 1 } })
    local ok, err = pcall(define, { parameters = { a = { type = "strng" } } })
    assert.is_false(ok)
    assert.equal("schema at $.properties.a: unknown type \"strng\", did you mean \"string\"?", err.message)
  end)
end)
