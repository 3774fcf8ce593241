-- Workflows in one process. A process that ended is a row whose owner does not live; that of another day is another application on
-- the same database.
local apps = require "perilune.app"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local log = require "perilune.sys.log"
local perilune = require "perilune"
local steps = require "perilune.store.workflow_steps"
local task = require "perilune.sys.task"
local workflow = require "perilune.agent.workflow"
local workflows = require "perilune.store.workflows"

local GONE = "another-boot:1:1" -- the name of a process that does not live


describe("a workflow", function()
  local folder, app, done

  before_each(function()
    folder = assert(fs.temp_dir("workflow"))
    app = apps.new { db = folder .. "/a.db" }
    done = {}
  end)

  after_each(function()
    assert.same({}, app:database():check())
    app:close()
    fs.remove(folder, { recursive = true })
  end)

  local function restart()
    app:close()
    app = apps.new { db = folder .. "/a.db" }
  end

  -- A function for a step that says that it ran.
  local function does(name, result)
    return function()
      done[#done + 1] = name
      return result
    end
  end

  local function define(run)
    return workflow.define(app, "publish", run)
  end

  -- What a process left behind that is gone: the execution "1", with the steps that it had begun.
  local function left_behind(begun)
    local db = app:database()
    local row = assert(workflows.create(db, { name = "publish", id = "1", owner = GONE }))
    for _, step in ipairs(begun) do
      local started = assert(steps.start(db, row, step))
      if step.ending then
        assert(steps.finish(db, row, started.seq, step.ending))
      end
    end
    return row
  end

  local function raised(f, ...)
    local result, err = perilune.try(f, ...)
    assert.is_nil(result)
    return err
  end

  local function row_of(id)
    return assert(workflows.get(app:database(), "publish", id or "1"))
  end

  -- Until the execution stands so: nothing tells a test when a task has written.
  local function wait_for(status, id)
    task.deadline(10, function()
      repeat task.yield() until row_of(id).status == status
    end)
  end

  it("does its steps, and keeps the result: a second start returns it at once", function()
    local publish = define(function(flow, input)
      local draft = flow:step("draft", does("draft", { text = "about " .. input.topic }))
      return { flow:step("print", function(text) return text:upper() end, draft.text), flow.id, flow.input.topic }
    end)
    assert.same({ "ABOUT TIDES", "1", "tides" }, publish:run("1", { topic = "tides" }))
    restart()
    publish = define(does("function"))
    local execution = publish:start("1", { topic = "tides" })
    assert.same({ "completed", "publish", "1" }, { execution.status, execution.workflow, execution.id })
    assert.same({ "ABOUT TIDES", "1", "tides" }, execution:wait())
    assert.same({ "draft" }, done)
  end)

  it("refuses the same id with another input, and attaches without one", function()
    local publish = define(function(_, input) return input end)
    assert.equal(7, publish:run("1", 7))
    local err = raised(publish.start, publish, "1", 8)
    assert.same({ "conflict", "other_input" }, { err.kind, err.code })
    assert.equal(7, publish:run("1"))
  end)

  it("that is started twice at the same time runs once", function()
    local publish = define(function(flow)
      return flow:step("work", function()
        done[#done + 1] = "work"
        task.yield()
        return #done
      end)
    end)
    local group <close> = task.group()
    local results = {}
    for position = 1, 5 do
      group:spawn(function() results[position] = publish:run("1", "x") end)
    end
    group:wait()
    assert.same({ 1, 1, 1, 1, 1 }, results)
    assert.equal(1, #publish:start("1"):steps())
  end)

  it("gives what JSON makes of a result, the first time too, and nil for nothing", function()
    local publish = define(function(flow)
      local value = flow:step("value", function() return setmetatable({ n = 1 }, { __index = { hidden = true } }) end)
      assert(flow:step("nothing", function() end) == nil)
      return value.hidden == nil and value.n
    end)
    assert.equal(1, publish:run("1"))
  end)

  it("fails when a result cannot be kept, and does not try that again", function()
    local publish = define(function(flow)
      flow:step("odd", { retry = { max_attempts = 3 } }, does("odd", print))
    end)
    local err = raised(publish.run, publish, "1")
    assert.equal("schema", err.kind)
    assert.matches("the result of the step 'odd' cannot be kept: at $: ", err.message, 1, true)
    assert.same({ { "odd" }, "failed" }, { done, row_of().status })
  end)

  it("takes a name once, and says so where it is used again", function()
    local publish = define(function(flow)
      for _ = 1, 2 do
        flow:step("mail", does("mail"))
      end
    end)
    local err = raised(publish.run, publish, "1")
    assert.matches("flow:step: the name 'mail' is used already; in a loop give each its own: 'mail 1', 'mail 2'", err.message, 1, true)
    assert.matches("workflow_spec.lua:%d+$", err.where)
    assert.same({ "mail" }, done)
  end)

  it("refuses steps in steps, options that there are not, and steps after its end", function()
    local kept
    local publish = define(function(flow, what)
      kept = flow
      if what == "nested" then
        return flow:step("outer", function() return flow:step("inner", does("inner")) end)
      end
      return flow:step("work", { idempotnt = true }, does("work"))
    end)
    assert.matches("not inside of a step", raised(publish.run, publish, "1", "nested").message)
    assert.matches("did you mean 'idempotent'?", raised(publish.run, publish, "2", "typo").message, 1, true)
    assert.matches("the execution has ended", raised(kept.step, kept, "late", does("late")).message)
    assert.same({}, done)
  end)

  it("that raises has failed, with that error, today and tomorrow", function()
    local publish = define(function(flow)
      flow:step("call", function() error(errors.new { kind = "overloaded", code = "busy", message = "come back later" }) end)
    end)
    local err = raised(publish.run, publish, "1")
    assert.same({ "overloaded", "busy", "come back later" }, { err.kind, err.code, err.message })
    restart()
    publish = define(does("function"))
    local execution = publish:start("1")
    assert.equal("failed", execution.status)
    err = raised(execution.wait, execution)
    assert.same({ "overloaded", "busy", "come back later" }, { err.kind, err.code, err.message })
    assert.same({}, done)
  end)

  it("can catch the error of a step, and gets the same one when it runs again", function()
    local seen = {}
    local function run(flow)
      local _, err = perilune.try(flow.step, flow, "call", function() error("no") end)
      seen[#seen + 1] = err.kind .. " " .. err.message:match("no$")
      return flow:ask("go on", "?")
    end
    local waiting = define(run):start("1")
    perilune.try(waiting.wait, waiting, 0.01)
    restart()
    local execution = define(run):start("1"):answer("go on", "yes")
    assert.equal("yes", execution:wait())
    assert.same({ "internal no", "internal no" }, seen)
  end)

  it("takes an error object that a step returns for its error", function()
    local publish = define(function(flow)
      return flow:step("call", function() return nil, errors.new { kind = "timeout", message = "too late" } end)
    end)
    assert.equal("timeout", raised(publish.run, publish, "1").kind)
  end)

  it("tries a step again as often as it is told", function()
    local publish = define(function(flow, succeeds_at)
      return flow:step("call", { retry = { max_attempts = 3, backoff = 0.001, max_backoff = 0.002 } }, function()
        done[#done + 1] = "call"
        return #done >= succeeds_at and "done" or error("not yet")
      end)
    end)
    assert.equal("done", publish:run("1", 3))
    assert.equal(2, publish:start("1"):steps()[1].failures)
    done = {}
    assert.matches("not yet", raised(publish.run, publish, "2", 9).message)
    assert.equal(3, #done)
  end)

  it("does not count attempts from the beginning after a restart", function()
    local function run(flow)
      return flow:step("call", { retry = { max_attempts = 2, backoff = 1000, max_backoff = 1000 } }, function()
        done[#done + 1] = "call"
        error("no")
      end)
    end
    define(run):start("1")
    wait_for "sleeping"
    assert.is_true(row_of().wake_at > clock.wall() + 900)
    restart()
    local execution = define(run):start("1")
    wait_for "sleeping"
    clock.advance(1000)
    assert.matches("no$", raised(execution.wait, execution, 10).message)
    assert.same({ "call", "call" }, done)
  end)

  it("does not do again what another process has finished", function()
    left_behind {
      { kind = "step", name = "one", status = "started", ending = { status = "finished", result_text = "1" } },
      { kind = "step", name = "two", status = "started", ending = { status = "failed", error = { kind = "tool", message = "no" } } },
    }
    local publish = define(function(flow)
      local _, err = perilune.try(flow.step, flow, "two", does("two"))
      return { flow:step("one", does("one")), err.kind, flow:step("three", does("three", 3)) }
    end)
    assert.same({ 1, "tool", 3 }, publish:run("1"))
    assert.same({ "three" }, done)
    assert.same({ 1, 2 }, { row_of().crashes, row_of().lease_epoch })
  end)

  it("that is taken over by several at the same time runs once", function()
    left_behind {}
    local publish = define(function(flow)
      return flow:step("work", does("work", 7))
    end)
    local group <close> = task.group()
    for position = 1, 5 do
      group:spawn(function()
        local execution = position < 3 and publish:start("1") or workflow.get(app, "publish", "1")
        assert.equal(7, execution:wait())
      end)
    end
    group:wait()
    assert.same({ { "work" }, 2 }, { done, row_of().lease_epoch })
  end)

  it("runs an idempotent step again that a process ended in, with the same key", function()
    left_behind { { kind = "step", name = "charge", status = "started", idempotent = true } }
    local keys = {}
    local function run(flow)
      return flow:step("charge", { idempotent = true }, function()
        keys[#keys + 1] = flow:idempotency_key("charge")
        return "charged"
      end)
    end
    local publish = define(run)
    assert.equal("charged", publish:run("1"))
    assert.equal("charged", publish:run("2"))
    assert.equal(32, #keys[1])
    assert.are_not.equal(keys[1], keys[2])
    restart()
    define(function(flow) keys[3] = flow:idempotency_key("charge") end):run("3")
    assert.are_not.equal(keys[2], keys[3])
  end)

  it("waits for a decision about another step that a process ended in", function()
    log.set_level("error") -- it warns
    for _, decision in ipairs { { again = true }, { result = { receipt = 9 } } } do
      restart()
      done = {}
      local id = decision.again and "1" or "2"
      local row = assert(workflows.create(app:database(), { name = "publish", id = id, owner = GONE }))
      assert(steps.start(app:database(), row, { kind = "step", name = "charge", status = "started" }))
      local publish = define(function(flow)
        return flow:step("charge", does("charge", { receipt = 7 }))
      end)
      local execution = publish:start(id)
      wait_for("waiting", id)
      assert.same({ "unknown", 0 }, { execution:steps()[1].status, #done })
      execution:resolve("charge", decision)
      assert.same(decision.again and { receipt = 7 } or { receipt = 9 }, execution:wait())
      assert.equal(decision.again and 1 or 0, #done)
      assert.equal("not_found", raised(execution.resolve, execution, "charge", decision).kind)
    end
    log.set_level("warn")
  end)

  it("ends when it does not do what it did before, whatever it makes of the error, and nothing is done", function()
    left_behind { { kind = "step", name = "charge", status = "started", input_text = '["anna",5]', ending = { status = "finished" } } }
    local publish = define(function(flow)
      pcall(flow.step, flow, "charge", does("charge"), "anna", 6)
      pcall(flow.step, flow, "mail", does("mail"))
    end)
    local err = raised(publish.run, publish, "1")
    assert.same({ "conflict", "nondeterminism" }, { err.kind, err.code })
    assert.matches('\'charge\' was a step with ["anna",5], and is now a step with ["anna",6]', err.message, 1, true)
    assert.same({ {}, "failed" }, { done, row_of().status })
  end)

  it("that was running when its process ended is not tried a fourth time", function()
    local row = left_behind {}
    for crashes = 1, 2 do
      assert.is_true(workflows.claim(app:database(), row, GONE))
      row = row_of()
      assert.equal(crashes, row.crashes)
    end
    local publish = define(does("function"))
    local execution = publish:start("1")
    assert.equal("failed", execution.status)
    assert.equal("quarantined", raised(execution.wait, execution).code)
    assert.same({}, done)
  end)

  it("is let go when the application closes, which counts as no crash, and goes on in the next", function()
    local function run(flow)
      flow:step("before", does("before"))
      local answer = flow:ask("go on", { question = "Shall I?" })
      return answer .. flow:step("after", does("after", "!"))
    end
    local publish = define(run)
    local execution = publish:start("1")
    wait_for "waiting"
    restart()
    assert.same({ "waiting", nil, 0 }, { row_of().status, row_of().lease_owner, row_of().crashes })
    assert.equal("cancelled", raised(execution.wait, execution).kind)
    workflow.get(app, "publish", "1"):answer("go on", "Yes") -- while nobody runs it
    assert.equal("workflow_orphaned", raised(function() workflow.get(app, "publish", "1"):wait() end).code)
    define(run)
    local resumed = workflow.resume(app)
    assert.same({ 1, "1" }, { #resumed, resumed[1].id })
    assert.equal("Yes!", workflow.get(app, "publish", "1"):wait())
    assert.same({ "before", "after" }, done)
  end)

  it("takes the first answer", function()
    local publish = define(function(flow) return flow:ask("colour", "Which?") end)
    local execution = publish:start("1")
    wait_for "waiting"
    execution:answer("colour", "red")
    assert.equal("not_found", raised(execution.answer, execution, "colour", "blue").kind)
    assert.equal("not_found", raised(execution.answer, execution, "size", 1).kind)
    assert.equal("red", execution:wait())
  end)

  it("sleeps for what is left after a restart", function()
    local function run(flow)
      flow:sleep("night", 1000)
      flow:sleep(0)
      return "morning"
    end
    define(run):start("1")
    wait_for "sleeping"
    restart()
    clock.advance(999)
    local execution = define(run):start("1")
    wait_for "sleeping"
    assert.equal("timeout", raised(execution.wait, execution, 0.01).kind)
    clock.advance(1)
    assert.equal("morning", execution:wait())
    local names = {}
    for position, step in ipairs(execution:steps()) do
      names[position] = step.name .. " " .. step.status
    end
    assert.same({ "night finished", "sleep 1 finished" }, names)
  end)

  it("has the same time and the same numbers when it runs again", function()
    local seen = {}
    local function run(flow)
      seen[#seen + 1] = { flow:now(), flow:random(), flow:random(6), flow:random(-5, -3), flow:now() }
      return flow:ask("go on")
    end
    define(run):start("1")
    wait_for "waiting"
    restart()
    define(run):start("1"):answer("go on", true):wait()
    local first = seen[1]
    assert.same(first, seen[2])
    assert.is_true(first[1] <= first[5] and math.abs(first[1] - clock.wall()) < 60)
    assert.is_true(first[2] >= 0 and first[2] < 1 and first[3] >= 1 and first[3] <= 6 and first[4] >= -5 and first[4] <= -3)
  end)

  it("does steps side by side; all come to their end before an error is raised", function()
    local met = task.signal()
    local publish = define(function(flow, fails)
      return flow:gather {
        { "left", function() met:wait() done[#done + 1] = "left" return "l" end },
        { "middle", function() return fails and error("broken") or "m" end },
        { "right", { idempotent = true }, function(word) met:wake() done[#done + 1] = "right" return word end, "r" },
      }
    end)
    assert.same({ "l", "m", "r" }, publish:run("1", false))
    assert.same({ "right", "left" }, done)
    assert.matches("broken$", raised(publish.run, publish, "2", true).message)
    local statuses = {}
    for _, step in ipairs(publish:start("2"):steps()) do
      statuses[step.name] = step.status
    end
    assert.same({ left = "finished", middle = "failed", right = "finished" }, statuses)
  end)

  it("is cancelled where it is: nothing of it begins any more", function()
    local publish = define(function(flow)
      pcall(flow.step, flow, "work", function() done[1] = "begun" task.sleep(1000) done[2] = "ended" end)
      flow:step("after", does("after"))
    end)
    local execution = publish:start("1")
    repeat task.yield() until done[1]
    execution:cancel()
    assert.equal("cancelled", execution.status)
    local err = raised(function() execution:wait() return true end)
    assert.same({ { "begun" }, "workflow_cancelled" }, { done, err.code })
    assert.same({ "cancelled", "unknown" }, { row_of().status, execution:steps()[1].status })
    assert.equal("cancelled", publish:start("1"):cancel().status)
  end)

  it("is cancelled from elsewhere: what came of the step that ran is kept, and the next one does not begin", function()
    local publish = define(function(flow)
      flow:step("work", function()
        assert(workflows.cancel(app:database(), row_of()))
        return "done"
      end)
      flow:step("after", does("after"))
    end)
    local execution = publish:start("1")
    local ok, err = pcall(execution.wait, execution)
    assert.same({ false, "workflow_cancelled" }, { ok, err.code })
    assert.same({ {}, "done" }, { done, execution:steps()[1].result })
    assert.equal(1, #execution:steps())
  end)

  it("that has passed to another process takes no effect here", function()
    local publish = define(function(flow)
      flow:step("work", function()
        assert.is_true(workflows.claim(app:database(), row_of(), GONE))
      end)
      flow:step("after", does("after"))
    end)
    assert.equal("workflow_lost", raised(publish.run, publish, "1").code)
    assert.same({}, done)
    assert.equal(GONE, row_of().lease_owner)
  end)

  it("is listed, the newest first, a page at a time", function()
    local publish = define(function(flow) return flow.id end)
    for id = 1, 5 do
      publish:run(tostring(id))
    end
    local first = workflow.list(app, { limit = 2, name = "publish", status = "completed" })
    local second = workflow.list(app, { limit = 2, after = first[2] })
    assert.same({ "5", "4", "3", "2" }, { first[1].id, first[2].id, second[1].id, second[2].id })
    assert.same({}, workflow.list(app, { name = "other" }))
    assert.equal("not_found", raised(workflow.get, app, "publish", "9").kind)
    assert.equal(1, #workflow.find(app, "3"))
  end)

  it("is defined once, with a name and a function", function()
    define(function() end)
    assert.matches("'publish' is defined already", raised(define, function() end).message)
    assert.matches("a name is 1 to 256 bytes", raised(workflow.define, app, "", print).message)
    assert.matches("must be a function, got nil", raised(workflow.define, app, "x").message)
  end)
end)
