-- The Assistants family over HTTP: what OpenAI's own client does not ask for (tests/conformance), and what must hold behind it.
local defined = require "perilune.agent.defined"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local proc = require "perilune.sys.proc"
local run_jobs = require "perilune.serve.run_jobs"
local runs = require "perilune.store.runs"
local stored_steps = require "perilune.store.steps"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"
local upstreams = require "tests.support.upstream"

local WAIT_SECONDS = 10

local parameters = { type = "object", properties = { city = { type = "string" } } }
local weather = { type = "function", ["function"] = { name = "get_weather", description = "The weather", parameters = parameters } }


-- Keys that the document requires.
local required = {
  ["thread.run"] = "id object created_at thread_id assistant_id status required_action last_error expires_at started_at cancelled_at "
    .. "failed_at completed_at model instructions tools metadata usage incomplete_details max_prompt_tokens max_completion_tokens "
    .. "truncation_strategy tool_choice parallel_tool_calls response_format",
  ["thread.run.step"] = "id object created_at assistant_id thread_id run_id type status step_details last_error expired_at cancelled_at "
    .. "failed_at completed_at metadata usage",
  ["thread.message"] = "id object created_at thread_id status incomplete_details completed_at incomplete_at role content assistant_id "
    .. "run_id attachments metadata",
  thread = "id object created_at tool_resources metadata",
  assistant = "id object created_at name description model instructions tools metadata",
}


-- The body of an answer, which must be a good one; its objects have all their keys.
local function ok(answer)
  assert.equal(200, answer.status, answer.text)
  local body = answer.body
  for _, object in ipairs(body.object == "list" and body.data or { body }) do
    for name in (required[object.object] or ""):gmatch("%S+") do
      assert.is_not_nil(object[name], ("%s has no '%s'"):format(object.object, name))
    end
  end
  return body
end


local function refused(status, code, answer)
  assert.same({ status, code }, { answer.status, answer.body.error and answer.body.error.code }, answer.text)
  return answer.body.error
end


local function ids_of(list)
  local ids = {}
  for position, one in ipairs(list.data) do
    ids[position] = one.id
  end
  return ids
end


local function texts_of(list)
  local texts = {}
  for position, one in ipairs(list.data) do
    texts[position] = one.content[1].text.value
  end
  return texts
end


-- Asks for a run until it has that status.
local function until_status(server, run, status)
  local path, shown = ("/v1/threads/%s/runs/%s"):format(run.thread_id, run.id), nil
  task.deadline(WAIT_SECONDS, function()
    repeat
      shown = ok(server:get(path))
      task.sleep(0.01)
    until shown.status == status
  end)
  return shown, path
end


describe("the Assistants family", function()
  after_each(function()
    defined.clear()
  end)

  -- A server with an assistant of its scripts whose model gives these answers.
  local function start(answers, options, settings)
    local model = testing.model(answers or { "Hi" })
    local server = kit.start { settings = settings, define = function(perilune)
      options = options or {}
      options.name, options.model = "helper", model
      perilune.assistant(options)
    end }
    return server, model
  end

  local function thread_with(server, ...)
    local messages = {}
    for position, text in ipairs { ... } do
      messages[position] = { role = "user", content = text }
    end
    return ok(server:post("/v1/threads", { messages = messages })).id
  end

  -- A run that has been polled to that status.
  local function run_to(server, status, thread_id, more)
    local body = { assistant_id = "asst_helper" }
    for name, value in pairs(more or {}) do
      body[name] = value
    end
    local run = ok(server:post(("/v1/threads/%s/runs"):format(thread_id), body))
    assert.equal("queued", run.status)
    return until_status(server, run, status)
  end

  describe("assistants", function()
    it("of scripts can be seen, and changed only there", function()
      local server <close> = start()
      assert.equal("asst_helper", ok(server:get("/v1/assistants")).data[1].id)
      assert.equal("helper", ok(server:get("/v1/assistants/helper")).name)
      refused(400, "invalid_value", server:post("/v1/assistants/asst_helper", { name = "other" }))
      refused(400, "invalid_value", server:delete("/v1/assistants/asst_helper"))
      refused(404, "not_found", server:get("/v1/assistants/asst_nobody"))
    end)

    it("may have any name, the same several times, or none", function()
      local server <close> = start()
      local made = {}
      for position, name in ipairs { "Bob", "Bob", "", json.null, ("ä"):rep(256), "two\nlines" } do
        made[position] = ok(server:post("/v1/assistants", { model = "offline/demo", name = name }))
      end
      local shown = {}
      for position, one in ipairs(made) do
        shown[position] = ok(server:get("/v1/assistants/" .. one.id)).name
      end
      assert.same({ "Bob", "Bob", "", json.null, ("ä"):rep(256), "two\nlines" }, shown)
      local changed = ok(server:post("/v1/assistants/" .. made[2].id, { name = "Eve", description = "d" }))
      assert.same({ "Eve", "d", "offline/demo" }, { changed.name, changed.description, changed.model })
      assert.equal(json.null, ok(server:post("/v1/assistants/" .. made[2].id, { name = json.null })).name)
      assert.equal("Bob", ok(server:post("/v1/assistants/" .. made[3].id, { name = "Bob" })).name)
    end)

    it("are listed page by page in both directions, those of scripts before all others", function()
      local server <close> = start()
      local expected = { "asst_helper" }
      for position = 2, 5 do
        expected[position] = ok(server:post("/v1/assistants", { model = "offline/demo" })).id
      end
      for _, order in ipairs { "asc", "desc" } do
        local all, after = {}, ""
        repeat
          local page = ok(server:get(("/v1/assistants?limit=2&order=%s&after=%s"):format(order, after)))
          table.move(page.data, 1, #page.data, #all + 1, all)
          after = page.last_id
        until not page.has_more
        local ids = ids_of { data = all }
        for position, id in ipairs(expected) do
          assert.equal(id, ids[order == "asc" and position or 6 - position])
        end
      end
      local before = ok(server:get("/v1/assistants?limit=2&order=asc&before=" .. expected[4]))
      assert.same({ { expected[2], expected[3] }, true }, { ids_of(before), before.has_more })
      local first = ok(server:get("/v1/assistants?limit=5&order=asc&before=" .. expected[3]))
      assert.same({ { expected[1], expected[2] }, false }, { ids_of(first), first.has_more })
    end)

    it("that are deleted still bound a page", function()
      local server <close> = start()
      local made = {}
      for position = 1, 4 do
        made[position] = ok(server:post("/v1/assistants", { model = "offline/demo" })).id
      end
      ok(server:delete("/v1/assistants/" .. made[2]))
      local path = "/v1/assistants?order="
      assert.same({ made[3], made[4] }, ids_of(ok(server:get(path .. "asc&after=" .. made[2]))))
      assert.same({ made[1], "asst_helper" }, ids_of(ok(server:get(path .. "desc&after=" .. made[2]))))
      assert.same({ "asst_helper", made[1] }, ids_of(ok(server:get(path .. "asc&before=" .. made[2]))))
    end)

    it("are refused with what is wrong with them", function()
      local server <close> = start()
      local function refuse(param, body)
        body.model = body.model or "offline/demo"
        local answer = server:post("/v1/assistants", body)
        assert.same({ 400, param }, { answer.status, answer.body.error.param }, answer.text)
      end
      refuse("temperature", { temperature = 3 })
      refuse("model", { model = 5 })
      refuse("model", { model = "assistant/helper" })
      refuse("metadata", { metadata = "x" })
      refuse("metadata.k", { metadata = { k = 5 } })
      refuse("response_format", { response_format = { type = "poem" } })
      refuse("tools[0].type", { tools = { { type = "file_search" } } })
      refuse("tools[0].function.name", { tools = { { type = "function", ["function"] = { name = "no good" } } } })
      refuse("tools[1].function.name", { tools = { weather, weather } })
      local shorthand = { type = "function", ["function"] = { name = "f", parameters = { city = 1 } } }
      refuse("tools[0].function.parameters", { tools = { shorthand } })
      local malformed = { type = "object", properties = { city = { type = "town" } } }
      local answer = server:post("/v1/assistants", {
        model = "offline/demo", tools = { { type = "function", ["function"] = { name = "f", parameters = malformed } } },
      })
      assert.equal("tools[0].function.parameters", refused(400, "invalid_value", answer).param)
      assert.matches("town", answer.body.error.message)
    end)
  end)

  describe("messages", function()
    it("are listed in both directions, without what only calls tools", function()
      local server <close> = start({ { tool_calls = { { name = "look", arguments = {} } } }, "Snow." }, {
        tools = { require("perilune").tool { name = "look", description = "look", run = function() return "snow" end } },
      })
      local thread = thread_with(server, "one", "two")
      local run = run_to(server, "completed", thread)
      ok(server:post(("/v1/threads/%s/messages"):format(thread), { role = "assistant", content = "three" }))
      local path = ("/v1/threads/%s/messages?order=asc&limit="):format(thread)
      local all = ok(server:get(path .. 10))
      assert.same({ "one", "two", "Snow.", "three" }, texts_of(all))
      assert.same({ json.null, json.null, run.id, json.null }, { all.data[1].run_id, all.data[2].run_id, all.data[3].run_id,
        all.data[4].run_id })
      assert.equal("asst_helper", all.data[3].assistant_id)
      local page = ok(server:get(path .. "2&before=" .. all.data[4].id))
      assert.same({ { "two", "Snow." }, true }, { texts_of(page), page.has_more })
      assert.same({ "Snow.", "three" }, texts_of(ok(server:get(path .. "9&after=" .. all.data[2].id))))
      assert.same({ "Snow." }, texts_of(ok(server:get(path .. "9&run_id=" .. run.id))))
      assert.same({ "Snow." }, texts_of(ok(server:get(path .. ("9&after=%s&before=%s"):format(all.data[2].id, all.data[4].id)))))
      refused(400, "invalid_value", server:get(path .. "9&after=msg_of_somebody_1"))
      refused(404, "not_found", server:get(("/v1/threads/%s/messages/msg_%s_3"):format(thread, thread:sub(8))))
    end)

    it("that a run was given are not its answers, whoever they speak for", function()
      local server <close> = start()
      local run = run_to(server, "completed", thread_with(server, "one"), { additional_messages = {
        { role = "assistant", content = "two" }, { role = "user", content = "three" },
      } })
      local path = ("/v1/threads/%s/messages?order=asc"):format(run.thread_id)
      local all = ok(server:get(path))
      assert.same({ "one", "two", "three", "Hi" }, texts_of(all))
      assert.same({ json.null, json.null }, { all.data[2].run_id, all.data[2].assistant_id })
      assert.same({ "Hi" }, texts_of(ok(server:get(path .. "&run_id=" .. run.id))))
      assert.same({}, ok(server:get(path .. "&run_id=run_none")).data)
    end)

    it("that a run was given may be many", function()
      local server <close> = start()
      local many = {}
      for position = 1, 250 do
        many[position] = { role = "user", content = tostring(position) }
      end
      local run, path = run_to(server, "completed", thread_with(server, "one"), { additional_messages = many })
      local step = ok(server:get(path .. "/steps")).data[1]
      assert.same({ "message_creation", "completed" }, { step and step.type, step and step.status })
      assert.same({ "Hi" }, texts_of(ok(server:get(("/v1/threads/%s/messages?run_id=%s"):format(run.thread_id, run.id)))))
    end)

    it("of the user are shown whatever they say", function()
      local server <close> = start()
      local path = ("/v1/threads/%s/messages"):format(thread_with(server, "one"))
      local made = ok(server:post(path, { role = "user", content = " " }))
      assert.equal(" ", made.content[1].text.value)
      assert.same(made, ok(server:get(path .. "/" .. made.id)))
      assert.same({ " ", "one" }, texts_of(ok(server:get(path))))
    end)

    it("that are deleted are sent to no model", function()
      local server <close>, model = start { "One.", "Two." }
      local thread = thread_with(server, "the secret", "hello")
      local list = ok(server:get(("/v1/threads/%s/messages?order=asc"):format(thread)))
      local gone = ok(server:delete(("/v1/threads/%s/messages/%s"):format(thread, list.data[1].id)))
      assert.same({ id = list.data[1].id, object = "thread.message.deleted", deleted = true }, gone)
      run_to(server, "completed", thread)
      assert.same({ { role = "user", content = "hello" } }, model.requests[1].messages)
      refused(404, "not_found", server:get(("/v1/threads/%s/messages/%s"):format(thread, list.data[1].id)))
      refused(404, "not_found", server:delete(("/v1/threads/%s/messages/%s"):format(thread, list.data[1].id)))
    end)

    it("may have pictures, but no files", function()
      local server <close>, model = start()
      local picture = { type = "image_url", image_url = { url = "https://example.com/a.png", detail = "low" } }
      local thread = ok(server:post("/v1/threads", { messages = {
        { role = "user", content = { { type = "text", text = "What is this?" }, picture }, metadata = { n = "1" } },
      } })).id
      local message = ok(server:get(("/v1/threads/%s/messages"):format(thread))).data[1]
      assert.same({ picture, { n = "1" } }, { message.content[2], message.metadata })
      run_to(server, "completed", thread)
      assert.equal("image", model.requests[1].messages[1].content[2].type)
      for param, one in pairs {
        ["content[0]"] = { content = { { type = "image_file", image_file = { file_id = "file-1" } } } },
        attachments = { content = "x", attachments = { { file_id = "file-1" } } },
        content = { content = "" }, role = { content = "x", role = "system" },
      } do
        one.role = one.role or "user"
        local answer = server:post(("/v1/threads/%s/messages"):format(thread), one)
        assert.same({ 400, param }, { answer.status, answer.body.error.param }, answer.text)
      end
    end)

    it("name no files, and neither does anything else", function()
      local server <close> = start()
      local message = { role = "user", content = "x", attachments = { { file_id = "file-1", tools = json.array {} } } }
      local files = { code_interpreter = { file_ids = { "file-1" } } }
      for path, bodies in pairs {
        ["/v1/threads"] = {
          ["messages[0].attachments"] = { messages = { message } },
          ["tool_resources.code_interpreter.file_ids"] = { tool_resources = files },
        },
        ["/v1/threads/" .. thread_with(server, "one")] = { ["tool_resources.code_interpreter.file_ids"] = { tool_resources = files } },
        ["/v1/assistants"] = { ["tool_resources.code_interpreter.file_ids"] = { model = "offline/demo", tool_resources = files } },
        ["/v1/threads/runs"] = {
          ["tool_resources.code_interpreter.file_ids"] = { assistant_id = "helper", tool_resources = files },
          ["thread.tool_resources.code_interpreter.file_ids"] = { assistant_id = "helper", thread = { tool_resources = files } },
        },
      } do
        for param, body in pairs(bodies) do
          assert.equal(param, refused(400, "unsupported_parameter", server:post(path, body)).param)
        end
      end
      ok(server:post("/v1/threads", { tool_resources = { code_interpreter = { file_ids = json.array {} } } }))
      ok(server:post("/v1/threads", { messages = { { role = "user", content = "x", attachments = json.array {} } } }))
    end)
  end)

  describe("runs", function()
    it("have steps and messages that are called as their stream has called them", function()
      local answers = {
        { text = "Let me look.", tool_calls = { { name = "look", arguments = {} }, { name = "look", arguments = {} } } },
        { text = "\n\n", tool_calls = { { name = "look", arguments = {} } } },
        { tool_calls = { { name = "look", arguments = {} } } }, "Snow.",
      }
      local server <close> = start(answers, {
        tools = { require("perilune").tool { name = "look", description = "look", run = function() return "snow" end } },
      })
      local thread = thread_with(server, "one")
      local streamed = server:events(("/v1/threads/%s/runs"):format(thread), { assistant_id = "helper", stream = true })
      local said, made, run = {}, {}, nil
      for _, event in ipairs(streamed) do
        if event.event == "thread.message.completed" then
          said[#said + 1] = { event.data.id, event.data.content[1].text.value }
        elseif event.event == "thread.run.step.completed" then
          made[#made + 1] = { event.data.id, event.data.step_details, event.data.usage }
        end
        run = event.event == "thread.run.completed" and event.data or run
      end
      assert.same({ "done", "[DONE]" }, { streamed[#streamed].event, streamed[#streamed].data })
      local listed = {}
      local steps = ok(server:get(("/v1/threads/%s/runs/%s/steps?order=asc"):format(thread, run.id)))
      for position, step in ipairs(steps.data) do
        listed[position] = { step.id, step.step_details, step.usage }
        assert.equal("completed", step.status)
        assert.same(step, ok(server:get(("/v1/threads/%s/runs/%s/steps/%s"):format(thread, run.id, step.id))))
      end
      assert.same(made, listed)
      assert.equal(6, #listed)
      for position, is_last in ipairs { false, true, false, true, true, true } do
        local usage = steps.data[position].usage
        assert.equal(is_last, usage ~= json.null and usage.total_tokens > 0) -- of each answer
      end
      for _, one in ipairs(said) do
        assert.equal(one[2], ok(server:get(("/v1/threads/%s/messages/%s"):format(thread, one[1]))).content[1].text.value)
      end
      assert.equal(3, #said)
      assert.same(run, ok(server:get(("/v1/threads/%s/runs/%s"):format(thread, run.id))))
      local page = ok(server:get(("/v1/threads/%s/runs/%s/steps?order=asc&limit=2&after=%s"):format(thread, run.id, listed[1][1])))
      assert.same({ { listed[2][1], listed[3][1] }, true }, { ids_of(page), page.has_more })
    end)

    it("keep what was asked of them: the model gets it, their object says it, and whoever goes on with them does too", function()
      local call = { tool_calls = { { name = "get_weather", arguments = { city = "Oslo" } } } }
      local server <close>, model = start({ call, "Snow." }, { instructions = "Help.", temperature = 1, history = { messages = 50 } })
      local thread = thread_with(server, "one", "two", "three")
      local format = { type = "json_object" }
      local run, path = run_to(server, "requires_action", thread, {
        additional_instructions = "In French.", temperature = 0.5, top_p = 0.9, tools = { weather }, max_completion_tokens = 500,
        max_prompt_tokens = 1000, tool_choice = "required", response_format = format, parallel_tool_calls = false,
        truncation_strategy = { type = "last_messages", last_messages = 2 }, metadata = { a = "1" },
        additional_messages = { { role = "user", content = "four", metadata = { n = "4" } } },
      })
      local strategy = { type = "last_messages", last_messages = 2 }
      assert.same({ "Help.\n\nIn French.", 0.5, 0.9, 500, 1000, "required", false, strategy, { a = "1" } },
        { run.instructions, run.temperature, run.top_p, run.max_completion_tokens, run.max_prompt_tokens, run.tool_choice,
          run.parallel_tool_calls, run.truncation_strategy, run.metadata })
      assert.same({ weather, format }, { run.tools[1], run.response_format })
      local seconds = run.expires_at - run.created_at -- each is cut to whole ones
      assert.is_true(seconds == 600 or seconds == 599)
      assert.same({ n = "4" }, ok(server:get(("/v1/threads/%s/messages"):format(thread))).data[1].metadata)
      local calls = run.required_action.submit_tool_outputs.tool_calls
      ok(server:post(path .. "/submit_tool_outputs", { tool_outputs = { { tool_call_id = calls[1].id, output = "snow" } } }))
      until_status(server, run, "completed")
      for _, request in ipairs(model.requests) do
        assert.same({ 0.5, 0.9, 500, false }, { request.temperature, request.top_p, request.max_completion_tokens,
          request.parallel_tool_calls })
        assert.same({ "Help.\n\nIn French.", "three", "get_weather" },
          { request.messages[1].content, request.messages[2].content, request.tools[1].name })
      end
      assert.same({ 2, "required", nil }, { #model.requests, model.requests[1].tool_choice, model.requests[2].tool_choice })
      local row = assert(runs.get(server.server.db, run.id))
      local again = run_jobs.assistant(server.app, row.asked)
      assert.same({ 0.5, { messages = 2, tokens = 1000 } }, { again.request.temperature, again.options.history })
    end)

    it("keep their assistant, whatever becomes of it", function()
      local upstream <close> = upstreams.start()
      local server <close> = kit.start { settings = kit.asking(upstream) }
      local made = ok(server:post("/v1/assistants", {
        model = "openai/gpt-4o-mini", instructions = "Old.", tools = { weather },
      }))
      local thread = thread_with(server, 'call get_weather {"city":"Oslo"}')
      local run, path = run_to(server, "requires_action", thread, { assistant_id = made.id })
      ok(server:delete("/v1/assistants/" .. made.id))
      local call = run.required_action.submit_tool_outputs.tool_calls[1]
      ok(server:post(path .. "/submit_tool_outputs", { tool_outputs = { { tool_call_id = call.id, output = "snow" } } }))
      until_status(server, run, "completed")
      assert.equal("Old.", upstream.requests[2].body.messages[1].content)
    end)

    it("begin with more messages than are written at once", function()
      local server <close> = start({ "Read." })
      local thread, more = thread_with(server, "zero"), {}
      for position = 1, 250 do
        more[position] = { role = "user", content = "n" .. position, metadata = { n = tostring(position) } }
      end
      local _, path = run_to(server, "completed", thread, { additional_messages = more })
      assert.same({ n = "1" }, ok(server:get(("/v1/threads/%s/messages?order=asc"):format(thread))).data[2].metadata)
      assert.equal(1, #ok(server:get(path .. "/steps")).data)
    end)

    it("answer with the assistant's own function what it can call itself, also where a request names the tool", function()
      local called = 0
      local server <close> = start({ { tool_calls = { { name = "get_weather", arguments = {} } } }, "Snow." }, {
        tools = { require("perilune").tool { name = "get_weather", description = "w", run = function()
          called = called + 1
          return "snow"
        end } },
      })
      run_to(server, "completed", thread_with(server, "one"), { tools = { weather } })
      assert.equal(1, called)
    end)

    it("show the message that counts where an answer did not fit", function()
      local server <close> = start({ "nope", '{"n":4}' }, { output = { n = "integer" } })
      local thread = thread_with(server, "one")
      local shown
      for _, event in ipairs(server:events(("/v1/threads/%s/runs"):format(thread), { assistant_id = "asst_helper", stream = true })) do
        shown = event.event == "thread.message.completed" and event.data or shown
      end
      local stored = ok(server:get(("/v1/threads/%s/messages/%s"):format(thread, shown.id)))
      assert.same({ '{"n":4}', '{"n":4}' }, { shown.content[1].text.value, stored.content[1].text.value })
    end)

    it("take all outputs at once, and only once", function()
      local call = { name = "get_weather", arguments = {} }
      local server <close> = start({ { tool_calls = { call, call } }, "Snow." })
      local run, path = run_to(server, "requires_action", thread_with(server, "one"), { tools = { weather } })
      path = path .. "/submit_tool_outputs"
      local calls = run.required_action.submit_tool_outputs.tool_calls
      local function outputs(...)
        local list = json.array {}
        for position, id in ipairs { ... } do
          list[position] = { tool_call_id = id, output = "snow" }
        end
        return { tool_outputs = list }
      end
      local first, second = calls[1].id, calls[2].id
      refused(400, "invalid_value", server:post(path, outputs(first)))
      refused(400, "invalid_value", server:post(path, outputs(first, second, "call_other")))
      refused(400, "invalid_value", server:post(path, outputs(first, first)))
      refused(400, "missing_required_parameter", server:post(path, {}))
      local answers, group <close> = {}, task.group()
      for position = 1, 4 do
        group:spawn(function()
          answers[position] = server:post(path, outputs(first, second)).status
        end)
      end
      group:wait()
      table.sort(answers)
      assert.same({ 200, 400, 400, 400 }, answers)
      until_status(server, run, "completed")
      local steps = ok(server:get(("/v1/threads/%s/runs/%s/steps?order=asc"):format(run.thread_id, run.id)))
      assert.same({ "snow", "snow" }, { steps.data[1].step_details.tool_calls[1]["function"].output,
        steps.data[1].step_details.tool_calls[2]["function"].output })
      refused(400, "invalid_value", server:post(path, outputs(first, second)))
    end)

    it("that are cancelled while their outputs come refuse them", function()
      local decide, get = stored_steps.decide, runs.get
      local restoring <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
        stored_steps.decide, runs.get = decide, get
      end })
      -- Between the decision and the run's going on somebody else asks it to end, or ends it.
      for _, ends in ipairs { false, true } do
        for _, is_streamed in ipairs { false, true } do
          local server <close> = start { { tool_calls = { { name = "get_weather", arguments = {} } } }, "Snow." }
          local run, path = run_to(server, "requires_action", thread_with(server, "one"), { tools = { weather } })
          local function ask_cancel(db)
            assert(db:write { { "run_ask_cancel", { id = run.id, now = 1 } } })
          end
          function stored_steps.decide(db, ...)
            stored_steps.decide = decide
            local done, err = decide(db, ...)
            if not ends then
              ask_cancel(db)
              return done, err
            end
            function runs.get(...)
              runs.get = get
              ask_cancel(db)
              local row = get(...)
              assert(runs.cancel(db, run.id, proc.is_alive))
              return row
            end
            return done, err
          end
          local answer = server:post(path .. "/submit_tool_outputs", { stream = is_streamed, tool_outputs = {
            { tool_call_id = run.required_action.submit_tool_outputs.tool_calls[1].id, output = "snow" },
          } })
          assert.matches("does not wait", refused(400, "invalid_value", answer).message)
          assert.equal("cancelled", ok(server:get(path)).status)
        end
      end
    end)

    it("keep their thread to themselves", function()
      local server <close> = start({ { tool_calls = { { name = "get_weather", arguments = {} } } }, "Snow." })
      local thread = thread_with(server, "one")
      local run, path = run_to(server, "requires_action", thread, { tools = { weather } })
      refused(400, "thread_locked", server:post(("/v1/threads/%s/messages"):format(thread), { role = "user", content = "two" }))
      refused(400, "thread_locked", server:post(("/v1/threads/%s/runs"):format(thread), { assistant_id = "helper" }))
      local streamed = server:post(("/v1/threads/%s/runs"):format(thread), { assistant_id = "helper", stream = true })
      refused(400, "thread_locked", streamed)
      assert.equal("cancelled", ok(server:post(path .. "/cancel")).status)
      refused(400, "invalid_value", server:post(path .. "/cancel"))
      ok(server:post(("/v1/threads/%s/messages"):format(thread), { role = "user", content = "two" }))
      local steps = ok(server:get(("/v1/threads/%s/runs/%s/steps"):format(thread, run.id)))
      assert.equal("cancelled", steps.data[1].status)
    end)

    it("that wait too long for outputs expire", function()
      local server <close> = start({ { tool_calls = { { name = "get_weather", arguments = {} } } } }, nil,
        { serve = { run_expires_seconds = 0 } })
      local run = run_to(server, "requires_action", thread_with(server, "one"), { tools = { weather } })
      run_jobs.expire(server.server)
      local shown = until_status(server, run, "expired")
      assert.same({ json.null, json.null }, { shown.expires_at, shown.required_action })
      local steps = ok(server:get(("/v1/threads/%s/runs/%s/steps"):format(run.thread_id, run.id)))
      assert.equal("expired", steps.data[1].status)
    end)

    it("whose answer was cut are incomplete", function()
      local server <close> = start({ { text = "Half of", finish_reason = "length" }, "All" })
      local thread = thread_with(server, "one")
      local run = run_to(server, "incomplete", thread, { max_completion_tokens = 2 })
      assert.same({ { reason = "max_completion_tokens" }, json.null }, { run.incomplete_details, run.completed_at })
      assert.equal(json.null, run_to(server, "completed", thread, { max_completion_tokens = 2 }).incomplete_details)
    end)

    -- What a stream has shown of a run's steps and messages last, and what is shown of them afterwards.
    local function both_views(server, path, events)
      local shown, kept = {}, {}
      for _, event in ipairs(events) do
        local kind = event.event:match("^thread%.(%l+)%.[%l_]+$") == "message" and "message" or event.event:match("^thread%.run%.(step)")
        if kind and not event.event:find("delta", 1, true) then
          local suffix = kind == "step" and "/runs/" .. event.data.run_id .. "/steps/" or "/messages/"
          local one = ok(server:get(path .. suffix .. event.data.id))
          local id = one.id
          shown[id] = { event.data.status, event.data.incomplete_details or event.data.step_details }
          kept[id] = { one.status, one.incomplete_details or one.step_details }
        end
      end
      return shown, kept
    end

    it("show the same in their stream and afterwards, also where they were cut or met a limit", function()
      local server <close> = start({
        { text = "Half of", finish_reason = "length" }, {
          text = "I look.", tool_calls = { { name = "look", arguments = {} }, { name = "look", arguments = {} } },
        },
      }, {
        budget = { tool_calls = 1 },
        tools = { require("perilune").tool { name = "look", description = "look", run = function() return "snow" end } },
      })
      local thread = thread_with(server, "one")
      local path, ends = "/v1/threads/" .. thread, {}
      for position, limit in ipairs { 2, 1000 } do
        local events = server:events(path .. "/runs", { assistant_id = "helper", stream = true, max_completion_tokens = limit })
        local shown, kept = both_views(server, path, events)
        assert.same(kept, shown)
        ends[position] = {}
        for _, one in pairs(kept) do
          table.insert(ends[position], one[1])
        end
        table.sort(ends[position])
      end
      assert.same({ { "completed", "incomplete" }, { "completed", "completed", "failed" } }, ends)
    end)

    it("that fail say why, with what was said until then", function()
      local server <close> = start { { text = "Half of it", error = { kind = "rate_limit", message = "slow down" } } }
      local thread = thread_with(server, "one")
      local run = run_to(server, "failed", thread)
      assert.same({ code = "rate_limit_exceeded", message = "slow down" }, run.last_error)
      local message = ok(server:get(("/v1/threads/%s/messages"):format(thread))).data[1]
      assert.same({ "incomplete", { reason = "run_failed" } }, { message.status, message.incomplete_details })
      local step = ok(server:get(("/v1/threads/%s/runs/%s/steps"):format(thread, run.id))).data[1]
      assert.same({ "failed", message.id }, { step.status, step.step_details.message_creation.message_id })
    end)

    it("that cannot begin leave no thread behind, and a question that is wrong names what is", function()
      local server <close> = start()
      local db = server.server.db
      refused(404, "not_found", server:post("/v1/threads/runs", { assistant_id = "asst_nobody" }))
      refused(404, "model_not_found", server:post("/v1/threads/runs", { assistant_id = "helper", model = "nobody/nothing" }))
      assert.same({}, db:read("thread_list", { limit = 10 }))
      local thread = thread_with(server, "one")
      for param, value in pairs {
        tool_choice = { type = "function", ["function"] = { name = "nothing" } }, temperature = 9, max_completion_tokens = 0,
        ["truncation_strategy.last_messages"] = { truncation_strategy = { type = "last_messages" } },
        ["additional_messages[0].role"] = { additional_messages = { { role = "tool", content = "x" } } },
      } do
        local body = type(value) == "table" and (value.truncation_strategy or value.additional_messages) and value or { [param] = value }
        body.assistant_id = "helper"
        local answer = server:post(("/v1/threads/%s/runs"):format(thread), body)
        assert.same({ 400, param }, { answer.status, answer.body.error.param }, answer.text)
      end
      refused(400, "missing_required_parameter", server:post(("/v1/threads/%s/runs"):format(thread), {}))
      local answer = server:post("/v1/threads/runs", { assistant_id = "helper", thread = { messages = { { role = "moon" } } } })
      assert.equal("thread.messages[0].role", refused(400, "invalid_value", answer).param)
    end)

    it("are listed, changed, and end with their thread", function()
      local server <close> = start { "One", "Two", { text = "word word word word", word_delay = 5 } }
      local thread = thread_with(server, "one")
      local first, second = run_to(server, "completed", thread), run_to(server, "completed", thread)
      local path = ("/v1/threads/%s/runs"):format(thread)
      assert.same({ second.id, first.id }, ids_of(ok(server:get(path))))
      assert.same({ second.id }, ids_of(ok(server:get(path .. "?limit=1"))))
      assert.same({ first.id }, ids_of(ok(server:get(path .. "?order=asc&before=" .. second.id))))
      ok(server:post(path .. "/" .. first.id, { metadata = { a = "1" } }))
      assert.same({ a = "1" }, ok(server:get(path .. "?order=asc")).data[1].metadata)
      local third = ok(server:post(path, { assistant_id = "helper" }))
      assert.is_true(ok(server:delete("/v1/threads/" .. thread)).deleted)
      refused(404, "not_found", server:get(path .. "/" .. third.id))
    end)
  end)

  it("does not begin a list anew after what is not in it", function()
    local server <close> = start({ "One", repeat_last = true })
    local run = run_to(server, "completed", thread_with(server, "one"))
    local other = run_to(server, "completed", thread_with(server, "two"))
    local path = "/v1/threads/" .. run.thread_id
    local step = ok(server:get(("/v1/threads/%s/runs/%s/steps"):format(other.thread_id, other.id))).data[1].id
    for list, id in pairs {
      ["/v1/assistants"] = "asst_nobody", [path .. "/runs"] = other.id, [path .. "/runs/" .. run.id .. "/steps"] = step,
      [path .. "/messages"] = ("msg_%s_9"):format(run.thread_id:sub(8)),
    } do
      for _, param in ipairs { "after", "before" } do
        assert.equal(param, refused(400, "invalid_value", server:get(("%s?%s=%s"):format(list, param, id))).param)
      end
    end
  end)

  describe("a thread that is deleted", function()
    it("ends its run first, for whoever reads its stream", function()
      local server <close> = start { { text = ("word "):rep(500), word_delay = 0.02 } }
      local thread, group <close> = thread_with(server, "one"), task.group()
      local events
      group:spawn(function()
        events = server:events(("/v1/threads/%s/runs"):format(thread), { assistant_id = "asst_helper", stream = true })
      end)
      while not next(server.server.streams) do
        task.sleep(0.005)
      end
      assert.is_true(ok(server:delete("/v1/threads/" .. thread)).deleted)
      group:wait()
      local last = events[#events - 1]
      assert.same({ "thread.run.cancelled", "cancelled", "done" }, { last.event, last.data.status, events[#events].event })
      assert.is_nil(events.error)
    end)
  end)

  describe("what belongs to an account", function()
    it("does not exist for another one", function()
      local server <close> = start { "One" }
      local db = server.server.db
      local function headers(name)
        return { authorization = "Bearer " .. assert(keys.create(db, { name = name })) }
      end
      local mine, other = headers "mine", headers "other"
      local assistant = ok(server:post("/v1/assistants", { model = "offline/demo", name = "Mine" }, mine)).id
      local run = ok(server:post("/v1/threads/runs", { assistant_id = assistant, thread = { messages = {
        { role = "user", content = "hi" },
      } } }, mine))
      local thread = "/v1/threads/" .. run.thread_id
      for _, path in ipairs {
        "/v1/assistants/" .. assistant, "/v1/assistants/Mine", thread, thread .. "/messages", thread .. "/runs",
        thread .. "/runs/" .. run.id, thread .. "/runs/" .. run.id .. "/steps", "/v1/runs/" .. run.id .. "/events?after=0",
      } do
        assert.equal(200, server:get(path, mine).status, path)
        refused(404, "not_found", server:get(path, other))
      end
      refused(404, "not_found", server:delete(thread, other))
      refused(404, "not_found", server:post("/v1/threads/runs", { assistant_id = assistant }, other))
      assert.same({ "asst_helper" }, ids_of(ok(server:get("/v1/assistants", other))))
      assert.same({ assistant, "asst_helper" }, ids_of(ok(server:get("/v1/assistants", mine))))
    end)

    it("asks only the models that the key may use", function()
      local server <close> = start { "One" }
      local text = assert(keys.create(server.server.db, { name = "k", scopes = { models = { "assistant/helper", "offline/*" } } }))
      local headers = { authorization = "Bearer " .. text }
      refused(403, "model_not_allowed", server:post("/v1/assistants", { model = "openai/gpt-4o" }, headers))
      refused(403, "model_not_allowed", server:post("/v1/threads/runs", { assistant_id = "helper", model = "openai/gpt-4o" }, headers))
      assert.equal("queued", ok(server:post("/v1/threads/runs", { assistant_id = "helper" }, headers)).status)
    end)
  end)

  describe("our own routes of runs", function()
    local function approving()
      local perilune, called = require "perilune", {}
      local server = start({ { tool_calls = { { name = "shoot", arguments = {} }, { name = "look", arguments = {} } } }, "Done." }, {
        tools = {
          perilune.tool { name = "shoot", description = "s", approval = "always", run = function()
            called[#called + 1] = "shoot"
            return "shot"
          end },
          perilune.tool { name = "look", description = "l", run = function()
            called[#called + 1] = "look"
            return "seen"
          end },
        },
      })
      local run, path = run_to(server, "requires_action", thread_with(server, "one"))
      return server, run, path, called
    end

    it("let calls begin that wait for an approval", function()
      local server <close>, run, path, called = approving()
      assert.same({ "look" }, called)
      local calls = run.required_action.submit_tool_outputs.tool_calls
      assert.same({ 1, "shoot" }, { #calls, calls[1]["function"].name })
      local outputs = { tool_outputs = { { tool_call_id = calls[1].id, output = "x" } } }
      assert.matches("approve", refused(400, "invalid_value", server:post(path .. "/submit_tool_outputs", outputs)).message)
      refused(400, "invalid_value", server:post(("/v1/runs/%s/approve"):format(run.id), { call_id = "call_other" }))
      assert.equal("queued", ok(server:post(("/v1/runs/%s/approve"):format(run.id), { call_id = calls[1].id })).status)
      until_status(server, run, "completed")
      assert.same({ "look", "shoot" }, called)
      refused(400, "invalid_value", server:post(("/v1/runs/%s/approve"):format(run.id)))
    end)

    it("do not show what a provider said of the server's key", function()
      local server <close> = start { { error = { kind = "authentication", message = "no such key: sk-secret", provider = "openai" } } }
      local run, path = run_to(server, "failed", thread_with(server, "Hi"))
      assert.equal("server_error", run.last_error.code)
      for _, one in ipairs { path, path .. "/steps", ("/v1/runs/%s/events?after=0"):format(run.id) } do
        for _, accept in ipairs { "application/json", "text/event-stream" } do
          assert.is_nil(server:get(one, { accept = accept }).text:find("secret", 1, true), one)
        end
      end
    end)

    it("do not let them begin, with the reason", function()
      local server <close>, run, path, called = approving()
      ok(server:post(("/v1/runs/%s/reject"):format(run.id), { reason = "too loud" }))
      until_status(server, run, "completed")
      assert.same({ "look" }, called)
      local steps = ok(server:get(path .. "/steps?order=asc"))
      assert.matches("too loud", steps.data[1].step_details.tool_calls[1]["function"].output)
    end)

    it("give the events of a run again, from any of them on", function()
      local server <close> = start { "One two three" }
      local run = run_to(server, "completed", thread_with(server, "one"))
      local path = ("/v1/runs/%s/events"):format(run.id)
      local all = server:events(path, nil, nil, "GET")
      assert.equal("text/event-stream; charset=utf-8", all.headers["content-type"])
      for position, event in ipairs(all) do
        assert.equal(position, event.data.seq)
      end
      assert.equal("stop", all[#all].data.type)
      assert.equal(#all - 2, #server:events(path .. "?after=2", nil, nil, "GET"))
      assert.equal(#all - 2, #server:events(path, nil, { ["last-event-id"] = "2" }, "GET"))
      assert.equal(0, #server:events(path .. "?after=" .. #all, nil, nil, "GET"))
      local listed = ok(server:get(path .. "?after=1", { accept = "application/json" }))
      assert.same({ #all - 1, #all, "completed" }, { #listed.data, listed.last_seq, listed.status })
      for _, wrong in ipairs { "-1", "x", "1.5", "99999999999999999999" } do
        refused(400, "invalid_value", server:get(path .. "?after=" .. wrong))
        refused(400, "invalid_value", server:get(path, { ["last-event-id"] = wrong }))
      end
      refused(404, "not_found", server:get("/v1/runs/run_none/events"))
    end)
  end)
end)
