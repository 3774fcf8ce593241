-- Clients over models made for the test: what reaches the model, what is counted, and the ways to ask.
local builder = require "perilune.client.builder"
local clients = require "perilune.client"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local perilune = require "perilune"
local streams = require "perilune.model.stream"
local task = require "perilune.sys.task"

local usage = { prompt_tokens = 3, completion_tokens = 5, total_tokens = 8, cost = 40 }

local answer = {
  { type = "start", provider = "acme", model = "acme-large", id = "gen_1" },
  { type = "text", text = "Hello " }, { type = "text", text = "there." },
  { type = "usage", usage = usage }, { type = "stop", reason = "stop" },
}


-- A model that answers with these events, a function among them is called in its place. It keeps the requests.
local function model_of(events, rows)
  local model = { requests = {}, closed = 0 }
  function model:stream(request)
    self.requests[#self.requests + 1] = request
    local position = 0
    local stream
    stream = streams.new(function()
      position = position + 1
      local event = events[position]
      if type(event) == "function" then
        return event()
      end
      return event
    end, function()
      model.closed = model.closed + 1
    end)
    stream.rows = rows or {}
    return stream
  end
  return model
end


-- A model that says nothing until it is closed.
local function silent_model()
  local model = {}
  model.stream = function()
    local closed = task.signal()
    return streams.new(function()
      closed:wait()
    end, function()
      model.is_closed = true
      closed:wake()
    end)
  end
  return model
end


-- A client whose application gives this model whatever is named, and remembers what was named.
local function client_of(model, options)
  local app = { settings = { env = function() end }, named = {}, overrides = {} }
  function app:model(names, overrides)
    self.named[#self.named + 1], self.overrides[#self.overrides + 1] = names, overrides
    return model
  end
  return clients.new(app, options), app
end


local function misuse(f, ...)
  local _, err = perilune.try(f, ...)
  assert.are.same({ "configuration", "misuse" }, { err.kind, err.code })
  assert.is_truthy(err.where:find("client_spec.lua:", 1, true), err.where)
  return err.message
end


local function after(seconds, event)
  return function()
    clock.advance(seconds)
    return event
  end
end


describe("a client", function()
  it("gives the settings to the model it makes, once for each name", function()
    local client, app = client_of(model_of(answer), {
      model = "a", fallbacks = { "b", "c" }, timeout = 5, hedge = 0.5, retry = { max_attempts = 4 }, exclude = { "d" },
      print_provider_info = false,
    })
    client:chat("1")
    client:chat("2", { model = "e" })
    client:chat("3")
    client:chat("4", { model = "e" })
    assert.are.same({ { "a", "b", "c" }, { "e", "b", "c" } }, app.named)
    assert.are.same({ hedge = 0.5, retry = { max_attempts = 4 }, exclude = { "d" } }, app.overrides[1])
    assert.are_not.equal(app.overrides[1], app.overrides[2])
  end)

  it("leaves the choice to the application when nobody names a model", function()
    local client, app = client_of(model_of(answer), { fallbacks = { "b" } })
    client:chat("1")
    client:chat("2")
    assert.are.same({ { false, "b" } }, app.named)
  end)

  it("forgets the models of a script that names too many", function()
    local client, app = client_of(model_of(answer))
    for number = 1, 300 do
      client:chat("x", { model = "m" .. number })
    end
    client:chat("x", { model = "m300" })
    assert.are.equal(300, #app.named)
    client:chat("x", { model = "m1" })
    assert.are.equal(301, #app.named)
  end)

  it("knows who answered last", function()
    local client = client_of(model_of(answer))
    assert.is_nil(client.last_provider)
    client:chat("Hi")
    assert.are.same({ "acme", "acme-large" }, { client.last_provider, client.last_model })
  end)

  it("keeps questions apart that would be more at once than it may ask", function()
    local release, begun = task.signal(), 0
    local group <close> = task.group()
    local client = client_of(model_of {
      function()
        begun = begun + 1
        release:wait()
        return answer[1]
      end, table.unpack(answer, 2),
    }, { max_inflight = 1 })
    local function ask()
      return client:chat("Hi")
    end
    local first, second = group:spawn(ask), group:spawn(ask)
    task.sleep(0.01)
    assert.are.equal(1, begun)
    release:wake()
    first:wait()
    while begun < 2 do
      task.sleep(0.001)
    end
    release:wake()
    assert.are.equal("Hello there.", second:wait().content)
  end)
end)


describe("the options of a client", function()
  it("are refused at the line that says them", function()
    local cases = {
      { { modle = "x" }, "unknown option 'modle', did you mean 'model'?" },
      { { timeout = 0 }, "'timeout' must be more than 0 seconds, got 0" },
      { { timeouts = { first_contnet = 1 } }, "timeouts: unknown option 'first_contnet', did you mean 'first_content'?" },
      { { timeouts = { progress = -1 } }, "timeouts.progress must be more than 0 seconds, got -1" },
      { { hedge = math.huge }, "'hedge' must be more than 0 seconds and less than a year, got inf" },
      { { max_retries = -1 }, "'max_retries' must be 0 to 99, got -1" },
      { { retry = { max_attempts = 0 } }, "retry.max_attempts must be 1 to 100, got 0" },
      { { retry = { backof = 1 } }, "retry: unknown option 'backof', did you mean 'backoff'?" },
      { { retry = { backoff = 2, max_backoff = 1 } }, "retry.max_backoff must be at least retry.backoff, 2, got 1" },
      { { retry = { max_attempts = 3 }, max_retries = 5 }, "'max_retries' is retry.max_attempts - 1: say one of them" },
      { { rate_limit = { burst = 5 } }, "rate_limit needs 'requests_per_second'" },
      { { breaker = { open = 0 } }, "breaker.open must be more than 0 seconds, got 0" },
      { { max_inflight = 0 }, "'max_inflight' must be 1 to 1000000, got 0" },
      { { failover = "none" }, "'failover' must be one of 'listed', 'auto', 'off', got the string \"none\"" },
      { { on_interrupt = "restrat" },
        "'on_interrupt' must be one of 'fail', 'restart', got the string \"restrat\", did you mean 'restart'?" },
      { { cancel = {} }, "'cancel' must be a token, the first value of perilune.cancel_pair()" },
      { { model = {} }, "'model' is the name of a model, or a model: a table with 'stream'" },
      { { fallbacks = { "a", 5 } }, "fallbacks[2] must be a string or a table, got 5" },
      { { context_fallbacks = { {} } }, "context_fallbacks[1] is the name of a model, or a model: a table with 'stream'" },
      { { exclude = { ["openai"] = true } }, "exclude must be a list, and has a field [openai]" },
      { { max_error_length = 0 }, "'max_error_length' must be 1 to 1048576, got 0" },
      { { log_http = 1 }, "option 'log_http' must be a boolean, got 1" },
    }
    for _, case in ipairs(cases) do
      local message = misuse(function()
        clients.new({}, case[1])
        error("not refused: " .. json.encode(case[1]))
      end)
      assert.are.equal("perilune.client: " .. case[2], message)
    end
  end)

  it("may be models made by a script", function()
    local model = model_of(answer)
    local client, app = client_of(model, { model = model, fallbacks = { model } })
    client:chat("Hi")
    assert.are.equal(model, app.named[1][1])
    assert.are.equal(model, app.named[1][2])
  end)
end)


describe("a client that is production ready", function()
  local ready = {
    retry = { max_attempts = 3, backoff = 1, max_backoff = 30 }, breaker = { failures = 5, open = 30, successes = 2 },
    max_inflight = 10,
  }

  it("has settings for a program that runs unattended", function()
    local client, app = client_of(model_of(answer), { production_ready = true })
    client:chat("Hi")
    assert.are.same(ready, app.overrides[1])
    assert.are.same({ requests_per_second = 10, burst = 15 }, client.options.rate_limit)
  end)

  it("does what is said explicitly instead, field by field", function()
    local given = { production_ready = true, retry = { backoff = 40 }, breaker = { open = 5 }, max_retries = 4, max_inflight = 2 }
    local client = client_of(model_of(answer), given)
    assert.are.same({ max_attempts = 5, backoff = 40, max_backoff = 40 }, client.options.retry)
    assert.are.same({ failures = 5, open = 5, successes = 2 }, client.options.breaker)
    assert.are.equal(2, client.options.max_inflight)
    assert.are.same({ backoff = 40 }, given.retry)
  end)
end)


describe("the builder of a client", function()
  local function new()
    return builder.new { settings = { env = function() end } }
  end

  it("sets every option by its name, and some by better ones", function()
    local client = new():model("a"):provider("openai"):api_key("key"):api_key_for("a", "k1"):api_key_for("b", "k2")
      :base_url("http://127.0.0.1:1"):timeout(5):max_inflight(3):with_fallbacks({ "b" }):retry(4, 0.5):header("x-a", "1")
      :header("x-b", "2"):failover("auto"):build()
    assert.are.same({
      model = "a", provider = "openai", api_key = "key", api_keys = { a = "k1", b = "k2" }, base_url = "http://127.0.0.1:1",
      timeout = 5, max_inflight = 3, fallbacks = { "b" }, retry = { max_attempts = 4, backoff = 0.5 },
      headers = { ["x-a"] = "1", ["x-b"] = "2" }, failover = "auto",
    }, client.options)
  end)

  it("can be made production ready", function()
    local client = new():production_ready():retry(5, 2, 9):build()
    assert.are.same({ max_attempts = 5, backoff = 2, max_backoff = 9 }, client.options.retry)
    assert.are.equal(10, client.options.max_inflight)
  end)

  it("refuses what there is not, and what makes no sense, at the line that says it", function()
    assert.are.equal("builder:tiemout does not exist, did you mean 'timeout'?", misuse(function() new():tiemout(1) end))
    assert.are.equal("builder:timeout must be a number, got the string \"1\"", misuse(function() new():timeout("1") end))
    assert.are.equal("builder:api_key_for: key must be a string, got nil", misuse(function() new():api_key_for("a") end))
    assert.are.equal("perilune.client: 'timeout' must be more than 0 seconds, got -1", misuse(function() new():timeout(-1):build() end))
  end)

  it("makes as many clients as are built", function()
    local half = new():model("a")
    local one, two = half:build(), half:timeout(3):build()
    assert.is_nil(one.options.timeout)
    assert.are.equal(3, two.options.timeout)
  end)
end)


describe("a question", function()
  it("is a request in the model's hands, without what is the call's own", function()
    local model = model_of(answer)
    local client = client_of(model)
    client:chat("Hi", { system = "Be brief.", temperature = 0.5, timeout = 5, request_id = "order-7", stream = false })
    assert.are.same({
      messages = { { role = "system", content = "Be brief." }, { role = "user", content = "Hi" } }, temperature = 0.5,
      stream = false, request_id = "order-7",
    }, model.requests[1])
  end)

  it("is refused at the line that asks it", function()
    local client = client_of(model_of(answer))
    local cases = {
      { "client:chat", { temprature = 1 }, "unknown option 'temprature', did you mean 'temperature'?" },
      { "client:chat", { timeout = 0 }, "'timeout' must be more than 0 seconds, got 0" },
      { "client:chat", { cancel = {} }, "'cancel' must be a token, the first value of perilune.cancel_pair()" },
      { "client:chat", { model = {} }, "'model' is the name of a model, or a model: a table with 'stream'" },
      { "client:stream", { request_ids = "x" }, "unknown option 'request_ids', did you mean 'request_id'?" },
    }
    for _, case in ipairs(cases) do
      local name = case[1]:match("%a+$")
      local message = misuse(function()
        client[name](client, "Hi", case[2])
        error("not refused: " .. case[3])
      end)
      assert.are.equal(("%s: %s"):format(case[1], case[3]), message)
    end
    assert.are.equal("client:chat gives a whole answer: client:stream gives its events",
      misuse(function() client:chat("Hi", { stream = true }) end))
    assert.are.equal("client:stream gives the events of an answer: client:chat gives a whole one",
      misuse(function() client:stream("Hi", { stream = false }) end))
    assert.are.equal("client:chat is called with a colon: client:chat(input, options)", misuse(function() client.chat("Hi") end))
    assert.are.equal("client:chat: the question is a text or a list of messages, got a nil", misuse(function() client:chat() end))
    assert.is_truthy(misuse(function() client:chat("Hi", { request_id = "a b" }) end):find("'request_id' is 1 to 512", 1, true))
  end)

  it("can be put together word by word, and asked more than once", function()
    local model = model_of(answer)
    local request = client_of(model):request():system("Be brief."):user("Hi"):assistant("Hello."):messages {
      { role = "user", content = "Who are you?" },
    }:temperature(0.5):max_tokens(10):stop("END"):param("top_k", 40):param("seed", 7)
    assert.are.equal("Hello there.", request:execute().content)
    local stream <close> = request:user("And now?"):stream()
    assert.are.equal("start", stream:next().type)
    assert.are.same({
      messages = {
        { role = "system", content = "Be brief." }, { role = "user", content = "Hi" }, { role = "assistant", content = "Hello." },
        { role = "user", content = "Who are you?" },
      },
      temperature = 0.5, max_tokens = 10, stop = "END", seed = 7, provider_specific_params = { top_k = 40 }, stream = false,
    }, model.requests[1])
    assert.are.equal("And now?", model.requests[2].messages[5].content)
    assert.is_true(model.requests[2].stream)
  end)

  it("that is put together refuses a wrong word at its line", function()
    local client = client_of(model_of(answer))
    assert.are.equal("request:temprature does not exist, did you mean 'temperature'?",
      misuse(function() client:request():temprature(1) end))
    assert.are.equal("request:max_tokens must be an integer, got 1.5", misuse(function() client:request():max_tokens(1.5) end))
    assert.are.equal("request:user: content must be a string or a table, got nil", misuse(function() client:request():user() end))
  end)
end)


describe("the numbers of an answer", function()
  local slow = { answer[1], after(0.25, answer[2]), answer[3], answer[4], after(0.5, answer[5]) }

  it("are in the response, whole or streamed", function()
    for _, name in ipairs { "chat", "stream" } do
      local client = client_of(model_of(slow))
      local response = client[name](client, "Hi", { request_id = "mine" })
      response = response.content and response or response:response()
      local stats = response.stats
      assert.are.same({ "mine", 0, 3, 5, 8 }, {
        stats.client_request_id, stats.retry_count, stats.prompt_tokens, stats.completion_tokens, stats.total_tokens,
      })
      assert.is_true(stats.time_to_first_token_ms >= 250 and stats.time_to_first_token_ms < 500)
      assert.is_true(stats.latency_ms >= 750 and stats.latency_ms < 1000)
    end
  end)

  it("have a name of their own when the caller gives none", function()
    local client = client_of(model_of(answer))
    local first, second = client:chat("1").stats.client_request_id, client:chat("2").stats.client_request_id
    assert.is_truthy(first:find("^req_%w+$"))
    assert.are_not.equal(first, second)
  end)

  it("add up for the client", function()
    local client = client_of(model_of(slow))
    assert.are.same({
      requests = 0, successes = 0, failures = 0, cancelled = 0, retries = 0, failovers = 0, prompt_tokens = 0,
      completion_tokens = 0, total_tokens = 0, cost = 0, latency = {}, time_to_first_token = {},
    }, client:stats())
    client:chat("1")
    client:chat("2")
    local stats = client:stats()
    assert.are.same({ 2, 2, 0, 1.0, 6, 10, 16, 80 }, {
      stats.requests, stats.successes, stats.failures, stats.success_rate, stats.prompt_tokens, stats.completion_tokens,
      stats.total_tokens, stats.cost,
    })
    for _, name in ipairs { "mean", "p50", "p95", "p99", "max" } do
      assert.is_true(stats.latency[name] > 700 and stats.latency[name] < 1000, name)
      assert.is_true(stats.time_to_first_token[name] > 230 and stats.time_to_first_token[name] < 500, name)
    end
    client:reset_stats()
    assert.are.equal(0, client:stats().requests)
  end)

  it("tell failures, retries and failovers apart", function()
    local failure = errors.new { kind = "server", message = "boom" }
    local client = client_of(model_of {
      { type = "attempt", reason = "skipped", provider = "a", model = "x" },
      { type = "attempt", reason = "retried", provider = "b", model = "x" },
      { type = "attempt", reason = "failed", provider = "b", model = "x" },
      { type = "attempt", reason = "failed", provider = "c", model = "x" },
      { type = "error", error = failure },
    })
    local _, err = perilune.try(client.chat, client, "Hi", { request_id = "mine" })
    assert.are.same({ "server", "mine" }, { err.kind, err.client_request_id })
    local stats = client:stats()
    assert.are.same({ 1, 0, 1, 0.0, 1, 1 }, {
      stats.requests, stats.successes, stats.failures, stats.success_rate, stats.retries, stats.failovers,
    })
    assert.are.same({}, stats.latency)
    assert.is_nil(client.last_provider)
  end)

  it("say nothing of success when the caller gave up", function()
    local model = model_of(answer)
    local client = client_of(model)
    do
      local stream <close> = client:stream("Hi")
      stream:next()
      stream:next()
      assert.are.equal(0, client:stats().requests)
    end
    local stats = client:stats()
    assert.are.same({ 1, 0, 0, 1 }, { stats.requests, stats.successes, stats.failures, stats.cancelled })
    assert.is_nil(stats.success_rate)
    assert.are.equal(1, model.closed)
  end)

  it("count an answer once, however it is closed", function()
    local client = client_of(model_of(answer))
    local stream = client:stream("Hi")
    stream:response()
    stream:close()
    stream:close()
    assert.are.same({ 1, 1, 0 }, { client:stats().requests, client:stats().successes, client:stats().cancelled })
  end)

  it("hold what every attempt used, and no cost when one is not known", function()
    local rows = {
      { outcome = "server", prompt_tokens = 10, completion_tokens = 1, cost_nano = 100 },
      { outcome = "connection" },
      { outcome = "ok", prompt_tokens = 3, completion_tokens = 5, cost_nano = 40 },
    }
    local client = client_of(model_of(answer, rows))
    client:chat("Hi")
    assert.are.same({ 13, 6, 140 }, { client:stats().prompt_tokens, client:stats().completion_tokens, client:stats().cost })
    rows[3].cost_nano = nil
    client:chat("Hi")
    assert.is_nil(client:stats().cost)
    client:reset_stats()
    assert.are.equal(0, client:stats().cost)
  end)

  it("begin again with an answer that begins again", function()
    local client = client_of(model_of {
      answer[1], answer[2], { type = "attempt", reason = "interrupted", provider = "acme", model = "acme-large" },
      { type = "attempt_discarded", provider = "acme", model = "acme-large" },
      { type = "start", provider = "other", model = "other-1" }, after(0.25, { type = "text", text = "Again." }),
      { type = "stop", reason = "stop" },
    })
    local response = client:chat("Hi")
    assert.is_true(response.stats.time_to_first_token_ms >= 250)
    assert.are.equal("other", client.last_provider)
    assert.are.equal(1, client:stats().failovers)
  end)
end)


describe("the time of a question", function()
  it("ends a whole answer in an error that says so", function()
    local model = silent_model()
    local client = client_of(model, { timeout = 0.02 })
    local _, err = perilune.try(client.chat, client, "Hi", { request_id = "mine" })
    assert.are.same({ "timeout", "deadline", "the answer was not complete after 0.02 s", "mine", true },
      { err.kind, err.code, err.message, err.client_request_id, err.maybe_billed })
    assert.is_true(model.is_closed)
    assert.are.same({ 1, 1 }, { client:stats().requests, client:stats().failures })
  end)

  it("ends a stream in an error event, also when nobody reads it", function()
    local model = silent_model()
    local client = client_of(model)
    local stream <close> = client:stream("Hi", { timeout = 0.02 })
    local event = stream:next()
    assert.are.same({ "error", "timeout" }, { event.type, event.error.kind })
    assert.is_nil(stream:next())
    local unread <close> = client:stream("Hi", { timeout = 0.01 })
    model.is_closed = false
    while not model.is_closed do
      task.sleep(0.002)
    end
    assert.are.equal("timeout", unread:next().error.kind)
  end)

  it("leaves nothing behind when the answer was in time", function()
    local tasks = task.count()
    local waits = { function()
      task.sleep(0.001)
      return answer[1]
    end, table.unpack(answer, 2) }
    for _, events in ipairs { answer, waits } do
      assert.are.equal("Hello there.", client_of(model_of(events), { timeout = 60 }):chat("Hi").content)
      task.yield()
      task.yield()
      assert.are.equal(tasks, (task.count()))
    end
  end)
end)


describe("client.chat.completions.create", function()
  local body = { model = "gpt-4o-mini", messages = { { role = "user", content = "Hi" } }, top_k = 4 }

  local function streamed(more)
    local copy = { stream = true }
    for _, fields in ipairs { body, more or {} } do
      for name, value in pairs(fields) do
        copy[name] = value
      end
    end
    return copy
  end

  it("answers in OpenAI's shape", function()
    local model = model_of(answer)
    local client, app = client_of(model)
    local completion = client.chat.completions.create(body, { request_id = "mine" })
    assert.are.same({ "gen_1", "chat.completion", "acme-large", "Hello there.", "stop", 8 }, {
      completion.id, completion.object, completion.model, completion.choices[1].message.content,
      completion.choices[1].finish_reason, completion.usage.total_tokens,
    })
    assert.is_true(math.abs(completion.created - clock.wall()) < 5)
    assert.are.same({
      messages = body.messages, provider_specific_params = { top_k = 4 }, stream = false, request_id = "mine",
    }, model.requests[1])
    assert.are.equal("gpt-4o-mini", app.named[1][1])
    assert.are.equal(1, client:stats().successes)
  end)

  it("streams chunks", function()
    local client = client_of(model_of(answer))
    local texts, last = {}, nil
    local stream <close> = client.chat.completions.create(streamed { stream_options = { include_usage = true } })
    for chunk in stream do
      texts[#texts + 1] = chunk.choices[1] and (chunk.choices[1].delta.content or chunk.choices[1].finish_reason)
      last = chunk
    end
    assert.are.same({ "", "Hello ", "there.", "stop" }, texts)
    assert.are.equal(8, last.usage.total_tokens)
    assert.is_nil(stream:next())
  end)

  it("cancels what is left when it is closed", function()
    local model = model_of(answer)
    local client = client_of(model)
    do
      local stream <close> = client.chat.completions.create(streamed())
      assert.are.equal("assistant", stream:next().choices[1].delta.role)
    end
    assert.are.equal(1, model.closed)
    assert.are.equal(1, client:stats().cancelled)
  end)

  it("raises what goes wrong, after what had arrived", function()
    local cut = errors.new { kind = "stream_interrupted", message = "cut" }
    for _, ending in ipairs { { type = "error", error = cut }, { type = "attempt_discarded", error = cut } } do
      local stream <close> = client_of(model_of { answer[1], answer[2], ending }).chat.completions.create(streamed())
      assert.are.equal("assistant", stream:next().choices[1].delta.role)
      assert.are.equal("Hello ", stream:next().choices[1].delta.content)
      assert.are.equal(cut, select(2, perilune.try(stream.next, stream)))
      assert.is_nil(stream:next())
    end
  end)

  it("refuses a wrong body at the line that calls it", function()
    local create = client_of(model_of(answer)).chat.completions.create
    assert.are.equal("client.chat.completions.create: messages: is missing", misuse(function() create { message = {} } end))
    assert.are.equal("client.chat.completions.create: option 'temperature' must be a number, got the string \"hot\"",
      misuse(function() create { messages = body.messages, temperature = "hot" } end))
    assert.are.equal("client.chat.completions.create: unknown option 'tiemout', did you mean 'timeout'?",
      misuse(function() create(body, { tiemout = 1 }) end))
  end)
end)


describe("a question with a token", function()
  it("ends in an error when it is cancelled, and lets go of the model at once", function()
    for _, holder in ipairs { "client", "question" } do
      local model = silent_model()
      local group <close> = task.group()
      local token, handle = perilune.cancel_pair()
      local client = client_of(model, holder == "client" and { cancel = token } or {})
      local asking = group:spawn(function()
        return select(2, perilune.try(client.chat, client, "Hi", { request_id = "mine", cancel = holder == "question" and token or nil }))
      end)
      task.yield()
      handle:cancel("shutdown")
      assert.is_true(model.is_closed)
      local err = asking:wait()
      assert.are.same({ "cancelled", "shutdown", "mine" }, { err.kind, err.reason, err.client_request_id })
      assert.are.same({ 1, 1, 0 }, { client:stats().requests, client:stats().cancelled, client:stats().failures })
      assert.are.equal("cancelled", handle.state)
    end
  end)

  it("does not begin when the token is cancelled already", function()
    local model = model_of(answer)
    local client = client_of(model)
    local token, handle = perilune.cancel_pair()
    handle:cancel()
    local stream <close> = client:stream("Hi", { cancel = token })
    assert.are.same({ "error", "cancelled" }, { stream:next().type, stream:so_far().error.kind })
    assert.are.equal(0, #model.requests)
  end)

  it("may share it with others, and leaves it when it has ended", function()
    local token, handle = perilune.cancel_pair()
    local client = client_of(model_of(answer), { cancel = token })
    client:chat("1")
    client:chat("2", { cancel = token })
    handle:cancel()
    assert.are.equal("cancelled", handle.state)
    assert.are.equal(2, client:stats().successes)
  end)
end)
