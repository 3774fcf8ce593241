-- The parts of the server that are functions: routes, prices in credits, limits, keys, names.
local clock = require "perilune.sys.clock"
local ids = require "perilune.serve.ids"
local keys = require "perilune.store.keys"
local pricing = require "perilune.serve.pricing"
local problem = require "perilune.serve.problem"
local quota = require "perilune.serve.quota"
local routers = require "perilune.serve.router"
local errors = require "perilune.std.errors"
local stores = require "perilune.store"


describe("the router", function()
  local router = routers.new()
  for _, one in ipairs {
    { "GET", "/v1/threads" }, { "POST", "/v1/threads" }, { "POST", "/v1/threads/runs" }, { "GET", "/v1/threads/{thread_id}" },
    { "GET", "/v1/threads/{thread_id}/messages/{message_id}" }, { "GET", "/v1/models/{model...}" } } do
    router:add(one[1], one[2], { run = one[1] .. " " .. one[2] })
  end

  local function find(method, path)
    local route, found = router:find(method, path)
    return { route and route.run, found }
  end

  it("prefers what is written over what is any", function()
    assert.are.same({ "POST /v1/threads/runs", {} }, find("POST", "/v1/threads/runs"))
    assert.are.same({ "GET /v1/threads/{thread_id}", { thread_id = "a" } }, find("GET", "/v1/threads/a"))
  end)

  it("gives the parameters, decoded, and all that is left where that was asked for", function()
    assert.are.same({ "GET /v1/threads/{thread_id}/messages/{message_id}", { thread_id = "t 1", message_id = "m" } },
      find("GET", "/v1/threads/t%201/messages/m"))
    assert.are.same({ "GET /v1/models/{model...}", { model = "openai/gpt-4o" } }, find("GET", "/v1/models/openai/gpt-4o"))
    assert.are.same({ "GET /v1/models/{model...}", { model = "openai/gpt-4o" } }, find("GET", "/v1/models/openai%2Fgpt-4o"))
  end)

  it("answers HEAD like GET, and says which methods there are", function()
    assert.are.equal("GET /v1/threads", find("HEAD", "/v1/threads")[1])
    assert.are.same({ nil, "GET, POST" }, find("DELETE", "/v1/threads"))
    assert.are.same({ nil, "" }, find("GET", "/v1/nothing"))
  end)

  it("lets no route hide another one", function()
    local own = routers.new()
    for _, pattern in ipairs { "/m/{model...}", "/m/{name}/card", "/f/{x...}", "/f/{x}/edit", "/g/{x}", "/g/new/y", "/h/{x}" } do
      assert.is_nil(own:add("GET", pattern, {}))
    end
    own:add("POST", "/h/new", {})
    for path, expected in pairs {
      ["/m/offline/demo"] = "/m/{model...} offline/demo", ["/m/demo/card"] = "/m/{name}/card demo", ["/m/demo"] = "/m/{model...} demo",
      ["/f/1/2"] = "/f/{x...} 1/2", ["/f/1/edit"] = "/f/{x}/edit 1", ["/f/1/edit/2"] = "/f/{x...} 1/edit/2",
      ["/g/new"] = "/g/{x} new", ["/g/new/y"] = "/g/new/y", ["/h/new"] = "/h/{x} new" } do
      local route, params = own:find("GET", path)
      local _, value = next(params)
      assert.are.equal(expected, route.pattern .. (value and " " .. value or ""), path)
    end
    assert.are.equal("/h/new", own:find("POST", "/h/new").pattern)
    assert.are.same({ nil, "GET, POST" }, { own:find("PUT", "/h/new") })
  end)

  it("does not let a route take the place of another one", function()
    local own, first = routers.new(), {}
    own:add("GET", "/a/{b}", first)
    assert.are.equal(first, own:add("GET", "/a/{c}/", {}))
    assert.are.equal(first, (own:find("GET", "/a/x")))
    assert.is_nil(own:add("PUT", "/a/{c}", {}))
  end)

  it("says how errors are written, also below an address where nothing is", function()
    local own, encode = routers.new(), function() end
    own:add("GET", "/v1/a", { encode_error = encode })
    own:add("POST", "/v1/a/b", {})
    own:add("GET", "/v1/c", {})
    for path, expected in pairs { ["/v1/a"] = encode, ["/v1/a/b"] = encode, ["/v1/a/x/y"] = encode, ["/v1/c"] = false, ["/v1"] = false } do
      assert.are.equal(expected, own:encoder(path) or false, path)
    end
  end)

  it("refuses parameters that are no names", function()
    for _, name in ipairs { "a%2fb", "%00", "%zz", "%", "..", "%ff" } do
      local path = "/v1/threads/" .. name
      local ok, err = pcall(router.find, router, "GET", path)
      assert.are.same({ false, 400 }, { ok, problem.answer_of(err).status }, path)
    end
  end)
end)


describe("a rate", function()
  local settings = { credits = { per_dollar = 1000, bands = {
    small = { models = { "*mini*", "fast" }, input = 0.15, output = 0.6, cached = 0.075 },
    drawn = { models = { "*/dall-e-*" }, request = 40 },
  } } }

  it("is that of the first band whose pattern fits, by what was asked or by what it is", function()
    assert.are.equal("small", pricing.rate(settings, "openai/gpt-4o-mini", "openai/gpt-4o-mini").band)
    assert.are.equal("small", pricing.rate(settings, "offline/demo", "fast").band)
    assert.are.same({ band = "drawn", input = 0, output = 0, cached = 0, request = 40000000 }, pricing.rate(settings, "openai/dall-e-3"))
  end)

  it("comes from the price of the model otherwise; a model without one has none", function()
    -- $2.50 for a million tokens at 1000 credits a dollar: 2500 credits, in micro-credits
    assert.are.equal(2500 * 1000000, pricing.rate(settings, "openai/gpt-4o").input)
    assert.is_nil(pricing.rate(settings, "nobody/nothing"))
  end)

  it("is charged over all tokens, and rounded up once", function()
    local rate = { input = 150000, output = 600000, cached = 75000, request = 0 }
    local function charge(prompt, completion, cached)
      return pricing.charge(rate, { prompt_tokens = prompt, completion_tokens = completion, total_tokens = prompt + completion,
        prompt_tokens_details = { cached_tokens = cached } })
    end
    assert.are.equal(1, charge(1, 0))
    assert.are.equal(150, charge(1000, 0))
    assert.are.equal(75 + 75 // 2 + 1 + 60, charge(1000, 100, 500) + 0)
    rate = { input = 0, output = 0, cached = 0, request = 0 }
    assert.are.equal(0, charge(5, 5, 0))
  end)

  it("holds at least what it can come to, whatever the request", function()
    local rate = { input = 1000000, output = 2000000, cached = 1000000, request = 5 }
    for _, size in ipairs { 1, 10, 1000, 100000 } do
      local request = { messages = { { role = "user", content = ("word "):rep(size) } }, max_tokens = 50 }
      local amount, clamp = pricing.shape(rate, request, nil, 4096)
      assert.is_nil(clamp)
      local most = pricing.charge(rate, { prompt_tokens = math.ceil(size * 1.2), completion_tokens = 50, total_tokens = 0 })
      assert.is_true(amount >= most, size .. " words")
    end
  end)

  it("makes a request fit what is there, and refuses what does not", function()
    local rate = { input = 0, output = 1000000, cached = 0, request = 10 }
    local request = { messages = { { role = "user", content = "hi" } } }
    assert.are.same({ 4106, 4096 }, { pricing.shape(rate, request, nil, 4096) })
    assert.are.same({ 110, 100 }, { pricing.shape(rate, request, 110, 4096) })
    local ok, err = pcall(pricing.shape, rate, request, 10, 4096)
    assert.are.same({ false, "insufficient_quota" }, { ok, err.code })
  end)

  it("counts with the tokens that thinking has at least", function()
    local rate = { input = 0, output = 1000000, cached = 0, request = 0 }
    local request = { messages = { { role = "user", content = "hi" } }, max_tokens = 10, enable_thinking = true }
    assert.are.same({ 3000 }, { pricing.shape(rate, request, nil, 4096) })
    assert.are.same({ 3000 }, { pricing.shape(rate, request, 3000, 4096) })
    assert.is_false((pcall(pricing.shape, rate, request, 2999, 4096)))
  end)

  it("stays within 64 bits at its limits", function()
    local rate = { input = 1000000 * 1000000, output = 1000000 * 1000000, cached = 1000000 * 1000000, request = 0 }
    local amount = pricing.charge(rate, { prompt_tokens = 1 << 40, completion_tokens = 1 << 40, total_tokens = 1 << 41 })
    assert.is_true(amount > 0)
  end)
end)


describe("the limits of a key", function()
  before_each(quota.forget)

  local function key(limits)
    return { id = "k", limits = limits }
  end

  it("let so many requests through a minute, and fill evenly", function()
    local one = key { requests = 3 }
    for _ = 1, 3 do
      assert(quota.enter(one)):leave()
    end
    local _, err = quota.enter(one)
    assert.are.equal("rate_limit", err.kind)
    assert.is_true(err.retry_after > 19 and err.retry_after <= 20)
    assert.are.same({ "3", "0", "1m0s" }, { quota.headers(one)["x-ratelimit-limit-requests"],
      quota.headers(one)["x-ratelimit-remaining-requests"], quota.headers(one)["x-ratelimit-reset-requests"] })
    clock.advance(20.1)
    assert(quota.enter(one))
  end)

  it("let so many be under way at once", function()
    local one = key { concurrency = 2 }
    local first = assert(quota.enter(one))
    assert(quota.enter(one))
    assert.is_nil((quota.enter(one)))
    first:leave()
    first:leave()
    assert(quota.enter(one))
    assert.is_nil((quota.enter(one)))
  end)

  it("count tokens when they are known: who has used too many waits", function()
    local one = key { tokens = 600 }
    assert(quota.enter(one)):leave()
    quota.spend(one, 900)
    local _, err = quota.enter(one)
    assert.is_true(err.retry_after > 29 and err.retry_after <= 31)
    assert.are.equal("0", quota.headers(one)["x-ratelimit-remaining-tokens"])
  end)

  it("do not exist for a key without any", function()
    assert(quota.enter(key {})):leave()
    assert.are.same({}, quota.headers(key {}))
  end)
end)


describe("a key", function()
  it("is found by its text, and by no other", function()
    local db <close> = assert(stores.open ":memory:")
    assert.is_false(keys.any(db))
    local text, row = keys.create(db, { name = "a", scopes = { models = { "x" } }, limits = { requests = 5 } })
    assert.is_true(keys.any(db))
    assert.matches("^pl_live_%w%w%w%w%w%w%w%w_%w+_%w%w%w%w%w%w$", text)
    local found = assert(keys.find(db, text))
    assert.are.same({ row.id, "a", { models = { "x" } }, { requests = 5 } }, { found.id, found.name, found.scopes, found.limits })
    assert.is_nil(found.digest)
    for position = 9, #text do
      local other = text:sub(position, position) == "a" and "b" or "a"
      local _, err = keys.find(db, text:sub(1, position - 1) .. other .. text:sub(position + 1))
      assert.are.equal("authentication", err.kind)
    end
  end)

  it("is kept as a digest: neither its text nor its secret is in the database", function()
    local db <close> = assert(stores.open ":memory:")
    local text = assert(keys.create(db, { name = "a" }))
    local stored = assert(db:read("key_find", { id = keys.parse(text).id }))[1]
    for _, value in pairs(stored) do
      assert.is_nil(tostring(value):find(keys.parse(text).secret, 1, true))
    end
    assert.are.equal(64, #stored.digest)
  end)

  it("is refused when it has expired, was revoked, or was replaced", function()
    local db <close> = assert(stores.open ":memory:")
    local expired = assert(keys.create(db, { name = "old", expires_at = clock.wall() - 1 }))
    local revoked, row = keys.create(db, { name = "gone" })
    assert(keys.revoke(db, row.id))
    local before = assert(keys.create(db, { name = "turned", account = "team", limits = { tokens = 7 } }))
    local after, new = keys.rotate(db, "turned", 0)
    for _, text in ipairs { expired, revoked, before } do
      assert.are.equal("authentication", select(2, keys.find(db, text)).kind)
    end
    assert.are.same({ "team", { tokens = 7 } }, { new.account_name, new.limits })
    local graceful = assert(keys.rotate(db, new.id, 3600))
    assert(keys.find(db, after))
    assert(keys.find(db, graceful))
  end)
end)


describe("names", function()
  it("of responses and runs, conversations and threads, messages and steps say each other", function()
    assert.are.same({ "run_a", "resp_a", "thread_b", "conv_b" },
      { ids.run_of "resp_a", ids.response_of "run_a", ids.thread_of "conv_b", ids.conversation_of "thread_b" })
    assert.are.same({ "msg_b_12", 12, nil }, { ids.message("thread_b", 12), ids.message_seq("msg_b_12", "thread_b"),
      ids.message_seq("msg_c_12", "thread_b") })
    assert.are.same({ "step_a_3", 3 }, { ids.step("run_a", 3), ids.step_seq("step_a_3", "run_a") })
    for _, wrong in ipairs { "msg_b_0", "msg_b_-1", "msg_b_1x", "msg_b_", "x", "msg_b_9999999999", "msg_b_01" } do
      assert.is_nil(ids.message_seq(wrong, "thread_b"))
    end
    assert.is_nil(ids.run_of "conv_a")
  end)
end)


describe("an error", function()
  it("is answered by its kind, and what is inside stays inside", function()
    for kind, expected in pairs { model_not_found = 404, rate_limit = 429, quota = 429, permission = 502, context_length = 400,
      content_filter = 400, overloaded = 503, timeout = 504, connection = 502, authentication = 502, database = 503, internal = 500 } do
      assert.are.equal(expected, problem.answer_of(errors.new { kind = kind, message = "m" }).status, kind)
    end
    assert.is_nil(problem.answer_of(errors.new { kind = "internal", message = "/secret/path.lua:1" }).message:find("secret", 1, true))
  end)

  it("of a provider's key is told apart from the caller's own credits, and says nothing of what the provider said", function()
    local theirs = problem.answer_of(errors.new { kind = "quota", message = "org-secret has no quota", provider = "openai" })
    assert.are.same({ 502, "upstream_credentials_exhausted" }, { theirs.status, theirs.code })
    assert.is_nil(theirs.message:find("secret", 1, true))
    local project = { kind = "model_not_found", status = 403, message = "proj_secret has no access to gpt-x", provider = "openai" }
    local nameless = problem.answer_of(errors.new(project))
    assert.are.same({ 404, "model_not_found" }, { nameless.status, nameless.code })
    assert.is_nil(nameless.message:find("secret", 1, true))
    local ours = problem.answer_of(errors.new { kind = "quota", message = "not enough credits", retry_after = 5 })
    assert.are.same({ 429, "insufficient_quota", "not enough credits" }, { ours.status, ours.code, ours.message })
    assert.are.same({ ["x-should-retry"] = "false" }, ours.headers)
  end)

  it("of all targets says of each what may be said, and is answered by the first that was asked", function()
    local function attempt(provider, reason, kind, message)
      local err = errors.new { kind = kind, message = message, provider = provider, retry_after = kind == "rate_limit" and 7 or nil }
      return { provider = provider, model = "m", reason = reason, error = err }
    end
    local all = errors.new { kind = "all_failed", message = "All chat providers failed. Errors: sk-secret", attempts = {
      attempt("a", "skipped", "overloaded", "left alone"), attempt("b", "retried", "rate_limit", "slow down"),
      attempt("b", "failed", "rate_limit", "slower"), attempt("c", "failed", "authentication", "no such key: sk-secret"),
    } }
    local answer = problem.answer_of(all)
    assert.are.same({ 429, "7" }, { answer.status, answer.headers["retry-after"] })
    local words = "a/m: left alone; b/m: slower; c/m: The provider does not let this server in"
    assert.is_truthy(answer.message:find(words, 1, true), answer.message)
    assert.is_nil(answer.message:find("secret", 1, true))
    all.attempts = nil -- as it was stored
    assert.are.equal("No provider could answer.", problem.words(all))
  end)

  it("has its code by what it is, not by what a provider calls it", function()
    assert.are.equal("thread_locked", problem.answer_of(errors.new { kind = "conflict", code = "active_run", message = "m" }).code)
    assert.are.equal("upstream_error", problem.answer_of(errors.new { kind = "server", code = "active_run", message = "m" }).code)
  end)
end)
