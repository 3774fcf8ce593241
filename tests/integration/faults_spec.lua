-- What can go wrong between a question and its answer: each fault is one clear error, nothing that had arrived is lost, and
-- failover goes on where it may and only there.
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
local event_stream = { ["content-type"] = "text/event-stream" }


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


-- Bytes that are no event, more than an answer may have.
local function comments_without_end(request)
  request:start { headers = event_stream }
  local comment = ":" .. ("x"):rep(1 << 20) .. "\n\n"
  while request:write(comment) do end
end


local function reset_at_once(request)
  request:reset()
end


local function say_nothing() end


local content_event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
local blank_event = 'data: {"choices":[{"index":0,"delta":{"content":" \\n"}}]}\n\n'
local stop_event = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'

-- name, what the provider does, time limits, and the error: kind and what else is promised. `kept` is the text that had arrived
-- (then nobody else is asked); `stays` marks what another provider would not do better.
local faults = {
  { "a wrong key", replay.reply(401, { error = { message = "Incorrect API key", type = "invalid_request_error",
    code = "invalid_api_key" } }), kind = "authentication", code = "invalid_api_key", status = 401, says = "^Incorrect API key$" },
  { "a key without the right", replay.reply(403, { error = { message = "no access to this" } }),
    kind = "permission", status = 403, says = "no access" },
  { "a model that does not exist", replay.reply(404, { error = { message = "The model `gpt-x` does not exist",
    code = "model_not_found" } }), kind = "model_not_found", code = "model_not_found", status = 404, says = "gpt%-x" },
  { "a wrong address", replay.reply(404, "<html>404</html>"), kind = "not_found", status = 404, says = "HTTP 404" },
  { "a request it does not like", replay.reply(400, { error = { message = "'messages' is too short" } }),
    kind = "api", status = 400, says = "too short", stays = true },
  { "a conversation that is too long", replay.reply(400, { error = { message = "maximum context length is 8192 tokens",
    code = "context_length_exceeded" } }), kind = "context_length", status = 400, says = "8192", stays = true },
  { "too many requests", replay.reply(429, { error = { message = "slow down", code = "rate_limit_exceeded" } },
    { ["retry-after"] = "7", ["x-request-id"] = "req_9" }),
    kind = "rate_limit", status = 429, retryable = true, retry_after = 7, request_id = "req_9", says = "slow down" },
  { "an empty purse", replay.reply(429, { error = { message = "no credit", code = "insufficient_quota" } }),
    kind = "quota", status = 429, says = "no credit" },
  { "an error of its own", replay.reply(500, { error = { message = "boom" } }),
    kind = "server", status = 500, retryable = true, maybe_billed = true, says = "boom" },
  { "no capacity and no words", replay.reply(503, ""), kind = "overloaded", status = 503, retryable = true, says = "HTTP 503" },
  { "HTML with an error status", replay.reply(502, "<html>Bad Gateway</html>"),
    kind = "server", status = 502, retryable = true, says = "HTTP 502" },
  { "HTML instead of an answer", replay.reply(200, "<html>Please log in</html>"),
    kind = "bad_response", retryable = true, says = "not JSON" },
  { "an error in a 200", replay.reply(200, { error = { message = "upstream fell over", code = 502 } }),
    kind = "server", code = 502, retryable = true, says = "upstream fell over" },
  { "JSON that is no answer", replay.reply(200, { hello = true }), kind = "bad_response", retryable = true, says = "no choices" },
  { "frames that are not JSON", replay.whole(replay.recording("data: hello\n\ndata: world\n\n")),
    kind = "bad_response", retryable = true, says = "not JSON" },
  { "a body of nothing", replay.reply(200, ""), kind = "stream_interrupted", retryable = true, says = "before the answer was complete" },
  { "an empty answer", replay.whole(replay.text("")), kind = "empty_response", retryable = true, says = "empty" },
  { "an answer of white space", replay.whole(replay.recording(blank_event .. stop_event)), kind = "empty_response", retryable = true },
  { "a connection that is reset at once", reset_at_once, kind = "connection", code = "reset", retryable = true, maybe_billed = true },
  { "a connection that is closed without an answer", say_nothing, kind = "connection", code = "reset", retryable = true },
  { "a head and then the end of the connection", replay.broken(text, 0), kind = "connection", code = "reset", retryable = true },
  { "a stream that is cut", replay.broken(text, HALF_BYTES), kind = "stream_interrupted", retryable = true, maybe_billed = true,
    says = "cut off", kept = "one " },
  { "a stream that is reset", replay.broken(text, HALF_BYTES, "reset"), kind = "stream_interrupted", retryable = true,
    maybe_billed = true, says = "cut off", kept = "one " },
  { "a stream that ends properly, but too early", replay.whole(replay.recording(text.body:sub(1, HALF_BYTES))),
    kind = "stream_interrupted", retryable = true, maybe_billed = true, says = "before the answer was complete", kept = "one " },
  { "an error in the middle", replay.whole(replay.recording(content_event .. 'data: {"error":{"message":"gone"}}\n\n')),
    kind = "api", says = "gone", kept = "x" },
  { "no head", replay.stalled(), { first_byte = 0.05 }, kind = "timeout", code = "first_byte", retryable = true, maybe_billed = true,
    says = "no first byte within 0.1 s" },
  { "no body", replay.stalled(text, 0), { idle = 0.05 }, kind = "timeout", code = "idle", retryable = true, says = "no data for" },
  { "silence in the middle", replay.stalled(text, HALF_BYTES), { idle = 0.05 }, kind = "timeout", code = "idle", retryable = true,
    maybe_billed = true, says = "no data for", kept = "one " },
  { "nothing but pings", replay.endless("event: ping\ndata: {}\n\n"), { idle = 0.05 }, kind = "timeout", code = "idle",
    retryable = true, says = "no data for" },
  { "nothing but comments", replay.endless(": keep-alive\n\n"), { idle = 0.05 }, kind = "timeout", code = "idle", retryable = true,
    says = "no data for" },
  { "an answer without an end", replay.endless(content_event), { total = 0.1 }, kind = "timeout", code = "total", retryable = true,
    says = "no complete answer within 0.1 s", kept = "x" },
  { "one event that is too large", replay.whole(replay.recording("data: {" .. (" "):rep(9 << 20) .. "}\n\n")),
    kind = "bad_response", says = "larger than 8388608 bytes" },
  { "an answer that is too large", comments_without_end, kind = "bad_response", says = "larger than 67108864 bytes" },
  { "a compressed flood", function(request) encoded(gzip(("\n"):rep(20 << 20)))(request) end, kind = "bad_response", code = "encoding",
    says = "expands more than 100 times" },
  { "compressed bytes that are none", encoded("these are plain words"), kind = "bad_response", code = "encoding" },
}


local function promised(fault, err)
  assert.is_true(errors.is(err, fault.kind), tostring(err))
  assert.are.equal(fault.status, err.status)
  assert.are.equal(fault.retryable or false, err.retryable)
  assert.are.equal("openai", err.provider)
  assert.are.equal("gpt-4o-mini", err.model)
  assert.are.equal(fault.retry_after, err.retry_after)
  for _, field in ipairs { "code", "maybe_billed", "request_id" } do
    if fault[field] then
      assert.are.equal(fault[field], err[field])
    end
  end
  if fault.says then
    assert.is_truthy(err.message:find(fault.says), err.message)
  end
end


describe("a provider that gives", function()
  for _, fault in ipairs(faults) do
    it(fault[1] .. " is one error, and what had arrived is kept", function()
      local answer, server = ask_server(fault[2], { timeouts = fault[3] })
      promised(fault, answer.error)
      assert.is_nil(answer.finish_reason)
      assert.are.equal(fault.kept or "", answer.content:sub(1, #(fault.kept or "x")))
      assert.are.equal(1, #server.requests)
    end)
  end
end)


describe("failover", function()
  for _, fault in ipairs(faults) do
    local goes_on = not fault.kept and not fault.stays
    it((goes_on and "asks the next after " or "does not ask the next after ") .. fault[1], function()
      local first <close> = replay.serve { fault[2] }
      local second <close> = replay.serve { replay.whole(text) }
      local client = client_of({ OPENAI_BASE_URL = first.url, GROQ_BASE_URL = second.url },
        { fallbacks = { FALLBACK }, timeouts = fault[3] })
      local answer = ask(client)
      if not goes_on then
        promised(fault, answer.error)
        assert.are.equal(0, #second.requests)
        return
      end
      assert.is_nil(answer.error)
      assert.are.equal("one two three four", answer.content)
      assert.are.equal("groq", answer.provider)
      assert.are.equal("llama-3.1-8b-instant", second.requests[1].body.model)
      assert.are.equal(1, #answer.attempts)
      promised(fault, answer.attempts[1].error)
      assert.are.equal("failed", answer.attempts[1].reason)
      assert.are.equal(fault.status, answer.attempts[1].status)
    end)
  end

  it("says everything that was tried when all fail", function()
    local first <close> = replay.serve { replay.reply(500, { error = { message = "boom" } }) }
    local second <close> = replay.serve { replay.reply(429, { error = { message = "slow down" } }, { ["retry-after"] = "3" }) }
    local client = client_of({ OPENAI_BASE_URL = first.url, GROQ_BASE_URL = second.url }, { fallbacks = { FALLBACK } })
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
      { fallbacks = { "anthropic/claude-sonnet-4-5", "openai/gpt-4o" } })
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
    assert.are.same({ "connection", "connect", true, false }, { err.kind, err.code, err.retryable, err.maybe_billed })
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
    local err = select(2, perilune.try(client.chat, client, "Hello", { timeout = 0.05 }))
    assert.are.same({ "timeout", "deadline" }, { err.kind, err.code })
    server:wait_until(function() return server.requests[1].is_over end)
    assert.are.equal(0, fetch.live())
  end)
end)
