local json = require "perilune.json"
local openai_shape = require "perilune.model.openai_shape"
local requests = require "perilune.model.request"
local response = require "perilune.model.response"

local PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

local identity = { id = "chatcmpl_1", created = 1700000000, model = "asked" }


local function refused(body)
  local asked, err = openai_shape.request(body)
  assert.is_nil(asked)
  assert.are.equal("configuration", err.kind)
  return err.message
end


local function message_refused(message)
  return refused { messages = { message } }
end


-- All chunks of these events.
local function chunks_of(events, include_usage, null)
  local encoder = openai_shape.chunks({ id = "chatcmpl_1", created = 1, model = "asked", null = null }, include_usage)
  local chunks = {}
  for _, event in ipairs(events) do
    for _, chunk in ipairs(encoder:feed(event)) do
      chunks[#chunks + 1] = chunk
    end
  end
  return chunks
end


local function deltas_of(chunks)
  local deltas = {}
  for position, chunk in ipairs(chunks) do
    deltas[position] = chunk.choices[1] and chunk.choices[1].delta
  end
  return deltas
end


local usage = {
  prompt_tokens = 3, completion_tokens = 5, total_tokens = 8, prompt_tokens_details = { cached_tokens = 2 },
  completion_tokens_details = { reasoning_tokens = 1 }, service_tier = "flex", cost = 12,
}

local usage_shape = {
  prompt_tokens = 3, completion_tokens = 5, total_tokens = 8,
  prompt_tokens_details = { cached_tokens = 2, audio_tokens = 0 },
  completion_tokens_details = {
    reasoning_tokens = 1, audio_tokens = 0, accepted_prediction_tokens = 0, rejected_prediction_tokens = 0,
  },
}

local answer_events = {
  { type = "start", id = "gen_7", model = "gpt-4o-mini", provider = "openai" },
  { type = "thinking", text = "Hm. " },
  { type = "text", text = "It is " },
  { type = "text", text = "fine." },
  { type = "tool_call_start", index = 0, id = "call_1", name = "get_weather" },
  { type = "tool_call_delta", index = 0, arguments = '{"city":' },
  { type = "tool_call_delta", index = 0, arguments = '"Paris"}' },
  { type = "tool_call", index = 0, id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' },
  { type = "usage", usage = usage },
  { type = "stop", reason = "tool_calls", raw = "tool_calls" },
}


describe("a request in OpenAI's shape", function()
  it("becomes messages, options and what is asked of the answer", function()
    local asked = assert(openai_shape.request {
      model = "openai/gpt-4o-mini", stream = true, stream_options = { include_usage = true }, temperature = 0.5, max_tokens = 10,
      stop = { "END" }, messages = {
        { role = "system", content = "Be brief." },
        { role = "user", content = { { type = "text", text = "What is this?" } } },
        { role = "assistant", content = json.null, refusal = json.null, tool_calls = {
          { id = "call_1", type = "function", ["function"] = { name = "look", arguments = "{}" } },
        } },
        { role = "tool", tool_call_id = "call_1", content = "a crater" },
      },
      tools = { { type = "function", ["function"] = { name = "look", description = "Looks", parameters = { type = "object" } } } },
      tool_choice = { type = "function", ["function"] = { name = "look" } },
    })
    assert.are.same({
      model = "openai/gpt-4o-mini", is_streamed = true, include_usage = true,
      options = {
        temperature = 0.5, max_tokens = 10, stop = { "END" }, tool_choice = { name = "look" },
        tools = { { name = "look", description = "Looks", parameters = { type = "object" } } },
      },
      messages = {
        { role = "system", content = "Be brief." },
        { role = "user", content = { { type = "text", text = "What is this?" } } },
        { role = "assistant", tool_calls = { { id = "call_1", name = "look", arguments = "{}" } } },
        { role = "tool", tool_call_id = "call_1", content = "a crater" },
      },
    }, asked)
    assert.is_truthy(requests.new(asked.messages, asked.options))
  end)

  it("gives the provider the fields that are no option of ours, and leaves out null", function()
    local asked = assert(openai_shape.request {
      messages = { { role = "user", content = "Hi" } }, top_k = 40, verbosity = "low", seed = json.null, tools = json.null,
      provider_specific_params = { top_k = 50, min_p = 0.1 },
    })
    assert.are.same({ provider_specific_params = { top_k = 50, min_p = 0.1, verbosity = "low" } }, asked.options)
    assert.is_false(asked.is_streamed)
  end)

  it("reads images, audio and files", function()
    local asked = assert(openai_shape.request { messages = { { role = "user", content = {
      { type = "image_url", image_url = { url = "https://example.org/moon.jpg", detail = "low" } },
      { type = "image_url", image_url = { url = "data:image/png;base64," .. PIXEL } },
      { type = "input_audio", input_audio = { data = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA", format = "wav" } },
      { type = "file", file = { filename = "a.pdf", file_data = "data:application/pdf;base64,JVBERi0xLjQK" } },
    } } } })
    assert.are.same({
      { type = "image", url = "https://example.org/moon.jpg", media_type = "image/jpeg", detail = "low" },
      { type = "image", data = PIXEL, media_type = "image/png" },
      { type = "audio", data = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA", media_type = "audio/wav" },
      { type = "file", data = "JVBERi0xLjQK", media_type = "application/pdf", name = "a.pdf" },
    }, asked.messages[1].content)
  end)

  it("names the field that it cannot read", function()
    assert.are.equal("messages: is missing", refused { model = "x" })
    assert.are.equal("messages: must be a list, not a string", refused { messages = "Hi" })
    assert.are.equal("messages[0]: must be an object, not a string", message_refused "Hi")
    assert.are.equal("messages[0]: unknown field 'contents', did you mean 'content'?", message_refused { role = "user", contents = "x" })
    assert.are.equal("messages[0].content: must be a list, not an object",
      message_refused { role = "user", content = { type = "text", text = "x" } })
    assert.is_truthy(message_refused { role = "user", content = { { type = "picture" } } }:find(
      "messages[0].content[0]: the type 'picture' is not known", 1, true))
    assert.are.equal("messages[0].content[0].image_url: needs 'url'",
      message_refused { role = "user", content = { { type = "image_url", image_url = {} } } })
    assert.are.equal("messages[0].content[0].file: unknown field 'file_id'",
      message_refused { role = "user", content = { { type = "file", file = { file_id = "file-1" } } } })
    assert.are.equal("messages[0].tool_calls[0].function: is missing",
      message_refused { role = "assistant", tool_calls = { { id = "a" } } })
    local hello = { { role = "user", content = "Hi" } }
    assert.is_truthy(refused { messages = hello, functions = {} }:find("'tools'", 1, true))
    assert.is_truthy(refused { messages = hello, tools = { { type = "custom" } } }:find("tools[0]: only the type 'function'", 1, true))
    assert.is_truthy(message_refused({ role = "function", content = "x" }):find("use 'tool'", 1, true))
    assert.is_truthy(message_refused({ role = "assistant", function_call = { name = "f" } }):find("use 'tool_calls'", 1, true))
    assert.are.equal("messages[0]: must be an object, not null", message_refused(json.null))
    assert.is_truthy(message_refused { role = "user", content = { { type = "image_url", image_url = { url = "data:,x" } } } }:find(
      "^messages%[0%]%.content%[0%]%.image_url%.url: "))
  end)

  it("takes an answer in sound by what was said, and not without it", function()
    local asked = assert(openai_shape.request { messages = { { role = "assistant", audio = { id = "audio_1", transcript = "Hm." } } } })
    assert.are.equal("Hm.", asked.messages[1].content)
    assert.is_truthy(message_refused { role = "assistant", audio = { id = "audio_1" } }:find("messages[0].audio: ", 1, true))
  end)

  it("says the place of an error in its own words, too", function()
    local _, err = openai_shape.request { messages = { { role = "user", content = "x" }, json.null } }
    assert.are.equal("messages[1]", err.param)
  end)
end)


describe("an answer in OpenAI's shape", function()
  it("has every field that the shape promises", function()
    local completion = openai_shape.completion(response.collect(answer_events), identity)
    assert.are.same({
      id = "gen_7", object = "chat.completion", created = 1700000000, model = "gpt-4o-mini", service_tier = "flex",
      usage = usage_shape,
      choices = { {
        index = 0, finish_reason = "tool_calls", message = {
          role = "assistant", content = "It is fine.", reasoning_content = "Hm. ", tool_calls = { {
            id = "call_1", type = "function", ["function"] = { name = "get_weather", arguments = '{"city":"Paris"}' },
          } },
        },
      } },
    }, completion)
  end)

  it("says null where a reader of JSON wants it", function()
    local null = { id = "chatcmpl_1", created = 1, null = json.null }
    local completion = openai_shape.completion(response.collect { { type = "stop", reason = "length" } }, null)
    assert.are.equal(json.null, completion.choices[1].logprobs)
    assert.are.equal(json.null, completion.choices[1].message.content)
    assert.are.equal(json.null, completion.choices[1].message.refusal)
    assert.are.equal("length", completion.choices[1].finish_reason)
    assert.are.equal("chatcmpl_1", completion.id)
    assert.is_nil(completion.usage)
  end)

  it("ends a refusal as OpenAI does", function()
    local said = openai_shape.completion(response.collect {
      { type = "refusal", text = "No." }, { type = "stop", reason = "refusal" },
    }, identity)
    assert.are.same({ "stop", "No." }, { said.choices[1].finish_reason, said.choices[1].message.refusal })
    local silent = openai_shape.completion(response.collect { { type = "stop", reason = "refusal" } }, identity)
    assert.are.equal("content_filter", silent.choices[1].finish_reason)
  end)

  it("can be sent back as a message, opaque items included", function()
    local events = table.move(answer_events, 1, #answer_events - 1, 1, {})
    events[#events + 1] = { type = "item", item = { signature = "s" }, provider = "anthropic", model = "claude" }
    events[#events + 1] = { type = "stop", reason = "tool_calls" }
    local answer = response.collect(events)
    local message = openai_shape.completion(answer, identity).choices[1].message
    local asked = assert(openai_shape.request { messages = { message } })
    assert.are.same(answer:to_message(), asked.messages[1])
  end)

  it("keeps images, speech, sources and log probabilities", function()
    local choice = openai_shape.completion(response.collect {
      { type = "text", text = "Look." },
      { type = "image", data = PIXEL, media_type = "image/png" },
      { type = "audio", id = "audio_1", data = "AAAA", expires_at = 9 },
      { type = "citation", citation = { url = "https://example.org", title = "Moon", start_index = 0, end_index = 4 } },
      { type = "logprobs", content = { { token = "Look", logprob = -0.1 } } },
      { type = "stop", reason = "stop" },
    }, identity).choices[1]
    assert.are.same({ { type = "image_url", image_url = { url = "data:image/png;base64," .. PIXEL } } }, choice.message.images)
    assert.are.same({ id = "audio_1", data = "AAAA", expires_at = 9, transcript = "Look." }, choice.message.audio)
    assert.are.same({ { type = "url_citation", url_citation = {
      url = "https://example.org", title = "Moon", start_index = 0, end_index = 4,
    } } }, choice.message.annotations)
    assert.are.same({ content = { { token = "Look", logprob = -0.1 } } }, choice.logprobs)
  end)
end)


describe("chunks in OpenAI's shape", function()
  it("say the role first, then what comes, then why it ends, then what was used", function()
    local chunks = chunks_of(answer_events, true, json.null)
    assert.are.same({
      { role = "assistant", content = "" },
      { reasoning_content = "Hm. " },
      { content = "It is " },
      { content = "fine." },
      { tool_calls = { { index = 0, id = "call_1", type = "function", ["function"] = { name = "get_weather", arguments = "" } } } },
      { tool_calls = { { index = 0, ["function"] = { arguments = '{"city":' } } } },
      { tool_calls = { { index = 0, ["function"] = { arguments = '"Paris"}' } } } },
      {},
    }, deltas_of(chunks))
    for position, chunk in ipairs(chunks) do
      assert.are.same({ "gen_7", "chat.completion.chunk", 1, "gpt-4o-mini" }, { chunk.id, chunk.object, chunk.created, chunk.model })
      if position < #chunks then
        assert.are.equal(json.null, chunk.usage)
        assert.are.equal(position == #chunks - 1 and "tool_calls" or json.null, chunk.choices[1].finish_reason)
      end
    end
    assert.are.same(usage_shape, chunks[#chunks].usage)
    assert.are.equal("[]", json.encode(chunks[#chunks].choices))
  end)

  it("leave usage out when nobody asked for it", function()
    local chunks = chunks_of(answer_events)
    assert.are.equal("tool_calls", chunks[#chunks].choices[1].finish_reason)
    for _, chunk in ipairs(chunks) do
      assert.is_nil(chunk.usage)
    end
  end)

  it("say the arguments of a call that came whole, once", function()
    local chunks = chunks_of {
      { type = "start", model = "m" },
      { type = "tool_call_start", index = 0, id = "call_1", name = "look" },
      { type = "tool_call", index = 0, id = "call_1", name = "look", arguments = "{}" },
      { type = "stop", reason = "tool_calls" },
    }
    assert.are.same({ tool_calls = { { index = 0, ["function"] = { arguments = "{}" } } } }, deltas_of(chunks)[3])
    assert.are.equal(4, #chunks)
  end)

  it("begin and end every choice", function()
    local chunks = chunks_of {
      { type = "start", model = "m" }, { type = "text", text = "a" }, { type = "text", text = "b", choice = 1 },
      { type = "refusal", text = "c", choice = 1 },
      { type = "stop", reason = "stop", choices = { { index = 1, reason = "refusal" } } },
    }
    local seen = {}
    for position, chunk in ipairs(chunks) do
      local choice = chunk.choices[1]
      seen[position] = ("%d %s"):format(choice.index, choice.finish_reason or choice.delta.role or choice.delta.content or "refusal")
    end
    assert.are.same({ "0 assistant", "0 a", "1 assistant", "1 b", "1 refusal", "0 stop", "1 stop" }, seen)
  end)
end)
