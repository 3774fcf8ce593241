-- Assistants that call others as tools, and that hand over to others, asked over HTTP: whoever is at work, the request and its account
-- stay the same.
local credits = require "perilune.store.credits"
local accounts = require "perilune.store.accounts"
local apps = require "perilune.app"
local assistants = require "perilune.store.assistants"
local keys = require "perilune.store.keys"
local idempotency = require "perilune.store.idempotency"
local kit = require "tests.support.server"
local run_jobs = require "perilune.serve.run_jobs"
local runs = require "perilune.store.runs"
local registry = require "perilune.agent.registry"
local servers = require "perilune.serve"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local threads = require "perilune.store.threads"
local token = require "perilune.sys.token"

local function call(name, arguments)
  return { tool_calls = { { name = name, arguments = arguments or {} } } }
end


local function calls(...)
  local list = {}
  for position, name in ipairs { ... } do
    list[position] = { name = name, arguments = {} }
  end
  return { tool_calls = list }
end


local mine = { type = "function", name = "mine", parameters = { type = "object", properties = {} } }

local models


-- desk hands over to billing, and billing back to desk; boss asks expert as a tool.
local function define(answers, more)
  return function(perilune)
    models = {}
    for name, list in pairs(answers) do
      models[name] = testing.model(list)
    end
    local function assistant(name, options)
      options.name, options.model = "teams_" .. name, models[name] or testing.model {}
      for field, value in pairs((more or {})[name] or {}) do
        options[field] = value
      end
      return perilune.assistant(options)
    end
    local danger = perilune.tool {
      name = "danger", description = "Does it", approval = function() return true end,
      run = function()
        return "done"
      end,
    }
    local echo = perilune.tool { name = "echo", description = "Says it", run = function()
      return "said"
    end }
    local billing = assistant("billing", { instructions = "You bill.", tools = { danger, echo }, handoffs = {} })
    local desk = assistant("desk", { instructions = "You greet.", tools = { danger, echo }, handoffs = { billing } })
    billing.handoffs[1] = desk
    assistant("boss", { tools = { assistant("expert", { description = "Knows" }):as_tool() } })
  end
end


local function create(server, name, body)
  body.model = "assistant/teams_" .. name
  body.input = body.input or "Hello"
  return server:post("/v1/responses", body)
end


local function approve(server, answer)
  local run_id = answer.body.id:gsub("^resp", "run")
  assert.equal(200, server:post("/v1/runs/" .. run_id .. "/approve").status)
  local body
  repeat
    body = server:get("/v1/responses/" .. answer.body.id).body
  until body.status ~= "in_progress"
  return body
end


local function names_of(tools)
  local names = {}
  for position, one in ipairs(tools or {}) do
    names[position] = one.name
  end
  return table.concat(names, " ")
end


describe("an assistant that is another one's tool", function()
  it("is paid by the account that asks the other", function()
    local server <close> = kit.start { define = define {
      boss = { call("teams_expert", { input = "Why?" }), "So it is." }, expert = { "Because." },
    } }
    server.headers.authorization = "Bearer " .. assert(keys.create(server.server.db, { name = "a" }))
    assert.equal(200, create(server, "boss", {}).status)
    local account = assert(accounts.get(server.server.db, "a"))
    local requests = 0
    for _, row in ipairs(assert(credits.stats(server.server.db, account.no, 0, "model"))) do
      requests = requests + row.requests
    end
    assert.equal(3, requests)
  end)

  it("waits for decisions of its own that the account can make", function()
    local server <close> = kit.start { define = define({
      boss = { call("teams_expert", { input = "Do it" }), "It waits." }, expert = { call "danger", "Done." },
    }, { expert = { approval = "always", tools = {} } }) }
    server.headers.authorization = "Bearer " .. assert(keys.create(server.server.db, { name = "a" }))
    local expert = require("perilune.agent.defined").get "teams_expert"
    local found = require("perilune").tool { name = "danger", description = "Does it", run = function()
      return "done"
    end }
    expert.tools.danger, expert.tool_list[1] = found, found
    local answer = create(server, "boss", {})
    local waiting = answer.text:match "the run (run_%w+) of the assistant waits"
    assert.equal(200, server:post("/v1/runs/" .. waiting .. "/approve").status)
    require("perilune").runs.get(waiting):wait(10)
    for _, row in ipairs(server:get("/v1/credits/stats").body.by_model) do
      assert.equal("assistant/teams_boss", row.model)
    end
  end)

  it("leaves nothing behind when the answer is not to be kept", function()
    local server <close> = kit.start { define = define {
      boss = { call("teams_expert", { input = "Why?" }), "So." }, expert = { "Because." },
    } }
    assert.equal(200, create(server, "boss", { store = false }).status)
    assert.same({}, assert(threads.list(server.server.db)))
  end)
end)


describe("a hand-over", function()
  it("keeps what the request says of every answer, and the client's tools", function()
    local server <close> = kit.start { define = define {
      desk = { call "transfer_to_teams_billing", "Back." }, billing = { call "echo", call "transfer_to_teams_desk" },
    } }
    local answer = create(server, "desk", {
      tools = { mine }, instructions = "In one word.", max_output_tokens = 77, temperature = 0.5,
    })
    assert.equal("completed", answer.body.status)
    local there, back = models.billing.requests[1], models.desk.requests[2]
    assert.same({ 77, 0.5 }, { there.max_tokens or there.max_completion_tokens, there.temperature })
    assert.equal("You bill.\n\nIn one word.", there.messages[1].content)
    assert.equal("danger echo mine transfer_to_teams_desk", names_of(there.tools))
    assert.same({ 77, 0.5 }, { back.max_tokens or back.max_completion_tokens, back.temperature })
    assert.equal("You greet.\n\nIn one word.", back.messages[1].content)
  end)

  it("stands beside a call of the client's tool: the results go to the other one", function()
    local server <close> = kit.start { define = define {
      desk = { calls("transfer_to_teams_billing", "mine") }, billing = { "Billed." },
    } }
    local first = create(server, "desk", { tools = { mine } }).body
    local call_id
    for _, item in ipairs(first.output) do
      call_id = item.type == "function_call" and item.call_id or call_id
    end
    local second = create(server, "desk", { previous_response_id = first.id, tools = { mine }, input = {
      { type = "function_call_output", call_id = call_id, output = "here" },
    } })
    assert.equal("completed", second.body.status, second.text)
    assert.equal(1, #models.billing.requests)
  end)

  it("does not go on for ever", function()
    local there, back = {}, {}
    for position = 1, 30 do
      there[position], back[position] = call "transfer_to_teams_billing", call "transfer_to_teams_desk"
    end
    local server <close> = kit.start { define = define({ desk = there, billing = back }, { desk = { max_steps = 5 } }) }
    assert.equal("incomplete", create(server, "desk", {}).body.status)
    assert.is_true(#models.desk.requests + #models.billing.requests <= 21)
  end)

  it("leaves the run the budget of the assistant that was asked, also when somebody has decided", function()
    local server <close> = kit.start { define = define({
      desk = { call "transfer_to_teams_billing" }, billing = { call "danger", call "echo", call "echo", "End." },
    }, { desk = { budget = { tool_calls = 3 } } }) }
    local ended = approve(server, create(server, "desk", {}))
    assert.same({ "incomplete", 3 }, { ended.status, #models.billing.requests })
  end)

  it("goes to the assistant that is meant, also where both have one name", function()
    local there = testing.model { "There." }
    local server <close> = kit.start { define = define({ desk = { call "transfer_to_teams_desk", "Here." } }, {}) }
    local defined = require "perilune.agent.defined"
    local desk = defined.get "teams_desk"
    desk.handoffs[1] = desk:with { model = there, handoffs = {} }
    assert.equal("completed", create(server, "desk", {}).body.status)
    assert.same({ 1, 1 }, { #models.desk.requests, #there.requests })
  end)

  it("leaves the run the steps of the assistant that was asked", function()
    local server <close> = kit.start { define = define({
      desk = { call "transfer_to_teams_billing" }, billing = { "Billed." },
    }, { billing = { max_steps = 1 } }) }
    assert.equal("completed", create(server, "desk", {}).body.status)
  end)

  it("forces a call of each assistant once", function()
    local server <close> = kit.start { define = define({
      desk = { call "transfer_to_teams_billing", "End." }, billing = { call "transfer_to_teams_desk" },
    }, { desk = { tool_choice = "required" }, billing = { tool_choice = "required" } }) }
    assert.equal("completed", create(server, "desk", {}).body.status)
    assert.same({ "required", "required", nil }, { models.desk.requests[1].tool_choice, models.billing.requests[1].tool_choice,
      models.desk.requests[2].tool_choice })
  end)

  it("is no name for a tool of the client's", function()
    local server <close> = kit.start { define = define {} }
    local answer = create(server, "desk", { tools = { { type = "function", name = "transfer_to_teams_billing" } } })
    assert.same({ 400, "tools[0].name" }, { answer.status, answer.body.error.param })
    answer = server:post("/v1/threads/runs", { assistant_id = "asst_teams_desk", tools = {
      { type = "function", ["function"] = { name = "transfer_to_teams_billing" } },
    } })
    assert.same({ 400, "tools[0].function.name" }, { answer.status, answer.body.error.param })
    local perilune = require "perilune"
    local one, other = perilune.assistant { name = "teams a", model = testing.model {} }, perilune.assistant {
      name = "teams_a", model = testing.model {},
    }
    assert.error_matches(function()
      perilune.assistant { name = "teams_c", model = testing.model {}, handoffs = { one, other } }
    end, "transfer_to_teams_a")
  end)

  it("of a row goes to rows of its own account", function()
    local server <close> = kit.start {}
    local db = server.server.db
    assert(assistants.create(db, { name = "teams_hidden", definition = { instructions = "I am somebody else's." }, account = "other" }))
    assert(assistants.create(db, { name = "teams_row", definition = { handoffs = { "teams_hidden" } } }))
    assert.has_error(function()
      registry.find(server.app, "teams_row")
    end)
  end)
end)


describe("a run that waits for a decision", function()
  it("gives the client's calls beside it to the client", function()
    local server <close> = kit.start { define = define { desk = { calls("danger", "mine") } } }
    local ended = approve(server, create(server, "desk", { tools = { mine } }))
    assert.equal("completed", ended.status)
    assert.same({ "mcp_call", "function_call" }, { ended.output[1].type, ended.output[2].type })
  end)

  it("cannot, where the answer is not to be kept", function()
    local server <close> = kit.start { define = define { desk = { call "danger", call "danger" } } }
    local answer = create(server, "desk", { store = false })
    assert.same({ 409, "waiting_approval", "store" }, { answer.status, answer.body.error.code, answer.body.error.param })
    local events = server:events("/v1/responses", { model = "assistant/teams_desk", input = "Hello", store = false, stream = true })
    assert.matches("cannot wait", events[#events].data.message)
  end)

  it("keeps the limit of calls that was asked for", function()
    local server <close> = kit.start { define = define { desk = { call "danger", call "echo", "End." } } }
    local ended = approve(server, create(server, "desk", { max_tool_calls = 1 }))
    assert.same({ "incomplete", 2 }, { ended.status, #models.desk.requests })
  end)

  it("that is cancelled in the middle of an answer shows what had come of it as used", function()
    local server <close> = kit.start { define = define { desk = { { text = ("word "):rep(500), word_delay = 0.02 } } } }
    local id = create(server, "desk", { background = true }).body.id
    repeat until #server:get("/v1/responses/" .. id).body.output > 0
    local body = server:post("/v1/responses/" .. id .. "/cancel").body
    assert.equal("cancelled", body.status)
    assert.is_true(body.usage.input_tokens > 0 and body.usage.output_tokens > 0)
  end)

  it("knows what it has used, also when it is ended", function()
    local server <close> = kit.start { define = define { desk = { call "danger" } } }
    local answer = create(server, "desk", { background = true })
    local id = answer.body.id
    local body
    repeat
      body = server:get("/v1/responses/" .. id).body
    until #body.output > 0
    server:post("/v1/responses/" .. id .. "/cancel")
    body = server:get("/v1/responses/" .. id).body
    assert.equal("cancelled", body.status)
    local run = require("perilune").runs.get(id:gsub("^resp", "run"))
    assert.is_truthy(run.usage)
  end)
end)


describe("an answer that is checked", function()
  it("is not shown before it has passed", function()
    local server <close> = kit.start { define = define({ desk = { '{"n":"x"}', '{"n":4}' } }, { desk = { output = { n = "integer" } } }) }
    local answer = create(server, "desk", {})
    assert.same({ 1, '{"n":4}' }, { #answer.body.output, answer.body.output[1].content[1].text })
  end)

  it("is never shown when it is refused", function()
    local guard = function(text)
      return text:find "SECRET" and "it tells" or nil
    end
    local server <close> = kit.start { define = define({ desk = { "the SECRET is 42" } }, { desk = {
      guardrails = { output = { guard } },
    } }) }
    local id = create(server, "desk", { background = true }).body.id
    local body
    repeat
      body = server:get("/v1/responses/" .. id)
    until body.body.status ~= "in_progress" and body.body.status ~= "queued"
    assert.equal("failed", body.body.status)
    assert.is_nil(body.text:find "SECRET")
    assert.is_nil(server:get("/v1/runs/" .. id:gsub("^resp", "run") .. "/events").text:find "SECRET")
  end)

  it("is refused beside a call of the client's tool, too", function()
    local server <close> = kit.start { define = define({ desk = {
      { text = "the SECRET is 42", tool_calls = { { name = "mine", arguments = {} } } },
    } }, { desk = { guardrails = { output = { function(text)
      return text:find "SECRET" and "it tells" or nil
    end } } } }) }
    local answer = create(server, "desk", { tools = { mine } })
    assert.same({ 400, nil }, { answer.status, answer.text:find "42" })
  end)

  it("that never fits is the upstream's mistake, and not asked again", function()
    local server <close> = kit.start { define = define({ desk = { "a", "b", "c" } }, { desk = { output = { n = "integer" } } }) }
    local answer = create(server, "desk", {})
    assert.same({ 502, "upstream_error", "false" }, { answer.status, answer.body.error.code, answer.headers["x-should-retry"] })
  end)
end)


describe("a chat completion of an assistant", function()
  local function ask(server, body)
    body.model, body.messages = "assistant/teams_desk", { { role = "user", content = "Hello" } }
    return server:post("/v1/chat/completions", body)
  end

  it("says that somebody has to decide", function()
    local server <close> = kit.start { define = define { desk = { call "danger" } } }
    local answer = ask(server, {})
    assert.same({ 409, "waiting_approval", "false" }, { answer.status, answer.body.error.code, answer.headers["x-should-retry"] })
    assert.matches("run_%w+", answer.body.error.message)
  end)

  it("says so again to whoever asks again with the same Idempotency-Key", function()
    local server <close> = kit.start { define = define { desk = { call "danger" } } }
    server.headers["idempotency-key"] = "1"
    local first, again = ask(server, {}), ask(server, {})
    assert.same({ 409, first.text }, { again.status, again.text })
  end)

  it("that has reached a limit says so", function()
    local server <close> = kit.start { define = define({ desk = { call "echo", call "echo" } }, { desk = { max_steps = 1 } }) }
    assert.equal("length", ask(server, {}).body.choices[1].finish_reason)
  end)

  it("ends with the process that answered it, and is asked no more", function()
    local server <close> = kit.start { define = define { desk = { "Never." } } }
    local db = server.server.db
    local row = assert(runs.begin(db, {
      thread = assert(threads.create(db)), assistant = "teams_desk", owner = "dead:1:1", step = { kind = "model", name = "m" },
      asked = { api = "chat", model = "assistant/teams_desk", assistant = "teams_desk", overrides = {}, tools = {} },
    }, function() return false end))
    run_jobs.recover(server.server)
    assert.same({ "failed", 0 }, { assert(runs.get(db, row.id)).status, #models.desk.requests })
  end)

  it("takes every option that says how an answer is made, and refuses those it has not", function()
    local server <close> = kit.start { define = define { desk = { "Hi." } } }
    assert.equal(200, ask(server, { presence_penalty = 0.5, logit_bias = { ["1"] = 2 } }).status)
    local request = models.desk.requests[1]
    assert.same({ 0.5, 2 }, { request.presence_penalty, request.provider_specific_params.logit_bias["1"] })
    for _, name in ipairs { "n", "logprobs" } do
      local answer = ask(server, { [name] = name == "n" and 2 or true })
      assert.same({ 400, name }, { answer.status, answer.body.error.param })
    end
  end)
end)


describe("a request with an Idempotency-Key whose process ended in the middle", function()
  it("is not made again while its run goes on", function()
    local server <close> = kit.start { define = define { desk = { "Never." } } }
    local db = server.server.db
    local body = { model = "assistant/teams_desk", input = "Hello" }
    server.headers["idempotency-key"], server.headers["content-type"] = "1", "application/json"
    local first = server:post("/v1/responses", body).body
    local run_id = first.id:gsub("^resp", "run")
    assert.equal(first.id, server:post("/v1/responses", body).body.id)
    local text = assert(require("perilune.json").encode(body))
    local place = {
      account_no = 0, key = "2", owner = "dead:1:1", request_id = run_id:gsub("^run", "req"),
      request_hash = token.sha256("POST\n/v1/responses\n\n\n" .. text),
    }
    assert.equal("new", (idempotency.begin(db, place)))
    server.headers["idempotency-key"] = "2"
    for _ = 1, 2 do
      local answer = server:post("/v1/responses", body)
      assert.same({ 409, "idempotency_answer_lost" }, { answer.status, answer.body.error.code })
      assert.matches(run_id, answer.body.error.message, 1, true)
    end
    assert.equal(1, #models.desk.requests)
  end)
end)


describe("a server that stops", function()
  local function slow(steps)
    return function(perilune)
      perilune.assistant { name = "teams_slow", model = testing.model { call "wait", "Waited." }, tools = { perilune.tool {
        name = "wait", description = "Waits",
        run = function()
          steps.begun:wake()
          steps.over:wait()
          return "done"
        end,
      } } }
    end
  end

  -- A background run whose tool is under way when the server is stopped.
  local function stop_in_the_middle(seconds, when_stopping)
    local steps = { begun = task.signal(), over = task.signal() }
    local app = apps.new { db = ":memory:", env = function() end }
    local drain_seconds = servers.DRAIN_SECONDS
    servers.DRAIN_SECONDS = seconds
    local server = kit.start { app = app, define = slow(steps) }
    local begun = task.spawn(function()
      steps.begun:wait()
    end)
    local id = server:post("/v1/responses", { model = "assistant/teams_slow", input = "Go", background = true }).body.id
    begun:wait()
    server.stop:wake()
    when_stopping(steps)
    server:close()
    servers.DRAIN_SECONDS = drain_seconds
    local row = assert(runs.get(app:database(), (id:gsub("^resp", "run"))))
    app:close()
    return row
  end

  it("leaves nothing of a chat completion that did not end", function()
    local steps = { begun = task.signal(), over = task.signal() }
    local app = apps.new { db = ":memory:", env = function() end }
    local drain_seconds = servers.DRAIN_SECONDS
    servers.DRAIN_SECONDS = 0
    local server = kit.start { app = app, define = slow(steps) }
    local group <close> = task.group()
    group:spawn(function()
      pcall(server.post, server, "/v1/chat/completions", {
        model = "assistant/teams_slow", messages = { { role = "user", content = "Go" } },
      })
    end)
    steps.begun:wait()
    server:close()
    servers.DRAIN_SECONDS = drain_seconds
    local next_one <close> = kit.start { app = app, define = slow(steps) }
    local row
    repeat
      row = assert(runs.list(next_one.server.db))[1]
      task.yield()
    until row.finished_at
    assert.equal("failed", row.status)
    group:wait()
  end)

  it("lets the runs in the background end", function()
    local row = stop_in_the_middle(10, function(steps)
      steps.over:wake()
    end)
    assert.equal("completed", row.status)
  end)

  it("leaves those that do not end to the next process", function()
    local row = stop_in_the_middle(0, function() end)
    assert.same({ "running", 0 }, { row.status, row.crashes })
    assert.is_nil(row.lease_owner)
  end)
end)
