local export = require "perilune.agent.export"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
local perilune = require "perilune"
local runs = require "perilune.store.runs"
local store = require "perilune.store"
local threads = require "perilune.store.threads"

local ANSWER = "It is `18` degrees.\n```lua\nprint(18)"


local function always()
  return true
end


-- A thread with a run that calls a tool, fails once on the way, and ends with an answer that was cut.
local function make(db)
  local thread = assert(threads.create(db, { key = "trip", title = "A trip", metadata = { team = "red" } }))
  local run = assert(runs.begin(db, {
    thread = thread, owner = "me", assistant = "forecaster", model = "x/y", step = { kind = "model", name = "x/y" },
    inputs = { { role = "user", content = {
      { type = "text", text = "What is this?" }, { type = "image", data = ("QUJD"):rep(1000), media_type = "image/png", name = "a.png" },
      { type = "image", url = "https://example.org/b.png" },
    } } },
  }, always))
  local calls = { { id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' } }
  local seqs = assert(runs.advance(db, run, {
    finished = { {
      seq = 1, message = { role = "assistant", content = "", reasoning = "hm\nhm", tool_calls = calls },
      attempts = { { provider = "x", model = "y", outcome = "ok", started_at = 1, prompt_tokens = 1, cost_nano = 5 } },
    } },
    started = { { kind = "tool", name = "get_weather", call_id = "call_1", input = "{}" } },
  }))
  assert(runs.advance(db, run, {
    finished = { { seq = seqs[1], message = {
      role = "tool", tool_call_id = "call_1", name = "get_weather", content = '{"a":"```"}', is_error = true,
    } } },
    results = { { id = "result_1", body = "the whole result" } },
    summary = { upto_seq = 1, body = "they talked" },
  }))
  assert(runs.advance(db, run, { ended = {
    status = "cancelled", message = { role = "assistant", content = ANSWER }, message_status = "partial",
    usage = { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 }, cost_nano = 5,
  } }))
  return thread, run
end


describe("an exported thread", function()
  local db

  before_each(function()
    db = assert(store.open(":memory:"))
  end)

  after_each(function()
    db:close()
  end)

  it("has everything as JSON", function()
    local thread, run = make(db)
    local data = assert(json.decode(export.text(db, thread, "json")))
    assert.same({ "perilune.thread", 1, thread.id, "trip", "A trip", { team = "red" } },
      { data.format, data.version, data.thread.id, data.thread.key, data.thread.title, data.thread.metadata })
    local stored = assert(messages.list(db, thread))
    assert.same(stored, data.messages)
    assert.same({ 4, 3, "partial" }, { #data.messages, #data.messages[1].message.content, data.messages[4].status })
    assert.same({ "they talked", 1 }, { data.summaries[1].body, data.summaries[1].upto_seq })
    local only = data.runs[1]
    assert.same({ 1, run.id, "cancelled", 3 }, { #data.runs, only.id, only.status, only.usage.total_tokens })
    assert.same({ "model", "tool", 2 }, { only.steps[1].kind, only.steps[2].kind, #only.steps })
    assert.same({ "x", 1, 5, 1 }, { only.attempts[1].provider, only.attempts[1].step_seq, only.attempts[1].cost_nano, #only.attempts })
    assert.same({ "result_1", "the whole result" }, { only.results[1].id, only.results[1].body })
  end)

  it("reads well as Markdown", function()
    local thread, run = make(db)
    local text = export.text(db, thread, "markdown"):gsub("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z", "TIME")
    assert.equal(("# A trip\n\nThread `%s` (`trip`), messages: 4, TIME to TIME\n\n```json\n{\"team\":\"red\"}\n```\n\n"):format(thread.id)
      .. "## user\n\n<sub>1, TIME</sub>\n\nWhat is this?\n\n[image: a.png, image/png, 2.9 KB]\n\n![image](<https://example.org/b.png>)\n\n"
      .. "## assistant\n\n<sub>2, TIME</sub>\n\n> *thinking:* hm\n> hm\n\ncalls `get_weather` (`call_1`):\n\n"
      .. "```json\n{\"city\":\"Paris\"}\n```\n\n"
      .. "## tool `get_weather`, result of `call_1` (error)\n\n<sub>3, TIME</sub>\n\n````json\n{\"a\":\"```\"}\n````\n\n"
      .. "## assistant (partial)\n\n<sub>4, TIME</sub>\n\n" .. ANSWER .. "\n```\n\n"
      .. ("*run `%s` · cancelled · forecaster · x/y · 0.0 s · 3 tokens · $0.000000*\n\n"):format(run.id),
      (text:gsub("· %d+%.%d s ·", "· 0.0 s ·")))
  end)

  it("may be empty, or longer than a page", function()
    local thread = assert(threads.create(db))
    assert.same({ {}, {}, {} }, (function(data) return { data.messages, data.runs, data.summaries } end)(
      assert(json.decode(export.text(db, thread, "json")))))
    assert.matches("messages: 0", export.text(db, thread, "markdown"), 1, true)
    for position = 1, 1100 do
      assert(messages.append(db, thread, { role = "user", content = "m" .. position }))
    end
    local run
    for _ = 1, 600 do
      run = assert(runs.begin(db, { thread = thread, owner = "me" }, always))
      assert(runs.advance(db, run, { ended = { status = "completed" } }))
    end
    local data = assert(json.decode(export.text(db, thread, "json")))
    assert.same({ 1100, "m1100", 600, run.id }, { #data.messages, data.messages[1100].message.content, #data.runs, data.runs[600].id })
  end)

  it("is written in pieces, and only in formats that exist", function()
    local thread = make(db)
    local pieces = {}
    export.write(db, thread.id, "json", function(piece) pieces[#pieces + 1] = piece end)
    assert.equal(export.text(db, thread, "json"), table.concat(pieces))
    assert.is_true(#pieces > 6)
    local _, err = perilune.try(export.text, db, thread, "pdf")
    assert.matches("json or markdown, not as 'pdf'", err.message, 1, true)
    _, err = perilune.try(export.text, db, "thread_x", "json")
    assert.equal("not_found", err.kind)
  end)
end)
