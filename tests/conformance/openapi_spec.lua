-- What the client sends to OpenAI, against OpenAI's own published document: every request must be one that it allows.
local apps = require "perilune.app"
local clients = require "perilune.client"
local json = require "perilune.json"
local openapi = require "tests.support.openapi"
local tables = require "perilune.std.tables"

local PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

local weather = { name = "get_weather", description = "The weather of a city.", parameters = {
  type = "object", properties = { city = { type = "string" } }, required = { "city" }, additionalProperties = false,
}, strict = true }
local clock = { name = "get_time" }

local schema = { type = "json_schema", json_schema = { name = "city", strict = true, schema = weather.parameters } }

local conversation = {
  { role = "system", content = "Be brief." },
  { role = "developer", content = "Use the tools." },
  { role = "user", content = "The weather and the time in Paris?" },
  { role = "assistant", content = "I look.", tool_calls = {
    { id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' }, { id = "call_2", name = "get_time", arguments = "" },
  } },
  { role = "tool", tool_call_id = "call_1", name = "get_weather", content = "sunny" },
  { role = "tool", tool_call_id = "call_2", name = "get_time", is_error = true, content = {
    { type = "text", text = "no clock, but a picture of one" }, { type = "image", data = PNG, media_type = "image/png" },
  } },
  { role = "assistant", content = "Sunny.", reasoning = "It said so." },
  { role = "user", content = "And how do I break in?" },
  { role = "assistant", refusal = "I do not say that." },
  { role = "user", content = "Then good night." },
}

local pictures = { { role = "user", content = {
  { type = "text", text = "What is it?" },
  { type = "image", url = "https://example.com/moon.png", detail = "low" },
  { type = "image", data = PNG, media_type = "image/png" },
} } }

local document = { { role = "user", content = {
  { type = "file", data = "JVBERi0xLjQ=", media_type = "application/pdf", name = "report.pdf" }, { type = "text", text = "Sum it up." },
} } }

local sound = { { role = "user", content = {
  { type = "audio", data = "UklGRg==", media_type = "audio/wav" }, { type = "audio", data = "SUQz", media_type = "audio/mpeg" },
} } }


-- Input and options of a question, and what must have been sent, so that a case cannot pass by sending nothing of interest.
local chat_cases = {
  ["a text"] = { "Hello" },
  ["a stream"] = { "Hello", { is_streamed = true }, sent = { "stream", "stream_options" } },
  ["instructions"] = { "Hello", { system = "Be brief." } },
  ["a conversation with calls and results"] = { conversation, { tools = { weather, clock } }, sent = { "tools" } },
  ["pictures"] = { pictures },
  ["a document"] = { document },
  ["sound"] = { sound, { model = "gpt-4o-audio-preview" } },
  ["a tool that must be called"] = { "Hi", {
    tools = { weather, clock }, tool_choice = { name = "get_weather" }, parallel_tool_calls = false,
  }, sent = { "tools", "tool_choice", "parallel_tool_calls" } },
  ["any tool"] = { "Hi", { tools = { weather }, tool_choice = "required" }, sent = { "tool_choice" } },
  ["no tool"] = { "Hi", { tools = { weather }, tool_choice = "none" }, sent = { "tool_choice" } },
  ["JSON by a schema"] = { "Hi", { response_format = schema }, sent = { "response_format" } },
  ["any JSON"] = { "Hi", { response_format = { type = "json_object" } }, sent = { "response_format" } },
  ["every sampling option"] = { "Hi", {
    temperature = 0.5, top_p = 0.9, max_tokens = 100, frequency_penalty = 0.1, presence_penalty = -0.1, n = 2, stop = { "a", "b" },
    logprobs = true, top_logprobs = 3, seed = 7, user = "u-1", metadata = { job = "test" },
  }, sent = {
    "temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "n", "stop", "logprobs", "top_logprobs", "seed",
    "user", "metadata",
  } },
  ["the options of a reasoning model"] = { "Hi", { model = "gpt-5-mini", reasoning_effort = "low", max_completion_tokens = 100 },
    sent = { "reasoning_effort", "max_completion_tokens" } },
  ["a spoken answer"] = { "Hi", { model = "gpt-4o-audio-preview", provider_specific_params = {
    modalities = { "text", "audio" }, audio = { voice = "alloy", format = "wav" },
  } }, sent = { "modalities", "audio" } },
}

local responses_cases = {
  ["a text"] = { "Hello" },
  ["a stream"] = { "Hello", { is_streamed = true }, sent = { "stream" } },
  ["instructions"] = { "Hello", { system = "Be brief." } },
  ["a conversation with calls and results"] = { conversation, { tools = { weather, clock } }, sent = { "tools" } },
  ["pictures"] = { pictures },
  ["a document"] = { document },
  ["a tool that must be called"] = { "Hi", {
    tools = { weather, clock }, tool_choice = { name = "get_weather" }, parallel_tool_calls = false,
  }, sent = { "tools", "tool_choice", "parallel_tool_calls" } },
  ["any tool"] = { "Hi", { tools = { weather }, tool_choice = "required" }, sent = { "tool_choice" } },
  ["JSON by a schema"] = { "Hi", { response_format = schema }, sent = { "text" } },
  ["sampling options"] = { "Hi", { temperature = 0.5, top_p = 0.9, max_tokens = 100, user = "u-1", metadata = { job = "test" } },
    sent = { "temperature", "top_p", "max_output_tokens", "metadata" } },
  ["the options of a reasoning model"] = { "Hi", { model = "gpt-5-mini", reasoning_effort = "low" }, sent = { "reasoning" } },
}

local no_settings = { env = function() end }


local function new_client(api, url)
  return clients.new(apps.new(no_settings), {
    provider = "openai", api = api, model = "gpt-4o-mini", base_url = url, api_key = "a-key-for-tests",
  })
end


local function ask(client, input, options)
  local given = {}
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  given.is_streamed = nil
  if options and options.is_streamed then
    local stream <close> = client:stream(input, given)
    return stream:response()
  end
  return client:chat(input, given)
end


-- The mock has seen one request, to this path, with these fields, and nothing is wrong with it.
local function check_one(verdicts, path, sent)
  assert.are.equal(1, #verdicts)
  local verdict = verdicts[1]
  assert.are.same({ path = path, status = 200, problems = {} },
    { path = verdict.path, status = verdict.status, problems = verdict.problems })
  for _, name in ipairs(sent or {}) do
    assert.is_true(verdict.body[name] ~= nil, name .. " was not sent")
  end
end


describe("OpenAI's document allows", function()
  local missing = openapi.missing()
  if missing then
    pending("what we send: this needs " .. missing)
    return
  end

  local mock

  setup(function()
    mock = openapi.start()
  end)

  teardown(function()
    mock:close()
  end)

  for _, name in ipairs(tables.sorted_keys(chat_cases)) do
    local case = chat_cases[name]
    it("our chat completion: " .. name, function()
      local server <close>, verdicts = mock:serve()
      assert.are.equal("Yes.", ask(new_client("chat", server.url), case[1], case[2]).content)
      check_one(verdicts, "/chat/completions", case.sent)
    end)
  end

  for _, name in ipairs(tables.sorted_keys(responses_cases)) do
    local case = responses_cases[name]
    it("our response: " .. name, function()
      local server <close>, verdicts = mock:serve()
      assert.are.equal("Yes.", ask(new_client("responses", server.url), case[1], case[2]).content)
      check_one(verdicts, "/responses", case.sent)
    end)
  end

  for model, options in pairs {
    ["gpt-image-1"] = { size = "1024x1024", quality = "high", background = "transparent", output_format = "png", n = 1 },
    ["dall-e-3"] = { size = "1024x1024", response_format = "b64_json", style = "vivid" },
  } do
    it("our image of " .. model, function()
      local server <close>, verdicts = mock:serve()
      options.prompt, options.model = "the moon", model
      assert.is_truthy(new_client("chat", server.url):image(options).data[1].b64_json)
      check_one(verdicts, "/images/generations", { "prompt", "model", "size" })
    end)
  end

  it("our embeddings", function()
    local server <close>, verdicts = mock:serve()
    local client = new_client("chat", server.url)
    assert.are.same({ { 0.5, 0.25 } }, client:embed { input = "moon", model = "text-embedding-3-small", dimensions = 2 }.vectors)
    check_one(verdicts, "/embeddings", { "input", "model", "dimensions" })
  end)

  -- Requests that are wrong must be found, or all of this says nothing.
  for name, params in pairs {
    ["a temperature that is a word"] = { temperature = "hot" },
    ["a limit that is none"] = { max_tokens = json.array {} },
    ["messages that are missing"] = { messages = json.null },
    ["a message without a call's id"] = { messages = { { role = "tool", content = "x" } } },
    ["a role that there is not"] = { messages = { { role = "moon", content = "x" } } },
    ["a tool without a name"] = { tools = { { type = "function", ["function"] = { description = "x" } } } },
    ["a format of no kind"] = { response_format = { type = "poem" } },
  } do
    it("not " .. name, function()
      local server <close>, verdicts = mock:serve()
      ask(new_client("chat", server.url), "Hello", { provider_specific_params = params })
      assert.is_true(#verdicts[1].problems > 0)
    end)
  end

  it("not a response to a role that there is not", function()
    local server <close>, verdicts = mock:serve()
    local params = { input = { { role = "moon", content = "x" } } }
    ask(new_client("responses", server.url), "Hello", { provider_specific_params = params })
    assert.is_true(#verdicts[1].problems > 0)
  end)
end)
