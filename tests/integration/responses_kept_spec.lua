-- Responses that are there: in the background, streamed again, cancelled, waiting, deleted, and after a crash.
local json = require "perilune.json"
local kit = require "tests.support.server"
local programs = require "tests.support.program"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local threads = require "perilune.store.threads"
local upstreams = require "tests.support.upstream"

local MODEL = "openai/gpt-4o-mini"


local function with_server(run, options)
  local upstream <close> = upstreams.start()
  local env = { OPENAI_API_KEY = "sk-upstream", OPENAI_BASE_URL = upstream.url .. "/v1" }
  options = options or {}
  options.settings = { env = function(name)
    return env[name]
  end }
  local server <close> = kit.start(options)
  run(server, upstream)
end


local function create(server, body)
  body.model = body.model or MODEL
  local answer = server:post("/v1/responses", body)
  assert.equal(200, answer.status, answer.text)
  return answer.body
end


local function get(server, id, query)
  local answer = server:get("/v1/responses/" .. id .. (query or ""))
  assert.equal(200, answer.status, answer.text)
  return answer.body
end


local function wait_until_ended(server, id)
  local response
  repeat
    task.sleep(0.02)
    response = get(server, id)
  until response.status ~= "queued" and response.status ~= "in_progress"
  return response
end


local function data_of(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.data
  end
  return list
end


describe("a response in the background", function()
  it("is answered at once, and is there when it has ended", function()
    with_server(function(server)
      local begun = create(server, { input = "slow 40", background = true })
      assert.equal("in_progress", begun.status)
      local ended = wait_until_ended(server, begun.id)
      assert.same({ "completed", true, begun.created_at }, { ended.status, ended.background, ended.created_at })
      assert.matches("^word1 .* word40 $", ended.output[1].content[1].text)
    end)
  end)

  it("streams what is stored: the same to whoever comes when", function()
    with_server(function(server)
      local first = data_of(server:events("/v1/responses", { model = MODEL, input = "slow 40", background = true, stream = true }))
      local response = first[#first].response
      assert.same({ "response.created", "response.queued", "response.in_progress", "response.completed" },
        { first[1].type, first[2].type, first[3].type, first[#first].type })
      local path = "/v1/responses/" .. response.id .. "?stream=true"
      assert.same(first, data_of(server:events(path, nil, nil, "GET")))
      for after = 0, #first - 1 do
        local rest = data_of(server:events(path .. "&starting_after=" .. after, nil, nil, "GET"))
        assert.same({ table.unpack(first, after + 2) }, rest)
      end
      assert.same(response, get(server, response.id))
    end)
  end)

  it("goes on when whoever reads it goes away", function()
    with_server(function(server)
      local begun = create(server, { input = "slow 20", background = true })
      do
        local group <close> = task.group()
        local reader = group:spawn(function()
          server:events("/v1/responses/" .. begun.id .. "?stream=true", nil, nil, "GET")
        end)
        while not next(server.server.streams) do
          task.sleep(0.005)
        end
        reader:cancel("user_requested")
      end
      assert.equal("completed", wait_until_ended(server, begun.id).status)
    end)
  end)

  it("can be cancelled, and again", function()
    with_server(function(server)
      local begun = create(server, { input = "slow 100", background = true })
      local cancelled = server:post("/v1/responses/" .. begun.id .. "/cancel")
      assert.same({ 200, "cancelled" }, { cancelled.status, cancelled.body.status })
      assert.same(cancelled.body, server:post("/v1/responses/" .. begun.id .. "/cancel").body)
      local events = data_of(server:events("/v1/responses/" .. begun.id .. "?stream=true", nil, nil, "GET"))
      assert.same({ "response.incomplete", "cancelled" }, { events[#events].type, events[#events].response.status })
    end)
  end)

  it("says that it has failed", function()
    with_server(function(server)
      local ended = wait_until_ended(server, create(server, { input = "fail 400", background = true }).id)
      assert.equal("failed", ended.status)
      assert.matches("told to fail", ended.error.message)
    end)
  end)

  it("is nobody's way to stream or to cancel another one", function()
    with_server(function(server)
      local id = create(server, { input = "Hello" }).id
      assert.equal(400, server:get("/v1/responses/" .. id .. "?stream=true").status)
      assert.equal(400, server:post("/v1/responses/" .. id .. "/cancel").status)
      local begun = create(server, { input = "Hello", background = true }).id
      for _, after in ipairs { "-1", "x", "1e3", "99999999999999999999" } do
        assert.equal(400, server:get("/v1/responses/" .. begun .. "?stream=true&starting_after=" .. after).status, after)
      end
    end)
  end)

  it("is made to its end by the next process when its own is killed", function()
    local upstream <close> = upstreams.start()
    local program <close> = programs.new { OPENAI_BASE_URL = upstream.url .. "/v1", OPENAI_API_KEY = "sk-upstream" }
    local words = { "serve", "--listen", "127.0.0.1:0", "--json", "--log-level", "error" }
    local begun
    do
      local child <close> = program:start(words)
      local client = kit.client(json.decode(programs.read_until(child, "\n")).url)
      begun = create(client, { input = "slow 60", background = true, instructions = "Count." })
      repeat
        task.sleep(0.05)
      until get(client, begun.id).output[1]
      child:kill "KILL"
      child:wait()
    end
    local child <close> = program:start(words)
    local client = kit.client(json.decode(programs.read_until(child, "\n")).url)
    local ended = wait_until_ended(client, begun.id)
    assert.same({ "completed", "Count.", "incomplete" }, { ended.status, ended.instructions, ended.output[1].status })
    assert.matches("^word1 .* word60 $", ended.output[2].content[1].text)
    assert.equal("Count.", upstream.requests[2].body.messages[1].content)
    local events = data_of(client:events("/v1/responses/" .. begun.id .. "?stream=true", nil, nil, "GET"))
    assert.same(ended, events[#events].response)
  end)
end)


describe("a response that waits for a person", function()
  local function define(perilune)
    local model = testing.model { { tool_calls = { { name = "erase" } } }, { text = "Erased." } }
    perilune.assistant { name = "responses_eraser", model = model, tools = { perilune.tool {
      name = "erase", description = "Erases", approval = "always",
      run = function()
        return "gone"
      end,
    } } }
  end

  local body = { model = "assistant/responses_eraser", input = "Erase it" }

  it("is in progress until somebody has decided", function()
    with_server(function(server)
      local waiting = create(server, body)
      assert.same({ "in_progress", "mcp_call", "in_progress" }, { waiting.status, waiting.output[1].type, waiting.output[1].status })
      local answer = server:post("/v1/responses", { model = MODEL, input = "And?", previous_response_id = waiting.id })
      assert.same({ 400, "previous_response_not_ended" }, { answer.status, answer.body.error.code })
      local perilune = require "perilune"
      local run = perilune.runs.get(waiting.id:gsub("^resp", "run"))
      run:approve()
      run:resume()
      local ended = get(server, waiting.id)
      assert.same({ "completed", "gone", "Erased." }, { ended.status, ended.output[1].output, ended.output[2].content[1].text })
    end, { define = define })
  end)

  it("says so in its stream, which cannot wait", function()
    with_server(function(server)
      local events = server:events("/v1/responses", { model = body.model, input = body.input, stream = true })
      local last = events[#events].data
      assert.same({ "error", "waiting_approval" }, { last.type, last.code })
    end, { define = define })
  end)

  it("misses nothing when it is streamed on after the decision", function()
    with_server(function(server)
      local events = data_of(server:events("/v1/responses", { model = body.model, input = body.input, background = true, stream = true }))
      local last, path = table.remove(events), "/v1/responses/" .. events[1].response.id .. "?stream=true"
      assert.same({ "error", events[#events].sequence_number }, { last.type, last.sequence_number })
      local run = require("perilune").runs.get(events[1].response.id:gsub("^resp", "run"))
      run:approve()
      run:resume()
      local rest = data_of(server:events(path .. "&starting_after=" .. last.sequence_number, nil, nil, "GET"))
      table.move(rest, 1, #rest, #events + 1, events)
      assert.same(data_of(server:events(path, nil, nil, "GET")), events)
      assert.equal("response.completed", events[#events].type)
    end, { define = define })
  end)
end)


describe("the input of a response", function()
  it("is listed page by page, from either end", function()
    with_server(function(server)
      local first = create(server, { input = "Before" })
      local id = create(server, { previous_response_id = first.id, input = {
        { role = "user", content = "a" }, { role = "assistant", content = "b" }, { role = "user", content = "c" },
      } }).id
      local function texts(query)
        local page, list = server:get("/v1/responses/" .. id .. "/input_items" .. query).body, {}
        for position, item in ipairs(page.data) do
          list[position] = item.content[1].text
        end
        return table.concat(list, " "), page
      end
      assert.equal("c b a", (texts("")))
      assert.equal("a b c", (texts("?order=asc")))
      local seen, page = texts("?order=asc&limit=2")
      assert.same({ "a b", true }, { seen, page.has_more })
      seen, page = texts("?order=asc&limit=2&after=" .. page.last_id)
      assert.same({ "c", false }, { seen, page.has_more })
      seen = texts("?limit=2&after=" .. page.last_id)
      assert.equal("b a", seen)
      assert.equal(400, server:get("/v1/responses/" .. id .. "/input_items?after=msg_nonsense").status)
      assert.equal(400, server:get("/v1/responses/" .. id .. "/input_items?limit=0").status)
    end)
  end)
end)


describe("a response that is deleted", function()
  it("goes with its thread", function()
    with_server(function(server)
      local id = create(server, { input = "Hello" }).id
      assert.same({ id = id, object = "response", deleted = true }, server:delete("/v1/responses/" .. id).body)
      assert.same({}, assert(threads.list(server.app:database())))
      assert.equal(404, server:get("/v1/responses/" .. id).status)
      assert.equal(404, server:delete("/v1/responses/" .. id).status)
    end)
  end)

  it("leaves what others have gone on with", function()
    with_server(function(server)
      local first = create(server, { input = "One" }).id
      local second = create(server, { input = "Two", previous_response_id = first }).id
      assert.equal(200, server:delete("/v1/responses/" .. first).status)
      assert.equal(404, server:get("/v1/responses/" .. first).status)
      assert.equal(400, server:post("/v1/responses", { model = MODEL, input = "Hi", previous_response_id = first }).status)
      assert.equal("You said: Two", get(server, second).output[1].content[1].text)
    end)
  end)

  it("ends first when it has not", function()
    with_server(function(server)
      local id = create(server, { input = "slow 100", background = true }).id
      assert.equal(200, server:delete("/v1/responses/" .. id).status)
      assert.same({}, assert(runs.list(server.app:database())))
    end)
  end)
end)


describe("the tokens of an input", function()
  it("are counted with all that would be sent", function()
    with_server(function(server)
      local function count(body)
        body.model = MODEL
        local answer = server:post("/v1/responses/input_tokens", body)
        assert.same({ 200, "response.input_tokens" }, { answer.status, answer.body.object })
        return answer.body.input_tokens
      end
      local plain = count { input = "Hello" }
      assert.is_true(count { input = "Hello", instructions = "Be brief." } > plain)
      assert.is_true(count { input = "Hello", tools = { { type = "function", name = "f" } } } > plain)
      local first = create(server, { input = "One" }).id
      assert.is_true(count { input = "Hello", previous_response_id = first } > plain)
    end)
  end)
end)
