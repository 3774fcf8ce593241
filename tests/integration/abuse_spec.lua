-- What is asked of the API by somebody who means no good: every row of the last table of docs/abuse.md against the real routes, and what
-- takes more than one request. (HTTP's own rows are played by tests/c/test_abuse.c.)
local fs = require "perilune.sys.fs"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local quota = require "perilune.serve.quota"

local QUESTION = '{"model":"offline/demo","messages":[{"role":"user","content":"Hello"}]}'
local ROW = "^| (%d*) ?| (.-) | `(%u+) (.-)` | (.-) ?| (.-) ?| (%d+) ([%w_]+) |$"

local question = { model = "offline/demo", messages = { { role = "user", content = "Hello" } } }


-- A cell of the table as bytes.
local function expand(cell, names)
  local text = cell:match "^`(.*)`$" or cell
  text = text:gsub("{(%u+)}", names):gsub("{(.)%*(%d+)}", function(letter, count)
    return letter:rep(tonumber(count))
  end)
  return (text:gsub("\\(.)(%x?%x?)", function(name, digits)
    if name == "x" then
      return string.char(tonumber(digits, 16))
    end
    return (name == "r" and "\r" or name == "n" and "\n" or name) .. digits
  end))
end


local function headers_of(text)
  local headers = {}
  for line in text:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^:]+): ?(.*)$"
    headers[name] = value
  end
  return headers
end


-- The rows of the table: number, what, method, path, headers, body, status, code.
local function rows()
  local found = {}
  for line in assert(fs.read "docs/abuse.md"):gmatch "[^\n]+" do
    local row = { line:match(ROW) }
    found[#found + 1] = row[1] and row or nil
  end
  assert.is_true(#found > 45)
  return found
end


-- What was answered: the status and the code, in OpenAI's shape whatever happens.
local function verdict(answer, what)
  local err = type(answer.body) == "table" and answer.body.error
  assert.is_truthy(err, ("%s: %s"):format(what, answer.text))
  assert.are.same({ "string", "string" }, { type(err.message), type(err.type) })
  return { answer.status, err.code }
end


local function play(server, row, names)
  local _, what, method, path, headers, body, status, code = table.unpack(row)
  body = method ~= "GET" and expand(body, names) or nil
  local answer = server:request(method, expand(path, names), body, headers_of(expand(headers, names)))
  assert.are.same({ tonumber(status), code }, verdict(answer, what), what)
  assert.is_nil(answer.headers["set-cookie"], what)
  assert.is_truthy(answer.headers["x-request-id"] or status == "413" or status == "431", what) -- these have not become requests
  assert.are.equal(200, server:get("/health").status)
  quota.forget()
end


describe("a hostile client", function()
  after_each(quota.forget)

  it("gets what the table says, where no key exists", function()
    local server <close> = kit.start {}
    local asked = server:post("/v1/responses", { model = "offline/demo", input = "Hello" })
    local names = { Q = QUESTION, RUN = asked.body.id:gsub("^resp_", "run_") }
    for _, row in ipairs(rows()) do
      if row[1] ~= "50" then
        play(server, row, names)
      end
    end
  end)

  it("gets what the table says, where one does", function()
    local server <close> = kit.start {}
    local names = { Q = QUESTION, KEY = assert(keys.create(server.server.db, { name = "a" })) }
    for _, row in ipairs(rows()) do
      if row[1] == "50" then
        play(server, row, names)
      end
    end
    for name, value in pairs { authorization = "bearer   " .. names.KEY, ["api-key"] = names.KEY, ["x-api-key"] = names.KEY } do
      assert.are.equal(200, server:post("/v1/chat/completions", question, { [name] = value }).status)
    end
  end)

  it("(50) with a key whose checksum is wrong costs no look into the database; with a right one and a wrong secret it costs one", function()
    local server <close> = kit.start {}
    local db, reads = server.server.db, 0
    local counting = setmetatable({}, { __index = function(_, name)
      return function(_, ...)
        reads = reads + 1
        return db[name](db, ...)
      end
    end })
    local text, other = assert(keys.create(db, { name = "a" })), assert(keys.create(db, { name = "b" }))
    assert.is_truthy(keys.find(counting, text))
    local first_reads = reads -- the pepper's too
    local last = text:sub(-1)
    local _, err = keys.find(counting, text:sub(1, -2) .. (last == "0" and "1" or "0"))
    assert.are.same({ "authentication", first_reads }, { err.kind, reads })
    _, err = keys.find(counting, (text:gsub("^(pl_live_)%w+", "%1" .. other:match "^pl_live_(%w+)")))
    assert.are.same({ "authentication", first_reads }, { err.kind, reads })
    assert.is_truthy(keys.find(counting, text))
    assert.are.equal(first_reads + 1, reads)
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

  it("(53) whose fields are of the wrong kind gets 400 that names the field", function()
    local server <close> = kit.start {}
    for field, value in pairs {
      model = 5, messages = "text", temperature = "hot", tools = "all", stream_options = 1, stream = "yes", max_tokens = -1,
      n = 0, stop = 5, response_format = "json", tool_choice = 7,
    } do
      local body = { model = "offline/demo", messages = question.messages }
      body[field] = value
      local answer = server:post("/v1/chat/completions", body)
      assert.are.equal(400, answer.status, field .. ": " .. answer.text)
      verdict(answer, field)
    end
    for path, said in pairs {
      ["/v1/messages"] = { messages = question.messages }, ["/v1/completions"] = { prompt = "Hello" },
      ["/v1/responses"] = { input = "Hello" },
    } do
      said.model, said.max_tokens, said.stream = "offline/demo", 16, "yes"
      local answer = server:post(path, said)
      assert.are.same({ 400, true }, { answer.status, answer.text:find("stream", 1, true) ~= nil }, path .. ": " .. answer.text)
    end
    assert.are.equal(200, server:get("/health").status)
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
end)
