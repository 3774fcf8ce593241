local assistants = require "perilune.agent.assistant"
local errors = require "perilune.std.errors"
local loop = require "perilune.agent.loop"
local messages = require "perilune.store.messages"
local runs = require "perilune.store.runs"
local scripted = require "perilune.testing.model"
local steps = require "perilune.store.steps"
local store = require "perilune.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"
local tool = require "perilune.tool"
local usage = require "perilune.store.usage"


describe("a run", function()
  local db, thread, seen

  before_each(function()
    db = assert(store.open(":memory:"))
    thread = assert(threads.open(db, "t"))
    seen = {}
  end)

  after_each(function()
    assert.same({}, db:check())
    db:close()
  end)

  local function start(options, answers, input)
    local model = scripted.new(answers)
    options.name = "helper"
    return loop.run {
      db = db, thread = thread, assistant = assistants.new(options), model = model, model_name = "testing/scripted",
      input = input or "question", emit = function(event) seen[#seen + 1] = event end,
    }, model
  end

  local function types()
    local list = {}
    for position, event in ipairs(seen) do
      list[position] = event.type
    end
    return table.concat(list, " ")
  end

  local function stored()
    local list = {}
    for position, one in ipairs(assert(messages.list(db, thread))) do
      local content = one.message.content or ("-> " .. one.message.tool_calls[1].name)
      list[position] = ("%s%s: %s"):format(one.role, one.status == "partial" and " (partial)" or "", content)
    end
    return list
  end

  local double = tool.define {
    name = "double", description = "Doubles a number", parameters = { n = "integer: the number" },
    run = function(arguments) return arguments.n * 2 end,
  }

  it("answers, and stores the question, the answer, its steps and what it used", function()
    local run = start({ instructions = "Be kind.", temperature = 0.5 }, { "Hello there." })
    assert.same({ "completed", "Hello there.", 1 }, { run.status, run.content, run.steps })
    assert.equal("start text text usage stop", types())
    assert.same({ "user: question", "assistant: Hello there." }, stored())
    assert.equal("completed", runs.get(db, run.id).status)
    assert.equal(1, #assert(usage.attempts(db, run.id)))
  end)

  it("sends instructions, options and tools with every request", function()
    local function instructions(context)
      return "For " .. context.assistant.name
    end
    local _, model = start({ instructions = instructions, temperature = 0.5, tools = { double } }, { "x" })
    local request = model.requests[1]
    assert.same({ role = "system", content = "For helper" }, request.messages[1])
    assert.equal(0.5, request.temperature)
    assert.equal("double", request.tools[1].name)
  end)

  it("runs tools and tells the model what they said", function()
    local run, model = start({ tools = { double } }, { { tool_calls = { { name = "double", arguments = { n = 21 } } } }, "It is 42." })
    assert.equal("It is 42.", run.content)
    assert.equal("start tool_call_start tool_call tool_result start text text text usage stop", types())
    assert.same({ "user: question", "assistant: -> double", "tool: 42", "assistant: It is 42." }, stored())
    local last = model.requests[2].messages
    assert.same({ "tool", "42", "call_1_1" }, { last[3].role, last[3].content, last[3].tool_call_id })
    local list = assert(steps.list(db, run.id))
    assert.same({ "model", "tool", "model" }, { list[1].kind, list[2].kind, list[3].kind })
    assert.same({ "finished", "finished", "finished" }, { list[1].status, list[2].status, list[3].status })
    assert.equal(20, run.usage.prompt_tokens)
  end)

  it("says that a tool begins before it begins", function()
    local began
    local watched = tool.define {
      name = "watched", description = "x", idempotent = true,
      run = function(_, context)
        began = assert(steps.list(db, context.run))
        assert.equal(32, #context.idempotency_key)
        return "done"
      end,
    }
    start({ tools = { watched } }, { { tool_calls = { { name = "watched" } } }, "ok" })
    assert.same({ "finished", "started" }, { began[1].status, began[2].status })
    assert.is_true(began[2].idempotent)
  end)

  it("runs the tools of one answer side by side, as many as allowed, and keeps their order", function()
    local now, most = 0, 0
    local slow = tool.define {
      name = "slow", description = "x", parameters = { n = "integer" },
      run = function(arguments)
        now = now + 1
        most = math.max(most, now)
        for _ = arguments.n, 5 do
          task.yield()
        end
        now = now - 1
        return arguments.n
      end,
    }
    local calls = {}
    for n = 1, 5 do
      calls[n] = { name = "slow", arguments = { n = n } }
    end
    local _, model = start({ tools = { slow }, tool_concurrency = 3 }, { { tool_calls = calls }, "ok" })
    assert.equal(3, most)
    for n = 1, 5 do
      assert.equal(tostring(n), model.requests[2].messages[n + 2].content)
    end
  end)

  it("goes on when a tool raises, is unknown, or gets arguments that are no JSON or do not fit", function()
    local broken = tool.define { name = "broken", description = "x", run = function() error("no ink") end }
    local run, model = start({ tools = { broken, double } }, {
      { tool_calls = { { name = "broken" } } },
      { tool_calls = { { name = "made_up" } } },
      { tool_calls = { { name = "double", arguments = "{\"n\": 1" } } },
      "sorry",
    })
    assert.equal("completed", run.status)
    local last = model.requests[4].messages
    assert.matches("Error: tool 'broken': .*no ink", last[3].content)
    assert.matches("there is no tool called 'made_up'; the tools are: broken, double", last[5].content)
    assert.matches("not valid JSON", last[7].content)
    assert.is_true(last[7].is_error)
  end)

  it("ends after too many calls that no tool can take, and when a tool's error is meant to end it", function()
    local bad = { tool_calls = { { name = "double", arguments = { n = "x" } } } }
    local _, err = pcall(start, { tools = { double } }, { bad, bad, bad, "never" })
    assert.same({ "tool", "arguments" }, { err.kind, err.code })
    local broken = tool.define { name = "broken", description = "x", run = function() error("no ink") end }
    _, err = pcall(start, { tools = { broken }, on_tool_error = "raise" }, { { tool_calls = { { name = "broken" } } }, "never" })
    assert.same({ "tool", "raised" }, { err.kind, err.code })
    assert.equal("failed", runs.list(db)[1].status)
  end)

  it("is incomplete when it takes too many steps", function()
    local again = { tool_calls = { { name = "double", arguments = { n = 1 } } } }
    local run = start({ tools = { double }, max_steps = 2 }, { again, again, "never" })
    assert.equal("incomplete", run.status)
    assert.equal("max_steps", seen[#seen].raw)
    assert.equal("incomplete", runs.get(db, run.id).status)
  end)

  it("keeps what had arrived when the model fails in the middle, marked as partial, and the thread goes on", function()
    local failure = { kind = "stream_interrupted", message = "cut" }
    local _, err = pcall(start, {}, { { text = "Half an answer", error = failure } })
    assert.equal("stream_interrupted", err.kind)
    assert.same({ "user: question", "assistant (partial): Half an answer" }, stored())
    assert.equal("stream_interrupted", runs.list(db)[1].error.kind)
    assert.equal("Better.", start({}, { "Better." }).content)
  end)

  it("stores its last words when it is cancelled, wherever that happens", function()
    for yields = 0, 40 do
      local one = task.spawn(start, { tools = { double } }, {
        { text = "Let me see. ", word_delay = 0, tool_calls = { { name = "double", arguments = { n = 1 } } } },
        { text = "It is 2.", delay = 0 },
      })
      for _ = 1, yields do
        task.yield()
      end
      one:cancel()
      pcall(one.wait, one)
      local last = runs.list(db)[1]
      assert.is_true(last.status == "cancelled" or last.status == "completed", last.status)
      assert.same({}, db:check())
    end
    assert.equal("on", start({}, { "on" }).content)
  end)

  it("is refused while another one runs on the thread", function()
    local gate = task.signal()
    local holding = tool.define { name = "holding", description = "x", run = function() gate:wait() end }
    local first = task.spawn(start, { tools = { holding } }, { { tool_calls = { { name = "holding" } } }, "done" })
    while not (seen[#seen] and seen[#seen].type == "tool_call") do
      task.yield()
    end
    local _, err = pcall(start, {}, { "x" })
    assert.is_true(errors.is(err, "conflict"))
    while gate:wake() == 0 do
      task.yield()
    end
    assert.equal("done", first:wait().content)
  end)

  it("does not reach back further than its window, and never into the middle of an exchange", function()
    for n = 1, 6 do
      start({ tools = { double } }, { { tool_calls = { { name = "double", arguments = { n = n } } } }, "a" .. n }, "q" .. n)
    end
    local _, model = start({ history = { messages = 6 } }, { "x" }, "last")
    local sent = model.requests[1].messages
    assert.equal("user", sent[1].role)
    assert.equal("q6", sent[1].content)
    assert.equal(5, #sent)
  end)
end)
