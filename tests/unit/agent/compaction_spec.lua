local assistants = require "perilune.agent.assistant"
local compaction = require "perilune.agent.compaction"
local context = require "perilune.agent.context"
local errors = require "perilune.std.errors"
local history = require "perilune.agent.history"
local log = require "perilune.sys.log"
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local scripted = require "perilune.testing.model"
local store = require "perilune.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"


describe("compaction", function()
  local db, thread, warnings
  local write = log.write

  before_each(function()
    warnings = {}
    log.write = function(level, area, message)
      assert.same({ "warn", "agent" }, { level, area })
      warnings[#warnings + 1] = message
    end
    db = assert(store.open(":memory:"))
    thread = assert(threads.open(db, "t"))
  end)

  after_each(function()
    log.write = write
    db:close()
  end)

  local function add(message, status)
    assert(messages.append(db, thread, message, { status = status }))
  end

  -- Turns of four messages: a question, a call, its result, an answer.
  local function add_turns(first, last)
    for n = first, last do
      add { role = "user", content = "question " .. n }
      add { role = "assistant", tool_calls = { { id = "call_" .. n, name = "look_up", arguments = '{"n":' .. n .. "}" } } }
      add { role = "tool", tool_call_id = "call_" .. n, name = "look_up", content = "result " .. n }
      add { role = "assistant", content = "answer " .. n }
    end
  end

  local function say(text)
    add { role = "user", content = text }
  end

  -- A job on what the thread holds now.
  local function job_of(rules, model, options)
    local assistant = assistants.new { name = "helper", history = rules }
    return {
      db = db, thread = thread, assistant = assistant, model = model, options = options,
      loaded = assert(history.load(db, thread, assistant, options)),
    }
  end

  local function commit(made)
    assert(db:write { { "summary_add", {
      thread_id = thread.id, upto_seq = made.upto_seq, run_id = nil, body = made.body, now = rows.now(),
    } } })
  end

  local function first_words(loaded)
    local list = {}
    for position, message in ipairs(context.build(loaded.messages, nil, loaded.summary)) do
      list[position] = message.role == "user" and message.content or nil
    end
    return list
  end

  it("leaves alone what is within the limit, and asks nobody", function()
    add_turns(1, 3)
    local job = job_of({ messages = 20, compaction = "summary" }, scripted.new {})
    local loaded, made = compaction.if_needed(job)
    assert.equal(job.loaded, loaded)
    assert.is_nil(made)
  end)

  it("writes a summary of what is before the last turns, and the request goes on from it", function()
    add_turns(1, 5)
    say "question 6"
    local model = scripted.new { "They counted to four." }
    local job = job_of({ messages = 12, compaction = "summary" }, model)
    local steps = 0
    job.on_step = function()
      assert.equal(0, #model.requests)
      steps = steps + 1
    end
    local loaded, made = compaction.if_needed(job)
    assert.same({ 16, "They counted to four.", 1, 1 }, { made.upto_seq, made.body, #made.attempts, steps })
    assert.equal(10, made.usage.prompt_tokens)
    assert.same({ 17, 21 }, { loaded.first_seq, loaded.last_seq })
    local built = context.build(loaded.messages, "Be brief.", loaded.summary)
    assert.same({ "system", "user", "user", "assistant", "tool", "assistant", "user" }, {
      built[1].role, built[2].role, built[3].role, built[4].role, built[5].role, built[6].role, built[7].role,
    })
    assert.matches("They counted to four.", built[2].content, 1, true)
    assert.same({ "question 5", "question 6" }, { built[3].content, built[7].content })
    assert.is_false(history.is_over(loaded))
  end)

  it("shows the model a transcript, without tools, and no more", function()
    add { role = "developer", content = "In French." }
    add { role = "user", content = { { type = "text", text = "Look" }, { type = "image", data = "AAAA", name = "a.png" } } }
    add { role = "assistant", content = "I see", tool_calls = { { id = "1", name = "look_up", arguments = '{"n":1}' } } }
    add { role = "tool", tool_call_id = "1", name = "look_up", content = "no such thing", is_error = true }
    add { role = "assistant", content = "half an ans", tool_calls = { { id = "2", name = "never_made", arguments = "{" } } }
    add({ role = "assistant", content = "then", tool_calls = { { id = "3", name = "never_made", arguments = "{" } } }, "partial")
    say(("x"):rep(5000))
    say "more"
    say "last"
    local model = scripted.new { "short" }
    compaction.if_needed(job_of({ messages = 6, compaction = "summary", keep = 2 }, model))
    local request = model.requests[1]
    assert.is_nil(request.tools)
    assert.same({ "system", "user" }, { request.messages[1].role, request.messages[2].role })
    assert.matches("at most 500 words", request.messages[1].content, 1, true)
    assert.equal(table.concat({
      "Instructions: In French.", "User: Look [image a.png]", 'Assistant: I see\nAssistant calls look_up with {"n":1}',
      "Error of look_up: no such thing", "Assistant: half an ans\nAssistant calls never_made with {",
      "Error of never_made: Error: the outcome of this call is unknown; it was interrupted before its result was stored",
      "Assistant: then", "User: " .. ("x"):rep(3997) .. "…",
    }, "\n\n"), request.messages[2].content)
  end)

  it("puts an older summary into the new one", function()
    add_turns(1, 5)
    say "question 6"
    local rules = { messages = 8, compaction = "summary", keep = 1 }
    local _, made = compaction.if_needed(job_of(rules, scripted.new { "first" }))
    assert.equal(20, made.upto_seq)
    commit(made)
    add { role = "assistant", content = "answer 6" }
    add_turns(7, 9)
    say "question 10"
    local model = scripted.new { "second" }
    local job = job_of(rules, model)
    assert.same({ 21, "first" }, { job.loaded.first_seq, job.loaded.summary.text })
    local loaded
    loaded, made = compaction.if_needed(job)
    assert.matches("^Summary of what came before:\nfirst\n\nUser: question 6\n\nAssistant: answer 6\n\nUser: question 7\n",
      model.requests[1].messages[2].content)
    assert.same({ 34, "second" }, { made.upto_seq, made.body })
    assert.same({ upto_seq = 34, text = "second" }, loaded.summary)
    commit(made)
    local again = job_of(rules, scripted.new {})
    assert.equal(again.loaded, (compaction.if_needed(again)))
    assert.same(first_words(loaded), first_words(again.loaded))
  end)

  it("is done again when the process ended before the summary was stored, and comes to the same", function()
    add_turns(1, 5)
    say "question 6"
    local rules = { messages = 12, compaction = "summary" }
    local lost, lost_made = compaction.if_needed(job_of(rules, scripted.new { "the same" }))
    local again, made = compaction.if_needed(job_of(rules, scripted.new { "the same" }))
    assert.same({ lost_made.upto_seq, lost_made.body }, { made.upto_seq, made.body })
    assert.same(lost.messages, again.messages)
    commit(made)
    commit(lost_made) -- two processes at once: one row
    assert.equal(1, #assert(db:read("summary_latest", { thread_id = thread.id })))
    assert.same({}, db:check())
  end)

  it("keeps fewer turns where they would fill more than half of the limit", function()
    add_turns(1, 6)
    say "question 7"
    for keep, first_seq in pairs { [1] = 25, [2] = 21, [3] = 21 } do
      local loaded, made = compaction.if_needed(job_of({ messages = 14, compaction = "summary", keep = keep }, scripted.new { "s" }))
      assert.same({ first_seq, first_seq - 1 }, { loaded.first_seq, made.upto_seq })
    end
  end)

  it("is done in the middle of a run, when what the run has added is too much, and never inside its turn", function()
    add_turns(1, 2)
    say "question 3"
    local job = job_of({ tokens = 200, compaction = "summary" }, scripted.new { "s" })
    assert.equal(job.loaded, (compaction.if_needed(job)))
    local big = ("word "):rep(150)
    for _, message in ipairs {
      { role = "assistant", tool_calls = { { id = "c", name = "f", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c", name = "f", content = big },
    } do
      add(message)
      table.insert(job.loaded.messages, message)
    end
    local loaded, made = compaction.if_needed(job)
    assert.equal(8, made.upto_seq)
    assert.same({ 9, 3 }, { loaded.first_seq, #loaded.messages })
    commit(made)
    job.loaded, job.model = loaded, scripted.new {} -- nothing is left that could be dropped
    assert.equal(loaded, (compaction.if_needed(job)))
  end)

  it("leaves older messages out, with a warning, when no summary can be made; the run does not ask again", function()
    add_turns(1, 6)
    say "question 7"
    local failure = { error = { kind = "server", message = "down" } }
    local rules, loaded, job = { messages = 8, compaction = "summary" }, nil, nil
    for kind, answer in pairs { server = failure, empty_response = { text = " \n" } } do
      job = job_of(rules, scripted.new { answer })
      local made
      loaded, made = compaction.if_needed(job)
      assert.same({ 21, 5, kind, 1 }, { loaded.first_seq, #loaded.messages, made.error.kind, #made.attempts })
      assert.is_nil(made.upto_seq)
    end
    assert.equal(2, #warnings)
    assert.matches("no summary could be made, older messages are left out: ", warnings[1], 1, true)
    for n = 8, 13 do
      say("question " .. n)
      table.insert(loaded.messages, { role = "user", content = "question " .. n })
      job.loaded = loaded
      loaded = compaction.if_needed(job)
    end
    assert.same({ false, "question 8" }, { history.is_over(loaded), loaded.messages[2].content })
    assert.same({ 2, 1 }, { #warnings, #job.model.requests })
    local _, made = compaction.if_needed(job_of(rules, scripted.new { "the next run asks again" }))
    assert.equal("the next run asks again", made.body)
  end)

  it("ends with its task", function()
    add_turns(1, 6)
    say "question 7"
    local job = job_of({ messages = 8, compaction = "summary" }, scripted.new { { text = "never", delay = 60 } })
    local one = task.spawn(compaction.if_needed, job)
    while #job.model.requests == 0 do
      task.yield()
    end
    one:cancel()
    local ok, err = pcall(one.wait, one)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "cancelled"))
    job.model = scripted.new { { error = { kind = "cancelled", message = "gone" } } }
    ok, err = pcall(compaction.if_needed, job)
    assert.same({ false, "cancelled" }, { ok, err.kind })
  end)

  it("bounds a summary", function()
    add_turns(1, 10)
    say "last"
    local _, made = compaction.if_needed(job_of({ messages = 8, compaction = "summary" }, scripted.new { ("é"):rep(20000) }))
    assert.equal(compaction.SUMMARY_BYTES_MAX - 1, #made.body)
    local model = scripted.new { ("word "):rep(1000) }
    local loaded
    loaded, made = compaction.if_needed(job_of({ tokens = 160, compaction = "summary" }, model))
    assert.equal(160, #made.body)
    assert.matches("at most 20 words", model.requests[1].messages[1].content, 1, true)
    assert.is_false(history.is_over(loaded))
  end)

  it("says in the transcript when messages before it are missing", function()
    add_turns(1, 30)
    say "last"
    local model = scripted.new { "s" }
    compaction.if_needed(job_of({ messages = 8, compaction = "summary", keep = 1 }, model))
    assert.matches("^%[earlier messages are left out%]\n\nUser: question 28", model.requests[1].messages[2].content)
    model = scripted.new { "s" }
    for _ = 1, 40 do
      add { role = "user", content = ("x"):rep(4000) }
    end
    say "last"
    compaction.if_needed(job_of({ messages = 45, compaction = "summary", keep = 1, tokens = 30000 }, model))
    local said = model.requests[1].messages[2].content
    assert.matches("^%[earlier messages are left out%]\n\nUser: xxx", said)
    assert.is_true(#said < 125000 and #said > 110000, #said)
  end)

  describe("by a function", function()
    it("may give a text, which is stored like a summary", function()
      add_turns(1, 5)
      say "question 6"
      local seen, about
      local function shorten(list, more)
        seen, about = list, more
        return #list .. " messages"
      end
      local rules = { messages = 12, compaction = shorten }
      local job = job_of(rules, scripted.new {})
      job.run = { id = "run_1" }
      local loaded, made = compaction.if_needed(job)
      assert.same({ upto_seq = 16, body = "16 messages", attempts = {} }, made)
      assert.same({ 16, "question 1", "answer 4" }, { #seen, seen[1].content, seen[16].content })
      assert.same({ thread.id, "helper", "run_1", 12 }, { about.thread.id, about.assistant.name, about.run.id, about.limit.messages })
      commit(made)
      add_turns(7, 10)
      say "question 11"
      compaction.if_needed(job_of(rules, scripted.new {}))
      assert.matches("16 messages", seen[1].content, 1, true)
      assert.equal("question 5", seen[2].content)
      assert.equal(5, #loaded.messages)
    end)

    it("may give messages, which are not stored and last as long as the run", function()
      add_turns(1, 5)
      say "question 6"
      local rules = { messages = 12, compaction = function(list)
        return { { role = "user", content = "so far: " .. #list }, { role = "assistant", content = "yes" } }
      end }
      local loaded, made = compaction.if_needed(job_of(rules, scripted.new {}))
      assert.is_nil(made)
      assert.same({ 7, "so far: 16", "yes", "question 5" }, {
        #loaded.messages, loaded.messages[1].content, loaded.messages[2].content, loaded.messages[3].content,
      })
      assert.is_false(history.is_over(loaded))
    end)

    it("is left out when it gives more than fits, and is an error when it gives nonsense", function()
      add_turns(1, 5)
      say "question 6"
      local loaded = compaction.if_needed(job_of({ messages = 12, compaction = function(list) return list end }, scripted.new {}))
      assert.same({ 13, 9 }, { loaded.first_seq, #loaded.messages })
      assert.same({ "history.compaction returned more than fits; older messages are left out" }, warnings)
      for text, result in pairs {
        ["not a number"] = 5, ["not an empty text"] = " ", ["message 1: unknown role 'x'"] = { { role = "x" } },
      } do
        local ok, err = pcall(compaction.if_needed, job_of({ messages = 12, compaction = function() return result end }, scripted.new {}))
        assert.is_false(ok)
        assert.matches(text, err.message, 1, true)
        assert.equal("configuration", err.kind)
      end
    end)
  end)
end)
