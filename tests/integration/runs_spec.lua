-- Runs whose provider or model misbehaves, over real HTTP and a database in memory: the model is told what it did wrong, what
-- had happened is stored, and the thread can go on.
local apps = require "perilune.app"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local perilune = require "perilune"
local replay = require "tests.support.replay"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local threads = require "perilune.agent.thread"
local usage = require "perilune.store.usage"

local MODEL, FALLBACK = "openai/gpt-4o-mini", "groq/llama-3.1-8b-instant"
local ONE_WORD_BYTES = 250

local story = replay.text("one two three four")


-- An application whose provider is this server, with a thread and what its tool was called with.
local function open(server, fallback)
  local values = {
    OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url, GROQ_API_KEY = "a-key", GROQ_BASE_URL = fallback and fallback.url,
  }
  local app = apps.new { db = ":memory:", env = function(name) return values[name] end, timeouts = { idle = 5 } }
  return app, threads.open(app, "a thread")
end


local function weather_tool(cities)
  return perilune.tool {
    name = "get_weather", description = "The weather in a city.", parameters = { city = "string: its name" },
    run = function(arguments)
      cities[#cities + 1] = arguments.city
      return arguments.city == "Atlantis" and error("there is no such city") or "18 degrees"
    end,
  }
end


local function assistant_of(cities, options)
  local all = { name = "forecaster", model = MODEL, tools = { weather_tool(cities) } }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return perilune.assistant(all)
end


local function calls(name, arguments, id)
  return replay.whole(replay.calls { { id = id or "call_1", name = name, arguments = arguments } })
end


-- The messages of a thread, short: "assistant(partial): one ".
local function transcript(thread)
  local lines = {}
  for position, stored in ipairs(thread:messages()) do
    local message = stored.message
    local called = message.tool_calls and ("call %s(%s)"):format(message.tool_calls[1].name, message.tool_calls[1].arguments)
    lines[position] = ("%s%s: %s"):format(message.role, stored.status == "partial" and "(partial)" or "", called or message.content)
  end
  return lines
end


-- What the n-th request told the model last.
local function told(server, n)
  local messages = server.requests[n].body.messages
  return messages[#messages]
end


local function last_run(app, thread)
  return assert(runs.list(app:database(), { thread = thread }))[1]
end


describe("a model that", function()
  -- It makes one mistake; the answer to the next request ends the run.
  local function makes(mistake, cities)
    local server <close> = replay.serve { mistake, replay.whole(replay.text("It is 18 degrees.")) }
    local app <close>, thread = open(server)
    local run = thread:run(assistant_of(cities), "How is the weather in Paris?")
    assert.are.equal("completed", run.status)
    assert.are.equal("It is 18 degrees.", run.content)
    assert.are.equal(2, #server.requests)
    assert.are.equal(4, #thread:messages())
    assert.are.same({}, assert(app:database():check()))
    return told(server, 2), server
  end

  it("writes arguments that are not JSON is told so, and the tool is not run", function()
    local cities = {}
    local message = makes(calls("get_weather", '{"city": "Par'), cities)
    assert.are.same({ "tool", "call_1" }, { message.role, message.tool_call_id })
    assert.is_truthy(message.content:find("get_weather': the arguments are not valid JSON", 1, true), message.content)
    assert.are.same({}, cities)
  end)

  it("writes arguments that miss the schema is told what is wrong with them", function()
    local cities = {}
    local message = makes(calls("get_weather", '{"city": 7}'), cities)
    assert.is_truthy(message.content:find("do not fit its schema", 1, true), message.content)
    assert.is_truthy(message.content:find("$.city", 1, true), message.content)
    assert.are.same({}, cities)
  end)

  it("calls a tool that does not exist is told which ones do", function()
    local message = makes(calls("get_wether", '{"city": "Paris"}'), {})
    assert.are.equal("Error: there is no tool called 'get_wether'; the tools are: get_weather", message.content)
  end)

  it("calls a tool that raises is told what was raised", function()
    local cities = {}
    local message = makes(calls("get_weather", '{"city": "Atlantis"}'), cities)
    assert.is_truthy(message.content:find("there is no such city", 1, true), message.content)
    assert.are.same({ "Atlantis" }, cities)
  end)

  it("cannot be helped ends the run, and the thread stays fit for another", function()
    local broken = calls("get_weather", "{")
    local server <close> = replay.serve { broken, broken, broken, replay.whole(replay.text("Sorry.")) }
    local app <close>, thread = open(server)
    local assistant = assistant_of {}
    local err = select(2, perilune.try(thread.run, thread, assistant, "Weather?"))
    assert.are.same({ "tool", "arguments" }, { err.kind, err.code })
    assert.are.equal(3, #server.requests)
    assert.are.equal("failed", last_run(app, thread).status)
    assert.are.equal("Sorry.", thread:run(assistant, "Again?").content)
    local open_calls = 0
    for _, message in ipairs(server.requests[4].body.messages) do
      open_calls = open_calls + (message.tool_calls and #message.tool_calls or 0) - (message.role == "tool" and 1 or 0)
    end
    assert.are.equal(0, open_calls)
  end)

  it("never stops calling tools is stopped after max_steps", function()
    local cities = {}
    local server <close> = replay.serve { calls("get_weather", '{"city":"Rome"}') }
    local app <close>, thread = open(server)
    local run = thread:run(assistant_of(cities, { max_steps = 3 }), "Weather?")
    assert.are.same({ "incomplete", 3, 3 }, { run.status, #cities, #server.requests })
    assert.are.equal("incomplete", last_run(app, thread).status)
  end)
end)


describe("a run", function()
  it("that is cut in its second model call keeps the tool's result and the words that had come", function()
    local server <close> = replay.serve {
      calls("get_weather", '{"city":"Paris"}'), replay.broken(story, ONE_WORD_BYTES), replay.whole(replay.text("All four.")),
    }
    local app <close>, thread = open(server)
    local assistant = assistant_of {}
    local err = select(2, perilune.try(thread.run, thread, assistant, "Weather?"))
    assert.is_true(errors.is(err, "stream_interrupted"))
    local kept = { "user: Weather?", 'assistant: call get_weather({"city":"Paris"})', "tool: 18 degrees", "assistant(partial): one " }
    assert.are.same(kept, transcript(thread))
    local row = last_run(app, thread)
    assert.are.same({ "failed", "stream_interrupted" }, { row.status, row.error.kind })
    local outcomes = {}
    for position, attempt in ipairs(assert(usage.attempts(app:database(), row))) do
      outcomes[position] = attempt.outcome
    end
    assert.are.same({ "ok", "stream_interrupted" }, outcomes)

    assert.are.equal("All four.", thread:run(assistant, "Go on.").content)
    assert.are.equal("one ", server.requests[3].body.messages[4].content)
    assert.are.same({}, assert(app:database():check()))
  end)

  it("that fails before it said anything leaves the question and nothing else", function()
    local server <close> = replay.serve { replay.whole(replay.text("")), replay.whole(story) }
    local app <close>, thread = open(server)
    local assistant = assistant_of {}
    assert.are.equal("empty_response", select(2, perilune.try(thread.run, thread, assistant, "Hello?")).kind)
    assert.are.same({ "user: Hello?" }, transcript(thread))
    assert.are.equal("failed", last_run(app, thread).status)
    assert.are.equal("one two three four", thread:run(assistant, "Hello??").content)
  end)

  it("shows and stores the attempts that were given up before another provider answered", function()
    local first <close> = replay.serve { replay.reply(503, { error = { message = "full" } }) }
    local second <close> = replay.serve { replay.whole(story) }
    local app <close>, thread = open(first, second)
    local attempts = {}
    local run = thread:run(assistant_of({}, { fallbacks = { FALLBACK } }), "Hello", { on_event = function(event)
      attempts[#attempts + 1] = event.type == "attempt" and event or nil
    end })
    assert.are.same({ "one two three four", "groq" }, { run.content, run.provider })
    assert.are.equal(2, #attempts)
    assert.are.same({ "openai", "retried", 503, "overloaded" },
      { attempts[1].provider, attempts[1].reason, attempts[1].status, attempts[1].error.kind })
    local stored = {}
    for position, attempt in ipairs(assert(usage.attempts(app:database(), run))) do
      stored[position] = attempt.provider .. " " .. attempt.outcome
    end
    assert.are.same({ "openai overloaded", "openai overloaded", "groq ok" }, stored)
  end)

  it("without a key says so before anything is stored", function()
    local server <close> = replay.serve { replay.whole(story) }
    local app <close>, thread = open(server)
    app.settings.env = function() end
    local err = select(2, perilune.try(thread.run, thread, assistant_of {}, "Hello"))
    assert.are.same({ "authentication", "no_key" }, { err.kind, err.code })
    assert.are.same({}, thread:messages())
    assert.is_nil(last_run(app, thread))
  end)

  it("whose stream is closed closes the provider's socket, keeps the words that had come, and makes room for the next", function()
    local server <close> = replay.serve { replay.stalled(story, ONE_WORD_BYTES), replay.whole(story) }
    local app <close>, thread = open(server)
    local assistant = assistant_of {}
    do
      local stream <close> = thread:stream(assistant, "Tell me.")
      repeat until stream:next().type == "text"
    end
    assert.are.same({ "user: Tell me.", "assistant(partial): one " }, transcript(thread))
    assert.are.equal("cancelled", last_run(app, thread).status)
    server:wait_until(function() return server.requests[1].is_over end)
    assert.are.equal(0, fetch.live())
    assert.are.equal("one two three four", thread:run(assistant, "Go on.").content)
  end)

  it("is the only one on its thread: a second is a conflict and disturbs nothing", function()
    local server <close> = replay.serve { replay.stalled(story, ONE_WORD_BYTES) }
    local app <close>, thread = open(server)
    local assistant = assistant_of {}
    local stream <close> = thread:stream(assistant, "Tell me.")
    repeat until stream:next().type == "text"
    local err = select(2, perilune.try(thread.run, thread, assistant, "Me too."))
    assert.are.same({ "conflict", "active_run" }, { err.kind, err.code })
    assert.are.same({ "user: Tell me." }, transcript(thread))
    assert.are.equal("running", last_run(app, thread).status)
  end)

  it("runs the tools of one answer side by side and gives their results back in order", function()
    local arrived, both = 0, task.signal()
    local meet = perilune.tool {
      name = "meet", description = "Waits for the other.", parameters = { who = "string: a name" },
      run = function(arguments)
        arrived = arrived + 1
        both:wake()
        while arrived < 2 do
          both:wait()
        end
        return "met " .. arguments.who
      end,
    }
    local server <close> = replay.serve {
      replay.whole(replay.calls {
        { id = "call_a", name = "meet", arguments = '{"who":"Ann"}' }, { id = "call_b", name = "meet", arguments = '{"who":"Bob"}' },
      }), replay.whole(story),
    }
    local app <close>, thread = open(server) -- luacheck: ignore 211
    thread:run(assistant_of({}, { tools = { meet } }), "Meet.")
    local messages = server.requests[2].body.messages
    assert.are.equal("call_a met Ann call_b met Bob", ("%s %s %s %s"):format(messages[3].tool_call_id, messages[3].content,
      messages[4].tool_call_id, messages[4].content))
  end)
end)
