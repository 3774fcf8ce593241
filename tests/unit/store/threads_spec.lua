local errors = require "perilune.std.errors"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local runs = require "perilune.store.runs"
local search = require "perilune.store.search"
local store = require "perilune.store"
local threads = require "perilune.store.threads"


describe("perilune.store.threads", function()
  local db

  before_each(function()
    db = assert(store.open(":memory:"))
  end)

  after_each(function()
    assert.same({}, db:check())
    db:close()
  end)

  local function add(thread, ...)
    for _, text in ipairs { ... } do
      assert(messages.append(db, thread, { role = "user", content = text }))
    end
  end

  local function texts(thread)
    local list = {}
    for position, stored in ipairs(assert(messages.list(db, thread))) do
      list[position] = stored.message.content
    end
    return list
  end

  describe("create", function()
    it("makes a thread with key, title and metadata, or with nothing", function()
      local thread = assert(threads.create(db, { key = "k", title = "A title", metadata = { a = { 1, 2 } } }))
      assert.same({ "k", "A title", { a = { 1, 2 } } }, { thread.key, thread.title, thread.metadata })
      local other = assert(threads.create(db))
      assert.is_nil(other.key)
      assert.not_equal(thread.id, other.id)
    end)

    it("refuses a key that is taken", function()
      assert(threads.create(db, { key = "k" }))
      local thread, err = threads.create(db, { key = "k" })
      assert.is_nil(thread)
      assert.is_true(errors.is(err, "conflict"))
      assert.same({ "key", "there is a thread with the key 'k' already" }, { err.code, err.message })
      assert.equal(1, #threads.list(db))
    end)
  end)

  describe("update", function()
    it("changes what is given, and removes what is null", function()
      local thread = assert(threads.create(db, { title = "old", metadata = { a = 1 } }))
      assert.equal("new", assert(threads.update(db, thread, { title = "new" })).title)
      local changed = assert(threads.update(db, thread, { metadata = { b = 2 } }))
      assert.same({ "new", { b = 2 } }, { changed.title, changed.metadata })
      changed = assert(threads.update(db, thread.id, { title = json.null, metadata = json.null }))
      assert.is_nil(changed.title)
      assert.is_nil(changed.metadata)
    end)

    it("of a thread that does not exist says so", function()
      local _, err = threads.update(db, "thread_x", { title = "x" })
      assert.is_true(errors.is(err, "not_found"))
    end)
  end)

  describe("fork", function()
    it("copies the messages up to a number, and each thread goes on for itself", function()
      local source = assert(threads.create(db, { key = "source", title = "T", metadata = { a = 1 } }))
      add(source, "one", "two", "three")
      local fork = assert(threads.fork(db, source, 2, { key = "fork" }))
      assert.same({ "fork", "T", { a = 1 }, 3 }, { fork.key, fork.title, fork.metadata, fork.next_seq })
      add(fork, "other")
      add(source, "four")
      assert.same({ "one", "two", "other" }, texts(fork))
      assert.same({ "one", "two", "three", "four" }, texts(source))
    end)

    it("copies all of them without a number, and none with 0", function()
      local source = assert(threads.create(db))
      add(source, "one", "two")
      assert.same({ "one", "two" }, texts(assert(threads.fork(db, source))))
      assert.same({}, texts(assert(threads.fork(db, source.id, 0, { title = "empty" }))))
    end)

    it("leaves the runs where they are, and survives its source", function()
      local source = assert(threads.create(db))
      local input = { role = "user", content = "hi" }
      local run = assert(runs.begin(db, { thread = source, owner = "me", inputs = { input } }, function() return true end))
      assert(runs.advance(db, run, { ended = { status = "completed", message = { role = "assistant", content = "ho" } } }))
      local fork = assert(threads.fork(db, source))
      assert.same({}, assert(runs.list(db, { thread = fork })))
      assert.is_nil(assert(messages.list(db, fork))[1].run_id)
      assert(threads.delete(db, source.id))
      assert.same({ "hi", "ho" }, texts(fork))
    end)

    it("copies the summaries of the messages that it has", function()
      local source = assert(threads.create(db))
      add(source, "one", "two", "three")
      for _, upto in ipairs { 1, 3 } do
        assert(db:write { { "summary_add", { thread_id = source.id, upto_seq = upto, body = "s" .. upto, now = 5 } } })
      end
      local fork = assert(threads.fork(db, source, 2))
      local list = assert(db:read("thread_summaries", { thread_id = fork.id }))
      assert.same({ { upto_seq = 1, body = "s1", created_at = 5 } }, list)
    end)

    it("refuses a message, a thread or a key that it cannot have", function()
      local source = assert(threads.create(db, { key = "k" }))
      add(source, "one")
      for expected, call in pairs {
        ["there is no message 2"] = { source, 2 }, ["there is no message -1"] = { source, -1 },
        ["there is no thread thread_x"] = { "thread_x" },
        ["the key 'k' already"] = { source, 1, { key = "k" } },
      } do
        local fork, err = threads.fork(db, table.unpack(call, 1, 3))
        assert.is_nil(fork)
        assert.matches(expected, err.message, 1, true)
      end
      assert.equal(1, #threads.list(db))
    end)
  end)

  describe("search", function()
    local function found(text, options)
      local list = {}
      for position, thread in ipairs(assert(search.threads(db, text, options))) do
        list[position] = ("%s: %s%s %s"):format(thread.key, thread.match.field, thread.match.seq or "", thread.match.text)
      end
      return list
    end

    it("looks into keys, titles, metadata and messages, the newest thread first", function()
      threads.create(db, { key = "moon" })
      threads.create(db, { key = "b", title = "The moon" })
      threads.create(db, { key = "c", metadata = { about = { "a moon" } } })
      add(assert(threads.create(db, { key = "d" })), "hello", "The MOON is far")
      threads.create(db, { key = "e", title = "sun" })
      assert.same({ "d: message2 The MOON is far", "c: metadata a moon", "b: title The moon", "moon: key moon" }, found "moon")
      assert.same({ "d: message2 The MOON is far" }, found "oon is")
      assert.same({}, found "mars")
    end)

    it("means %, _ and \\ literally, and quotes and line feeds too", function()
      local thread = assert(threads.create(db, { key = "100%_sure" }))
      add(thread, 'she said "stop\\go"\nand left')
      threads.create(db, { key = "100 percent sure" })
      assert.same({ "100%_sure: key 100%_sure" }, found "0%_s")
      assert.same({ '100%_sure: message1 she said "stop\\go" and left' }, found '"stop\\go"\nand')
      assert.same({}, found "%%")
      assert.same({}, found "1_0")
    end)

    it("does not find what nobody wrote: names of fields, roles, image data", function()
      local thread = assert(threads.create(db, { key = "k", metadata = { field = "x" } }))
      local calls = { { id = "call_7", name = "go", arguments = "{}" } }
      assert(messages.append(db, thread, { role = "assistant", content = "yes", tool_calls = calls }))
      assert(messages.append(db, thread, { role = "user", content = {
        { type = "text", text = "Grüße" }, { type = "image", data = "QUJD", media_type = "image/png", name = "cat.png" },
      } }))
      for _, text in ipairs { "role", "content", "tool_calls", "call_7", "QUJD", "field", "assistant" } do
        assert.same({}, found(text), text)
      end
      assert.same({ "k: message2 Grüße" }, found "rüß")
      assert.same({ "k: message2 cat.png" }, found "CAT")
      assert.same({ "k: message1 go" }, found "go")
    end)

    it("looks on behind rows that only hold a name of a field, message by message and page by page", function()
      local thread = assert(threads.create(db, { key = "long" }))
      for _ = 1, 150 do
        add(thread, "x")
      end
      add(thread, "the content")
      for _ = 1, 5 do
        add(assert(threads.create(db)), "x")
      end
      assert.same({ "long: message151 the content" }, found("content", { limit = 1 }))
    end)

    it("does not find what was deleted", function()
      local thread = assert(threads.create(db, { key = "k" }))
      add(thread, "a red moon", "a blue moon")
      assert(messages.append(db, thread, { role = "assistant", content = "a green moon", reasoning = "cheese" }))
      assert(notes.delete_part(db, thread, 1, notes.WHOLE))
      assert(notes.delete_part(db, thread, 3, "content"))
      assert.same({ "k: message2 a blue moon" }, found "moon")
      assert.same({ "k: message3 cheese" }, found "cheese")
      assert.same({}, found "red")
      assert.same({}, found "green")
    end)

    it("gives pages", function()
      for position = 1, 5 do
        threads.create(db, { key = "page " .. position })
      end
      local first = assert(search.threads(db, "page", { limit = 2 }))
      assert.same({ "page 5", "page 4" }, { first[1].key, first[2].key })
      assert.same({ "page 3: key page 3", "page 2: key page 2", "page 1: key page 1" }, found("page", { limit = 9, after = first[2].id }))
    end)

    it("shows what surrounds the text, cut between characters", function()
      local thread = assert(threads.create(db, { key = "k" }))
      add(thread, ("ä"):rep(200) .. "needle" .. ("ö"):rep(200))
      local text = assert(search.threads(db, "needle"))[1].match.text
      assert.is_truthy(utf8.len(text))
      assert.is_true(#text <= 130)
      assert.matches("^….*needle.*…$", text)
    end)
  end)
end)
