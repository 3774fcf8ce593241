-- What goes wrong as a script sees it: what errors say and what they never say, TLS, cancels. Which fault leads to which error is in
-- docs/faults.md, played by tests/faults.
local apps = require "perilune.app"
local clock = require "perilune.sys.clock"
local clients = require "perilune.client"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local replay = require "tests.support.replay"
local task = require "perilune.sys.task"

local MODEL, FALLBACK = "openai/gpt-4o-mini", "groq/llama-3.1-8b-instant"
local HALF_BYTES = 250 -- of the answer below: its first word has arrived, its second has not

local text = replay.text("one two three four")


-- A client whose providers are these addresses.
local function client_of(env, options)
  options = options or {}
  options.model = options.model or MODEL
  local values = { OPENAI_API_KEY = "a-key", GROQ_API_KEY = "a-key" }
  for name, value in pairs(env) do
    values[name] = value
  end
  return clients.new(apps.new { env = function(name) return values[name] end }, options)
end


-- Reads to the end, whatever it is.
local function ask(client)
  local stream <close> = client:stream("Hello")
  while stream:next() do end
  return stream:so_far()
end


-- The first answer of a server that behaves like this.
local function ask_server(answer, options)
  local server <close> = replay.serve { answer }
  return ask(client_of({ OPENAI_BASE_URL = server.url }, options)), server
end


local function gzip(bytes)
  return assert(proc.run { argv = { "gzip", "-c" }, stdin = bytes }).stdout
end


local function encoded(bytes)
  return replay.reply(200, bytes, { ["content-type"] = "text/event-stream", ["content-encoding"] = "gzip" })
end


local function reports(status, error_object, headers)
  return replay.reply(status, { error = error_object }, headers)
end


local content_event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'

-- name, what the provider does, what the error says, more of its fields, and time limits.
local cases = {
  { "a wrong key", reports(401, { message = "Incorrect API key", code = "invalid_api_key" }), "^Incorrect API key$", { status = 401 } },
  { "a model that does not exist", reports(404, { message = "The model `gpt-x` does not exist" }), "gpt%-x", { status = 404 } },
  { "a wrong address", replay.reply(404, "<html>404</html>"), "HTTP 404", { kind = "not_found" } },
  { "a conversation that is too long", reports(400, { message = "maximum context length is 8192 tokens" }), "8192", { status = 400 } },
  { "too many requests", reports(429, { message = "slow down" }, { ["retry-after"] = "70", ["x-request-id"] = "req_9" }),
    "slow down", { retry_after = 70, request_id = "req_9", retryable = true } },
  { "no capacity and no words", replay.reply(503, ""), "HTTP 503", { retryable = true } },
  { "HTML with an error status", replay.reply(502, "<html>Bad Gateway</html>"), "HTTP 502", { retryable = true } },
  { "HTML instead of an answer", replay.reply(200, "<html>Please log in</html>"), "not JSON", { retryable = true } },
  { "JSON that is no answer", replay.reply(200, { hello = true }), "no choices", { retryable = true } },
  { "a body of nothing", replay.reply(200, ""), "before the answer was complete", { maybe_billed = true } },
  { "an empty answer", replay.whole(replay.text("")), "empty", { retryable = true } },
  { "a stream that is cut", replay.broken(text, HALF_BYTES), "cut off", { retryable = true } },
  { "an error in the middle", replay.whole(replay.recording(content_event .. 'data: {"error":{"message":"gone"}}\n\n')), "gone", {} },
  { "no head", replay.stalled(), "no first byte within 0.1 s", { code = "first_byte" }, { first_byte = 0.05 } },
  { "silence in the middle", replay.stalled(text, HALF_BYTES), "no data for 0.1 s", { code = "idle" }, { idle = 0.05 } },
  { "an answer without an end", replay.endless(content_event), "no complete answer within 0.1 s", { code = "total" }, { total = 0.1 } },
  { "one event that is too large", replay.whole(replay.recording("data: {" .. (" "):rep(9 << 20) .. "}\n\n")),
    "larger than 8388608 bytes", {} },
  { "a compressed flood", function(request) encoded(gzip(("\n"):rep(20 << 20)))(request) end, "expands more than 100 times", {} },
}


describe("the error of", function()
  for _, case in ipairs(cases) do
    it(case[1] .. " says so, and whose it is", function()
      local err = ask_server(case[2], { timeouts = case[5], max_retries = 0 }).error
      assert.is_truthy(err.message:find(case[3]), err.message)
      assert.are.same({ "openai", "gpt-4o-mini" }, { err.provider, err.model })
      for field, value in pairs(case[4]) do
        assert.are.equal(value, err[field])
      end
    end)
  end
end)


describe("failover", function()
  it("says everything that was tried when all fail", function()
    local first <close> = replay.serve { replay.reply(500, { error = { message = "boom" } }) }
    local second <close> = replay.serve { replay.reply(429, { error = { message = "slow down" } }, { ["retry-after"] = "3" }) }
    local client = client_of({ OPENAI_BASE_URL = first.url, GROQ_BASE_URL = second.url }, { fallbacks = { FALLBACK }, max_retries = 0 })
    local err = select(2, perilune.try(client.chat, client, "Hello"))
    assert.is_true(errors.is(err, "all_failed"))
    assert.are.equal("All chat providers failed. Errors: openai/gpt-4o-mini: server: boom; "
      .. "groq/llama-3.1-8b-instant: rate_limit: slow down", err.message)
    assert.are.same({ 500, 429 }, { err.attempts[1].status, err.attempts[2].status })
    assert.are.same({ true, 3, "rate_limit" }, { err.retryable, err.retry_after, err.cause.kind })
  end)

  it("passes over a fallback that has no key, and begins with one when the first has none", function()
    local server <close> = replay.serve { replay.reply(500, "") , replay.whole(text) }
    local client = client_of({ OPENAI_BASE_URL = server.url, ANTHROPIC_BASE_URL = replay.closed_port() },
      { fallbacks = { "anthropic/claude-sonnet-4-5", "openai/gpt-4o" }, max_retries = 0 })
    assert.are.equal("gpt-4o", client:chat("Hello") and server.requests[2].body.model)
    client = client_of({ OPENAI_BASE_URL = server.url }, { model = "anthropic/claude-sonnet-4-5", fallbacks = { MODEL } })
    assert.are.equal("openai", client:chat("Hello").provider)
  end)
end)


describe("a client", function()
  it("names the variable that holds no key", function()
    local client = clients.new(apps.new { env = function() end }, { model = MODEL })
    local err = select(2, perilune.try(client.chat, client, "Hello"))
    assert.are.same({ "authentication", "no_key", "openai" }, { err.kind, err.code, err.provider })
    assert.is_truthy(err.message:find("OPENAI_API_KEY", 1, true))
  end)

  it("says what it could not reach: a closed port, a name that does not exist", function()
    local url = replay.closed_port()
    local err = ask(client_of { OPENAI_BASE_URL = url }).error
    assert.are.same({ "connection", "refused", true, false }, { err.kind, err.code, err.retryable, err.maybe_billed })
    assert.is_truthy(err.message:find(url, 1, true))
    err = ask(client_of { OPENAI_BASE_URL = "http://no-such-host.invalid" }).error
    assert.are.same({ "connection", "dns", true }, { err.kind, err.code, err.retryable })
    assert.is_truthy(err.message:find("no-such-host.invalid", 1, true))
  end)

  it("reads compressed answers", function()
    assert.are.equal("one two three four", ask_server(encoded(gzip(text.body))).content)
  end)

  it("names the option that was probably meant", function()
    local client = client_of {}
    local err = select(2, perilune.try(client.chat, client, "Hello", { temprature = 1 }))
    assert.are.same({ "configuration", "client:chat: unknown option 'temprature', did you mean 'temperature'?" }, { err.kind, err.message })
    err = select(2, perilune.try(client_of, {}, { modle = MODEL }))
    assert.is_truthy(err.message:find("unknown option 'modle', did you mean 'model'?", 1, true))
    err = select(2, perilune.try(perilune.assistant, { instruction = "Be kind." }))
    assert.is_truthy(err.message:find("unknown option 'instruction', did you mean 'instructions'?", 1, true))
  end)

  it("never shows a key, not even one that the provider repeats", function()
    local key = "sk-secret-0123456789"
    local server <close> = replay.serve { replay.reply(401, { error = { message = "Incorrect API key: " .. key } }) }
    local err = ask(client_of({ OPENAI_BASE_URL = server.url }, { api_key = key })).error
    assert.are.equal("Bearer " .. key, server.requests[1].headers.authorization)
    assert.are.equal("authentication: Incorrect API key: [redacted]", tostring(err))
  end)
end)


describe("TLS", function()
  local folder, certificate, key

  setup(function()
    folder = assert(fs.temp_dir("perilune-tls"))
    certificate, key = folder .. "/cert.pem", folder .. "/key.pem"
    assert.are.equal(0, assert(proc.run { argv = {
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
      "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
    } }).status)
  end)

  teardown(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  -- A TLS server with a certificate that nobody knows. What is written to it goes to its client, which makes it a provider.
  local function start_server()
    local child = assert(proc.start { argv = { "openssl", "s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate } })
    local said = ""
    local function wait_for(pattern)
      while not said:find(pattern) do
        said = said .. assert(child:read())
      end
      local found = said:match(pattern)
      said = ""
      return found
    end
    return child, wait_for, "https://127.0.0.1:" .. wait_for("ACCEPT 127%.0%.0%.1:(%d+)")
  end

  it("refuses a certificate that nobody vouches for, unless it is named or not asked for", function()
    local child <close>, wait_for, url = start_server()
    local err = ask(client_of { OPENAI_BASE_URL = url }).error
    assert.are.same({ "tls", false, false }, { err.kind, err.retryable, err.maybe_billed })
    assert.is_truthy(err.message:lower():find("certificate", 1, true), err.message)
    assert.is_truthy(err.message:find(url, 1, true))
    for _, options in ipairs { { ca_file = certificate }, { verify_ssl = false } } do
      local group <close> = task.group()
      group:spawn(function()
        wait_for("POST /chat/completions")
        assert(child:write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length: "
          .. #text.body .. "\r\n\r\n" .. text.body))
      end)
      assert.are.equal("one two three four", ask(client_of({ OPENAI_BASE_URL = url }, options)).content)
    end
  end)

  it("is not spoken by a server of plain HTTP", function()
    local server <close> = replay.serve { replay.whole(text) }
    local err = ask(client_of { OPENAI_BASE_URL = server.url:gsub("^http", "https") }).error
    assert.are.same({ "tls", false }, { err.kind, err.retryable })
    assert.are.equal(0, #server.requests)
  end)
end)


describe("a cancel", function()
  local PROMPT_SECONDS = 1

  -- Asks a provider that stalls in the middle of its answer; `stop` gets the task that waits for it.
  local function stopped_by(stop)
    local server <close> = replay.serve { replay.stalled(text, HALF_BYTES) }
    local client, has_begun = client_of { OPENAI_BASE_URL = server.url }, task.signal()
    local asking = task.spawn(function()
      local stream <close> = client:stream("Hello")
      for event in stream do
        if event.type == "text" then
          has_begun:wake()
        end
      end
    end)
    task.deadline(10, has_begun.wait, has_begun)
    local stopped_at = clock.mono()
    stop(asking)
    server:wait_until(function() return server.requests[1].is_over end)
    assert.is_true(server.requests[1].over_at - stopped_at < PROMPT_SECONDS)
    assert.are.equal(0, fetch.live())
    return asking
  end

  it("of the task closes the provider's socket", function()
    local asking = stopped_by(function(asking) asking:cancel() end)
    assert.are.equal("cancelled", (asking:state()))
  end)

  it("by closing the stream closes the provider's socket", function()
    local server <close> = replay.serve { replay.stalled(text, HALF_BYTES) }
    local client = client_of { OPENAI_BASE_URL = server.url }
    do
      local stream <close> = client:stream("Hello")
      repeat until stream:next().type == "text"
    end
    server:wait_until(function() return server.requests[1].is_over end)
    assert.are.equal(0, fetch.live())
  end)

  it("by a deadline closes the provider's socket and is a timeout", function()
    local server <close> = replay.serve { replay.stalled(text, HALF_BYTES) }
    local client = client_of { OPENAI_BASE_URL = server.url }
    local err = select(2, perilune.try(client.chat, client, "Hello", { timeout = 0.5 }))
    assert.are.same({ "timeout", "deadline" }, { err.kind, err.code })
    server:wait_until(function() return server.requests[1].is_over end)
    assert.are.equal(0, fetch.live())
  end)
end)
