local context = require "perilune.agent.context"


local function call(id, name)
  return { id = id, name = name or "f", arguments = "{}" }
end


local function result(id, content)
  return { role = "tool", tool_call_id = id, name = "f", content = content or "ok" }
end


local function assistant(...)
  return { role = "assistant", tool_calls = { ... } }
end


local function says(text)
  return { role = "assistant", content = text }
end


local function user(text)
  return { role = "user", content = text or "?" }
end


-- The messages in one line: "user assistant(a b) a=ok b=lost user".
local function outline(messages)
  local words = {}
  for position, message in ipairs(messages) do
    local word = message.role
    if message.role == "tool" then
      word = ("%s=%s"):format(message.tool_call_id, message.content:find("unknown") and "lost" or message.content)
    elseif message.tool_calls then
      local ids = {}
      for at, made in ipairs(message.tool_calls) do
        ids[at] = made.id
      end
      word = ("%s(%s)"):format(word, table.concat(ids, " "))
    end
    words[position] = word
  end
  return table.concat(words, " ")
end


describe("a request's messages", function()
  it("begin with the instructions", function()
    assert.same({ { role = "system", content = "Be brief." }, user "hi" }, context.build({ user "hi" }, "Be brief."))
    assert.same({ user "hi" }, context.build({ user "hi" }, ""))
  end)

  it("go on with the summary, as something that the user shows", function()
    local built = context.build({ user "and?" }, "Be brief.", { text = "They spoke of boats." })
    assert.equal("system user user", outline(built))
    assert.matches("^%(Summary of the conversation so far%..*%)\n\nThey spoke of boats%.$", built[2].content)
  end)

  it("have the results in the order of their calls", function()
    local built = context.build { user(), assistant(call "a", call "b"), result("b", "second"), result("a", "first") }
    assert.equal("user assistant(a b) a=first b=second", outline(built))
  end)

  it("say what happened to a call whose result was never stored", function()
    local built = context.build { user(), assistant(call "a", call "b"), result "b", user "go on" }
    assert.equal("user assistant(a b) a=lost b=ok user", outline(built))
    assert.is_true(built[3].is_error)
    assert.equal("f", built[3].name)
  end)

  it("have a result that came late right after its call", function()
    local built = context.build { user(), assistant(call "a", call "b"), result "b", user "go on", says "yes", result("a", "late") }
    assert.equal("user assistant(a b) a=late b=ok user assistant", outline(built))
  end)

  it("leave out results that have no call, or come twice", function()
    assert.equal("user user", outline(context.build { user(), result "x", user "2" }))
    assert.equal("user assistant(a) a=1", outline(context.build { user(), assistant(call "a"), result("a", "1"), result("a", "2") }))
    assert.equal("user assistant(a) a=ok", outline(context.build { user(), result("a", "early"), assistant(call "a"), result "a" }))
  end)

  it("leave out answers that say nothing, and keep a refusal and what a provider wants back", function()
    for _, nothing in ipairs { {}, { content = "" }, { content = " \n" }, { content = {} }, { tool_calls = {} } } do
      nothing.role = "assistant"
      assert.equal("user user", outline(context.build { user(), nothing, user "2" }))
    end
    local refusal = { role = "assistant", refusal = "No." }
    local opaque = { role = "assistant", provider_items = { provider = "p", model = "m", items = { {} } } }
    assert.same({ user(), refusal, opaque }, context.build { user(), refusal, opaque })
  end)

  it("leave out messages of a role that nobody knows", function()
    assert.equal("user", outline(context.build { user(), { role = "narrator", content = "Meanwhile" } }))
  end)

  it("begin at a user's message when the window cuts an exchange, and keep instructions that stand before it", function()
    assert.same({ user "now" }, context.build { result "a", says "late", user "now" })
    local developer = { role = "developer", content = "In French." }
    assert.equal("developer user assistant",
      outline(context.build { developer, assistant(call "a"), user(), result "a", says "oui" }))
  end)

  it("give calls of the same id ids of their own, in one answer and over several", function()
    local stored = {
      user(), assistant(call "a", call "a"), result("a", "1"), result("a", "2"), result("a", "3"), says "so",
      user(), assistant(call "a", call "a_2"), result("a_2", "5"), result("a", "4"),
    }
    assert.equal("user assistant(a a_2) a=1 a_2=2 assistant user assistant(a_3 a_2_2) a_3=4 a_2_2=5", outline(context.build(stored)))
    assert.equal("a", stored[2].tool_calls[2].id)
    assert.equal("a", stored[4].tool_call_id)
    assert.equal("user assistant(call call_2) call=x call_2=lost",
      outline(context.build { user(), assistant(call "", call ""), result("", "x") }))
  end)

  it("do not give the result of a call to an older one of the same id", function()
    local built = context.build { user(), assistant(call "a"), user(), assistant(call "a"), result("a", "new"), result("a", "?") }
    assert.equal("user assistant(a) a=lost user assistant(a_2) a_2=new", outline(built))
  end)

  it("keep what a provider wants back with its message, also when an id is changed", function()
    local items = { provider = "p", model = "m", items = { { type = "thinking" } } }
    local second = assistant(call "a")
    second.provider_items = items
    local built = context.build { user(), assistant(call "a"), result "a", second, result "a" }
    assert.equal(items, built[4].provider_items)
    assert.equal("a_2", built[4].tool_calls[1].id)
    assert.equal("f", built[4].tool_calls[1].name)
  end)

  it("are the same tables as the stored ones where nothing had to be changed", function()
    local stored = { user(), assistant(call "a"), result "a", says "done" }
    for position, message in ipairs(context.build(stored)) do
      assert.equal(stored[position], message)
    end
  end)
end)


describe("an interrupted answer", function()
  it("is its text only: its calls were never made", function()
    local message = { role = "assistant", content = "Let me", tool_calls = { call "a" }, provider_items = { items = {} } }
    assert.same(says "Let me", context.message_of { status = "partial", message = message })
    assert.equal(1, #message.tool_calls)
    assert.equal(message, context.message_of { status = "complete", message = message })
    local only_call = context.message_of { status = "partial", message = assistant(call "a") }
    assert.equal("user user", outline(context.build { user(), only_call, result "a", user() }))
  end)
end)
