local token = require("perilune.sys.token")

describe("perilune.sys.token", function()
  after_each(function()
    token.seed()
  end)

  it("makes random bytes", function()
    assert.equal(16, #token.random(16))
    assert.not_equal(token.random(16), token.random(16))
    assert.equal(65536, #token.random(65536))
    assert.has_error(function() token.random(0) end)
    assert.has_error(function() token.random(65537) end)
  end)

  it("makes identifiers that sort in the order they were made", function()
    local seen, last = {}, ""
    for _ = 1, 5000 do
      local id = token.id("thread")
      assert.truthy(id:match("^thread_[0-9a-hjkmnp-tv-z]+$"))
      assert.equal(33, #id)
      assert.is_nil(seen[id])
      assert.is_true(id > last)
      seen[id], last = true, id
    end
  end)

  it("refuses what is not a prefix", function()
    for _, prefix in ipairs { "", "Thread", "a-b", "1a", "_a", ("a"):rep(25), "a\0b" } do
      assert.has_error(function() token.id(prefix) end)
    end
    assert.equal(24 + 27, #token.id(("a"):rep(24)))
  end)

  it("is reproducible once it is seeded", function()
    token.seed(7)
    local first, bytes = token.id("run"):sub(-16), token.random(20)
    token.seed(7)
    assert.equal(first, token.id("run"):sub(-16))
    assert.equal(bytes, token.random(20))
    token.seed()
    assert.not_equal(bytes, token.random(20))
  end)

  it("hashes", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", token.sha256("abc"))
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      token.hmac_sha256("Jefe", "what do ya want for nothing?"))
  end)

  it("encodes and decodes base64 in both alphabets", function()
    assert.equal("aGk/", token.base64("hi?"))
    assert.equal("-__-", token.base64("\xfb\xff\xfe", "url"))
    for n = 0, 50 do
      local bytes = n > 0 and token.random(n) or ""
      assert.equal(bytes, token.unbase64(token.base64(bytes)))
      assert.equal(bytes, token.unbase64(token.base64(bytes, "url"), "url"))
    end
    assert.has_error(function() token.base64("x", "base32") end)
  end)

  it("says where a text is not base64", function()
    local bytes, err = token.unbase64("aGk\n")
    assert.is_nil(bytes)
    assert.equal("not base64 (standard): character 4 is wrong", err.message)
    assert.equal("not base64 (standard): it ends after 3 characters", select(2, token.unbase64("aGk")).message)
    assert.equal("invalid", err.code)
  end)

  it("compares", function()
    assert.is_true(token.equal("same", "same"))
    assert.is_false(token.equal("same", "sane"))
    assert.is_false(token.equal("same", "sam"))
  end)
end)
