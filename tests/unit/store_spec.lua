local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local events = require "perilune.store.events"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local store = require "perilune.store"
local sys = require "perilune.sys.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"
local usage = require "perilune.store.usage"

local ME = "boot:1:1"
local OTHER = "boot:2:2"

local function always()
  return true
end

local function never()
  return false
end

local function thread_call(id, key)
  return { "thread_create", { id = id, key = key, now = 1 } }
end

local function user(text)
  return { role = "user", content = text }
end

local function assistant(text)
  return { role = "assistant", content = text }
end

-- The three ways to move a run on, alone.
local function step_start(db, run, list)
  return runs.advance(db, run, { started = list })
end


local function step_finish(db, run, seq, ending)
  ending.seq = seq
  return runs.advance(db, run, { finished = { ending } })
end


local function finish(db, run, status, ending)
  ending = ending or {}
  ending.status = status
  return runs.advance(db, run, { ended = ending })
end


local function raises(pattern, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(err.message or err), 1, true)
end

-- Runs `f` in a task that is cancelled in its first wait.
local function cancelled_in(f)
  local handle = task.spawn(f)
  task.yield()
  handle:cancel()
  return pcall(handle.wait, handle)
end

describe("perilune.sys.store", function()
  local db

  before_each(function()
    db = assert(sys.open { path = ":memory:" })
  end)

  after_each(function()
    db:close()
  end)

  it("returns rows by column name, without the columns that are NULL", function()
    local results = assert(db:write { thread_call("a", "k"), { "thread_by_id", { id = "a" } } })
    assert.equal(1, results[1].changes)
    assert.same({ { id = "a", key = "k", next_seq = 1, created_at = 1, updated_at = 1 }, changes = 1 }, results[2])
    assert.equal("integer", math.type(results[2][1].next_seq))
    assert.same({}, db:read("thread_by_id", { id = "b" }))
  end)

  it("takes every kind of value, and json.null and a missing one for NULL", function()
    local attempt = { n = 1, provider = "p\0q", model = "é", outcome = "ok", started_at = 1 << 62, estimated = true, price = json.null }
    assert(db:write { { "attempt_add", attempt } })
    local sum = assert(db:read("usage_by_model", { since = 0 }))[1]
    assert.equal("p\0q", sum.provider)
    assert.equal("é", sum.model)
    assert.equal(1, sum.unpriced)
    assert.is_nil(sum.cost_nano)
    assert.same({}, db:read("usage_by_model", { since = 1e30 }))
    assert.equal(1, #db:read("usage_by_model", { since = 0.5 }))
  end)

  it("commits all of a batch or nothing", function()
    local results, err = db:write { thread_call("a"), thread_call("b"), thread_call("a") }
    assert.is_nil(results)
    assert.is_true(errors.is(err, "conflict"))
    assert.equal("constraint", err.code)
    assert.same({ statement = "thread_create", call = 3 }, err.details)
    assert.same({}, db:read("thread_list", { limit = 10 }))
  end)

  it("fails a batch that changes another number of rows than expected", function()
    local _, err = db:write { thread_call("a"), { "thread_delete", { id = "b" }, expect = 1 } }
    assert.is_true(errors.is(err, "conflict"))
    assert.equal("expectation", err.code)
    assert.equal("thread_delete", err.details.statement)
    assert.matches("thread_delete: expected 1 rows, got 0", err.message, 1, true)
    assert.same({}, db:read("thread_list", { limit = 10 }))
    assert.truthy(db:write { { "thread_by_id", { id = "b" }, expect = 0 } })
  end)

  it("raises for what is misspelt or misplaced", function()
    raises("unknown statement 'thread_crate', did you mean 'thread_create'?", db.read, db, "thread_crate")
    raises("thread_by_id has no parameter 'ido'; it takes: id", db.read, db, "thread_by_id", { ido = "a" })
    raises("thread_by_id: parameters go by name", db.read, db, "thread_by_id", { "a" })
    raises("parameter 'id' is a table", db.read, db, "thread_by_id", { id = {} })
    raises("parameters are a table, not a string", db.read, db, "thread_by_id", "a")
    raises("unknown field 'expects', did you mean 'expect'?", db.write, db, { { "thread_delete", { id = "a" }, expects = 1 } })
    raises("expect is a number of rows", db.write, db, { { "thread_delete", { id = "a" }, expect = "1" } })
    raises("the batch is empty", db.write, db, {})
    raises("a batch is a list of", db.write, db, { "thread_delete" })
    raises("option 'path' is missing", sys.open, {})
    raises("did you mean 'path'?", sys.open, { pat = "a" })
    raises("a path is a string that is not empty", sys.open, { path = "" })
    local rows, err = db:read("thread_delete", { id = "a" })
    assert.is_nil(rows)
    assert.matches("it belongs into a write", err.message, 1, true)
  end)

  it("says what it is", function()
    assert(db:write { thread_call("a") })
    local info = assert(db:info())
    assert.equal(":memory:", info.path)
    assert.is_true(info.schema_version >= 5)
    assert.equal(1, info.batches)
    assert.is_false(info.read_only)
    assert.matches("^3%.", info.sqlite_version)
    assert.equal("perilune.store (:memory:)", tostring(db))
    assert.same({}, db:check())
  end)

  it("closes once and for all", function()
    assert.is_true(db:close())
    assert.is_true(db:close())
    assert.equal("perilune.store (closed)", tostring(db))
    raises("the database is closed", db.read, db, "thread_list")
  end)

  it("closes with its scope and with the collector", function()
    do
      local inner <close> = assert(sys.open { path = ":memory:" })
      assert(inner:write { thread_call("a") })
    end
    assert(sys.open { path = ":memory:" })
    collectgarbage()
    collectgarbage()
  end)

  it("writes what tasks hand in at the same time, and what a cancelled one had handed in", function()
    local group <close> = task.group()
    for i = 1, 100 do
      group:spawn(function()
        assert(db:write { thread_call("t" .. i) })
      end)
    end
    local ok, err = cancelled_in(function()
      db:write { thread_call("cancelled") }
    end)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "cancelled"))
    group:wait()
    assert.equal(1, #db:read("thread_by_id", { id = "cancelled" }))
    assert.equal(100, #db:read("thread_list", { limit = 200, after = "cancelled" }))
  end)

  it("closes although the task that opens, or closes, is cancelled", function()
    local folder = fs.temp_dir("store")
    local path = folder .. "/a.db"
    for _, f in ipairs {
      function()
        local other = sys.open { path = path }
        other:close()
      end,
      function()
        local other <close> = sys.open { path = path } -- luacheck: ignore 211
        task.sleep(100)
      end,
    } do
      local ok, err = cancelled_in(f)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "cancelled"))
    end
    collectgarbage()
    local again = assert(sys.open { path = path })
    assert.equal("wal", again:info().journal_mode)
    again:close()
    assert.same({ "a.db" }, fs.list(folder)) -- nobody has it open any more
    fs.remove(folder, { recursive = true })
  end)
end)

describe("perilune.store", function()
  local db, thread

  before_each(function()
    db = assert(store.open(":memory:"))
    thread = assert(threads.open(db, "trip"))
  end)

  after_each(function()
    assert.same({}, db:check())
    db:close()
  end)

  local function begin(options)
    options = options or {}
    return runs.begin(db, {
      thread = thread, inputs = { options.input }, assistant = "forecaster", model = "offline/demo", owner = options.owner or ME,
      step = options.step, replaces = options.replaces,
    }, options.is_alive or always)
  end

  describe("open", function()
    it("understands URLs", function()
      local folder = fs.temp_dir("store")
      local path = folder .. "/a.db"
      for _, url in ipairs { path, "sqlite:" .. path, "sqlite://" .. path } do
        local other <close> = assert(store.open(url))
        assert.equal(path, other:info().path)
      end
      fs.remove(folder, { recursive = true })
      local _, err = store.open("postgres://host/db")
      assert.is_true(errors.is(err, "configuration"))
      _, err = store.open("sqlite:")
      assert.is_true(errors.is(err, "configuration"))
    end)
  end)

  describe("threads", function()
    it("opens a key twice as the same thread", function()
      assert.matches("^thread_", thread.id)
      assert.equal(thread.id, threads.open(db, "trip").id)
      assert.not_equal(thread.id, threads.open(db, "other").id)
      assert.near(clock.wall(), thread.created_at, 5)
    end)

    it("opens a key once, however many ask at the same time", function()
      local group <close> = task.group()
      local ids = {}
      for i = 1, 20 do
        group:spawn(function()
          ids[i] = assert(threads.open(db, "race")).id
        end)
      end
      group:wait()
      for i = 2, 20 do
        assert.equal(ids[1], ids[i])
      end
      assert.equal(2, #threads.list(db))
    end)

    it("makes threads without a key, with a title and metadata", function()
      local one = assert(threads.open(db, nil, { title = "T", metadata = { tags = json.array { "a" } } }))
      local two = assert(threads.open(db))
      assert.not_equal(one.id, two.id)
      local found = assert(threads.get(db, one.id))
      assert.equal("T", found.title)
      assert.same({ "a" }, found.metadata.tags)
      assert.equal(thread.id, threads.get(db, "trip").id)
      local _, err = threads.get(db, "nothing")
      assert.is_true(errors.is(err, "not_found"))
    end)

    it("lists the newest first, in pages", function()
      local ids = { thread.id }
      for i = 2, 5 do
        ids[i] = threads.open(db).id
      end
      local first = assert(threads.list(db, { limit = 3 }))
      assert.same({ ids[5], ids[4], ids[3] }, { first[1].id, first[2].id, first[3].id })
      local rest = assert(threads.list(db, { limit = 3, after = first[3].id }))
      assert.same({ ids[2], ids[1] }, { rest[1].id, rest[2].id })
    end)

    it("knows which one was used last", function()
      assert.equal(thread.id, threads.latest(db).id)
      local newer = assert(threads.open(db, "newer"))
      assert.equal(newer.id, threads.latest(db).id)
      assert(finish(db, assert(begin()), "completed"))
      assert.equal(thread.id, threads.latest(db).id)
      assert(threads.delete(db, thread.id))
      assert(threads.delete(db, newer.id))
      local _, err = threads.latest(db)
      assert.is_true(errors.is(err, "not_found"))
    end)

    it("deletes a thread with all it holds", function()
      local run = assert(begin { input = user("hi") })
      assert(step_start(db, run, { { kind = "model" } }))
      assert(step_finish(db, run, 1, {
        message = assistant("ho"), attempts = { { provider = "p", model = "m", outcome = "ok", started_at = 1 } },
      }))
      assert(finish(db, run, "completed"))
      assert.is_true(threads.delete(db, thread.id))
      assert.same({}, runs.list(db))
      assert.same({}, steps.list(db, run))
      assert.same({}, usage.attempts(db, run))
      assert.same({}, messages.list(db, thread))
      local _, err = threads.delete(db, thread.id)
      assert.is_true(errors.is(err, "not_found"))
    end)
  end)

  describe("messages", function()
    it("numbers them from 1 and gives them back as they were", function()
      local said = {
        role = "assistant", content = json.array {}, tool_calls = { { id = "call_1", name = "f", arguments = '{"a": 1.0}' } },
        provider_items = { provider = "p", items = { { big = 9007199254740993, ratio = 1.0 } } },
      }
      assert.equal(1, messages.append(db, thread, user("héllo\0")))
      assert.equal(2, messages.append(db, thread.id, said, { status = "partial" }))
      local list = assert(messages.list(db, thread))
      assert.equal("héllo\0", list[1].message.content)
      assert.equal("complete", list[1].status)
      assert.equal("user", list[1].role)
      assert.same(said, list[2].message)
      assert.equal("float", math.type(list[2].message.provider_items.items[1].ratio))
      assert.is_true(json.is_array(list[2].message.content))
      assert.equal("partial", list[2].status)
      assert.is_nil(list[2].body)
    end)

    it("lists pages in both orders, and windows", function()
      local other = assert(threads.open(db, "neighbour"))
      for i = 1, 7 do
        messages.append(db, thread, user("m" .. i))
        messages.append(db, other, user("other"))
      end
      local function seqs(list)
        local out = {}
        for i, row in ipairs(assert(list)) do
          out[i] = row.seq
        end
        return out
      end
      assert.same({ 1, 2, 3 }, seqs(messages.list(db, thread, { limit = 3 })))
      assert.same({ 4, 5 }, seqs(messages.list(db, thread, { limit = 2, after = 3 })))
      assert.same({ 7, 6 }, seqs(messages.list(db, thread, { limit = 2, order = "desc" })))
      assert.same({ 3, 2, 1 }, seqs(messages.list(db, thread, { order = "desc", after = 4 })))
      assert.same({ 5, 6, 7 }, seqs(messages.window(db, thread, 3)))
      assert.same({ 1, 2, 3, 4, 5, 6, 7 }, seqs(messages.window(db, thread, 100)))
      assert.same({}, seqs(messages.list(db, "thread_none")))
    end)

    it("refuses a thread that does not exist, a role that does not exist, and what is not JSON", function()
      local _, err = messages.append(db, "thread_none", user("x"))
      assert.is_true(errors.is(err, "not_found"))
      _, err = messages.append(db, thread, { role = "robot", content = "x" })
      assert.equal("constraint", err.code)
      _, err = messages.append(db, thread, user(print))
      assert.is_true(errors.is(err))
      assert.same({}, messages.list(db, thread))
    end)
  end)

  describe("runs", function()
    it("begin with the user's message in one batch", function()
      local before = db:info().batches
      local run = assert(begin { input = user("hi") })
      assert.equal(before + 1, db:info().batches)
      assert.equal(1, run.seq)
      assert.equal("running", run.status)
      local row = assert(runs.get(db, run.id))
      assert.equal(thread.id, row.thread_id)
      assert.equal("forecaster", row.assistant)
      assert.equal(ME, row.lease_owner)
      assert.equal(run.id, messages.list(db, thread)[1].run_id)
      local _, err = runs.get(db, "run_none")
      assert.is_true(errors.is(err, "not_found"))
    end)

    it("begin once a thread while the owner lives", function()
      local first = assert(begin { input = user("one"), owner = OTHER })
      local run, err = begin { input = user("two") }
      assert.is_nil(run)
      assert.is_true(errors.is(err, "conflict"))
      assert.equal("active_run", err.code)
      assert.equal(first.id, err.details.run_id)
      assert.equal(1, #messages.list(db, thread))
      assert(finish(db, first, "completed"))
      assert.equal(2, begin { input = user("two") }.seq)
    end)

    it("close the run of an owner that is gone, and give up its steps", function()
      local dead = assert(begin { input = user("one"), owner = OTHER })
      assert(step_start(db, dead, { { kind = "model" }, { kind = "tool", name = "pay", call_id = "c1" } }))
      assert(step_finish(db, dead, 1, { message = assistant("calling") }))
      local _, problem = begin { input = user("two"), is_alive = never }
      assert.equal("interrupted_run", problem.code)
      local before = db:info().batches
      local run = assert(begin { input = user("two"), is_alive = never, replaces = problem.details.run })
      assert.equal(before + 1, db:info().batches)
      assert.equal(3, run.seq)
      local row = assert(runs.get(db, dead.id))
      assert.equal("failed", row.status)
      assert.equal("interrupted", row.error.code)
      local journal = assert(steps.list(db, dead))
      assert.same({ "finished", "unknown" }, { journal[1].status, journal[2].status })
      -- The dead process was not so dead: it may not write any more.
      local _, err = step_finish(db, dead, 2, { result = "late" })
      assert.is_true(errors.is(err, "conflict"))
      assert.equal("run_lost", err.code)
      assert.equal(3, #messages.list(db, thread))
    end)

    it("begin without a message, and not on a thread that does not exist", function()
      local run = assert(begin())
      assert.is_nil(run.seq)
      local _, err = runs.begin(db, { thread = "thread_none", owner = ME }, always)
      assert.is_true(errors.is(err, "not_found"))
    end)

    it("journal steps before and after their effect", function()
      local run = assert(begin { input = user("hi") })
      assert.same({ 1, 2 }, step_start(db, run, {
        { kind = "model", name = "m" }, { kind = "tool", name = "get", call_id = "c1", idempotent = true, input = { a = 1 } },
      }))
      assert.same({ 3 }, step_start(db, run, { { kind = "tool", name = "put", input = "{}" } }))
      assert(step_finish(db, run, 1, {
        message = assistant("x"), attempts = {
          { provider = "p", model = "m", outcome = "rate_limit", status = 429, started_at = 1.5, error = "slow down" },
          { provider = "q", model = "n", outcome = "ok", started_at = 2, prompt_tokens = 5, cost_nano = 0, price = { input = 1 } },
        },
      }))
      assert.equal(2, messages.window(db, thread, 1)[1].seq)
      assert.same({}, step_finish(db, run, 2, { result = { is_error = false } }))
      local list = assert(steps.list(db, run.id))
      assert.same({ "finished", "finished", "started" }, { list[1].status, list[2].status, list[3].status })
      assert.is_true(list[2].idempotent)
      assert.same({ a = 1 }, list[2].input)
      assert.same({ is_error = false }, list[2].result)
      assert.equal("{}", list[3].input)
      local attempts = assert(usage.attempts(db, run))
      assert.same({ 1, 1, 429, "slow down", 1.5 }, {
        attempts[1].step_seq, attempts[1].n, attempts[1].status, attempts[1].error, attempts[1].started_at,
      })
      assert.equal(2, attempts[2].n)
      assert.is_nil(attempts[1].cost_nano)
      assert.equal(0, attempts[2].cost_nano)
    end)

    it("move on in one batch: a step ends, others begin, or the run ends with it", function()
      local run = assert(begin { input = user("hi"), step = { kind = "model" } })
      assert.same({ 2, 3 }, runs.advance(db, run, {
        finished = { { seq = 1, message = assistant("calling") } }, started = { { kind = "tool" }, { kind = "tool" } },
      }))
      assert.same({}, runs.advance(db, run, {
        finished = { { seq = 2, message = assistant("a") }, { seq = 3, message = assistant("b") } }, ended = { status = "completed" },
      }))
      local list = messages.window(db, thread, 3)
      assert.same({ "calling", "a", "b" }, { list[1].message.content, list[2].message.content, list[3].message.content })
      assert.equal("completed", run.status)
      assert.equal("completed", runs.get(db, run.id).status)
    end)

    it("finish once, with the last message, usage and cost", function()
      local run = assert(begin { input = user("hi") })
      assert(finish(db, run, "completed", {
        message = assistant("bye"), usage = { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 }, cost_nano = 12345,
        attempts = { { provider = "p", model = "m", outcome = "ok", started_at = 1 } },
      }))
      assert.equal(2, messages.window(db, thread, 1)[1].seq)
      local row = assert(runs.get(db, run.id))
      assert.equal("completed", row.status)
      assert.equal(3, row.usage.total_tokens)
      assert.equal(12345, row.cost_nano)
      assert.near(clock.wall(), row.finished_at, 5)
      local _, err = finish(db, run, "failed")
      assert.equal("run_lost", err.code)
      _, err = step_start(db, run, { { kind = "model" } })
      assert.equal("run_lost", err.code)
      raises("is not the status of a run that has ended", finish, db, run, "running")
    end)

    it("keep what is useful of an error, and the steps that were open as unknown", function()
      local run = assert(begin { input = user("hi") })
      assert(step_start(db, run, { { kind = "tool", name = "t" } }))
      assert(finish(db, run, "failed", {
        error = errors.new { kind = "rate_limit", message = "slow \xff", status = 429, retryable = true, cause = print },
        message = assistant("half an ans"), message_status = "partial",
      }))
      assert.same({ kind = "rate_limit", message = "slow \u{FFFD}", status = 429, retryable = true }, runs.get(db, run.id).error)
      assert.equal("unknown", steps.list(db, run)[1].status)
      assert.equal("partial", messages.window(db, thread, 1)[1].status)
    end)

    it("list the newest first, of all threads or of one", function()
      local other = assert(threads.open(db, "other"))
      local ids = {}
      for i = 1, 4 do
        local run = assert(runs.begin(db, { thread = i == 2 and other or thread, owner = ME }, always))
        assert(finish(db, run, "completed"))
        ids[i] = run.id
      end
      local function listed(options)
        local out = {}
        for i, run in ipairs(assert(runs.list(db, options))) do
          out[i] = run.id
        end
        return out
      end
      assert.same({ ids[4], ids[3], ids[2], ids[1] }, listed())
      assert.same({ ids[2], ids[1] }, listed { after = ids[3] })
      assert.same({ ids[4], ids[3], ids[1] }, listed { thread = thread })
      assert.same({ ids[1] }, listed { thread = thread, after = ids[3], limit = 5 })
    end)
  end)

  it("never changes what has happened", function()
    local run = assert(begin { input = user("hi") })
    assert(step_start(db, run, { { kind = "model" } }))
    assert(step_finish(db, run, 1, { message = assistant("x") }))
    local _, err = step_finish(db, run, 1, { result = "again" })
    assert.equal("run_lost", err.code)
    assert.equal("x", messages.window(db, thread, 1)[1].message.content)
  end)

  describe("usage", function()
    it("adds up by model, provider and day, and counts what has no price", function()
      local run = assert(begin())
      local day = 86400
      local function attempt(provider, model, at, tokens, cost)
        return {
          provider = provider, model = model, outcome = "ok", started_at = at, prompt_tokens = tokens, completion_tokens = 1,
          cost_nano = cost,
        }
      end
      assert(finish(db, run, "completed", { attempts = {
        attempt("a", "x", 20000 * day, 10, 100), attempt("a", "x", 20000 * day + 5, 10, nil), attempt("a", "y", 20001 * day, 5, 7),
        attempt("b", "z", 20001 * day + 86399.999, nil, nil),
      } }))
      local by_model = assert(usage.summary(db))
      assert.same({
        provider = "a", model = "x", attempts = 2, prompt_tokens = 20, completion_tokens = 2, cached_tokens = 0, reasoning_tokens = 0,
        cost_nano = 100, unpriced = 1,
      }, by_model[1])
      assert.equal(3, #by_model)
      local by_provider = assert(usage.summary(db, { by = "provider" }))
      assert.equal(107, by_provider[1].cost_nano)
      assert.is_nil(by_provider[2].cost_nano)
      local by_day = assert(usage.summary(db, { by = "day", since = 20001 * day }))
      assert.equal(1, #by_day)
      assert.equal("2024-10-05", by_day[1].day)
      assert.equal(2, by_day[1].attempts)
      raises("is not one of model, provider, day", usage.summary, db, { by = "month" })
    end)
  end)

  describe("events", function()
    it("are found after any number, wherever their batches begin, and never those of another run", function()
      local other = assert(begin())
      assert(runs.advance(db, other, { events = { { type = "text", text = "other" } } }))
      assert(finish(db, other, "completed"))
      local run = assert(begin())
      assert.same({}, assert(events.list(db, run, 0)))
      local last = 0
      for size = 1, 9 do
        local batch = {}
        for position = 1, size do
          last = last + 1
          batch[position] = { type = "text", text = tostring(last) }
        end
        assert(runs.advance(db, run, { events = batch }))
      end
      for after = 0, last + 1 do
        local list = assert(events.list(db, run, after))
        assert.equal(math.max(0, last - after), #list)
        for position, event in ipairs(list) do
          assert.equal(after + position, event.seq)
          assert.equal(tostring(event.seq), event.text)
        end
      end
    end)
  end)
end)
