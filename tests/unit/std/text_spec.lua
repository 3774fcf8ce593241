local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local text = require "perilune.std.text"
local token = require "perilune.sys.token"

describe("text.suggest", function()
  local options = { "temperature", "top_p", "timeout", "tools", "max_tokens", "model" }

  it("finds what a typo meant", function()
    assert.equal("temperature", text.suggest("temprature", options))
    assert.equal("tools", text.suggest("tool", options))
    assert.equal("model", text.suggest("modle", options)) -- a swap is one edit
    assert.equal("timeout", text.suggest("TIMEOUT", options))
  end)

  it("finds what a beginning meant, after every typo", function()
    assert.equal("temperature", text.suggest("temp", options))
    assert.equal("max_tokens", text.suggest("max_tokens_limit", options))
    assert.equal("tem", text.suggest("temp", { "temperature", "tem" }))
    assert.is_nil(text.suggest("te", { "temperature" }))
  end)

  it("stays silent when nothing is near", function()
    assert.is_nil(text.suggest("colour", options))
    assert.is_nil(text.suggest("x", {}))
    assert.is_nil(text.suggest(("a"):rep(65), { ("a"):rep(65) }))
  end)

  it("does not depend on the order of the candidates", function()
    assert.equal("bat", text.suggest("aat", { "cat", "bat" }))
    assert.equal("bat", text.suggest("aat", { "bat", "cat" }))
  end)
end)


describe("text.ratio", function()
  it("is difflib's figure", function()
    local pairs_known = dofile("tests/fixtures/std/ratio.lua")
    assert.is_true(#pairs_known >= 200)
    for i, known in ipairs(pairs_known) do
      local a, b, ratio = table.unpack(known)
      assert.equal(ratio, text.ratio(a, b), ("pair %d: %q and %q"):format(i, a, b))
    end
  end)

  -- The names as resolution compares them, the typed one first, and everything else up to 80 characters.
  it("is difflib's figure for 10,000 random pairs", function()
    local seed = string.unpack("<I4", token.random(4))
    local python = proc.run { argv = { "python3", "tests/fixtures/std/ratio.py", "10000", tostring(seed) }, timeout = 60 }
    if not python or python.status == 127 then
      pending("needs python3")
      return
    end
    assert.equal(0, python.status, python.stderr)
    local count = 0
    for line in python.stdout:gmatch("[^\n]+") do
      local a, b, ratio = table.unpack((assert(json.decode(line))))
      assert.equal(ratio, text.ratio(a, b), ("seed %d: %q and %q"):format(seed, a, b))
      count = count + 1
    end
    assert.equal(10000, count)
  end)

  it("compares bytes when a text is not UTF-8", function()
    assert.equal(1.0, text.ratio("\xFFa", "\xFFa"))
  end)

  it("refuses books", function()
    assert.has_error(function() text.ratio(("a"):rep(5000), "a") end, "text.ratio: more than 4096 characters")
  end)
end)


describe("UTF-8", function()
  it("is recognised", function()
    assert.is_true(text.is_utf8("日本 é"))
    for _, bad in ipairs { "\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE6\x97" } do
      assert.is_false(text.is_utf8(bad))
    end
  end)

  it("is repaired byte by byte", function()
    assert.equal("é\u{FFFD}a\u{FFFD}\u{FFFD}", text.to_utf8("é\xFFa\xE6\x97"))
    assert.equal("plain", text.to_utf8("plain"))
  end)

  it("is never cut inside a code point", function()
    local whole = "aé日😀"
    for bytes = 0, #whole do
      local cut = text.truncate(whole, bytes)
      assert.is_true(#cut <= bytes)
      assert.is_true(text.is_utf8(cut), ("at %d"):format(bytes))
    end
    assert.equal("日…", text.truncate("日本本", 6))
    assert.equal("日本", text.truncate("日本", 6))
    assert.equal("", text.truncate("日本", 2))
  end)
end)


it("text.words gives the words in lower case", function()
  assert.same({ "get", "weather", "in", "zürich", "2" }, text.words("get_weather in Zürich, 2!"))
  assert.same({}, text.words(" -- "))
end)
