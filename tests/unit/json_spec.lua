-- perilune.json: hard cases, properties over random documents, and lua-cjson as the oracle where it is exact.
local cjson = require "cjson"
local json = require "perilune.json"

-- A generator of our own, so that every run makes the same documents.
local seed = 42

local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return (seed >> 8) % n + 1
end


-- Equal as values: the kinds of numbers, and whether a table is an array, count.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b) and (a ~= 0 or 1 / a == 1 / b)
  end
  if json.is_array(a) ~= json.is_array(b) then
    return false
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end


local pieces = { "a", "b", "key", "\n", '"', "\\", "/", "\0", "\127", "é", "€", "😀", " ", ("x"):rep(40) }

local function random_text()
  local parts = {}
  for i = 1, random(7) - 1 do
    parts[i] = pieces[random(#pieces)]
  end
  return table.concat(parts)
end


local scalars = {
  random_text,
  random_text,
  function() return random(2000) - 1000 end,
  function() return (random(1 << 30) << 33) | random(1 << 30) end,
  function() return (random(1 << 30) - (1 << 29)) / random(1 << 20) end,
  function() return random(1000) / 8.0 end,
  function() return random(2) == 1 end,
  function() return json.null end,
}

local function random_value(depth)
  local kind = random(10)
  if depth == 0 or kind > 4 then
    return scalars[random(#scalars)]()
  end
  local value, size = {}, random(kind == 1 and 80 or 6) - 1
  for i = 1, size do
    value[kind < 3 and i or random_text()] = random_value(depth - 1)
  end
  return kind < 3 and json.array(value) or value
end


local function message(text, options)
  local value, err = json.decode(text, options)
  assert.is_nil(value)
  assert.equal("bad_response", err.kind)
  assert.equal("json", err.code)
  return err.message
end


local function refusal(value, options)
  local text, err = json.encode(value, options)
  assert.is_nil(text)
  return err.message
end


describe("json.decode", function()
  it("keeps integers and floats apart", function()
    for text, expected in pairs {
      ["1"] = 1, ["-1"] = -1, ["1.0"] = 1.0, ["1e2"] = 100.0, ["0"] = 0, ["-0.0"] = -0.0, ["-0"] = -0.0,
      ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger,
      ["9223372036854775808"] = 2.0 ^ 63, ["1712345678901234"] = 1712345678901234, ["0.1"] = 0.1,
    } do
      local value = json.decode(text)
      assert(same(expected, value), text .. " reads as " .. tostring(value))
    end
  end)

  it("reads literals, with white space around them", function()
    assert.is_true(json.decode " true\n")
    assert.is_false(json.decode "\tfalse\r")
    assert.equal(json.null, json.decode "null")
    assert.equal(cjson.null, json.null)
  end)

  it("marks arrays and leaves objects unmarked", function()
    assert.is_true(json.is_array(json.decode "[]"))
    assert.is_false(json.is_array(json.decode "{}"))
    assert.is_nil(getmetatable(json.decode "{}"))
  end)

  it("unescapes strings of every size", function()
    assert.equal('a/"\\\b\f\n\r\t\0é€😀', json.decode [["a\/\"\\\b\f\n\r\t\u0000\u00e9\u20AC\ud83d\uDe00"]])
    for _, size in ipairs { 1, 7, 8, 9, 1000, 1024, 1025, 100000 } do
      assert.equal(("\n"):rep(size), json.decode('"' .. ("\\n"):rep(size) .. '"'))
    end
  end)

  it("reads long arrays and large objects whole", function()
    for _, size in ipairs { 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 10000 } do
      local array, object = {}, {}
      for i = 1, size do
        array[i] = i
        object["k" .. i] = i
      end
      local list = json.decode("[" .. table.concat(array, ",") .. "]")
      assert.equal(size, #list)
      assert.is_true(same(json.array(array), list))
      assert.is_true(same(object, json.decode(json.encode(object))))
    end
  end)

  it("says where the text is wrong", function()
    assert.equal("invalid JSON at line 2, column 8 (byte 20): expected ':' after a key, found '}'",
      message '{"é":1,\n "ééé" }')
  end)

  it("refuses what RFC 8259 does not allow", function()
    for _, text in ipairs {
      "", " ", "[1,]", "{,}", "01", "1.", ".5", "+1", "NaN", "Infinity", "0x10", "'a'", "[1]]", "1 2", "nulls",
      "{\"a\"}", "{a:1}", "\"\n\"", "\"\t\"", "\"\\x\"", "\"\\u12\"", "1e400",
      "[\xEF\xBB\xBF]", "// \n1", "[1\v]", "\0", "\"\0\"",
    } do
      assert.matches("^invalid JSON at line %d+, column %d+ %(byte %d+%): ", message(text))
      message(text, { repair = true })
    end
  end)

  it("skips a byte order mark at the start", function()
    assert.equal(1, json.decode "\xEF\xBB\xBF1")
  end)

  it("refuses duplicate keys by name, however they are spelled", function()
    assert.equal('invalid JSON at line 2, column 2 (byte 10): duplicate key "a"', message '{"a":1,\n "a":2}')
    assert.matches('duplicate key "a"$', message [[{"a":1,"b":{"a":1},"\u0061":2}]])
    local members = {}
    for i = 1, 200 do
      members[i] = ('"k%d":%d'):format(i, i)
    end
    for _, again in ipairs { 1, 31, 32, 33, 200 } do
      local text = ('{%s,"k%d":0}'):format(table.concat(members, ","), again)
      assert.matches(('duplicate key "k%d"$'):format(again), message(text))
      local value, repaired = json.decode(text, { repair = true })
      assert.is_true(repaired)
      assert.equal(0, value["k" .. again])
    end
  end)

  it("lets the last of duplicate keys win when it repairs", function()
    local value, repaired = json.decode('{"a":1,"b":2,"a":[3],"c":4}', { repair = true })
    assert.is_true(repaired)
    assert.is_true(same({ a = json.array { 3 }, b = 2, c = 4 }, value))
  end)

  it("repairs text that is not Unicode, and says so", function()
    for text, expected in pairs {
      ['"a\\ud800b"'] = "a\u{FFFD}b", ['"\xFF"'] = "\u{FFFD}", ['"\xE2\x82"'] = "\u{FFFD}",
      ['"\\udc00\\ud800"'] = "\u{FFFD}\u{FFFD}",
    } do
      message(text)
      local value, repaired = json.decode(text, { repair = true })
      assert.equal(expected, value)
      assert.is_true(repaired)
    end
    assert.equal(1, select("#", json.decode('"é"', { repair = true })))
  end)

  it("limits depth and size", function()
    assert.is_table(json.decode(("["):rep(128) .. ("]"):rep(128)))
    assert.matches("nested deeper than 128 levels", message(("["):rep(129) .. ("]"):rep(129)))
    assert.matches("nested deeper than 2 levels", message("[[[]]]", { depth = 2 }))
    assert.equal("JSON text of 3 bytes, the limit is 2", message("123", { bytes = 2 }))
    assert.equal(123, json.decode("123", { bytes = 3 }))
  end)

  it("raises on misuse", function()
    assert.has_error(function() json.decode() end)
    assert.has_error(function() json.decode(1) end)
    assert.has_error(function() json.decode("1", true) end)
    assert.has_error(function() json.decode("1", { repiar = true }) end)
    assert.has_error(function() json.decode("1", { depth = 129 }) end)
  end)
end)


describe("json.encode", function()
  it("writes numbers so that they read back the same", function()
    for text, value in pairs {
      ["1"] = 1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["0.1"] = 0.1, ["0.7"] = 0.7, ["0.30000000000000004"] = 0.1 + 0.2,
      ["9007199254740993"] = 9007199254740993, ["9223372036854775807"] = math.maxinteger, ["100000.0"] = 1e5,
      ["-9223372036854775808"] = math.mininteger, ["1e+20"] = 1e20, ["1e+300"] = 1e300, ["1e-07"] = 1e-7,
      ["0.0001"] = 0.0001, ["123456.789"] = 123456.789,
    } do
      assert.equal(text, json.encode(value))
    end
  end)

  it("escapes only what must be escaped", function()
    assert.equal([["\"\\\n\t\r\b\f\u0000\u001f/]] .. "\127é\u{2028}😀\"",
      json.encode('"\\\n\t\r\b\f\0\31/\127é\u{2028}😀'))
  end)

  it("sorts keys by bytes, many or few", function()
    assert.equal('{"":0,"A":1,"a":2,"a\\u0000":3,"ab":4,"b":5,"é":6}',
      json.encode { ab = 4, b = 5, a = 2, A = 1, ["é"] = 6, [""] = 0, ["a\0"] = 3 })
    local object, keys = {}, {}
    for i = 1, 300 do
      keys[i] = ("%d"):format(i * 7919 % 1000)
      object[keys[i]] = true
    end
    table.sort(keys)
    local at = 0
    for key in json.encode(object):gmatch '"(%d+)"' do
      at = at + 1
      assert.equal(keys[at], key)
    end
    assert.equal(300, at)
  end)

  it("keeps empty arrays and empty objects apart", function()
    assert.equal("[{},[],[[]]]", json.encode { {}, json.array(), json.array { json.array {} } })
    local text = '{"a":[],"b":{},"c":[[],{}]}'
    assert.equal(text, json.encode(json.decode(text)))
  end)

  it("writes a list whose elements do not lie in order", function()
    local list = {}
    for i = 20, 1, -1 do
      list[i] = i
    end
    local part = { 1, 2, [4] = 4, [3] = { 3 } }
    assert.equal("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", json.encode(list))
    assert.equal("[1,2,[3],4]", json.encode(part))
  end)

  it("names the place of what has no JSON form", function()
    local cycle = {}
    cycle.again = cycle
    for expected, value in pairs {
      ["at $: nil has no JSON form, json.null has"] = false,
      ["at $.a[3]: NaN is not a JSON number"] = { a = { 1, 2, 0 / 0 } },
      ["at $[1]: -inf is not a JSON number"] = { -math.huge },
      ['at $["a b"].c: a function has no JSON form'] = { ["a b"] = { c = print } },
      ["at $.list: a list with holes: 2 values up to index 3"] = { list = { [1] = 1, [3] = 3 } },
      ["at $: a list that also has a key of type string"] = { 1, 2, x = 3 },
      ["at $.x: a key of type boolean in an object"] = { x = { [true] = 1 } },
      ["at $: a list with the index 0"] = { [0] = 0 },
      ["at $.x: a list that also has a key of type string"] = { x = json.array { a = 1 } },
      ["at $.x.y: a string that is not UTF-8"] = { x = { y = "\xFF" } },
      ["at $: a userdata has no JSON form"] = io.stdout,
    } do
      assert.equal(expected, refusal(value or nil))
    end
    assert.matches("^at %$%.again%.again.*%.%.%.: nested deeper than 128 levels %(a cycle%?%)$", refusal(cycle))
  end)

  it("counts depth as decode does", function()
    local text = ("["):rep(128) .. ("]"):rep(128)
    assert.equal(text, json.encode(json.decode(text)))
    assert.matches("nested deeper than 2 levels", refusal({ { {} } }, { depth = 2 }))
    assert.equal("[[1]]", json.encode({ { 1 } }, { depth = 2 }))
  end)

  it("reads tables raw", function()
    local proxy = setmetatable({ a = 1 }, { __index = { b = 2 }, __pairs = error, __len = error, __tostring = error })
    assert.equal('{"a":1}', json.encode(proxy))
  end)

  it("writes for people on request", function()
    local value = { a = json.array { 1, { b = true } }, c = {}, d = json.array() }
    assert.equal([[{
  "a": [
    1,
    {
      "b": true
    }
  ],
  "c": {},
  "d": []
}]], json.encode(value, { pretty = true }))
    assert.is_true(same(value, json.decode(json.encode(value, { pretty = true }))))
  end)

  it("repairs strings on request, and says so", function()
    local text, repaired = json.encode({ ["\xFF"] = "a\xC3" }, { repair = true })
    assert.equal('{"\u{FFFD}":"a\u{FFFD}"}', text)
    assert.is_true(repaired)
    assert.equal(1, select("#", json.encode("é", { repair = true })))
  end)

  it("grows over every size", function()
    for _, size in ipairs { 8189, 8190, 8191, 8192, 20000, 1000000 } do
      local text = ("x"):rep(size)
      assert.equal('{"text":"' .. text .. '"}', json.encode { text = text })
    end
  end)

  it("limits the keys of an object", function()
    local object = {}
    for i = 1, 100000 do
      object["k" .. i] = i
    end
    assert.equal(object.k77, json.decode(json.encode(object)).k77)
    object.more = 1
    assert.equal("at $: an object with more than 100000 keys", refusal(object))
  end)
end)


describe("json.decode with the order of keys", function()
  local function again(text)
    return assert(json.encode(assert(json.decode(text, { ordered = true }))))
  end

  it("is written as it was read", function()
    for _, text in ipairs {
      "{}", '{"b":1}', '{"a":1,"b":2}', '{"b":1,"a":2}', '[{"b":1,"a":{"d":[],"c":{}}},{"b":2,"a":3},{"a":1,"b":2}]',
      '{"__index":1,"__gc":2,"":3,"1":4}', '{"ab":1,"a":2,"b":3}',
    } do
      assert.equal(text, again(text))
    end
    local members = {}
    for i = 1, 100 do
      members[i] = ('"%d":{"z":1,"a":%d}'):format(i * 37 % 101, i)
      local text = "{" .. table.concat(members, ",") .. "}"
      assert.equal(text, again(text))
    end
  end)

  it("puts what was added behind, sorted, and leaves out what was removed", function()
    local value = json.decode('{"c":1,"b":2,"a":3}', { ordered = true })
    value.b, value.z, value.y = nil, 4, 5
    assert.equal('{"c":1,"a":3,"y":5,"z":4}', json.encode(value))
    assert.equal('{\n  "c": 1,\n  "a": 3\n}', json.encode(json.keep_order({ a = 3, c = 1 }, value), { pretty = true }))
  end)

  it("lets the last of duplicate keys win in the place of the first", function()
    assert.equal('{"b":3,"a":2}', json.encode((json.decode('{"b":1,"a":2,"b":3}', { ordered = true, repair = true }))))
  end)

  it("does not keep it unless asked, and makes no keys of its own", function()
    assert.equal('{"a":2,"b":1}', json.encode(json.decode '{"b":1,"a":2}'))
    local value = json.decode('{"b":1,"a":2}', { ordered = true })
    assert.same({ a = 2, b = 1 }, value)
    assert.is_nil(value[1])
    assert.is_nil(json.decode('{"__index":{"x":1},"a":2}', { ordered = true }).x)
    assert.is_true(json.is_array(json.array(json.decode('{"b":1,"a":2}', { ordered = true }))))
  end)

  it("gives a copy the order of its source, if it has one", function()
    local copy = { a = 1, b = 2 }
    assert.equal(copy, json.keep_order(copy, {}))
    assert.equal('{"a":1,"b":2}', json.encode(copy))
    assert.is_true(json.is_array(json.keep_order(json.array(), json.decode('{"b":1,"a":2}', { ordered = true }))))
    assert.has_error(function() json.keep_order({}, 1) end)
  end)
end)


describe("json.array, json.raw", function()
  it("marks the table that it is given", function()
    local t = { 1 }
    assert.equal(t, json.array(t))
    assert.equal(t, json.array(t))
    assert.has_error(function() json.array(setmetatable({}, {})) end)
    assert.has_error(function() json.array("x") end)
  end)

  it("knows what would be written as an array", function()
    for _, value in ipairs { json.array(), { 1 }, { 1, 2, { a = 1 } }, { [2] = 2, [1] = 1 } } do
      assert.is_true(json.is_array(value))
    end
    for _, value in ipairs { {}, { a = 1 }, { 1, a = 1 }, { [1] = 1, [3] = 3 }, "[]", 1, json.null } do
      assert.is_false(json.is_array(value))
    end
    assert.is_false(json.is_array(nil))
  end)

  it("passes raw text on as it is", function()
    local raw = assert(json.raw '{"b": 1.50,  "a": [ ]}')
    assert.equal('{"b": 1.50,  "a": [ ]}', tostring(raw))
    assert.equal('{"parameters":{"b": 1.50,  "a": [ ]}}', json.encode { parameters = raw })
    assert.equal("[1,2]", json.encode { json.raw "1", json.raw "\xEF\xBB\xBF2" })
    assert.is_true(json.is_raw(raw))
    assert.is_false(json.is_raw "{}")
    assert.is_false(json.is_raw(json.null))
  end)

  it("refuses raw text that is not JSON", function()
    local raw, err = json.raw "{"
    assert.is_nil(raw)
    assert.equal("bad_response", err.kind)
    assert.matches("column 2 %(byte 2%): expected a key or '}', found the end of the text$", err.message)
  end)
end)


describe("json over random documents", function()
  it("decodes what it encoded to the same value, and encodes that to the same text", function()
    for _ = 1, 2000 do
      local value = random_value(3)
      local text = json.encode(value)
      local back = json.decode(text)
      local pretty = json.decode(json.encode(value, { pretty = true }))
      if not same(value, back) or json.encode(back) ~= text or not same(value, pretty) then
        error(text)
      end
    end
  end)

  it("refuses every document that ends too early", function()
    local cuts = 0
    for _ = 1, 100 do
      local text = json.encode(json.array { random_value(2) })
      for cut = 0, math.min(#text - 1, 1000) do
        local value, err = json.decode(text:sub(1, cut))
        if value ~= nil or err.code ~= "json" then
          error(text:sub(1, cut))
        end
        cuts = cuts + 1
      end
    end
    assert(cuts > 5000)
  end)
end)


-- lua-cjson makes all numbers floats, keeps 14 digits of them and confuses empty tables: documents without those.
local function cjson_value(depth)
  local kind = random(8)
  if depth == 0 or kind > 4 then
    local scalar = random(4)
    return scalar == 1 and random(1 << 30) or scalar == 2 and random(1000) / 8 or scalar == 3 and json.null
      or random_text()
  end
  local value = {}
  for i = 1, random(6) do
    value[kind < 3 and i or "k" .. random_text()] = cjson_value(depth - 1)
  end
  return value
end


local function same_but_kinds(a, b)
  if type(a) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same_but_kinds(value, b[key]) then
      return false
    end
  end
  return next(a) ~= nil and type(b) == "table"
end


describe("json beside lua-cjson", function()
  it("reads what the other wrote, both ways", function()
    for _ = 1, 2000 do
      local value = cjson_value(4)
      local ours, theirs = json.encode(value), cjson.encode(value)
      assert(same_but_kinds(value, cjson.decode(ours)), ours)
      assert(same_but_kinds(value, json.decode(theirs)), theirs)
      assert(same_but_kinds(json.decode(theirs), json.decode(ours)), ours)
    end
  end)
end)
