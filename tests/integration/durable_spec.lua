-- Runs that wait, end early, hand over and come back: everything is a row, and a run goes on from its rows.
local apps = require "perilune.app"
local errors = require "perilune.std.errors"
local perilune = require "perilune"
local defined = require "perilune.agent.defined"
local resumption = require "perilune.agent.resumption"
local run_objects = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local threads = require "perilune.agent.thread"

local app, thread


before_each(function()
  app = apps.new { db = ":memory:", env = function() end }
  thread = threads.open(app, "a thread")
end)


after_each(function()
  app:close()
  defined.clear()
end)


local function call(name, arguments, id)
  return { name = name, arguments = arguments or {}, id = id }
end


local function tool(name, run, options)
  local all = { name = name, description = "A tool: " .. name, parameters = { x = { type = "integer", optional = true } }, run = run }
  for option, value in pairs(options or {}) do
    all[option] = value
  end
  return perilune.tool(all)
end


local function assistant(answers, options)
  local all = { name = "tester", model = testing.model(answers) }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return perilune.assistant(all), all.model
end


local function try_run(...)
  return select(2, perilune.try(thread.run, thread, ...))
end


local function statuses(run)
  local list = {}
  for position, step in ipairs(assert(steps.list(app:database(), run))) do
    list[position] = step.kind .. " " .. step.status
  end
  return table.concat(list, ", ")
end


local function types_of(run, after)
  local types = {}
  for event in run:events(after) do
    types[#types + 1] = event.type
  end
  return table.concat(types, " ")
end


local function valid()
  assert.are.same({}, assert(app:database():check()))
end


describe("a tool call that needs approval", function()
  local made

  local function delete_tool(options)
    made = {}
    return tool("delete", function(arguments, context)
      made[#made + 1] = arguments.x
      return "deleted " .. arguments.x .. " (" .. #context.idempotency_key .. ")"
    end, options)
  end

  it("waits as a row, and goes on when it is approved", function()
    local tester, model = assistant({ { tool_calls = { call("delete", { x = 7 }, "c1") } }, "Done." }, {
      tools = { delete_tool { approval = "always" } },
    })
    local run = thread:run(tester, "Delete 7.")
    assert.are.equal("waiting_approval", run.status)
    assert.are.same({ { id = "c1", name = "delete", arguments = '{"x":7}', waits_for = "approval" } }, run.waiting)
    assert.are.same({}, made)
    assert.are.equal("model finished, tool waiting", statuses(run))
    assert.is_true(errors.is(try_run(tester, "And now?"), "conflict"))
    valid()
    assert.are.equal(0, run:approve("c1"))
    local ended = run:resume(tester)
    assert.are.same({ "completed", "Done." }, { ended.status, ended.content })
    assert.are.same({ 7 }, made)
    assert.are.equal("deleted 7 (32)", model.requests[2].messages[3].content)
    assert.are.equal("model finished, tool finished, model finished", statuses(run))
    valid()
  end)

  it("is not made when it is rejected, and the model is told why", function()
    local tester, model = assistant({ { tool_calls = { call("delete", { x = 7 }, "c1") } }, "All right." }, {
      tools = { delete_tool() }, approval = "always",
    })
    local run = thread:run(tester, "Delete 7.")
    run:reject("c1", "it is still needed")
    assert.are.equal("All right.", run:resume(tester).content)
    assert.are.same({}, made)
    assert.are.equal("Error: the user did not allow this call: it is still needed", model.requests[2].messages[3].content)
  end)

  it("lets the others of its batch run at once", function()
    local calls = { call("delete", { x = 1 }, "c1"), call("delete", { x = 2 }, "c2") }
    local tester = assistant({ { tool_calls = calls }, "Done." }, {
      tools = { delete_tool { approval = function(arguments) return arguments.x == 2 end } },
    })
    local run = thread:run(tester, "Both.")
    assert.are.same({ 1 }, made)
    assert.are.equal(1, #run.waiting)
    run:approve()
    assert.are.equal("completed", run:resume(tester).status)
    assert.are.same({ 1, 2 }, made)
    valid()
  end)

  it("is decided once; the second decision is a conflict", function()
    local tester = assistant({ { tool_calls = { call("delete", { x = 7 }, "c1") } }, "Done." }, {
      tools = { delete_tool() }, approval = { delete = "always" },
    })
    local run = thread:run(tester, "Delete 7.")
    local other = run_objects.get(app, run.id)
    run:approve("c1")
    assert.are.equal("not_found", select(2, perilune.try(other.reject, other, "c1")).kind)
    assert.are.equal("not_found", select(2, perilune.try(run.approve, run, "c9")).kind)
  end)

  it("is asked about at once where a person is there", function()
    local asked = {}
    local tester = assistant({ { tool_calls = { call("delete", { x = 7 }) } }, "Done." }, {
      tools = { delete_tool() }, approval = "always",
    })
    local run = thread:run(tester, "Delete 7.", { person = function(wanted, waits_for)
      asked[#asked + 1] = wanted.name .. " " .. waits_for
      return { kind = "approve" }
    end })
    assert.are.same({ "completed", "delete approval", 7 }, { run.status, asked[1], made[1] })
  end)

  it("may be cancelled instead", function()
    local tester = assistant({ { tool_calls = { call("delete", { x = 7 }) } }, "Hello." }, {
      tools = { delete_tool() }, approval = "always",
    })
    local run = thread:run(tester, "Delete 7.")
    assert.are.equal("cancelled", run:cancel().status)
    assert.are.equal("Hello.", thread:run(tester, "Hello?").content)
    assert.are.same({}, made)
    valid()
  end)
end)


describe("a tool that is answered from outside", function()
  it("waits for its output", function()
    local tester, model = assistant({ { tool_calls = { call("lookup", {}, "c1") } }, "It is 4." }, { tools = { tool "lookup" } })
    local run = thread:run(tester, "What is it?")
    assert.are.same({ "waiting_tool", "output" }, { run.status, run.waiting[1].waits_for })
    run:submit { c1 = { value = 4 } }
    assert.are.equal("It is 4.", run:resume(tester).content)
    assert.are.equal('{"value":4}', model.requests[2].messages[3].content)
    valid()
  end)
end)


describe("calls that a model wraps into one that nobody gave it", function()
  it("are made one by one", function()
    local made = {}
    local wrapped = call("multi_tool_use.parallel", { tool_uses = {
      { recipient_name = "functions.f", parameters = { x = 1 } }, { recipient_name = "f", parameters = { x = 2 } },
    } }, "c1")
    local tester, model = assistant({ { tool_calls = { wrapped } }, "Both." }, { tools = { tool("f", function(arguments)
      made[#made + 1] = arguments.x
      return "did " .. arguments.x
    end) } })
    assert.are.equal("Both.", thread:run(tester, "Both.").content)
    table.sort(made)
    assert.are.same({ 1, 2 }, made)
    local sent = model.requests[2].messages
    assert.are.same({ "c1_1", "c1_2" }, { sent[2].tool_calls[1].id, sent[2].tool_calls[2].id })
    assert.are.same({ "c1_1", "did 1", "c1_2", "did 2" },
      { sent[3].tool_call_id, sent[3].content, sent[4].tool_call_id, sent[4].content })
    valid()
  end)

  it("are told to be unknown when they hold nothing", function()
    local tester, model = assistant({ { tool_calls = { call("parallel", {}, "c1") } }, "Sorry." }, {
      tools = { tool("f", function() end) },
    })
    assert.are.equal("Sorry.", thread:run(tester, "Both.").content)
    assert.is_truthy(model.requests[2].messages[3].content:find("there is no tool called 'parallel'", 1, true))
  end)
end)


describe("a run that was long ago", function()
  it("still knows what it answered", function()
    local tester = assistant({ { tool_calls = { call("f") } }, "The first.", "And more.", repeat_last = true }, {
      tools = { tool("f", function() return "ok" end) },
    })
    thread:add("user", "Before everything.")
    local first = thread:run(tester, "Go.")
    for _ = 1, 120 do
      thread:run(tester, "More.")
    end
    assert.are.equal("The first.", run_objects.get(app, first.id).content)
    assert.are.equal("And more.", run_objects.get(app, assert(runs.list(app:database()))[1].id).content)
  end)
end)


describe("the events of a run", function()
  it("are there for readers that come later, numbered without gaps", function()
    local tester = assistant({ { tool_calls = { call("f") } }, "All done." }, { tools = { tool("f", function() return "ok" end) } })
    local run = thread:run(tester, "Go.")
    assert.are.equal("start tool_call_start tool_call tool_result start text usage stop", types_of(run))
    assert.are.equal("usage stop", types_of(run, 6))
    local seqs, text = {}, nil
    for event in run:events() do
      seqs[#seqs + 1] = event.seq
      text = event.type == "text" and event.text or text
    end
    assert.are.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, seqs)
    assert.are.equal("All done.", text) -- deltas are joined
  end)

  it("can be followed while it runs in the background", function()
    local pause = task.signal()
    local tester = assistant({ { tool_calls = { call("f") } }, "Late." }, { tools = { tool("f", function()
      pause:wait()
      return "ok"
    end) } })
    local run = thread:start(tester, "Go.")
    assert.are.equal("running", run.status)
    local types = {}
    for event in run:events() do
      types[#types + 1] = event.type
      if event.type == "tool_call" then
        pause:wake()
      end
    end
    assert.are.equal("stop", types[#types])
    assert.are.same({ "completed", "Late." }, { run:wait(5).status, run.content })
  end)
end)


describe("cancelling a run", function()
  it("by its id ends the call of a model, and the thread goes on", function()
    local tester = assistant({ { text = "one two", fault = "stall" }, "Here." }, {})
    local run = thread:start(tester, "Go.")
    run:cancel()
    assert.are.same({ "cancelled", nil }, { run:wait(5).status, run.waiting })
    assert.are.equal("Here.", thread:run(tester, "Hello?").content)
    valid()
  end)

  it("keeps what a tool that was under way came to, and begins nothing more", function()
    local made = 0
    local tester, model = assistant({ { tool_calls = { call("slow") } }, "never" }, { tools = { tool("slow", function()
      made = made + 1
      local row = assert(runs.list(app:database()))[1]
      assert(runs.cancel(app:database(), row.id, function() return true end)) -- from another process: only the row is touched
      return "it was done"
    end) } })
    assert.is_true(errors.is(try_run(tester, "Go."), "cancelled"))
    assert.are.same({ 1, 1 }, { made, #model.requests })
    local row = assert(runs.list(app:database()))[1]
    assert.are.same({ "cancelled", "model finished, tool finished" }, { row.status, statuses(row) })
    assert.are.equal("it was done", thread:messages()[3].message.content)
    valid()
  end)

  it("by a token raises in the call alone", function()
    local token, handle = perilune.cancel_pair()
    local tester, model = assistant({ { fault = "stall" }, "Here." }, {})
    perilune.spawn(function()
      while not model.requests[1] do
        perilune.sleep(0.001)
      end
      handle:cancel()
    end)
    assert.is_true(errors.is(try_run(tester, "Go.", { cancel = token }), "cancelled"))
    assert.are.equal("Here.", thread:run(tester, "Hello?").content)
  end)
end)


describe("the limits of a run", function()
  local function looping(options)
    local n = 0
    return assistant({ function()
      n = n + 1
      return { tool_calls = { call("f", { x = options.same and 1 or n }) }, usage = { prompt_tokens = 60, completion_tokens = 40 } }
    end, repeat_last = true }, {
      tools = { tool("f", function(arguments) return "result " .. arguments.x end) }, budget = options.budget,
      max_steps = options.max_steps, stop_when = options.stop_when,
    })
  end

  for _, case in ipairs {
    { "tokens", { budget = { tokens = 250 } }, "budget_tokens", 3 },
    { "tool calls", { budget = { tool_calls = 2 } }, "budget_tool_calls", 3 },
    { "steps", { max_steps = 4 }, "max_steps", 4 },
    { "going round in circles", { same = true }, "loop", 3 },
  } do
    it("end it: " .. case[1], function()
      local tester, model = looping(case[2])
      local run = thread:run(tester, "Go.")
      assert.are.same({ "incomplete", case[3], case[4] }, { run.status, run.why, #model.requests })
      valid()
    end)
  end

  it("end it where its definition says so", function()
    local run = thread:run(looping { stop_when = function(state) return state.steps >= 4 end }, "Go.")
    assert.are.equal("completed", run.status)
    valid()
  end)
end)


describe("an answer as data", function()
  local shape = { name = "string", size = "integer" }

  it("is validated JSON", function()
    local tester, model = assistant({ '{"name":"Io","size":3643}' }, { output = shape })
    local run = thread:run(tester, "Which moon?")
    assert.are.same({ name = "Io", size = 3643 }, run.output)
    assert.are.equal("json_schema", model.requests[1].response_format.type)
    assert.are.same({ name = "Io", size = 3643 }, run_objects.get(app, run.id).output)
  end)

  it("is asked for again, with what is wrong, at most twice", function()
    local tester, model = assistant({ "Io, I think", '```json\n{"name":"Io"}\n```', '{"name":"Io","size":3643}' }, { output = shape })
    assert.are.equal("Io", thread:run(tester, "Which moon?").output.name)
    assert.is_truthy(model.requests[2].messages[3].content:find("not valid JSON", 1, true))
    assert.is_truthy(model.requests[3].messages[5].content:find("size", 1, true))
    local stubborn = assistant({ "no", repeat_last = true }, { output = shape })
    local err = try_run(stubborn, "Which moon?")
    assert.are.same({ "schema", "output" }, { err.kind, err.code })
    valid()
  end)
end)


describe("guardrails", function()
  it("refuse what comes in before anything is stored", function()
    local tester, model = assistant({ "Hello." }, { guardrails = { input = { function(input)
      return input:find("secret") and "it is about secrets"
    end } } })
    local err = try_run(tester, "Tell me a secret.")
    assert.are.same({ "content_filter", "guardrail", 0, 0 }, { err.kind, err.code, #model.requests, #thread:messages() })
    assert.are.equal("Hello.", thread:run(tester, "Hello?").content)
  end)

  it("refuse what the thread already ends with", function()
    local tester, model = assistant({ "Hello." }, { guardrails = { input = { function() return "not today" end } } })
    thread:add("user", "Tell me a secret.")
    assert.are.same({ "guardrail", 0 }, { try_run(tester, nil).code, #model.requests })
  end)

  it("refuse an answer, and a call", function()
    local tester = assistant({ "a secret" }, { guardrails = { output = { function(text) return text:find("secret") and "no" end } } })
    assert.are.equal("guardrail", try_run(tester, "Hello?").code)
    local careful, model = assistant({ { tool_calls = { call("f", { x = 3 }) } }, "Done." }, {
      tools = { tool("f", function() error("never") end) },
      guardrails = { tools = { function(wanted) return wanted.name == "f" and "not f" end } },
    })
    assert.are.equal("Done.", thread:run(careful, "Go.").content)
    local said = model.requests[2].messages
    assert.are.equal("Error: the call is not allowed: not f", said[#said].content)
    valid()
  end)
end)


describe("a hand-over", function()
  it("gives the conversation to another assistant, and the run says so", function()
    local expert, expert_model = assistant({ "I know everything about tides." }, { name = "expert", description = "Knows tides." })
    local front, front_model = assistant({ { tool_calls = { call("transfer_to_expert") } } }, { name = "front", handoffs = { expert } })
    local run = thread:run(front, "What is a tide?")
    assert.are.same({ "I know everything about tides.", "expert" }, { run.content, run.assistant })
    assert.are.equal("Hand the conversation over to the assistant expert. Knows tides.", front_model.requests[1].tools[1].description)
    assert.are.equal("tool", expert_model.requests[1].messages[3].role)
    assert.are.equal("expert", assert(runs.get(app:database(), run.id)).assistant)
    valid()
  end)
end)


describe("a run whose process ended", function()
  local function dead()
    return false
  end

  local function begin(options)
    options.thread, options.owner = options.thread or thread, "dead:1:1"
    options.step = { kind = "model", name = "testing/scripted" }
    return assert(runs.begin(app:database(), options, dead))
  end

  it("is left to the run that has called it", function()
    local tester = assistant({ "Back again." }, {})
    defined.add(tester)
    local parent = begin { assistant = "tester", inputs = { { role = "user", content = "Hello?" } } }
    begin { thread = threads.open(app, "another"), assistant = "tester", parent = parent.id }
    local started = resumption.recover(app)
    assert.are.same({ 1, parent.id }, { #started, started[1].id })
    started[1]:wait(5)
  end)

  it("ends with the run that has called it, when that one has ended", function()
    local parent = begin { assistant = "tester" }
    local child = begin { thread = threads.open(app, "another"), assistant = "tester", parent = parent.id }
    assert(runs.interrupt(app:database(), parent))
    assert.are.same({}, resumption.recover(app))
    assert.are.equal("failed", assert(runs.get(app:database(), child.id)).status)
  end)

  it("in good order waits again for what it waited for", function()
    local tester = assistant({ { tool_calls = { call("f"), call("g") } } }, {
      tools = { tool("f", function() return "done" end, { approval = "always" }), tool("g", function() return "done" end) },
    })
    defined.add(tester)
    local run = thread:run(tester, "Go.")
    assert.are.equal("waiting_approval", run.status)
    local db = app:database()
    assert(runs.claim(db, run.id, "dead:1:1", dead))
    assert(runs.let_go(db, "dead:1:1"))
    local started = resumption.recover(app)
    assert.are.same({ run.id, "waiting_approval" }, { started[1].id, started[1]:wait(5).status })
  end)

  it("in the middle of a call that was approved asks again: nobody knows whether it had its effect", function()
    local made = 0
    local tester = assistant({ { tool_calls = { call("f") } }, "Done." }, { tools = { tool("f", function()
      made = made + 1
      return "done"
    end, { approval = "always" }) } })
    local run, db = thread:run(tester, "Go."), app:database()
    run:approve()
    local row = assert(runs.claim(db, run.id, "dead:1:1", dead))
    assert(runs.advance(db, row, { begun = { run:list_steps()[2].seq } }))
    local again = run:resume(tester)
    assert.are.same({ "waiting_tool", "outcome", 0 }, { again.status, again.waiting[1].waits_for, made })
    again:approve()
    assert.are.same({ "completed", 1 }, { again:resume(tester).status, made })
  end)

  it("knows what the assistants used that it has called", function()
    local expert = assistant({ "Because." }, { name = "expert" })
    local asker = assistant({ { tool_calls = { call("expert", { input = "Why?" }), call("f") } }, "So." }, {
      name = "asker", tools = { expert:as_tool(), tool("f", function() return "done" end, { approval = function() return true end }) },
    })
    local waiting = thread:run(asker, "Go.")
    waiting:approve()
    local tokens = waiting.usage.total_tokens
    assert.are.equal(tokens + tokens // 2, waiting:resume(asker).usage.total_tokens)
  end)

  it("goes on behind a hand-over with the same question", function()
    local expert = assistant({ "About tides." }, { name = "expert" })
    local front = assistant({}, { name = "front", handoffs = { expert } })
    local row = begin { assistant = "expert", inputs = { { role = "user", content = "Tides?" } } }
    local run = thread:run(front, "Tides?")
    assert.are.same({ row.id, "About tides." }, { run.id, run.content })
  end)

  it("expires when nobody goes on with it in time", function()
    local db = app:database()
    local row = begin { assistant = "gone", expires_at = 1 }
    assert.are.equal(0, runs.expire(db, function() return true end))
    assert.are.equal(1, runs.expire(db, dead))
    assert.are.equal("expired", assert(runs.get(db, row.id)).status)
  end)

  it("in good order has not crashed", function()
    local db = app:database()
    local row = begin { assistant = "tester" }
    assert(runs.let_go(db, "dead:1:1"))
    assert.are.equal(0, assert(runs.claim(db, row.id, "dead:2:2", dead)).crashes)
  end)

  it("goes on with recover", function()
    local tester = assistant({ "Back again." }, {})
    defined.add(tester)
    local db = app:database()
    local row = assert(runs.begin(db, { thread = thread, inputs = { { role = "user", content = "Hello?" } }, assistant = "tester",
      owner = "dead:1:1", step = { kind = "model", name = "testing/scripted" } }, function() return false end))
    local started = resumption.recover(app)
    assert.are.equal(1, #started)
    assert.are.same({ "completed", "Back again." }, { started[1]:wait(5).status, started[1].content })
    assert.are.equal("model unknown, model finished", statuses(row))
    assert.are.equal("attempt_discarded start text usage stop", types_of(started[1]))
    valid()
  end)

  it("three times is closed, and not tried again", function()
    local tester = assistant({ "never" }, {})
    local db = app:database()
    local row = assert(runs.begin(db, { thread = thread, assistant = "tester", owner = "dead:1:1" }, dead))
    assert(runs.claim(db, row.id, "dead:2:2", dead))
    assert(runs.claim(db, row.id, "dead:3:3", dead))
    local _, err = runs.claim(db, row.id, "dead:4:4", dead)
    assert.are.equal("quarantined", err.code)
    local ended = assert(runs.get(db, row.id))
    assert.are.same({ "failed", "quarantined" }, { ended.status, ended.error.code })
    assert.are.equal("never", thread:run(tester, "Hello?").content)
    valid()
  end)
end)
