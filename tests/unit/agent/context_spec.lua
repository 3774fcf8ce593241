local context = require "perilune.agent.context"


local function call(id)
  return { id = id, name = "f", arguments = "{}" }
end


local function result(id, content)
  return { role = "tool", tool_call_id = id, name = "f", content = content or "ok" }
end


local function assistant(...)
  return { role = "assistant", tool_calls = { ... } }
end


local function user(text)
  return { role = "user", content = text or "?" }
end


-- What every request must keep: each call has exactly one result, right after the message that made it; each result its call.
local function assert_no_orphans(messages)
  local position = 1
  while messages[position] do
    local message = messages[position]
    assert.not_equal("tool", message.role)
    position = position + 1
    for _, made in ipairs(message.tool_calls or {}) do
      local following = messages[position]
      assert.equal("tool", following and following.role)
      assert.equal(made.id, following.tool_call_id)
      position = position + 1
    end
  end
end


describe("a request's messages", function()
  it("begin with the instructions", function()
    assert.same({ { role = "system", content = "Be brief." }, user "hi" }, context.build({ user "hi" }, "Be brief."))
    assert.same({ user "hi" }, context.build({ user "hi" }, ""))
  end)

  it("have the results in the order of their calls", function()
    local built = context.build { user(), assistant(call "a", call "b"), result("b", "second"), result("a", "first") }
    assert.same({ "first", "second" }, { built[3].content, built[4].content })
  end)

  it("say what happened to a call whose result was never stored", function()
    local built = context.build { user(), assistant(call "a", call "b"), result "b", user "go on" }
    assert.is_true(built[3].is_error)
    assert.matches("unknown", built[3].content)
    assert.equal("go on", built[5].content)
    assert_no_orphans(built)
  end)

  it("leave out results without a call, and empty answers", function()
    local built = context.build { user(), result "x", { role = "assistant" }, { role = "assistant", content = "" }, user "2" }
    assert.same({ user(), user "2" }, built)
  end)

  it("begin at a message that can begin an exchange when the window cuts one", function()
    local built = context.build { result "a", { role = "assistant", content = "late" }, user "now" }
    assert.same({ user "now" }, built)
  end)

  it("keep two calls with the same id apart", function()
    local built = context.build { user(), assistant(call "a", call "a"), result("a", "1"), result("a", "2"), result("a", "3") }
    assert.same({ "1", "2" }, { built[3].content, built[4].content })
    assert.equal(4, #built)
  end)

  it("never hold an orphan, whatever the history (2,000 random ones, cut anywhere)", function()
    math.randomseed(7)
    local makers = {
      function() return user() end,
      function() return { role = "assistant", content = math.random(2) == 1 and "text" or nil } end,
      function() return assistant(call(tostring(math.random(4))), call(tostring(math.random(4)))) end,
      function() return result(tostring(math.random(4))) end,
      function() return result(tostring(math.random(4))) end,
    }
    for _ = 1, 2000 do
      local history = {}
      for position = 1, math.random(0, 25) do
        history[position] = makers[math.random(#makers)]()
      end
      local first = math.random(1, #history + 1)
      assert_no_orphans(context.build(table.move(history, first, #history, 1, {}), math.random(2) == 1 and "x" or nil))
    end
  end)
end)
