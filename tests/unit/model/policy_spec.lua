local policy = require "perilune.model.policy"

-- kind, code, status: again, next, counts against the target.
local rules = {
  { "server", nil, 500, "again next strike" },
  { "server", nil, 502, "again next strike" },
  { "overloaded", nil, 503, "again next strike" },
  { "overloaded", nil, 529, "again next strike" },
  { "rate_limit", nil, 429, "again next strike" },
  { "api", nil, 408, "again next strike" },
  { "api", nil, 409, "again next" },
  { "api", nil, 425, "again next" },
  { "api", nil, 400, "" },
  { "api", nil, 413, "" },
  { "api", nil, 422, "" },
  { "context_length", nil, 400, "" },
  { "content_filter", nil, 200, "" },
  { "configuration", nil, nil, "" },
  { "cancelled", nil, nil, "" },
  { "budget", nil, nil, "" },
  { "authentication", nil, 401, "next" },
  { "permission", nil, 403, "next" },
  { "quota", nil, 429, "next" },
  { "model_not_found", nil, 404, "next" },
  { "connection", "dns", nil, "next strike" },
  { "connection", "refused", nil, "next strike" },
  { "connection", "reset", nil, "again next strike" },
  { "connection", "no_descriptors", nil, "" },
  { "timeout", "dns", nil, "again next strike" },
  { "timeout", "connect", nil, "next strike" },
  { "timeout", "tls", nil, "again next strike" },
  { "timeout", "first_byte", nil, "next strike" },
  { "timeout", "total", nil, "next strike" },
  { "tls", "certificate", nil, "next strike" },
  { "tls", "handshake", nil, "again next strike" },
  { "bad_response", nil, nil, "next strike" },
  { "empty_response", nil, nil, "again next strike" },
  { "stream_interrupted", nil, nil, "again next strike" },
}


describe("the rule for", function()
  for _, row in ipairs(rules) do
    local name = ("%s%s%s"):format(row[1], row[2] and ":" .. row[2] or "", row[3] and " " .. row[3] or "")
    it(("%s is: %s"):format(name, row[4] == "" and "it stays" or row[4]), function()
      local rule = policy.rule { kind = row[1], code = row[2], status = row[3] }
      local words = {}
      for _, word in ipairs { { "again", rule.again }, { "next", rule.goes_on }, { "strike", rule.strike } } do
        words[#words + 1] = word[2] and word[1] or nil
      end
      assert.equal(row[4], table.concat(words, " "))
    end)
  end
end)


describe("the wait before a repetition", function()
  local retry = policy.retry {}

  it("is what the provider asks for, up to half a minute", function()
    assert.equal(2, policy.wait({ kind = "rate_limit", retry_after = 2 }, {}, 1, retry))
    assert.equal(0, policy.wait({ kind = "rate_limit", retry_after = 0 }, {}, 1, retry))
    assert.is_nil(policy.wait({ kind = "rate_limit", retry_after = 31 }, {}, 1, retry))
  end)

  it("else grows from 0.1 s to 0.8 s, by chance up to that", function()
    for number, most in ipairs { 0.1, 0.2, 0.4, 0.8, 0.8, 0.8 } do
      for _ = 1, 50 do
        local seconds = policy.wait({ kind = "server" }, {}, number, retry)
        assert.is_true(seconds >= 0 and seconds <= most)
      end
    end
  end)

  it("is at least a second for who is overloaded", function()
    local err = { kind = "overloaded", status = 529 }
    assert.is_true(policy.wait(err, policy.rule(err), 1, retry) >= 1)
  end)
end)


describe("the settings of repetitions", function()
  it("have the defaults of a plain client", function()
    assert.same({ max_attempts = 2, backoff = 0.1, max_backoff = 0.8, maybe_billed = false }, policy.retry {})
  end)

  it("may be said as a number, and one by one", function()
    assert.equal(4, policy.retry({ max_retries = 3 }).max_attempts)
    assert.same({ max_attempts = 3, backoff = 1, max_backoff = 30, maybe_billed = true },
      policy.retry { retry = { max_attempts = 3, backoff = 1, max_backoff = 30, maybe_billed = true } })
  end)
end)
