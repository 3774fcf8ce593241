local citations = require "perilune.model.provider.citations"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local openai_chat = require "perilune.model.provider.openai_chat"
local response = require "perilune.model.response"


local function events_of(name, options)
  return frames.feed(openai_chat.decoder(options), frames.split(assert(frames.read("tests/fixtures/" .. name))))
end


local function read(name, options)
  return response.collect(events_of(name, options))
end


local function feed(...)
  local list = {}
  for position, data in ipairs { ... } do
    list[position] = { data = data }
  end
  return response.collect(frames.feed(openai_chat.decoder(), list))
end


-- The fields of citations that all vendors share.
local function shared(list)
  local found = {}
  for position, citation in ipairs(list) do
    found[position] = {
      url = citation.url, title = citation.title, text = citation.text, start_index = citation.start_index,
      end_index = citation.end_index,
    }
  end
  return found
end


describe("log probabilities", function()
  it("are put together from a stream, for each choice, in OpenAI's shape", function()
    local answer = read "compatible/extras.sse"
    assert.are.same({ content = {
      { token = "Moon", logprob = -0.25, bytes = { 77 }, top_logprobs = {} },
      { token = "rise", logprob = -0.5, bytes = { 114 }, top_logprobs = {} },
    } }, answer.choices[1].logprobs)
    assert.are.same({ content = { { token = "Sun", logprob = -0.5, top_logprobs = {} } } }, answer.choices[2].logprobs)
  end)

  it("are kept of a whole answer, those of a refusal too", function()
    local answer = read "compatible/extras.json"
    assert.are.equal(-0.1, answer.choices[1].logprobs.content[1].logprob)
    assert.are.equal("No", answer.choices[1].logprobs.refusal[1].token)
    assert.is_nil(answer.choices[2].logprobs)
  end)
end)


describe("citations", function()
  it("are one list, whoever says them, and nothing twice", function()
    assert.are.same({
      { url = "https://b.example", title = "B", text = "the moon", start_index = 0, end_index = 4 },
      { url = "https://a.example/1", title = "One", text = "first" },
      { url = "https://a.example/2", title = "Two" },
    }, shared(read("compatible/extras.sse").citations))
  end)

  it("keep the vendor's own object, and say no place where there is none", function()
    local list = read("compatible/extras.json").citations
    assert.are.same({ { url = "https://c.example", title = "C" }, { title = "report.pdf" } }, shared(list))
    assert.are.equal("h", list[2].raw.file.hash)
  end)

  it("are the addresses alone where the vendor says no more", function()
    local answer = feed('{"id":"c","model":"m","citations":["https://a.example","https://b.example"],'
      .. '"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}')
    assert.are.same({ { url = "https://a.example" }, { url = "https://b.example" } }, shared(answer.citations))
  end)

  it("have a limit", function()
    local many = json.array {}
    for position = 1, citations.CITATIONS_MAX + 5 do
      many[position] = "https://a.example/" .. position
    end
    local answer = feed(assert(json.encode {
      id = "c", model = "m", citations = many, choices = { { index = 0, message = { content = "x" }, finish_reason = "stop" } },
    }))
    assert.are.equal(citations.CITATIONS_MAX, #answer.citations)
  end)
end)


describe("spoken answers", function()
  it("are put together from a stream; what is said is the text", function()
    local choice = read("compatible/extras.sse").choices[2]
    assert.are.same({ id = "audio_1", data = "AAECAw==", expires_at = 1800000000 }, choice.audio)
    assert.are.equal("Sunshine", choice.content)
  end)

  it("know the format that was asked for", function()
    local request = { provider_specific_params = { audio = { voice = "alloy", format = "wav" } } }
    local answer = read("compatible/extras.json", { request = request })
    assert.are.same({ id = "audio_2", data = "UklGRg==", media_type = "audio/wav", expires_at = 1800000000 }, answer.audio)
    assert.are.equal("Hello there.", answer.content)
    assert.are.equal("Hello there.", answer:to_message().content)
    assert.are.equal(4, answer.usage.completion_tokens_details.audio_tokens)
  end)
end)


describe("several choices", function()
  it("keep their images, calls and reasons apart", function()
    local answer = read "compatible/extras.sse"
    assert.is_nil(answer.images)
    assert.are.same({ { data = "iVBO", media_type = "image/png" } }, answer.choices[2].images)
    assert.are.same({}, answer.tool_calls)
    assert.are.equal("stop", answer.finish_reason)
    local call = answer.choices[2].tool_calls[1]
    assert.are.same({ "f", '{"a":1}' }, { call.name, call.arguments })
    assert.are.equal("tool_calls", answer.choices[2].finish_reason)
    assert.are.equal("function_call", answer.choices[2].finish_reason_raw)
  end)

  it("are interrupted when one of them has no end", function()
    local answer = feed('{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}',
      '{"id":"c","model":"m","choices":[{"index":1,"delta":{"content":"b"},"finish_reason":null}]}')
    assert.are.equal("stream_interrupted", answer.error.kind)
    assert.are.equal("b", answer.choices[2].content)
  end)

  it("have the images of a whole answer", function()
    assert.are.same({ { url = "https://c.example/i.png" } }, read("compatible/extras.json").images)
  end)
end)


describe("the tier of service", function()
  it("is part of the usage", function()
    assert.are.equal("flex", read("compatible/extras.sse").usage.service_tier)
    assert.are.equal("default", read("compatible/extras.json").usage.service_tier)
  end)
end)
