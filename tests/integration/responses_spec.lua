-- The Responses API over HTTP, on the real engine: asking, going on, what is kept and what is not.
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local threads = require "perilune.store.threads"
local upstreams = require "tests.support.upstream"

local MODEL = "openai/gpt-4o-mini"

local weather = { type = "function", name = "get_weather", description = "The weather of a city", parameters = {
  type = "object", properties = { city = { type = "string" } }, required = { "city" },
} }


-- A server whose OpenAI is ours, and that OpenAI.
local function start(upstream, options)
  local env = { OPENAI_API_KEY = "sk-upstream", OPENAI_BASE_URL = upstream.url .. "/v1" }
  options = options or {}
  options.settings = { env = function(name)
    return env[name]
  end }
  return kit.start(options)
end


local function with_server(run, options)
  local upstream <close> = upstreams.start()
  local server <close> = start(upstream, options)
  run(server, upstream)
end


local function create(server, body, headers)
  body.model = body.model or MODEL
  return server:post("/v1/responses", body, headers)
end


local function said(answer)
  assert.equal(200, answer.status, answer.text)
  for _, item in ipairs(answer.body.output) do
    if item.type == "message" then
      return item.content[1].text
    end
  end
end


-- What the upstream was sent last: "system: …|user: …".
local function heard(upstream)
  local lines = {}
  for position, message in ipairs(upstream.requests[#upstream.requests].body.messages) do
    lines[position] = message.role .. ": " .. tostring(message.content)
  end
  return table.concat(lines, "|")
end


local function types(events)
  local names = {}
  for position, event in ipairs(events) do
    assert.equal(event.event, event.data.type)
    assert.equal(position - 1, event.data.sequence_number)
    names[position] = event.event:gsub("^response%.", "")
  end
  return table.concat(names, " ")
end


describe("POST /v1/responses", function()
  it("answers, and gives the same again to whoever asks for it", function()
    with_server(function(server)
      local answer = create(server, { input = "Hello", instructions = "Be brief.", metadata = { a = "b" } })
      assert.equal("You said: Hello", said(answer))
      assert.equal("Be brief.", answer.body.instructions)
      local again = server:get("/v1/responses/" .. answer.body.id)
      assert.same(answer.body, again.body)
      assert.equal(200, again.status)
    end)
  end)

  it("streams, and ends without [DONE]", function()
    with_server(function(server)
      local events = server:events("/v1/responses", { model = MODEL, input = "a b", stream = true })
      assert.equal("created in_progress output_item.added content_part.added output_text.delta output_text.delta output_text.delta "
        .. "output_text.delta output_text.done content_part.done output_item.done completed", types(events))
      assert.equal("text/event-stream; charset=utf-8", events.headers["content-type"])
      local last = events[#events].data.response
      assert.same(last, server:get("/v1/responses/" .. last.id).body)
    end)
  end)

  it("goes on after an earlier response, without its instructions", function()
    with_server(function(server, upstream)
      local first = create(server, { input = "One", instructions = "Be brief." })
      assert.equal("system: Be brief.|user: One", heard(upstream))
      create(server, { input = "Two", previous_response_id = first.body.id })
      assert.equal("user: One|assistant: You said: One|user: Two", heard(upstream))
      local list = assert(threads.list(server.app:database()))
      assert.equal(1, #list)
    end)
  end)

  it("goes on twice after one response, each time from there", function()
    with_server(function(server, upstream)
      local first = create(server, { input = "One" }).body
      create(server, { input = "Two", previous_response_id = first.id })
      create(server, { input = "Three", previous_response_id = first.id })
      assert.equal("user: One|assistant: You said: One|user: Three", heard(upstream))
    end)
  end)

  it("goes on after a response that added nothing: it failed, and had no input", function()
    local model = testing.model { { text = "First." }, { error = { kind = "api", message = "out of order" } }, { text = "Third." } }
    with_server(function(server)
      local function ask(body)
        body.model = "assistant/responses_unlucky"
        return create(server, body).body
      end
      local first = ask { input = "One" }
      local second = ask { previous_response_id = first.id, background = true }
      repeat
        task.sleep(0.01)
        second = server:get("/v1/responses/" .. second.id).body
      until second.status == "failed"
      local counted = server:post("/v1/responses/input_tokens", { model = MODEL, previous_response_id = second.id }).body.input_tokens
      assert.is_true(counted > 0)
      ask { previous_response_id = second.id, input = "Three" }
      assert.same({ { role = "user", content = "One" }, { role = "assistant", content = "First." }, { role = "user", content = "Three" } },
        model.requests[3].messages)
    end, { define = function(perilune)
      perilune.assistant { name = "responses_unlucky", model = model }
    end })
  end)

  it("goes on twice at the same time", function()
    with_server(function(server, upstream)
      local first, answers = create(server, { input = "One" }).body, {}
      do
        local group <close> = task.group()
        for position, input in ipairs { "slow 5", "slow 6" } do
          group:spawn(function()
            answers[position] = create(server, { input = input, previous_response_id = first.id })
          end)
        end
        group:wait()
      end
      assert.same({ "word1 word2 word3 word4 word5 ", "word1 word2 word3 word4 word5 word6 " }, { said(answers[1]), said(answers[2]) })
      for position = 2, 3 do
        assert.equal(3, #upstream.requests[position].body.messages)
      end
    end)
  end)

  it("gives calls of the client's tools to the client, and takes what came of them", function()
    with_server(function(server, upstream)
      local first = create(server, { input = 'call get_weather {"city":"Paris"}', tools = { weather } }).body
      assert.equal("completed", first.status)
      local call = first.output[1]
      assert.same({ "function_call", "get_weather", '{"city":"Paris"}' }, { call.type, call.name, call.arguments })
      local second = create(server, { previous_response_id = first.id, tools = { weather }, input = {
        { type = "function_call_output", call_id = call.call_id, output = "rain" },
      } })
      assert.equal("The tools said: rain", said(second))
      assert.equal(3, #upstream.requests[2].body.messages)
    end)
  end)

  it("asks an assistant, whose own tools it shows as done", function()
    with_server(function(server)
      local answer = create(server, { model = "assistant/responses_forecaster", input = "Oslo?", instructions = "In one word." })
      assert.equal("It snows.", said(answer))
      local call = answer.body.output[1]
      assert.same({ "mcp_call", "look_outside", "completed", "snow in Oslo" }, { call.type, call.name, call.status, call.output })
      assert.equal("assistant/responses_forecaster", answer.body.model)
      assert.same(answer.body, server:get("/v1/responses/" .. answer.body.id).body)
    end, { define = function(perilune)
      local model = testing.model {
        { tool_calls = { { name = "look_outside", arguments = { city = "Oslo" } } } }, { text = "It snows." },
      }
      perilune.assistant { name = "responses_forecaster", model = model, instructions = "You know.", tools = { perilune.tool {
        name = "look_outside", description = "The weather", parameters = { city = "string: its name" },
        run = function(arguments)
          return "snow in " .. arguments.city
        end,
      } } }
    end })
  end)

  it("refuses a tool that has the name of one of the assistant's", function()
    with_server(function(server)
      local answer = create(server, { model = "assistant/responses_clock", input = "Hi", tools = { { type = "function", name = "tell" } } })
      assert.same({ 400, "tools[0].name" }, { answer.status, answer.body.error.param })
      answer = create(server, {
        model = "assistant/responses_clock", input = "Hi", tool_choice = { type = "function", name = "nothing" },
      })
      assert.same({ 400, "tool_choice" }, { answer.status, answer.body.error.param })
    end, { define = function(perilune)
      perilune.assistant { name = "responses_clock", model = testing.model {}, tools = { perilune.tool {
        name = "tell", description = "The time",
        run = function()
          return "12:00"
        end,
      } } }
    end })
  end)

  it("leaves nothing behind when it is not to be kept", function()
    with_server(function(server, upstream)
      local db = server.app:database()
      local answer = create(server, { input = "Hello", instructions = "Be brief.", store = false })
      assert.equal("You said: Hello", said(answer))
      assert.equal("system: Be brief.|user: Hello", heard(upstream))
      assert.equal(404, server:get("/v1/responses/" .. answer.body.id).status)
      said(create(server, { model = "assistant/responses_forgetful", input = "Hello", store = false }))
      assert.same({}, assert(threads.list(db)))
      local kept = create(server, { input = "One" }).body
      said(create(server, { input = "Two", previous_response_id = kept.id, store = false }))
      assert.equal("user: One|assistant: You said: One|user: Two", heard(upstream))
      assert.equal(1, #assert(threads.list(db)))
      assert.equal(1, #assert(runs.list(db)))
    end, { define = function(perilune)
      perilune.assistant { name = "responses_forgetful", model = MODEL }
    end })
  end)

  it("answers with a status when it fails before it has begun", function()
    with_server(function(server)
      for _, is_stored in ipairs { true, false } do
        for _, is_streamed in ipairs { true, false } do
          local answer = create(server, { input = "fail 400", store = is_stored, stream = is_streamed })
          assert.equal(400, answer.status)
          assert.matches("told to fail", answer.body.error.message)
        end
      end
    end)
  end)

  it("says in the stream that it broke off", function()
    with_server(function(server)
      for _, is_stored in ipairs { true, false } do
        local events = server:events("/v1/responses", { model = MODEL, input = "cut", stream = true, store = is_stored })
        local last = events[#events].data
        assert.equal("response.failed", last.type)
        assert.same({ "failed", "server_error" }, { last.response.status, last.response.error.code })
        assert.truthy(types(events):find("output_item.done failed$"))
      end
    end)
  end)

  it("ends the run when its client goes away", function()
    with_server(function(server)
      local db = server.app:database()
      local row
      do
        local group <close> = task.group()
        local stream = group:spawn(function()
          server:events("/v1/responses", { model = MODEL, input = "slow 100", stream = true })
        end)
        repeat
          task.sleep(0.01)
        until assert(runs.list(db))[1]
        stream:cancel("user_requested")
      end
      repeat
        task.sleep(0.01)
        row = assert(runs.list(db))[1]
      until row.finished_at
      assert.equal("cancelled", row.status)
    end)
  end)

  it("says what of a long answer fits", function()
    with_server(function(server)
      local answer = create(server, { input = "long 40", max_output_tokens = 16 })
      assert.same({ "incomplete", { reason = "max_output_tokens" } }, { answer.body.status, answer.body.incomplete_details })
      assert.same(answer.body, server:get("/v1/responses/" .. answer.body.id).body)
    end)
  end)

  it("takes references to what was said before", function()
    with_server(function(server, upstream)
      local first = create(server, { input = "One" }).body
      local asked = server:get("/v1/responses/" .. first.id .. "/input_items").body.data[1]
      said(create(server, { input = {
        { type = "item_reference", id = asked.id }, { type = "item_reference", id = first.output[1].id },
        { role = "user", content = "Two" },
      } }))
      assert.equal("user: One|assistant: You said: One|user: Two", heard(upstream))
      for _, id in ipairs { "msg_x", "msg_x_1", "msg_x_1_1", first.output[1].id .. "9", (asked.id:gsub("%d$", "7")) } do
        assert.equal(404, create(server, { input = { { type = "item_reference", id = id } } }).status, id)
      end
    end)
  end)

  it("refuses what it cannot do, and says what", function()
    with_server(function(server)
      local cases = {
        { { input = "Hi", model = "nonesuch/x" }, 404, "model_not_found" },
        { { input = "Hi", model = "assistant/nonesuch" }, 404, "not_found" },
        { { input = "Hi", previous_response_id = "resp_x" }, 400, "previous_response_not_found" },
        { { input = "Hi", conversation = "conv_x" }, 404, "not_found" },
        { { input = "Hi", tools = { { type = "function", name = "f", parameters = { type = "moon" } } } }, 400, "invalid_value" },
        { { input = "Hi", tools = { { type = "function", name = "f", parameters = {
          type = "object", properties = { city = { type = "town" } },
        } } } }, 400, "invalid_value" },
        { { input = { { type = "function_call_output", call_id = "c", output = "1" } } }, 400, "invalid_value" },
        { { input = { { role = "assistant", content = "Hi" } } }, 400, "invalid_value" },
        { { input = { { role = "assistant", content = "Hi" } }, store = false }, 400, "invalid_value" },
        { { input = "Hi", tools = { weather }, tool_choice = { type = "function", name = "other" } }, 400, "invalid_value" },
      }
      for _, case in ipairs(cases) do
        local answer = create(server, case[1])
        assert.same({ case[2], case[3] }, { answer.status, answer.body.error.code }, answer.text)
      end
      assert.same({}, assert(runs.list(server.app:database())))
    end)
  end)
end)


describe("responses of several accounts", function()
  it("are each account's own", function()
    with_server(function(server)
      local db, headers = server.app:database(), {}
      for _, name in ipairs { "one", "two" } do
        headers[name] = { authorization = "Bearer " .. assert(keys.create(db, { name = name, account = name })) }
      end
      local mine = create(server, { input = "Hello" }, headers.one).body
      assert.equal(200, server:get("/v1/responses/" .. mine.id, headers.one).status)
      assert.equal(404, server:get("/v1/responses/" .. mine.id, headers.two).status)
      assert.equal(404, server:get("/v1/responses/" .. mine.id .. "/input_items", headers.two).status)
      assert.equal(404, server:delete("/v1/responses/" .. mine.id, headers.two).status)
      assert.equal(400, create(server, { input = "Hi", previous_response_id = mine.id }, headers.two).status)
      assert.equal(404, create(server, { input = { { type = "item_reference", id = mine.output[1].id } } }, headers.two).status)
      assert.equal(401, server:get("/v1/responses/" .. mine.id, { authorization = "Bearer nonsense" }).status)
    end)
  end)
end)
