local context = require "perilune.agent.context"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local rows = require "perilune.store.rows"
local runs = require "perilune.store.runs"
local store = require "perilune.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"


describe("notes", function()
  local db, thread

  before_each(function()
    db = assert(store.open(":memory:"))
    thread = assert(threads.open(db, "t"))
    for _, message in ipairs {
      { role = "user", content = "one" },
      {
        role = "assistant", content = "two", reasoning = "hm", provider_items = { provider = "p", model = "m", items = {} },
        tool_calls = { { id = "a", name = "f", arguments = "{}" }, { id = "b", name = "f", arguments = "{}" } },
      },
      { role = "tool", tool_call_id = "a", name = "f", content = "A" },
      { role = "tool", tool_call_id = "b", name = "f", content = "B" },
      { role = "user", content = "three" },
    } do
      assert(messages.append(db, thread, message))
    end
  end)

  after_each(function()
    db:close()
  end)

  local function seqs(options)
    local list = {}
    for position, stored in ipairs(assert(messages.list(db, thread, options))) do
      list[position] = stored.seq
    end
    return list
  end

  local function begin()
    return assert(runs.begin(db, { thread = thread, assistant = "a", model = "m", owner = "me" }, function() return true end))
  end

  it("give a message other metadata", function()
    assert.same({ seq = 1 }, notes.get(db, thread, 1))
    assert(notes.set_metadata(db, thread, 1, { a = "1" }))
    assert(notes.set_metadata(db, thread, 1, { b = "2" }))
    assert.same({ seq = 1, metadata = { b = "2" } }, notes.get(db, thread, 1))
    assert.same({ b = "2" }, messages.list(db, thread)[1].metadata)
  end)

  it("of messages that do not exist are errors", function()
    assert.equal("not_found", select(2, notes.get(db, thread, 9)).kind)
    assert.equal("not_found", select(2, notes.set_metadata(db, thread, 9, {})).kind)
    assert.equal("not_found", select(2, notes.delete_part(db, "thread_none", 1, "message")).kind)
    assert.equal("not_found", select(2, notes.set_run(db, "run_none", { deleted = true })).kind)
  end)

  it("come with a message that is appended", function()
    local seq = assert(messages.append(db, thread, { role = "user", content = "four" }, { metadata = { n = "4" } }))
    assert.same({ seq = seq, metadata = { n = "4" } }, notes.get(db, thread, seq))
  end)

  it("hide a deleted message in both directions, and a page is still full", function()
    assert(notes.delete_part(db, thread, 2, "message"))
    assert.same({ 1, 3, 4, 5 }, seqs())
    assert.same({ 5, 4, 3 }, seqs { order = "desc", limit = 3 })
    assert.same({ 3, 1 }, seqs { order = "desc", after = 4 })
    assert.same({ 1, 2, 3, 4, 5 }, seqs { is_whole = true })
    assert(notes.delete_part(db, thread, 2, "message"))
    assert.same({ "message" }, notes.get(db, thread, 2).deleted)
  end)

  it("take parts out of a message, and the provider's own form of it", function()
    assert(notes.delete_part(db, thread, 2, "call:a"))
    assert(notes.delete_part(db, thread, 2, "reasoning"))
    assert(notes.delete_part(db, thread, 2, "call:a"))
    local stored = messages.list(db, thread)[2]
    assert.same({ role = "assistant", content = "two", tool_calls = { { id = "b", name = "f", arguments = "{}" } } }, stored.message)
    assert.same({ "call:a", "reasoning" }, stored.deleted)
    local kept = messages.list(db, thread, { is_whole = true })[2].message
    assert.same({ "hm", 2 }, { kept.reasoning, #kept.tool_calls })
  end)

  it("keep what was deleted from a model, and leave no orphans", function()
    assert(notes.delete_part(db, thread, 2, "call:a"))
    assert(notes.delete_part(db, thread, 5, "message"))
    local sent = {}
    for _, stored in ipairs(messages.list(db, thread)) do
      sent[#sent + 1] = stored.message
    end
    local roles = {}
    for position, message in ipairs(context.build(sent)) do
      roles[position] = message.role .. ":" .. (message.tool_call_id or message.content or "")
    end
    assert.same({ "user:one", "assistant:two", "tool:b" }, roles)
  end)

  it("lose nothing when several delete parts of one message at the same time", function()
    local group <close> = task.group()
    for _, part in ipairs { "content", "reasoning", "call:a", "call:b" } do
      group:spawn(function()
        assert(notes.delete_part(db, thread, 2, part))
      end)
    end
    group:wait()
    local deleted = notes.get(db, thread, 2).deleted
    table.sort(deleted)
    assert.same({ "call:a", "call:b", "content", "reasoning" }, deleted)
  end)

  it("drop the summaries that tell of a deleted message", function()
    for _, upto_seq in ipairs { 1, 4 } do
      assert(db:write { { "summary_add", { thread_id = thread.id, upto_seq = upto_seq, body = "so far", now = rows.now() } } })
    end
    assert(notes.delete_part(db, thread, 3, "message"))
    assert.equal(1, db:read("summary_latest", { thread_id = thread.id })[1].upto_seq)
  end)

  it("go along when a thread is forked", function()
    assert(notes.delete_part(db, thread, 1, "message"))
    local fork = assert(threads.fork(db, thread))
    assert.equal(2, messages.list(db, fork)[1].seq)
  end)

  it("give a run other metadata, and hide it", function()
    local run = begin()
    assert.same({}, notes.run(db, run.id))
    assert(notes.set_run(db, run.id, { metadata = { a = "1" } }))
    assert(notes.set_run(db, run.id, { deleted = true }))
    local note = notes.run(db, run.id)
    assert.same({ a = "1" }, note.metadata)
    assert.is_number(note.deleted_at)
    assert(notes.set_run(db, run.id, { metadata = { b = "2" } }))
    assert.same({ metadata = { b = "2" }, deleted_at = note.deleted_at }, notes.run(db, run.id))
  end)

  it("are not needed to refuse a message while a run is active", function()
    begin()
    local _, err = messages.append(db, thread, { role = "user", content = "now?" }, { is_idle = true })
    assert.same({ "conflict", "active_run" }, { err.kind, err.code })
    local _, missing = messages.append(db, "thread_none", { role = "user", content = "now?" }, { is_idle = true })
    assert.equal("not_found", missing.kind)
  end)
end)
