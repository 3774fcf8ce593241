local errors = require "perilune.std.errors"
local json = require "perilune.json"
local schema = require "perilune.std.schema"


-- The misses of a JSON text against a schema (JSON text, or a table), as lines.
local function misses(schema_text, value_text)
  local definition = schema_text
  if type(schema_text) == "string" then
    definition = json.decode(schema_text)
  end
  local value = json.decode(value_text)
  local ok, list = schema.compile(definition):validate(value)
  local lines = {}
  for i, miss in ipairs(list or {}) do
    lines[i] = miss.path .. ": " .. miss.message
  end
  assert.equal(ok == true, #lines == 0)
  return table.concat(lines, "\n")
end


local function malformed(definition)
  local ok, err = pcall(schema.compile, definition)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "schema"), tostring(err))
  return err.message
end


-- { schema, value, what is wrong ("" when nothing is) }
local cases = {
  types = {
    { '{"type":"string"}', '"a"', "" },
    { '{"type":"string"}', "3", "$: must be a string; got 3" },
    { '{"type":"integer"}', "1.0", "" },
    { '{"type":"integer"}', "1e300", "" },
    { '{"type":"integer"}', "1.5", "$: must be an integer; got 1.5" },
    { '{"type":"number"}', "1", "" },
    { '{"type":"number"}', "true", "$: must be a number; got true" },
    { '{"type":"array"}', "[]", "" },
    { '{"type":"array"}', "{}", "$: must be an array; got an object" },
    { '{"type":"object"}', "[]", "$: must be an object; got an array of 0" },
    { '{"type":["string","null"]}', "null", "" },
    { '{"type":["string","null"]}', "[1]", "$: must be a string or null; got an array of 1" },
    { "true", "[1]", "" },
    { "false", "1", "$: is not allowed here" },
    { "{}", "null", "" },
  },
  choices = {
    { '{"enum":["c","f"]}', '"c"', "" },
    { '{"enum":["c","f"]}', '"kelvin"', '$: must be one of "c", "f"; got "kelvin"' },
    { '{"enum":[1,{"a":[1.0]}]}', '{"a":[1]}', "" },
    { '{"enum":["1"]}', "1", '$: must be one of "1"; got 1' },
    { '{"enum":[[]]}', "{}", "$: must be one of an array of 0; got an object" },
    { '{"const":null}', "null", "" },
    { '{"const":false}', "0", "$: must be false; got 0" },
  },
  objects = {
    { '{"required":["a","b c"]}', "{}", "$.a: is required but missing\n$['b c']: is required but missing" },
    { '{"required":["a"]}', '"not an object"', "" },
    { '{"properties":{"a":{"properties":{"b":{"type":"string"}}}}}', '{"a":{"b":1}}', "$.a.b: must be a string; got 1" },
    { '{"properties":{"location":{}},"additionalProperties":false}', '{"loction":1}',
      '$.loction: is not allowed here, did you mean "location"?' },
    { '{"additionalProperties":{"type":"integer"}}', '{"a":1,"b":"x"}', '$.b: must be an integer; got "x"' },
    { '{"patternProperties":{"^x":{}},"additionalProperties":false}', '{"y":1}', "" },
    { '{"propertyNames":{"maxLength":2}}', '{"abc":1}', "$.abc: must have at most 2 characters; has 3" },
    { '{"minProperties":1}', "{}", "$: must have at least 1 property; has 0" },
    { '{"maxProperties":2}', '{"a":1,"b":2,"c":3}', "$: must have at most 2 properties; has 3" },
    { '{"dependentRequired":{"a":["b"]}}', '{"a":1}', '$.b: is required when "a" is given' },
    { '{"dependentRequired":{"a":["b"]}}', '{"c":1}', "" },
  },
  arrays = {
    { '{"items":{"type":"integer"}}', "[1,2,\"x\"]", '$[2]: must be an integer; got "x"' },
    { '{"prefixItems":[{"type":"string"}],"items":{"type":"integer"}}', '["a",1]', "" },
    { '{"prefixItems":[{"type":"string"}],"items":false}', '["a",1]', "$[1]: is not allowed here" },
    { '{"prefixItems":[{"type":"string"}]}', "[1]", "$[0]: must be a string; got 1" },
    { '{"minItems":1}', "[]", "$: must have at least 1 item; has 0" },
    { '{"maxItems":1}', "[1,2]", "$: must have at most 1 item; has 2" },
    { '{"uniqueItems":true}', '[{"a":1,"b":2},[],{"b":2,"a":1.0}]', "$[2]: is the same as item [0], items must differ" },
    { '{"uniqueItems":true}', '[1,"1",true,[1],{},[],null,false,0]', "" },
    { '{"contains":{"const":2}}', "[1,2]", "" },
    { '{"contains":{"const":2}}', "[1]", "$: holds no item of the required kind" },
  },
  numbers = {
    { '{"minimum":1,"maximum":3}', "2", "" },
    { '{"minimum":1}', "0", "$: must be at least 1; got 0" },
    { '{"maximum":1}', "1.5", "$: must be at most 1; got 1.5" },
    { '{"exclusiveMinimum":1}', "1", "$: must be greater than 1; got 1" },
    { '{"exclusiveMaximum":1}', "1", "$: must be less than 1; got 1" },
    { '{"minimum":9007199254740993}', "9007199254740992", "$: must be at least 9007199254740993; got 9007199254740992" },
    { '{"multipleOf":0.1}', "0.3", "" },
    { '{"multipleOf":0.01}', "4.35", "" },
    { '{"multipleOf":0.1}', "0.35", "$: must be a multiple of 0.1; got 0.35" },
    { '{"multipleOf":5}', "7", "$: must be a multiple of 5; got 7" },
    { '{"minimum":1}', '"not a number"', "" },
  },
  texts = {
    { '{"maxLength":2}', '"日本"', "" },
    { '{"minLength":3}', '"日本"', "$: must have at least 3 characters; has 2" },
    { '{"maxLength":1.0}', '"ab"', "$: must have at most 1 character; has 2" },
    { '{"format":"date","x-unknown":1}', '"not a date"', "" },
    { '{"pattern":"^a"}', '"b"', "" },
  },
  combinations = {
    { '{"allOf":[{"minimum":1},{"maximum":3}]}', "0", "$: must be at least 1; got 0" },
    { '{"anyOf":[{"type":"string"},{"required":["day"]}]}', '"x"', "" },
    { '{"anyOf":[{"type":"string"},{"type":"object","required":["day"]}]}', "{}",
      "$: fits none of the 2 allowed forms: $ must be a string; got an object | $.day is required but missing" },
    { '{"oneOf":[{"minimum":1},{"minimum":3}]}', "2", "" },
    { '{"oneOf":[{"minimum":1},{"minimum":3}]}', "4", "$: fits 2 of the forms (1, 2), must fit exactly one" },
    { '{"oneOf":[{"minimum":1}]}', "0", "$: fits none of the 1 allowed forms: $ must be at least 1; got 0" },
    { '{"not":{"const":1}}', "1", "$: 1 is excluded here" },
    { '{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}', '{"a":1}', "$.b: is required but missing" },
    { '{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}', "{}", "$.c: is required but missing" },
  },
  references = {
    { '{"$defs":{"day":{"type":"string"}},"items":{"$ref":"#/$defs/day"}}', "[1]", "$[0]: must be a string; got 1" },
    { '{"$defs":{"a/b~c":{"type":"string"}},"$ref":"#/$defs/a~1b~0c"}', "1", "$: must be a string; got 1" },
    { '{"prefixItems":[{"type":"string"}],"items":{"$ref":"#/prefixItems/0"}}', '["a",1]', "$[1]: must be a string; got 1" },
    { '{"properties":{"child":{"$ref":"#"},"n":{"type":"integer"}}}', '{"child":{"child":{"n":"x"}}}',
      '$.child.child.n: must be an integer; got "x"' },
    { '{"$ref":"#"}', "1", "$: is too deep or too large to be checked against this schema" },
  },
}


for topic, list in pairs(cases) do
  it("checks " .. topic, function()
    for _, case in ipairs(list) do
      assert.equal(case[3], misses(case[1], case[2]), case[1] .. " on " .. case[2])
    end
  end)
end


describe("schema.compile", function()
  it("refuses a malformed schema and says where", function()
    assert.equal("schema at $.properties.a: unknown type \"strng\", did you mean \"string\"?",
      malformed { properties = { a = { type = "strng" } } })
    assert.equal("schema at $.items: must be an object or a boolean, is \"string\"", malformed { items = "string" })
    assert.equal("schema at $.anyOf[1]: minLength must be a whole number, 0 or more", malformed { anyOf = { {}, { minLength = -1 } } })
    assert.equal("schema at $: required must be an array of strings", malformed { required = { 1 } })
    assert.equal("schema at $: required must be an array", malformed { required = "a" })
    assert.equal("schema at $: anyOf must not be empty", malformed { anyOf = {} })
    assert.equal("schema at $: multipleOf must be greater than 0", malformed { multipleOf = 0 })
    assert.equal("schema at $: type must not be empty", malformed { type = {} })
  end)

  it("refuses references it cannot follow", function()
    assert.equal("schema at $['$ref']: $ref \"#/$defs/x\" points to nothing", malformed { ["$ref"] = "#/$defs/x" })
    assert.matches("only references inside the schema", malformed { ["$ref"] = "https://example.com/s.json" })
  end)

  it("lists what nobody checks", function()
    local validator = schema.compile { properties = { zip = { type = "string", pattern = "^[0-9]+$" } } }
    assert.same({ "$.properties.zip: pattern" }, validator.ignored)
  end)

  it("takes raw JSON", function()
    assert.equal("$: must be a string; got 1", misses(json.raw('{"type":"string"}'), "1"))
  end)

  it("takes lists and values written in Lua", function()
    local validator = schema.compile { type = "object", properties = { tags = { type = "array", items = { type = "string" } } } }
    assert.is_true(validator:validate { tags = { "a", "b" } })
    assert.is_true(validator:validate { tags = json.array() })
    assert.is_nil(validator:validate { tags = { "a", 2 } })
  end)
end)


describe("limits", function()
  it("stop the list of misses", function()
    local _, list = schema.compile({ items = { type = "string" } }):validate(json.decode("[" .. ("1,"):rep(99) .. "1]"))
    assert.equal(schema.MISSES_MAX, #list)
  end)

  it("stop a schema that multiplies", function()
    local level = '{"anyOf":[{"$ref":"#/$defs/%d"},{"$ref":"#/$defs/%d"}]}'
    local definitions = {}
    for i = 1, 40 do
      definitions[i] = ('"%d":'):format(i) .. level:format(i + 1, i + 1)
    end
    local definition = ('{"$defs":{%s,"41":{"type":"string"}},"$ref":"#/$defs/1"}'):format(table.concat(definitions, ","))
    assert.equal("$: is too deep or too large to be checked against this schema", misses(definition, "1"))
  end)
end)


describe("schema.copy", function()
  it("marks lists, so that an empty one stays a list", function()
    local copy = schema.copy { type = "object", properties = { required = { enum = {} } }, required = {} }
    assert.equal('{"properties":{"required":{"enum":[]}},"required":[],"type":"object"}', json.encode(copy))
  end)

  it("shares no schema with the original", function()
    local original = { anyOf = { { type = { "string", "null" } } }, items = { minimum = 1 } }
    local copy = schema.copy(original)
    copy.anyOf[1].type[1] = "number"
    copy.items.minimum = 2
    assert.same({ anyOf = { { type = { "string", "null" } } }, items = { minimum = 1 } }, original)
  end)

  it("refuses a schema without end", function()
    local endless = {}
    endless.items = endless
    assert.has_error(function() schema.copy(endless) end)
  end)
end)
