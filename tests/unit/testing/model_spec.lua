local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local failover = require "perilune.model.failover"
local failure = require "perilune.model.provider.failure"
local perilune = require "perilune"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"

local REQUEST = { messages = { { role = "user", content = "Hello" } } }


local function types(model, limits)
  local list, stream = {}, model:stream(REQUEST, limits)
  for event in stream do
    list[#list + 1] = event.type
  end
  return table.concat(list, " "), stream:so_far(), stream
end


local function err_of(answer, limits)
  local _, response = types(testing.model { answer }, limits)
  return response.error
end


describe("a scripted model", function()
  it("is found as perilune.testing.model", function()
    assert.equal(testing.model, perilune.testing.model)
  end)

  it("gives the answers of its list in order, word by word, and keeps what it was asked", function()
    local model = testing.model { " one  two\nthree ", { text = "four", thinking = "hm hm" }, { refusal = "I will not" } }
    local kinds, first = types(model)
    assert.equal("start text text text text usage stop", kinds)
    assert.same({ " one  two\nthree ", "testing", "scripted", "stop" }, { first.content, first.provider, first.model, first.finish_reason })
    local _, second = types(model)
    assert.same({ "four", "hm hm" }, { second.content, second.reasoning })
    local _, third = types(model)
    assert.equal("I will not", third.refusal)
    assert.same({ REQUEST, REQUEST, REQUEST }, model.requests)
    model:expect_done()
  end)

  it("calls tools, with arguments that are data or text", function()
    local calls = { { name = "add", arguments = { a = 1 } }, { name = "now" }, { name = "raw", arguments = '{"a":', id = "own" } }
    local kinds, answer = types(testing.model { { tool_calls = calls } })
    assert.equal("start tool_call_start tool_call tool_call_start tool_call tool_call_start tool_call usage stop", kinds)
    assert.equal("tool_calls", answer.finish_reason)
    assert.same({
      { id = "call_1_1", name = "add", arguments = '{"a":1}' }, { id = "call_1_2", name = "now", arguments = "{}" },
      { id = "own", name = "raw", arguments = '{"a":' },
    }, answer.tool_calls)
  end)

  it("says what was used, and how it ended", function()
    local used = { prompt_tokens = 7, completion_tokens = 2 }
    local _, answer = types(testing.model { { text = "a b", finish_reason = "length", usage = used } })
    assert.equal("length", answer.finish_reason)
    assert.same({ 7, 2, 9 }, { answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens })
    assert.is_nil(answer.usage.estimated)
    _, answer = types(testing.model { "a b c" })
    assert.same({ 10, 3, true }, { answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.estimated })
  end)

  it("asks a function, which sees the request", function()
    local model = testing.model { function(request, number)
      return { text = request.messages[1].content .. number, usage = {} }
    end, function() return "plain" end }
    assert.equal("Hello1", select(2, types(model)).content)
    assert.equal("plain", select(2, types(model)).content)
  end)

  it("goes on with the last answer where that is wanted, and else ends in a clear error", function()
    local model = testing.model { "one", "again", repeat_last = true }
    local said = {}
    for position = 1, 4 do
      said[position] = select(2, types(model)).content
    end
    assert.same({ "one", "again", "again", "again" }, said)
    model:expect_done()
    model = testing.model { "one", name = "backup", model_name = "b" }
    types(model)
    local kinds, answer = types(model)
    assert.equal("error", kinds)
    assert.same({ "configuration", "script_over" }, { answer.error.kind, answer.error.code })
    assert.equal("the scripted model backup/b has 1 answer, and this is request 2: add an answer, or repeat_last = true",
      answer.error.message)
  end)

  it("says which answers are left, or missing, when it is expected to be done", function()
    local model = testing.model { "one", { text = "two" }, function() return "three" end }
    local function problem()
      local ok, err = pcall(function()
        model:expect_done()
      end)
      assert.is_false(ok)
      assert.is_truthy(err.where:find("model_spec.lua", 1, true))
      return err.message
    end
    assert.equal("the scripted model testing/scripted was asked 0 times and has 3 answers; the next would be: one", problem())
    types(model)
    assert.is_truthy(problem():find("was asked 1 time and has 3 answers; the next would be: two", 1, true))
    types(model)
    assert.is_truthy(problem():find("a function", 1, true))
    types(model)
    model:expect_done()
    types(model)
    assert.is_truthy(problem():find("was asked 4 times and has only 3 answers", 1, true))
  end)

  it("refuses a script that makes no sense, with what was probably meant", function()
    for expected, script in pairs {
      ["answer 1: unknown option 'txt', did you mean 'text'?"] = { { txt = "x" } },
      ["answer 2: fault must be one of"] = { "x", { fault = "rate_limt" } },
      ["did you mean 'rate_limit'?"] = { { fault = "rate_limt" } },
      ["error.kind must be one of"] = { { error = { kind = "serious" } } },
      ["tool_calls[1] has no name"] = { { tool_calls = { { arguments = {} } } } },
      ["unknown option 'repeat'"] = { "x", ["repeat"] = true },
      ["the answers[2] must be a string or a table or a function, got 5"] = { "x", 5 },
      ["the answers must be a list"] = { [1] = "x", [3] = "y" },
    } do
      local ok, err = pcall(testing.model, script)
      assert.is_false(ok)
      assert.equal("configuration", err.kind)
      assert.is_truthy(err.message:find(expected, 1, true), err.message)
    end
  end)

  it("fails as a provider does: the same kinds, whether it may be asked again, whether it may have been billed", function()
    local expected = {
      api = { "api", 400, false }, authentication = { "authentication", 401, false }, quota = { "quota", 402, false },
      permission = { "permission", 403, false }, model_not_found = { "model_not_found", 404, false },
      context_length = { "context_length", 400, false }, content_filter = { "content_filter", 400, false },
      rate_limit = { "rate_limit", 429, true }, server = { "server", 500, true }, overloaded = { "overloaded", 503, true },
    }
    local billed = { -- nothing was answered, or not all
      bad_response = { "bad_response", nil, true, true }, connection = { "connection", nil, true, false },
      reset = { "connection", nil, true, true }, timeout = { "timeout", nil, true, true }, cut = { "stream_interrupted", nil, true, true },
    }
    for _, name in ipairs(testing.faults()) do
      if name ~= "empty" and name ~= "stall" then
        local err, row = err_of { fault = name, retry_after = 3 }, assert(expected[name] or billed[name], name)
        assert.same({ kind = row[1], status = row[2], retryable = row[3] },
          { kind = err.kind, status = err.status, retryable = err.retryable }, name)
        assert.same({ "testing", "scripted", 3 }, { err.provider, err.model, err.retry_after })
        if expected[name] then
          assert.equal(failure.from_body(err.details.body, { status = err.status }).maybe_billed, err.maybe_billed, name)
        else
          assert.equal(row[4], err.maybe_billed, name)
        end
      end
    end
  end)

  it("fails after it has said something, and then it may have been billed", function()
    local _, answer = types(testing.model { { text = "Once upon a", fault = "overloaded" } })
    assert.same({ "Once upon a", "overloaded", true }, { answer.content, answer.error.kind, answer.error.maybe_billed })
    assert.equal("stream_interrupted", err_of({ text = "Once", fault = "connection" }).kind)
    local own = err_of { text = "x", error = { kind = "server", message = "mine", status = 599, retryable = false } }
    assert.same({ "server", "mine", 599, false }, { own.kind, own.message, own.status, own.retryable })
    assert.is_true(errors.is(own))
  end)

  it("is empty", function()
    local kinds, answer = types(testing.model { { fault = "empty" } })
    assert.equal("start usage stop", kinds)
    assert.same({ "", "stop" }, { answer.content, answer.finish_reason })
  end)

  it("waits before it begins, and between words", function()
    local started = clock.mono()
    local stream = testing.model({ { text = "a b", delay = 0.03, word_delay = 0.02 } }):stream(REQUEST)
    assert.equal("start", stream:next().type)
    assert.is_true(clock.mono() - started >= 0.03)
    stream:next()
    stream:next()
    assert.is_true(clock.mono() - started >= 0.07)
    stream:close()
  end)

  it("stalls until a limit is met, and says which", function()
    local first = err_of({ fault = "stall" }, { first_content = 0.01 })
    assert.same({ "timeout", "first_content", true, true }, { first.kind, first.code, first.retryable, first.maybe_billed })
    assert.equal("no content for 0.01 s", first.message)
    local idle = err_of { text = "Once", fault = "stall", limit = 0.01 }
    assert.same({ "timeout", "idle" }, { idle.kind, idle.code })
    local total = err_of({ text = "Once", fault = "stall" }, { total = 0.01 })
    assert.same({ "timeout", "total" }, { total.kind, total.code })
    local late = err_of({ text = "Once", delay = 60 }, { first_content = 0.01, total = 60 })
    assert.same({ "timeout", "first_content" }, { late.kind, late.code })
  end)

  it("stops waiting when another task closes the stream, or the task is cancelled", function()
    local stream = testing.model({ { fault = "stall" } }):stream(REQUEST)
    local group <close> = task.group()
    stream:next()
    local waiting = group:spawn(stream.next, stream)
    task.yield()
    stream:close()
    assert.is_nil(waiting:wait())
    local other = testing.model({ { text = "x", delay = 3600 } }):stream(REQUEST)
    local cancelled = task.spawn(other.next, other)
    task.yield()
    cancelled:cancel()
    local ok, err = pcall(cancelled.wait, cancelled)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "cancelled"))
  end)

  it("leaves a row for each request, like a call that is metered", function()
    local model = testing.model { "a b", { fault = "rate_limit" } }
    local _, _, stream = types(model)
    assert.same({ "testing", "scripted", "ok", 2 }, {
      stream.rows[1].provider, stream.rows[1].model, stream.rows[1].outcome, stream.rows[1].completion_tokens,
    })
    _, _, stream = types(model)
    assert.same({ "rate_limit", 429 }, { stream.rows[1].outcome, stream.rows[1].status })
  end)

  it("lets failover be tested", function()
    local first = testing.model { { fault = "overloaded" }, repeat_last = true }
    local second = testing.model { "from the second", name = "second" }
    local plan = { order = function(self) return self end }
    for position, model in ipairs { first, second } do
      plan[position] = { model = model, target = { name = model.name, model = model.model_name } }
    end
    local answer = failover.new(plan):stream(REQUEST):response()
    assert.same({ "from the second", "second", "overloaded" }, { answer.content, answer.provider, answer.attempts[1].error.kind })
  end)
end)
