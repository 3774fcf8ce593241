-- Agents (a conversation in memory) and assistants that are tools of other assistants.
local apps = require "perilune.app"
local agents = require "perilune.agent.agent"
local perilune = require "perilune"
local runs = require "perilune.store.runs"
local testing = require "perilune.testing"
local threads = require "perilune.agent.thread"

local app


before_each(function()
  app = apps.new { db = ":memory:", env = function() end }
end)


after_each(function()
  if app.memory then
    app.memory:close()
  end
  app:close()
end)


describe("an agent", function()
  local function agent_of(answers, options)
    local all = { model = testing.model(answers) }
    for name, value in pairs(options or {}) do
      all[name] = value
    end
    return agents.new(app, all), all.model
  end

  it("remembers what was said, and forgets it when it is told to", function()
    local agent, model = agent_of({ "Hi Ada.", "You are Ada.", "Who?" }, { system = "Be brief." })
    agent:chat("I am Ada.")
    assert.are.equal("You are Ada.", agent:chat("Who am I?").content)
    assert.are.same({ "system", "user", "assistant", "user" }, { model.requests[2].messages[1].role, model.requests[2].messages[2].role,
      model.requests[2].messages[3].role, model.requests[2].messages[4].role })
    agent:add_message { role = "system", content = "Speak Latin." }
    agent:clear_history(true)
    assert.are.equal(1, #agent:history())
    agent:chat("Who am I?")
    assert.are.equal("Speak Latin.", model.requests[3].messages[2].content)
    agent:clear_history()
    assert.are.same({}, agent:history())
  end)

  it("can be asked something that it does not keep", function()
    local agent, model = agent_of { "Hello.", "An aside.", "Yes." }
    agent:chat("Hello.")
    assert.are.equal("An aside.", agent:chat("And?", { add_to_history = false }).content)
    assert.are.equal(3, #model.requests[2].messages)
    assert.are.equal(2, #agent:history())
  end)

  it("takes tools while it runs, and calls them", function()
    local agent = agent_of { { tool_calls = { { name = "double", arguments = { n = 21 } } } }, "It is 42." }
    agent:register_tool({ name = "double", description = "Doubles.", parameters = { n = "integer" } }, function(arguments)
      return arguments.n * 2
    end)
    assert.are.equal("It is 42.", agent:chat("Twice 21?").content)
    assert.are.equal("42", agent:history()[3].content)
    agent:clear_tools()
    assert.are.same({}, agent.assistant.tool_list)
  end)

  it("streams, and counts what it was asked", function()
    local agent = agent_of { "one two", { fault = "quota" } }
    local types = {}
    for event in agent:chat_stream("Count.") do
      types[#types + 1] = event.type
    end
    assert.are.equal("start text text usage stop", table.concat(types, " "))
    assert.are.equal("quota", select(2, perilune.try(agent.chat, agent, "Again.")).kind)
    local stats = agent:stats()
    assert.are.same({ 2, 1, 1, 0.5 }, { stats.requests, stats.successes, stats.failures, stats.success_rate })
    agent:reset_stats()
    assert.are.equal(0, agent:stats().requests)
  end)

  it("says what it cannot take, at the line that said it", function()
    local agent = agent_of { "x" }
    local err = select(2, perilune.try(agent.chat, agent, 7))
    assert.is_truthy(err.message:find("agent:chat: the question is a text", 1, true), err.message)
    err = select(2, perilune.try(agent.chat, agent, "x", { imags = "a.jpg" }))
    assert.is_truthy(err.message:find("did you mean 'images'", 1, true), err.message)
  end)
end)


describe("an assistant as a tool", function()
  local function call(name, input)
    return { tool_calls = { { name = name, arguments = { input = input } } } }
  end

  it("answers on a thread of its own, and what it uses counts for its caller", function()
    local expert = perilune.assistant { name = "expert", model = testing.model { "The moon." }, description = "Knows tides." }
    local model = testing.model { call("expert", "What makes tides?"), "The moon, says the expert." }
    local boss = perilune.assistant { name = "boss", model = model, tools = { expert:as_tool() } }
    local thread = threads.open(app, "t")
    local run = thread:run(boss, "Ask.")
    assert.are.equal("The moon, says the expert.", run.content)
    assert.are.equal("Knows tides.", model.requests[1].tools[1].description)
    local list = assert(runs.list(app:database()))
    assert.are.same({ "expert", run.id }, { list[1].assistant, list[1].parent })
    assert.are.equal(run.usage.total_tokens, assert(runs.get(app:database(), run.id)).usage.total_tokens)
    assert.is_true(run.usage.total_tokens > list[1].usage.total_tokens)
    assert.are.same({}, assert(app:database():check()))
  end)

  it("has what its caller has left of the budget", function()
    local greedy = testing.model({ { tool_calls = { { name = "expert", arguments = { input = "x" } } },
      usage = { prompt_tokens = 60, completion_tokens = 30 } } , "done" })
    local answer = { text = "y", usage = { prompt_tokens = 400, completion_tokens = 1 } }
    local expert = perilune.assistant { name = "expert", model = testing.model { answer } }
    local boss = perilune.assistant { name = "boss", model = greedy, tools = { expert:as_tool() }, budget = { tokens = 300 } }
    local run = threads.open(app, "t"):run(boss, "Ask.")
    assert.are.same({ "incomplete", "budget_tokens", 1 }, { run.status, run.why, #greedy.requests })
  end)

  it("cannot call itself without end", function()
    local deepest = 0
    local tools = {}
    local model = testing.model({ function(request)
      deepest = deepest + 1
      local last = request.messages[#request.messages]
      return last.role == "tool" and "enough" or call("again", "deeper")
    end, repeat_last = true })
    local again = perilune.assistant { name = "again", model = model, tools = tools }
    local as_tool = again:as_tool()
    again.tool_list[1], again.tools.again = as_tool, as_tool
    local run = threads.open(app, "t"):run(again, "Go.")
    assert.are.equal("enough", run.content)
    assert.are.equal(18, deepest) -- nine runs, each asked twice
  end)

  it("that fails is a result that says so", function()
    local expert = perilune.assistant { name = "expert", model = testing.model { { fault = "quota" } } }
    local model = testing.model { call("expert", "x"), "It could not." }
    local boss = perilune.assistant { name = "boss", model = model, tools = { expert:as_tool() } }
    assert.are.equal("It could not.", threads.open(app, "t"):run(boss, "Ask.").content)
    assert.is_true(model.requests[2].messages[3].is_error)
  end)
end)
