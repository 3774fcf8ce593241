-- Conversations over HTTP: threads whose messages are items.
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"


local function with_server(run, options)
  local server <close> = kit.start(options)
  run(server)
end


local function create(server, body, headers)
  local answer = server:post("/v1/conversations", body, headers)
  assert.equal(200, answer.status, answer.text)
  return answer.body
end


local function items_path(id)
  return "/v1/conversations/" .. id .. "/items"
end


-- What the items of a page are, in a line.
local function line_of(page)
  local list = {}
  for position, item in ipairs(page.data) do
    list[position] = item.content and item.content[1].text or item.summary and item.summary[1].text or item.name or item.output
  end
  return table.concat(list, " ")
end


local function list(server, id, query)
  local answer = server:get(items_path(id) .. (query or "?order=asc"))
  assert.equal(200, answer.status, answer.text)
  return line_of(answer.body), answer.body
end


-- A message of every kind: five messages of ours, seven items.
local turns = {
  { type = "message", role = "user", content = "q" }, { type = "reasoning", summary = { { type = "summary_text", text = "hm" } } },
  { type = "message", role = "assistant", content = "a" }, { type = "function_call", call_id = "c1", name = "f", arguments = "{}" },
  { type = "function_call", call_id = "c2", name = "g", arguments = "{}" }, { type = "function_call_output", call_id = "c1", output = "1" },
  { type = "function_call_output", call_id = "c2", output = "2" },
}


describe("a conversation", function()
  it("is made, found, changed and deleted", function()
    with_server(function(server)
      local made = create(server, { metadata = { topic = "moon" }, items = { { role = "user", content = "Hello" } } })
      assert.same({ "conversation", { topic = "moon" } }, { made.object, made.metadata })
      local path = "/v1/conversations/" .. made.id
      assert.same(made, server:get(path).body)
      assert.same({ topic = "sun" }, server:post(path, { metadata = { topic = "sun" } }).body.metadata)
      assert.same({ topic = "sun" }, server:get(path).body.metadata)
      assert.equal("Hello", (list(server, made.id)))
      assert.same({ id = made.id, object = "conversation.deleted", deleted = true }, server:delete(path).body)
      for _, answer in ipairs {
        server:get(path), server:delete(path), server:post(path, { metadata = {} }), server:get(items_path(made.id)),
      } do
        assert.equal(404, answer.status)
      end
    end)
  end)

  it("may be made of nothing", function()
    with_server(function(server)
      assert.same({}, server:post("/v1/conversations", "").body.metadata)
    end)
  end)

  it("refuses what it cannot hold", function()
    with_server(function(server)
      local many = {}
      for position = 1, 21 do
        many[position] = { role = "user", content = "x" }
      end
      local id = create(server, {}).id
      for _, body in ipairs { { items = many }, { items = "x" }, { items = { { type = "poem" } } }, { metadata = { a = 1 } },
        { metadata = json.array {} } } do
        assert.equal(400, server:post("/v1/conversations", body).status)
      end
      for _, body in ipairs { { items = many }, { items = {} }, {} } do
        assert.equal(400, server:post(items_path(id), body).status)
      end
      assert.equal(400, server:post("/v1/conversations/" .. id, {}).status)
      assert.equal("", (list(server, id)))
    end)
  end)

  it("lists its items page by page, from either end, wherever a page ends", function()
    with_server(function(server)
      local id = create(server, { items = turns }).id
      assert.equal("q hm a f g 1 2", (list(server, id)))
      assert.equal("2 1 g f a hm q", (list(server, id, "")))
      for _, order in ipairs { "asc", "desc" } do
        for limit = 1, 8 do
          local seen, after = {}, ""
          repeat
            local line, page = list(server, id, ("?order=%s&limit=%d%s"):format(order, limit, after))
            seen[#seen + 1], after = line, "&after=" .. page.last_id
          until not page.has_more
          assert.equal(order == "asc" and "q hm a f g 1 2" or "2 1 g f a hm q", table.concat(seen, " "))
        end
      end
    end)
  end)

  it("gives what was added", function()
    with_server(function(server)
      local id = create(server, { items = { { role = "user", content = "first" } } }).id
      local added = server:post(items_path(id), { items = turns }).body
      assert.same({ "q hm a f g 1 2", false, "list" }, { line_of(added), added.has_more, added.object })
      for _, item in ipairs(added.data) do
        assert.same(item, server:get(items_path(id) .. "/" .. item.id).body)
      end
    end)
  end)

  it("forgets an item, and what it was part of stays", function()
    with_server(function(server)
      local made = create(server, { items = turns })
      local _, page = list(server, made.id)
      for _, step in ipairs { { 2, "q a f g 1 2" }, { 4, "q a g 1 2" }, { 3, "q g 1 2" }, { 7, "q g 1" } } do
        local path = items_path(made.id) .. "/" .. page.data[step[1]].id
        assert.same(made, server:delete(path).body)
        assert.equal(step[2], (list(server, made.id)))
        assert.equal(404, server:get(path).status)
        assert.equal(404, server:delete(path).status)
      end
      assert.same(page.data[5], server:get(items_path(made.id) .. "/" .. page.data[5].id).body)
    end)
  end)

  it("has no items of other conversations", function()
    with_server(function(server)
      local one, two = create(server, { items = turns }).id, create(server, { items = turns }).id
      local _, page = list(server, one)
      local path = items_path(two) .. "/" .. page.data[1].id
      assert.same({ 404, 404 }, { server:get(path).status, server:delete(path).status })
      assert.equal(400, server:get(items_path(two) .. "?after=" .. page.data[1].id).status)
      for _, id in ipairs { "conv_x", "thread_x", "x", (one:gsub("^conv", "thread")) } do
        assert.equal(404, server:get("/v1/conversations/" .. id).status, id)
      end
    end)
  end)

  it("is what responses are made in", function()
    with_server(function(server)
      local id = create(server, { items = { { role = "user", content = "One" } } }).id
      local answer = server:post("/v1/responses", { model = "offline/demo", conversation = id, input = "Two" }).body
      assert.same({ id = id }, answer.conversation)
      assert.matches('You said "Two"%. This is message 2', answer.output[1].content[1].text)
      assert.matches("^One Two I am the offline model", (list(server, id)))
      local next_one = server:post("/v1/responses", { model = "offline/demo", previous_response_id = answer.id, input = "Three" }).body
      assert.matches("This is message 3", next_one.output[1].content[1].text)
      assert.is_nil((list(server, id)):find("Three", 1, true)) -- it went on elsewhere
    end)
  end)

  it("asks no model when nothing was said in it yet", function()
    with_server(function(server)
      local answer = server:post("/v1/responses", { model = "offline/demo", conversation = create(server, {}).id, input = {
        { type = "function_call_output", call_id = "c", output = "1" },
      } })
      assert.same({ 400, "input" }, { answer.status, answer.body.error.param })
    end)
  end)

  it("is locked while a response is made in it", function()
    local model = testing.model { { text = "slowly", delay = 0.3 } }
    with_server(function(server)
      local id = create(server, {}).id
      local body = { model = "assistant/conversations_slow", conversation = id, input = "Hi" }
      local group <close> = task.group()
      local first
      group:spawn(function()
        first = server:post("/v1/responses", body)
      end)
      while not model.requests[1] do
        task.sleep(0.01)
      end
      for _, way in ipairs { {}, { stream = true }, { background = true }, { background = true, stream = true } } do
        way.model, way.conversation, way.input = body.model, id, "Hi"
        local second = server:post("/v1/responses", way)
        local err = second.body.error
        assert.same({ 400, "conversation_locked", "conversation" }, { second.status, err.code, err.param })
        assert.is_nil(err.message:find("thread_", 1, true))
      end
      assert.equal(400, server:post(items_path(id), { items = turns }).status)
      group:wait()
      assert.equal(200, first.status)
      assert.equal("Hi slowly", (list(server, id)))
    end, { define = function(perilune)
      perilune.assistant { name = "conversations_slow", model = model }
    end })
  end)

  it("ends the response that is made in it before it is deleted, for whoever waits", function()
    local model = testing.model { { text = ("word "):rep(500), word_delay = 0.02 }, repeat_last = true }
    with_server(function(server)
      local body = { model = "assistant/conversations_slow", input = "Hi" }
      -- What came of a request that is under way when its conversation goes.
      local function deleted_under(ask)
        local group <close> = task.group()
        local asked, answer = #model.requests, nil
        body.conversation = create(server, {}).id
        group:spawn(function()
          answer = ask()
        end)
        while #model.requests == asked or body.stream and not (next(server.server.streams) or {}).has_begun do
          task.sleep(0.01)
        end
        assert.equal(200, server:delete("/v1/conversations/" .. body.conversation).status)
        group:wait()
        return answer
      end
      for _, is_background in ipairs { false, true } do
        body.stream, body.background = true, is_background
        local events = deleted_under(function()
          return server:events("/v1/responses", body)
        end)
        local last = events[#events].data
        assert.same({ "response.incomplete", "cancelled" }, { last.type, last.response and last.response.status })
        assert.is_nil(events.error)
      end
      body.stream, body.background = nil, nil
      local answer = deleted_under(function()
        return server:post("/v1/responses", body)
      end)
      assert.same({ 499, "cancelled" }, { answer.status, answer.body.error.code })
    end, { define = function(perilune)
      perilune.assistant { name = "conversations_slow", model = model }
    end })
  end)

  it("belongs to the account that made it", function()
    with_server(function(server)
      local db, headers = server.app:database(), {}
      for _, name in ipairs { "one", "two" } do
        headers[name] = { authorization = "Bearer " .. assert(keys.create(db, { name = name, account = name })) }
      end
      local id = create(server, { items = turns }, headers.one).id
      local path = "/v1/conversations/" .. id
      local item = server:get(items_path(id), headers.one).body.data[1].id
      assert.equal(200, server:get(path, headers.one).status)
      for _, answer in ipairs {
        server:get(path, headers.two), server:delete(path, headers.two), server:post(path, { metadata = {} }, headers.two),
        server:get(items_path(id), headers.two), server:post(items_path(id), { items = turns }, headers.two),
        server:get(items_path(id) .. "/" .. item, headers.two), server:delete(items_path(id) .. "/" .. item, headers.two),
        server:post("/v1/responses", { model = "offline/demo", conversation = id, input = "Hi" }, headers.two),
        server:post("/v1/responses", { model = "offline/demo", input = { { type = "item_reference", id = item } } }, headers.two),
      } do
        assert.equal(404, answer.status, answer.text)
      end
    end)
  end)
end)
