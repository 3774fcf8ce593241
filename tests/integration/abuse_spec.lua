-- The rows of the abuse corpus that are about the API and not about HTTP's framing (docs/abuse.md has the others): keys, origins, JSON,
-- names, echoed fields. Whatever is sent, the answer is one of JSON, and the next client is served.
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local quota = require "perilune.serve.quota"

local question = { model = "offline/demo", messages = { { role = "user", content = "Hello" } } }


-- What was answered: the status and the code, in OpenAI's shape whatever happens.
local function verdict(answer)
  assert.are.equal("table", type(answer.body), answer.text)
  local err = answer.body.error
  assert.are.same({ "string", "string" }, { type(err.message), type(err.type) })
  assert.is_truthy(answer.headers["x-request-id"])
  return { answer.status, err.code }
end


local function check_others(server)
  assert.are.equal(200, server:get("/health").status)
end


describe("a hostile client", function()
  after_each(quota.forget)

  it("(50) with a key that is none gets 401, whatever it looks like, and a wrong checksum costs no look into the database", function()
    local server <close> = kit.start {}
    local text = assert(keys.create(server.server.db, { name = "a" }))
    local reads = 0
    local find = keys.find
    keys.find = function(...) -- luacheck: ignore 122
      reads = reads + 1
      return find(...)
    end
    local wrong = { "Bearer " .. ("a"):rep(20000), "Bearer ' OR 1=1--", "Bearer " .. text .. "x", "Basic " .. text, "Bearer", text,
      "Bearer p\xC3\xA9", "Bearer " .. text:sub(1, -2) .. (text:sub(-1) == "0" and "1" or "0") }
    for _, value in ipairs(wrong) do
      assert.are.same({ 401, "invalid_api_key" }, verdict(server:post("/v1/chat/completions", question, { authorization = value })), value)
      quota.forget()
    end
    keys.find = find -- luacheck: ignore 122
    assert.is_true(reads <= #wrong)
    assert.is_nil(keys.parse(text:sub(1, -2) .. "!"))
    assert.are.equal(200, server:post("/v1/chat/completions", question, { authorization = "bearer   " .. text }).status)
    assert.are.equal(200, server:post("/v1/chat/completions", question, { ["api-key"] = text }).status)
    assert.are.equal(200, server:post("/v1/chat/completions", question, { ["x-api-key"] = text }).status)
  end)

  it("(51) that says it comes from this machine is not believed", function()
    local server <close> = kit.start {}
    for _, headers in ipairs { { ["x-forwarded-for"] = "127.0.0.1" }, { forwarded = "for=127.0.0.1" } } do
      assert.are.same({ 401, "invalid_api_key" }, verdict(server:post("/v1/chat/completions", question, headers)))
    end
  end)

  it("(52) that is a page of somebody else, in a browser on this machine, gets 403", function()
    local server <close> = kit.start {}
    for _, headers in ipairs { { origin = "https://evil.example" }, { host = "evil.example" }, { host = "localhost.evil.example" },
      { origin = "null" }, { origin = "http://localhost.evil.example" } } do
      assert.are.same({ 403, "foreign_origin" }, verdict(server:post("/v1/chat/completions", question, headers)))
    end
    assert.are.equal(200, server:post("/v1/chat/completions", question, { origin = "http://localhost:3000" }).status)
  end)

  it("(52) of another origin is answered only where that was configured", function()
    local server <close> = kit.start { settings = { serve = { cors = { "https://app.example" }, hosts = { "app.example" } } } }
    local asked = { origin = "https://app.example", ["access-control-request-method"] = "POST",
      ["access-control-request-headers"] = "authorization, x-stainless-lang" }
    local preflight = server:request("OPTIONS", "/v1/chat/completions", nil, asked)
    assert.are.same({ 204, "https://app.example", "authorization, x-stainless-lang" }, { preflight.status,
      preflight.headers["access-control-allow-origin"], preflight.headers["access-control-allow-headers"] })
    local other = server:request("OPTIONS", "/v1/chat/completions", nil, { origin = "https://evil.example" })
    assert.is_nil(other.headers["access-control-allow-origin"])
    local exposed = server:get("/health", { origin = "https://app.example" }).headers["access-control-expose-headers"]
    assert.is_truthy(exposed:find "x%-request%-id")
  end)

  it("(53) whose body is no JSON gets 400", function()
    local server <close> = kit.start {}
    local bodies = {
      "", "{", "[]", "null", '"text"', ("["):rep(10000), '{"a":1,"a":2}', '{"temperature":1e400}', '{"model":"x"} rubbish', "\xFF\xFE{}",
      '{"model":"\\ud800"}', '{"model":"\xC3\x28"}', '{"model":NaN}', "{'model':1}", '{"model":"x",}', "\0",
    }
    for _, body in ipairs(bodies) do
      local answer = server:request("POST", "/v1/chat/completions", body, { ["content-type"] = "application/json" })
      assert.are.equal(400, verdict(answer)[1], body:sub(1, 40))
    end
    check_others(server)
  end)

  it("(53) whose fields are of the wrong kind gets 400 that names the field", function()
    local server <close> = kit.start {}
    for field, value in pairs {
      model = 5, messages = "text", temperature = "hot", tools = "all", stream_options = 1, max_tokens = -1, n = 0, stop = 5,
      response_format = "json", tool_choice = 7,
    } do
      local body = { model = "offline/demo", messages = question.messages }
      body[field] = value
      local answer = server:post("/v1/chat/completions", body)
      assert.is_true(answer.status == 400 or field == "stream_options" and answer.status == 200, field .. ": " .. answer.text)
      if answer.status == 400 then
        verdict(answer)
      end
    end
    check_others(server)
  end)

  it("(54) with names that are paths, lines or 10 KB gets 400 or 404", function()
    local server <close> = kit.start {}
    for _, name in ipairs { "../../etc/passwd", "a\r\nx: y", "a\0b", ("a"):rep(10240), "", "offline/../demo", "\xFF" } do
      local body = json.encode({ model = name, messages = question.messages }, { repair = true })
      local answer = server:request("POST", "/v1/chat/completions", body, { ["content-type"] = "application/json" })
      assert.is_true(verdict(answer)[1] == 400 or answer.status == 404, name:sub(1, 20))
    end
    for _, path in ipairs { "/v1/models/..%2f..%2fetc", "/v1/models/%00", "/v1/models/a%0d%0ab", "/v1/models/" .. ("a"):rep(10240),
      "/v1/models/%zz", "/v1/models/%ff", "//v1/models" } do
      local answer = server:get(path)
      assert.is_true(verdict(answer)[1] == 400 or answer.status == 404, path:sub(1, 40))
    end
  end)

  it("(56) with an Idempotency-Key of 300 bytes, or with control characters, gets 400", function()
    local server <close> = kit.start {}
    for _, key in ipairs { ("k"):rep(256), "", "caf\xC3\xA9" } do
      assert.are.equal(400, verdict(server:post("/v1/chat/completions", question, { ["idempotency-key"] = key }))[1])
    end
  end)

  it("(57) cannot put a line into the answer's head by what is echoed", function()
    local server <close> = kit.start { settings = { serve = { cors = { "*" }, hosts = { "127.0.0.1" } } } }
    local answer = server:request("OPTIONS", "/v1/chat/completions", nil, { origin = "http://localhost",
      ["access-control-request-headers"] = "a, b;c=<script>" })
    assert.are.same({ 204, "authorization, content-type" }, { answer.status, answer.headers["access-control-allow-headers"] })
    answer = server:get("/v1/nothing/%0d%0aset-cookie:x")
    assert.are.equal(404, answer.status)
    assert.is_nil(answer.headers["set-cookie"])
  end)

  it("(60) that tries one wrong key after the other gets 429 for a while; others do not notice", function()
    local server <close> = kit.start { settings = { serve = { trusted_proxies = { "127.0.0.1" } } } }
    local text = assert(keys.create(server.server.db, { name = "a" }))
    local statuses = {}
    for n = 1, 30 do
      local answer = server:post("/v1/chat/completions", question,
        { authorization = "Bearer wrong" .. n, ["x-forwarded-for"] = "203.0.113.9" })
      statuses[answer.status] = (statuses[answer.status] or 0) + 1
    end
    assert.is_true(statuses[401] <= 12 and statuses[429] >= 18)
    local right = { authorization = "Bearer " .. text, ["x-forwarded-for"] = "203.0.113.10" }
    assert.are.equal(200, server:post("/v1/chat/completions", question, right).status)
  end)

  it("on a path, or with a method, that is not there gets 404 and 405 as JSON", function()
    local server <close> = kit.start {}
    assert.are.same({ 404, "not_found" }, verdict(server:get "/wp-admin.php"))
    assert.are.same({ 405, "method_not_allowed" }, verdict(server:request("PATCH", "/v1/models")))
  end)
end)
