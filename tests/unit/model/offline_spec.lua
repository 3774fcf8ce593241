local json = require "perilune.json"
local offline = require "perilune.model.provider.offline"
local response = require "perilune.model.response"

local weather = {
  name = "get_weather", description = "Get the current weather for a location",
  parameters = {
    type = "object", required = { "location" },
    properties = { location = { type = "string" }, unit = { type = "string", enum = { "celsius", "fahrenheit" } } },
  },
}

local calculator = {
  name = "add_numbers", description = "Add two numbers",
  parameters = {
    type = "object", required = { "a", "b" }, properties = { a = { type = "integer" }, b = { type = "number" } },
  },
}


local function ask(question, more)
  local request = { messages = { { role = "user", content = question } } }
  for field, value in pairs(more or {}) do
    request[field] = value
  end
  return response.collect(offline.answer(request))
end


local function arguments(question, ...)
  return json.decode(ask(question, { tools = { ... } }).tool_calls[1].arguments)
end


describe("the offline model", function()
  it("says what it is, word by word, and counts", function()
    local events = offline.answer { messages = { { role = "user", content = "Hello there" } } }
    assert.are.equal("start", events[1].type)
    assert.are.equal("stop", events[#events].type)
    local words = 0
    for _, event in ipairs(events) do
      words = words + (event.type == "text" and 1 or 0)
    end
    local answer = response.collect(events)
    assert.is_truthy(answer.content:find("offline model", 1, true))
    assert.is_truthy(answer.content:find("message 1 of our conversation", 1, true))
    assert.are.equal(words, answer.usage.completion_tokens)
    assert.are.equal(2, answer.usage.prompt_tokens)
    assert.is_true(answer.usage.estimated)
  end)

  it("answers the same request with the same events", function()
    local request = { messages = { { role = "user", content = "weather in Paris" } }, tools = { weather } }
    assert.are.same(offline.answer(request), offline.answer(request))
  end)

  it("calls the tool that shares most words with the question", function()
    local answer = ask("What's the weather in Paris?", { tools = { calculator, weather } })
    assert.are.equal("get_weather", answer.tool_calls[1].name)
    assert.are.equal("tool_calls", answer.finish_reason)
    assert.are.equal("add_numbers", ask("please add 2 and 3", { tools = { weather, calculator } }).tool_calls[1].name)
    assert.is_false(ask("Hello!", { tools = { weather } }).has_tool_calls)
  end)

  it("obeys tool_choice", function()
    assert.is_false(ask("weather in Rome", { tools = { weather }, tool_choice = "none" }).has_tool_calls)
    assert.is_true(ask("Hello!", { tools = { weather }, tool_choice = "required" }).has_tool_calls)
    local named = ask("weather", { tools = { weather, calculator }, tool_choice = { name = "add_numbers" } })
    assert.are.equal("add_numbers", named.tool_calls[1].name)
  end)

  it("fills arguments from the question", function()
    assert.are.same({ location = "Paris" }, arguments("What's the weather in Paris?", weather))
    assert.are.same({ location = "New York" }, arguments("weather for New York, please", weather))
    assert.are.same({ location = "the moon" }, arguments('weather of "the moon"', weather))
    assert.are.same({ location = "Oslo", unit = "celsius" }, arguments("weather in Oslo in celsius", weather))
    assert.are.same({ a = 12, b = 3.5 }, arguments("add the numbers 12 and 3.5", calculator))
  end)

  it("fills every type a schema can ask for", function()
    local tool = { name = "book_table", parameters = json.raw(
      '{"type":"object","required":["day","flag","guests","list","nested","none"],"properties":{"day":{"enum":["mon","tue"]},'
      .. '"flag":{"type":"boolean"},"guests":{"type":["integer","null"]},"list":{"type":"array","items":{"type":"string"}},'
      .. '"nested":{"type":"object","required":["x"],"properties":{"x":{"const":5}}},"none":{"type":"null"}}}') }
    local filled = arguments("book a table for Anna on tue, 4 people", tool)
    assert.are.equal("tue", filled.day)
    assert.is_true(filled.flag)
    assert.are.equal(4, filled.guests)
    assert.are.same("Anna", filled.list[1])
    assert.are.equal(5, filled.nested.x)
    assert.are.equal(json.null, filled.none)
  end)

  it("ends on a schema that never ends", function()
    local loop = { type = "object", required = { "x" }, properties = {} }
    loop.properties.x = loop
    assert.is_truthy(ask("weather", { tools = { { name = "weather", parameters = loop } } }).has_tool_calls)
  end)

  it("repeats what the tools answered", function()
    local answer = response.collect(offline.answer { tools = { weather }, messages = {
      { role = "user", content = "weather in Paris" },
      { role = "assistant", tool_calls = { { id = "c", name = "get_weather", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c", name = "get_weather", content = '{"temperature":18}' },
    } })
    assert.is_truthy(answer.content:find('{"temperature":18}', 1, true))
    assert.is_false(answer.has_tool_calls)
  end)

  it("remembers the conversation", function()
    local messages = {
      { role = "user", content = "My name is Ada" }, { role = "assistant", content = "Hello" },
      { role = "user", content = "What did I say before?" },
    }
    local answer = response.collect(offline.answer { messages = messages, tools = { weather } })
    assert.is_truthy(answer.content:find("My name is Ada", 1, true))
    messages[3].content = "And now?"
    assert.is_truthy(response.collect(offline.answer { messages = messages }).content:find("message 2 of", 1, true))
  end)

  it("writes JSON when JSON is wanted", function()
    local format = { type = "json_schema", json_schema = { name = "city", schema = {
      type = "object", required = { "city" }, properties = { city = { type = "string" } },
    } } }
    assert.are.same({ city = "Rome" }, json.decode(ask("Tell me of Rome", { response_format = format }).content))
  end)

  it("cuts what it quotes between characters", function()
    local answer = ask(("ü"):rep(300))
    assert.is_truthy(utf8.len(answer.content))
    assert.is_true(#answer.content < 500)
  end)

  it("answers an empty conversation", function()
    assert.is_truthy(response.collect(offline.answer { messages = {} }).content ~= "")
  end)
end)
