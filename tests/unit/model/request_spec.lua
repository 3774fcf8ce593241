local message = require "perilune.model.message"
local request = require "perilune.model.request"


local function with(fields)
  local made = { messages = { { role = "user", content = "q" } } }
  for field, value in pairs(fields) do
    made[field] = value
  end
  return made
end


describe("a request", function()
  it("is made from a question, with the instructions first", function()
    local made = assert(request.new("q", { system = "s", temperature = 0.1 }))
    assert.are.same({ { role = "system", content = "s" }, { role = "user", content = "q" } }, made.messages)
    assert.are.equal(0.1, made.temperature)
    assert.is_nil(made.system)
  end)

  it("is made from messages, which are not touched", function()
    local messages = { { role = "user", content = "q" } }
    local made = assert(request.new(messages, { system = "s" }))
    assert.are.equal(2, #made.messages)
    assert.are.equal(1, #messages)
  end)

  it("suggests the option that was meant", function()
    local none, err = request.check(with { temperatur = 1 })
    assert.is_nil(none)
    assert.are.equal("configuration", err.kind)
    assert.is_truthy(err.message:find("unknown option 'temperatur', did you mean 'temperature'?", 1, true))
  end)

  local wrong = {
    { { max_tokens = "many" }, "'max_tokens' must be integer, not string" }, { { max_tokens = 0 }, "at least 1" },
    { { max_tokens = 1.5 }, "must be integer" }, { { stop = 1 }, "must be string or table" },
    { { tools = { {} } }, "tool 1 has no name" }, { { tools = { { name = "f" }, { name = "f" } } }, "two tools are called 'f'" },
    { { tool_choice = "sometimes" }, "tool_choice is" }, { { tool_choice = { name = "g" }, tools = { { name = "f" } } }, "names 'g'" },
    { { messages = {} }, "no messages" },
  }
  for _, row in ipairs(wrong) do
    it("refuses: " .. row[2], function()
      local none, err = request.check(with(row[1]))
      assert.is_nil(none)
      assert.is_truthy(err.message:find(row[2], 1, true), err.message)
    end)
  end

  it("says which field is wrong as JSON has it", function()
    local f = { name = "f" }
    for param, change in pairs {
      max_tokens = { max_tokens = 0 }, messages = { messages = {} }, ["tools[1]"] = { tools = { f, f } },
      tool_choice = { tool_choice = "x" },
      ["messages[1]"] = { messages = { { role = "user", content = "q" }, {} } },
    } do
      assert.are.equal(param, select(2, request.check(with(change))).param)
    end
  end)

  it("accepts every option in its type", function()
    local sample = { string = "auto", number = 0.5, integer = 1, boolean = true, table = {}, ["string|table"] = "auto" }
    local full = {}
    for option, expected in pairs(request.options) do
      full[option] = sample[expected]
    end
    full.messages = { { role = "user", content = "q" } }
    assert.are.equal(full, request.check(full))
  end)

  it("carries the caller's own name of it, when it fits into a header", function()
    assert.are.equal("order-7", request.new("q", { request_id = "order-7" }).request_id)
    for _, bad in ipairs { "", "a b", "a\n", "é", ("x"):rep(513) } do
      assert.is_truthy(select(2, request.new("q", { request_id = bad })).message:find("1 to 512 printable", 1, true))
    end
  end)

  it("refuses what is no input", function()
    assert.is_truthy(select(2, request.new(7)).message:find("not a number", 1, true))
  end)
end)


describe("a message", function()
  local wrong = {
    { { role = "robot" }, "unknown role 'robot'" }, { { role = "user", contents = "x" }, "did you mean 'content'?" },
    { { role = "user", content = 5 }, "not a number" },
    { { role = "user", content = { { type = "text" } } }, "part 1: a text part needs 'text'" },
    { { role = "user", content = { { type = "image" } } }, "either 'url' or 'data'" },
    { { role = "user", content = { { type = "image", url = "u", data = "d" } } }, "either 'url' or 'data'" },
    { { role = "user", content = { { type = "smell" } } }, "unknown type of part 'smell'" },
    { { role = "user", content = { "x" } }, "a part is a table" }, { { role = "tool", content = "r" }, "needs 'tool_call_id'" },
    { { role = "user", tool_calls = {} }, "only an assistant message" },
    { { role = "assistant", tool_calls = { { id = "i", name = "f", arguments = {} } } }, "needs 'arguments', a text" },
    { { role = "assistant", refusal = {} }, "'refusal' must be a text, not a table" },
    { { role = "user", name = 5 }, "'name' must be a text" },
    { { role = "user", content = { { type = "file", data = "d", name = 5 } } }, "part 1: 'name' must be a text, not a number" },
    { { role = "user", content = { { type = "image", url = "u", data = 5 } } }, "'data' must be a text" },
    { { role = "assistant", provider_items = 5 }, "provider_items is a table" },
    { { role = "assistant", provider_items = {} }, "a list of tables" },
    { { role = "assistant", provider_items = { items = { 5 } } }, "a list of tables" },
    { { role = "assistant", provider_items = { model = 5, items = {} } }, "'model' must be a text" },
    { "hi", "must be a table" },
  }
  for _, row in ipairs(wrong) do
    it("is refused: " .. row[2], function()
      local none, err = message.check(row[1], "message 3")
      assert.is_nil(none)
      assert.is_truthy(err.message:find(row[2], 1, true), err.message)
      assert.is_truthy(err.message:find("message 3", 1, true))
    end)
  end

  it("has a text, whatever its form", function()
    assert.are.equal("a", message.text { content = "a" })
    assert.are.equal("a\n\nb", message.text { content = {
      { type = "text", text = "a" }, { type = "image", url = "u" }, { type = "text", text = "b" },
    } })
    assert.are.equal("", message.text {})
  end)
end)
