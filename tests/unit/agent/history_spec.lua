local assistants = require "perilune.agent.assistant"
local history = require "perilune.agent.history"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local rows = require "perilune.store.rows"
local store = require "perilune.store"
local summaries = require "perilune.store.summaries"
local threads = require "perilune.store.threads"
local tokens = require "perilune.model.tokens"


local function assistant_with(rules, options)
  options = options or {}
  options.name, options.history = "helper", rules
  local assistant = assistants.new(options)
  return assistant
end


describe("history", function()
  local db, thread

  before_each(function()
    db = assert(store.open(":memory:"))
    thread = assert(threads.open(db, "t"))
  end)

  after_each(function()
    db:close()
  end)

  -- Turns of four messages: a question, a call, its result, an answer.
  local function add_turns(first, last)
    for n = first, last do
      local batch = {}
      for _, message in ipairs {
        { role = "user", content = "question " .. n },
        { role = "assistant", tool_calls = { { id = "call_" .. n, name = "f", arguments = "{}" } } },
        { role = "tool", tool_call_id = "call_" .. n, name = "f", content = "result " .. n },
        { role = "assistant", content = "answer " .. n },
      } do
        table.move(assert(messages.calls(thread.id, message, { now = rows.now() })), 1, 2, #batch + 1, batch)
      end
      assert(db:write(batch))
    end
  end

  local function say(text)
    assert(messages.append(db, thread, { role = "user", content = text }))
  end

  local function summarise(upto_seq, body)
    assert(db:write { { "summary_add", { thread_id = thread.id, upto_seq = upto_seq, run_id = nil, body = body, now = rows.now() } } })
  end

  local function load(rules, options, more)
    return assert(history.load(db, thread, assistant_with(rules, more), options))
  end

  it("of an empty thread is empty", function()
    local loaded = load {}
    assert.same({ {}, 0 }, { loaded.messages, loaded.tokens })
    assert.is_nil(loaded.first_seq)
    assert.is_false(history.is_over(loaded))
    assert.equal(loaded, history.window(loaded))
  end)

  it("is the whole thread while that is within the limit", function()
    assert(messages.append(db, thread, { role = "system", content = "In French." }))
    add_turns(1, 2)
    say "last"
    local loaded = load { messages = 10 }
    assert.same({ 10, 1, 10 }, { #loaded.messages, loaded.first_seq, loaded.last_seq })
    assert.equal("system", loaded.messages[1].role)
  end)

  it("is the last messages that begin with the user's, no more than its limit", function()
    add_turns(1, 5)
    say "last"
    for limit, first_seq in pairs { [1] = 21, [4] = 21, [5] = 17, [8] = 17, [9] = 13, [20] = 5, [21] = 1, [500] = 1 } do
      local loaded = load { messages = limit }
      assert.same({ limit, first_seq, 21 }, { limit, loaded.first_seq, loaded.last_seq })
      assert.equal("user", loaded.messages[1].role)
      assert.equal(22 - first_seq, #loaded.messages)
    end
    assert.equal(200, load({}).limit.messages)
  end)

  it("has the user's last message with all that followed, however much that is", function()
    say "first"
    say "do it"
    for n = 1, 450 do
      assert(messages.append(db, thread, { role = "assistant", content = "step " .. n }))
    end
    local loaded = load { messages = 2 }
    assert.equal(452, #loaded.messages)
    assert.is_false(history.is_over(loaded))
    assert.same({ "do it", 451 }, { load({ messages = 1 }).messages[1].content, #load({ messages = 1 }).messages })
    assert.equal("do it", load({ tokens = 10 }).messages[1].content)
  end)

  it("may be limited by tokens, with the same cuts", function()
    add_turns(1, 100)
    say "last"
    local whole = load { tokens = 1000000 }
    assert.equal(401, #whole.messages)
    local sum = 0
    for _, message in ipairs(whole.messages) do
      sum = sum + tokens.of_message(message)
    end
    assert.equal(sum, whole.tokens)
    assert.is_true(sum > 2000 and sum < 8000, sum)
    for limit = 20, 400, 7 do
      local loaded = load { tokens = limit }
      assert.is_true(loaded.tokens <= limit)
      assert.equal("user", loaded.messages[1].role)
      local before = assert(messages.list(db, thread, { after = loaded.first_seq - 5, limit = 4 }))
      for _, stored in ipairs(before) do
        sum = loaded.tokens + tokens.of_message(stored.message)
        loaded.tokens = sum
      end
      assert.is_true(sum > limit, "another turn would have fitted")
    end
  end)

  it("is limited by what the model can read, when that is known and nothing else is said", function()
    local limit = load({}, { model_name = "openai/gpt-4o-mini" }).limit
    assert.same({ 200, 128000 - 16384 }, { limit.messages, limit.tokens })
    assert.equal(128000 - 1000, load({}, { model_name = "openai/gpt-4o-mini" }, { max_tokens = 1000 }).limit.tokens)
    assert.equal(32000, load({}, { model_name = "openai/gpt-4o-mini" }, { max_tokens = 127000 }).limit.tokens)
    assert.equal(128000 - 16384, load({}, { model_name = "openai/gpt-4.1" }, { fallbacks = { "openai/gpt-4o" } }).limit.tokens)
    assert.equal(128000 - 16384 - 100, load({}, { model_name = "openai/gpt-4o", instructions = ("word "):rep(80) }).limit.tokens)
    local tool = { name = "f", description = ("x"):rep(400), parameters = { type = "object" } }
    assert.is_true(load({}, { model_name = "openai/gpt-4o", tools = { tool } }).limit.tokens < 128000 - 16384 - 100)
    assert.same({ 5, math.huge }, { load({ messages = 5 }, { model_name = "acme/one" }).limit.messages, load({}).limit.tokens })
    assert.same({ history.MESSAGES_MAX, 50 }, { load({ tokens = 50 }).limit.messages, load({ tokens = 50 }).limit.tokens })
  end)

  it("leaves the calls of an interrupted answer out", function()
    say "hi"
    local cut = { role = "assistant", content = "Let me", tool_calls = { { id = "a", name = "f", arguments = "{" } } }
    assert(messages.append(db, thread, cut, { status = "partial" }))
    assert.same({ role = "assistant", content = "Let me" }, load({}).messages[2])
  end)

  it("does not hold what was deleted, and still knows the number of each message", function()
    assert(messages.append(db, thread, { role = "user", content = "secret" }))
    assert(messages.append(db, thread, { role = "system", content = "In French." }))
    add_turns(1, 3)
    assert(notes.delete_part(db, thread, 1, "message"))
    assert(notes.delete_part(db, thread, 8, "message"))
    local loaded = load {}
    assert.same({ "system", 2, 14, 12 }, { loaded.messages[1].role, loaded.first_seq, loaded.last_seq, #loaded.messages })
    assert.equal(11, history.from(loaded, 9).first_seq)
    local limited = load { messages = 4 } -- up to the last question, without the call that is gone
    assert.same({ 7, "question 2", 7 }, { #limited.messages, limited.messages[1].content, limited.first_seq })
  end)

  it("begins after the newest summary where summaries are made, and only there", function()
    add_turns(1, 4)
    assert.is_false(summaries.latest(db, thread))
    summarise(4, "first")
    summarise(12, "second")
    summarise(12, "never stored")
    assert.equal("second", assert(summaries.latest(db, thread)).body)
    local loaded = load { compaction = "summary" }
    assert.same({ 13, 16, { upto_seq = 12, text = "second" } }, { loaded.first_seq, loaded.last_seq, loaded.summary })
    assert.equal("question 4", loaded.messages[1].content)
    assert.is_true(loaded.tokens > load({ messages = 4 }).tokens, "the summary counts")
    assert.same({ 1, nil }, { load({}).first_seq, load({}).summary })
  end)

  it("is more than the limit where a summary is to be made, but at most twice as much", function()
    add_turns(1, 20)
    say "last"
    local loaded = load { messages = 10, compaction = "summary" }
    assert.same({ 65, 17 }, { loaded.first_seq, #loaded.messages })
    assert.is_true(history.is_over(loaded))
    assert.equal(9, #history.window(loaded).messages)
    assert.equal(73, history.window(loaded).first_seq)
  end)

  it("counts what a run adds to it", function()
    add_turns(1, 2)
    say "last"
    local loaded = load { tokens = 150 }
    assert.is_false(history.is_over(loaded))
    local before = loaded.tokens
    loaded.messages[#loaded.messages + 1] = { role = "assistant", content = ("word "):rep(80) }
    assert.is_true(history.is_over(loaded))
    assert.equal(before + 104, loaded.tokens)
    local cut = history.window(loaded)
    assert.same({ 6, 5 }, { #cut.messages, cut.first_seq })
    assert.is_true(cut.tokens > 104 and cut.tokens <= 150, cut.tokens)
  end)

  it("says what is wrong with its rules", function()
    local wrong = {
      ["history.messages must be at least 1"] = { messages = 0 },
      ["history.keep must be at least 1"] = { keep = 0 },
      ["history.tokens must be at least 1"] = { tokens = -5 },
      ['history.compaction is "window", "summary" or a function'] = { compaction = "sumary" },
      ['needs compaction = "summary"'] = { model = "openai/gpt-4o-mini" },
      ["did you mean 'messages'?"] = { mesages = 3 },
      ["has no function 'stream'"] = { compaction = "summary", model = {} },
    }
    for text, rules in pairs(wrong) do
      local ok, err = pcall(assistant_with, rules)
      assert.is_false(ok)
      assert.matches(text, err.message, 1, true)
      assert.matches("history_spec", err.where)
    end
    assert.same({ messages = 200, compaction = "window", keep = 2 }, assistant_with(nil).history)
  end)

  it("reads as many rows at the end of a long thread as of a short one", function()
    local assistant = assistant_with { messages = 20 }
    local function cost()
      local reads, found = 0, 0
      local counted = { read = function(_, name, params)
        local list, err = db:read(name, params)
        reads, found = reads + 1, found + #(list or {})
        return list, err
      end }
      assert(history.load(counted, thread, assistant, { model_name = "openai/gpt-4o-mini" }))
      return { reads, found }
    end
    add_turns(1, 50)
    local short = cost()
    add_turns(51, 1000)
    assert.same(short, cost())
    assert.is_true(short[2] >= 20 and short[2] < 60)
  end)
end)
