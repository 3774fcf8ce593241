-- Requests with an Idempotency-Key, asked twice: what was paid for is not asked for again.
local credits = require "perilune.store.credits"
local failover = require "perilune.sys.failover"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local kit = require "tests.support.server"
local replay = require "tests.support.replay"
local sse = require "perilune.serve.sse"
local wait_until = require "tests.support.wait"

local CREDIT = credits.CREDIT
local KEY = { ["idempotency-key"] = "a" }
local question = { model = "openai/gpt-4o-mini", stream = true, messages = { { role = "user", content = "Hello" } } }


-- A server whose provider answers so, one answer after the other, a credit for each; its customer has ten.
local function with_answers(answers, run, define)
  failover.reset()
  local upstream <close> = replay.serve(answers)
  local bands = { all = { models = { "*" }, request = 1 } }
  local server <close> = kit.start { settings = kit.asking(upstream, { credits = { bands = bands } }), define = define }
  server:sign_in(10 * CREDIT)
  run(server, upstream)
end


local function ask(server)
  return server:post("/v1/chat/completions", question, KEY)
end


local function leave_after_first_word(server)
  local headers = { authorization = server.headers.authorization, ["idempotency-key"] = "a", ["content-type"] = "application/json" }
  local handle <close> = assert(fetch.open {
    method = "POST", url = server.url .. "/v1/chat/completions", headers = headers, body = json.encode(question), frame = "sse",
  })
  assert(handle:next())
end


local function assert_lost(answer)
  assert.are.same({ 409, "false" }, { answer.status, answer.headers["x-should-retry"] }, answer.text)
  assert.are.equal("idempotency_answer_lost", answer.body.error.code)
end


describe("a request with an Idempotency-Key that was used before", function()
  it("gets the same stream, however long it is", function()
    with_answers({ replay.whole(replay.text(("a"):rep(5 << 20))) }, function(server, upstream)
      local first, second = ask(server), ask(server)
      assert.are.same({ 200, 200 }, { first.status, second.status })
      assert.is_true(first.text == second.text)
      assert.are.equal("true", second.headers["idempotency-replayed"])
      assert.are.same({ 1, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end)
  end)

  it("is told so when the stream was too long to be kept", function()
    finally(function()
      sse.COPY_BYTES_MAX = 60 << 20
    end)
    sse.COPY_BYTES_MAX = 1000
    with_answers({ replay.whole(replay.text(("word "):rep(20))) }, function(server, upstream)
      assert.are.equal(200, ask(server).status)
      assert_lost(ask(server))
      assert_lost(ask(server))
      assert.are.same({ 1, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end)
  end)

  it("gets what there was of one that broke off", function()
    with_answers({ replay.broken(replay.text("one two three four five six seven eight"), 900, "reset") }, function(server, upstream)
      local first = ask(server)
      assert.matches("stream_interrupted", first.text)
      assert.are.equal(first.text, ask(server).text)
      assert.are.same({ 1, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end)
  end)

  it("is told so when its client has left in the middle", function()
    with_answers({ replay.stalled(replay.recording(replay.text("one two three").body), 300) }, function(server, upstream)
      leave_after_first_word(server)
      wait_until("the answer has ended", function()
        return server.server.active == 0
      end)
      assert_lost(ask(server))
      assert.are.same({ 1, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end)
  end)

  it("is told so when an assistant's answer, which was to come as a whole, broke off", function()
    local asked = { model = "assistant/bob", messages = question.messages }
    with_answers({ replay.broken(replay.text("one two three four five six seven eight"), 900, "reset") }, function(server, upstream)
      assert.are.equal(502, server:post("/v1/chat/completions", asked, KEY).status)
      assert_lost(server:post("/v1/chat/completions", asked, KEY))
      assert.are.same({ 1, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end, function(perilune)
      perilune.assistant { name = "bob", model = question.model }
    end)
  end)

  it("is asked anew when nothing had come of it", function()
    with_answers({ replay.reply(500, "{}"), replay.whole(replay.text("Good morning.")) }, function(server, upstream)
      local first, second, third = ask(server), ask(server), ask(server)
      assert.are.same({ 502, 200, 200 }, { first.status, second.status, third.status })
      assert.are.equal(second.text, third.text)
      assert.are.same({ 2, 9 * CREDIT }, { #upstream.requests, server:balance() })
    end)
  end)
end)
