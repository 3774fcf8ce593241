local errors = require "perilune.std.errors"
local json = require "perilune.json"
local request = require "perilune.serve.shape.responses.request"

local PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


local function read(changes)
  local body = { model = "m", input = "Hello" }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return request.read(body)
end


-- What a body is refused with.
local function refusal(changes)
  local ok, err = pcall(read, changes)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  assert.equal(400, err.answer.status)
  return err.answer
end


local function messages_of(input)
  return read({ input = json.array(input) }).messages
end


describe("a body of the Responses API", function()
  it("may be a text", function()
    local question = read()
    assert.same({ { role = "user", content = "Hello" } }, question.messages)
    assert.same({ false, false, true }, { question.is_streamed, question.is_background, question.is_stored })
  end)

  it("holds messages of every role, short and long", function()
    assert.same({
      { role = "system", content = "a" }, { role = "developer", content = "b" }, { role = "user", content = "c\nd" },
      { role = "assistant", content = "e" }, { role = "assistant", content = "f" },
    }, messages_of {
      { role = "system", content = "a" }, { type = "message", role = "developer", content = { { type = "input_text", text = "b" } } },
      { role = "user", content = { { type = "input_text", text = "c" }, { type = "input_text", text = "d" } } },
      { type = "message", role = "assistant", id = "msg_1", status = "completed", content = {
        { type = "output_text", text = "e", annotations = {} },
      } },
      { role = "assistant", content = { { type = "refusal", refusal = "f" } } },
    })
  end)

  it("holds pictures, files and sound", function()
    local content = messages_of { { role = "user", content = {
      { type = "input_text", text = "what?" }, { type = "input_image", image_url = "https://example.com/a.png", detail = "low" },
      { type = "input_image", image_url = "data:image/png;base64," .. PNG },
      { type = "input_file", file_data = "JVBERi0xLjQ=", filename = "a.pdf" },
      { type = "input_audio", input_audio = { data = "UklGRgAAAABXQVZF", format = "wav" } },
    } } }[1].content
    assert.same({ type = "text", text = "what?" }, content[1])
    assert.same({ "https://example.com/a.png", "low" }, { content[2].url, content[2].detail })
    assert.same({ "image", PNG }, { content[3].type, content[3].data })
    assert.same({ "file", "a.pdf" }, { content[4].type, content[4].name })
    assert.equal("audio", content[5].type)
  end)

  it("joins what was thought, said and called to one message", function()
    assert.same({
      { role = "user", content = "a" },
      { role = "assistant", content = "b", reasoning = "hm", tool_calls = {
        { id = "c1", name = "f", arguments = "{}" }, { id = "c2", name = "g", arguments = "" },
      } },
      { role = "tool", tool_call_id = "c1", content = "1" }, { role = "tool", tool_call_id = "c2", content = "2\n3" },
      { role = "assistant", tool_calls = { { id = "c3", name = "f", arguments = "{}" } } },
      { role = "tool", tool_call_id = "c3", content = "4" },
    }, messages_of {
      { role = "user", content = "a" }, { type = "reasoning", id = "rs_1", summary = { { type = "summary_text", text = "hm" } } },
      { role = "assistant", content = "b" }, { type = "function_call", call_id = "c1", name = "f", arguments = "{}" },
      { type = "function_call", call_id = "c2", name = "g", arguments = json.null },
      { type = "function_call_output", call_id = "c1", output = "1" },
      { type = "function_call_output", call_id = "c2", output = {
        { type = "input_text", text = "2" }, { type = "input_text", text = "3" },
      } },
      { type = "function_call", call_id = "c3", name = "f", arguments = "{}" },
      { type = "function_call_output", call_id = "c3", output = "4" },
    })
  end)

  it("does not join two answers to one", function()
    assert.same({ { role = "assistant", content = "a" }, { role = "assistant", content = "b" } },
      messages_of { { role = "assistant", content = "a" }, { role = "assistant", content = "b" } })
  end)

  it("leaves out what the server itself did in an earlier response", function()
    assert.same({ { role = "user", content = "a" } }, messages_of {
      { type = "mcp_call", id = "mcp_1", name = "look", arguments = "{}", server_label = "perilune", output = "snow" },
      { role = "user", content = "a" },
    })
  end)

  it("resolves references, whether they say what they are or not", function()
    local asked = {}
    local question = request.read({ model = "m", input = json.array {
      { type = "item_reference", id = "msg_1" }, { id = "msg_2" }, { role = "user", content = "b" },
    } }, function(where, id)
      asked[#asked + 1] = where .. " " .. id
      return { type = "message", role = "user", content = id }
    end)
    assert.same({ "input[0] msg_1", "input[1] msg_2" }, asked)
    assert.same({ "msg_1", "msg_2", "b" }, { question.messages[1].content, question.messages[2].content, question.messages[3].content })
  end)

  it("has options, which get our names", function()
    local question = read {
      temperature = 0.5, top_p = 0.9, max_output_tokens = 16, user = "u", parallel_tool_calls = false,
      tool_choice = { type = "function", name = "f" },
      tools = { { type = "function", name = "f", description = "d", parameters = { type = "object" }, strict = true } },
      reasoning = { effort = "low" },
      text = { format = { type = "json_schema", name = "city", schema = { type = "object" }, strict = true } },
      top_logprobs = 2, include = { "message.output_text.logprobs" },
    }
    assert.same({
      temperature = 0.5, top_p = 0.9, max_tokens = 16, user = "u", parallel_tool_calls = false, tool_choice = { name = "f" },
      reasoning_effort = "low", logprobs = true, top_logprobs = 2,
      response_format = { type = "json_schema", json_schema = { name = "city", schema = { type = "object" }, strict = true } },
    }, question.options)
    assert.same({ { name = "f", description = "d", parameters = { type = "object" }, strict = true } }, question.tools)
  end)

  it("gives the model no other tools than those that are allowed", function()
    local tools = {}
    for position, name in ipairs { "a", "b", "c" } do
      tools[position] = { type = "function", name = name }
    end
    for _, mode in ipairs { "auto", "required" } do
      local choice = { type = "allowed_tools", mode = mode, tools = json.array {
        { type = "function", name = "c" }, { type = "function", name = "a" },
      } }
      local question = read { tools = tools, tool_choice = choice }
      assert.same({ { name = "a" }, { name = "c" } }, question.tools)
      assert.equal(mode, question.options.tool_choice)
      assert.same({ 3, choice }, { #question.echo.tools, question.echo.tool_choice })
    end
  end)

  it("shows again what was asked, and the rest with its defaults", function()
    local echo = read({ instructions = "Be brief.", tools = { { type = "function", name = "f" } }, text = { verbosity = "low" } }).echo
    assert.equal("Be brief.", echo.instructions)
    assert.same({ { type = "function", name = "f", description = json.null, parameters = json.null, strict = false } }, echo.tools)
    assert.same({ format = { type = "text" }, verbosity = "low" }, echo.text)
    local count = 0
    for _ in pairs(echo) do
      count = count + 1
    end
    assert.equal(22, count) -- with the ten of the resource itself: 32
    assert.same({ 1, 1, "auto", "", "disabled", json.null },
      { echo.temperature, echo.top_p, echo.tool_choice, echo.user, echo.truncation, echo.reasoning })
  end)

  it("may say null for nothing, and what nobody knows", function()
    assert.equal("Hello", read({ tools = json.null, metadata = json.null, conversation = json.null, moon = 1 }).messages[1].content)
  end)

  it("names its conversation either way", function()
    assert.equal("conv_1", read({ conversation = "conv_1" }).conversation)
    assert.equal("conv_1", read({ conversation = { id = "conv_1" } }).conversation)
  end)

  local wrong = {
    ["no input"] = { { input = json.null }, "input", "missing_required_parameter" },
    ["a role that there is not"] = { { input = json.array { { role = "moon", content = "a" } } }, "input[0].role" },
    ["an item that there is not"] = { { input = json.array { { type = "poem" } } }, "input[0].type", "unsupported_parameter" },
    ["a part that there is not"] = { { input = json.array { { role = "user", content = { { type = "smell" } } } } },
      "input[0].content[0]" },
    ["a file of somebody's store"] = { { input = json.array { { role = "user", content = { { type = "input_file", file_id = "f" } } } } },
      "input[0].content[0]", "unsupported_parameter" },
    ["an output without its call"] = { { input = json.array { { type = "function_call_output", output = "a" } } }, "input[0]" },
    ["a tool that we do not have"] = { { tools = { { type = "web_search" } } }, "tools[0].type", "unsupported_parameter" },
    ["two tools of one name"] = { { tools = { { type = "function", name = "f" }, { type = "function", name = "f" } } }, "tools[1].name" },
    ["a tool with a bad name"] = { { tools = { { type = "function", name = "a b" } } }, "tools[0].name" },
    ["two ways to go on"] = { { previous_response_id = "resp_1", conversation = "conv_1" }, "previous_response_id",
      "mutually_exclusive_parameters" },
    ["the background without a store"] = { { background = true, store = false }, "background" },
    ["a prompt of somebody's store"] = { { prompt = { id = "p" } }, "prompt", "unsupported_parameter" },
    ["a temperature that is a word"] = { { temperature = "hot" }, "temperature" },
    ["a limit that is none"] = { { max_output_tokens = 0 }, "max_output_tokens" },
    ["a format that there is not"] = { { text = { format = { type = "poem" } } }, "text.format" },
    ["a schema without a name"] = { { text = { format = { type = "json_schema", schema = {} } } }, "text.format" },
    ["a choice of a kind that there is not"] = { { tool_choice = { type = "mcp" } }, "tool_choice", "unsupported_parameter" },
    ["a choice among tools that are not there"] = { { tools = { { type = "function", name = "f" } }, tool_choice = {
      type = "allowed_tools", mode = "auto", tools = { { type = "function", name = "g" } },
    } }, "tool_choice.tools[0]" },
    ["a choice among tools of a kind that there is not"] = { { tools = { { type = "function", name = "f" } }, tool_choice = {
      type = "allowed_tools", mode = "none", tools = { { type = "function", name = "f" } },
    } }, "tool_choice.mode" },
    ["a choice among an assistant's tools"] = { { model = "assistant/a", tool_choice = {
      type = "allowed_tools", mode = "auto", tools = { { type = "function", name = "f" } },
    } }, "tool_choice", "unsupported_parameter" },
    ["a choice that there is not"] = { { tool_choice = "banana" }, "tool_choice" },
    ["an effort that is a number"] = { { reasoning = { effort = 5 } }, "reasoning.effort" },
    ["a format that is a word"] = { { text = { format = "json" } }, "text.format" },
    ["a truncation that there is not"] = { { truncation = "banana" }, "truncation" },
    ["a conversation without an id"] = { { conversation = {} }, "conversation" },
    ["a conversation that is a list"] = { { conversation = json.array() }, "conversation" },
    ["metadata that is a list"] = { { metadata = json.array() }, "metadata" },
    ["metadata that is no text"] = { { metadata = { a = 1 } }, "metadata" },
    ["metadata that is long"] = { { metadata = { a = ("x"):rep(3000) } }, "metadata" },
    ["text that is no UTF-8"] = { { input = "\xff" }, "input" },
  }
  it("is refused for a schema that is malformed, with the tool that has it", function()
    local malformed = { type = "object", properties = { city = { type = "town" } } }
    local tools = { { type = "function", name = "f" }, { type = "function", name = "g", parameters = malformed } }
    local ok, err = pcall(read, { tools = tools })
    assert.same({ false, "schema", "tools[1].parameters" }, { ok, err.kind, err.param })
  end)

  for name, case in pairs(wrong) do
    it("is refused for " .. name .. ", which is named", function()
      local answer = refusal(case[1])
      assert.same({ case[2], case[3] or answer.code }, { answer.param, answer.code })
    end)
  end
end)
