local citations = require "perilune.model.provider.citations"
local frames = require "tests.support.frames"
local response = require "perilune.model.response"

local FOLDER = "../shared/fixtures/"


-- What a function adds to an empty collection, without the vendor's own objects.
local function added(name, ...)
  local events, list = {}, {}
  local collection = citations.new()
  collection[name](collection, events, ...)
  for position, event in ipairs(events) do
    assert.are.equal("citation", event.type)
    assert.is_truthy(event.citation.raw)
    local citation = {}
    for field, value in pairs(event.citation) do
      citation[field] = field ~= "raw" and value or nil
    end
    list[position] = citation
  end
  return list
end


describe("citations", function()
  it("are read from the messages of a Responses answer", function()
    local expected = { { url = "https://a.example", title = "A", start_index = 2, end_index = 5 }, { title = "f.pdf" } }
    assert.are.same(expected, added("add_items", {
      { type = "reasoning" }, { type = "message", content = { { type = "output_text", annotations = {
        { type = "url_citation", url = "https://a.example", title = "A", start_index = 2, end_index = 5 },
        { type = "file_citation", filename = "f.pdf", file_id = "file_1", index = 3 },
      } } } },
    }))
  end)

  it("are read from Cohere's sources, one for each", function()
    assert.are.same({
      { title = "facts", text = "so it is", start_index = 0, end_index = 4 },
      { title = "weather:0", start_index = 0, end_index = 4 },
    }, added("add_sources", { start = 0, ["end"] = 4, text = "It is", sources = {
      { type = "document", id = "doc:0", document = { title = "facts", text = "so it is" } },
      { type = "tool", id = "weather:0", tool_output = {} },
    } }))
  end)

  it("are read from Gemini's grounding, span by span", function()
    local chunks = { { web = { uri = "https://a.example", title = "A" } }, { web = { uri = "https://b.example", title = "B" } } }
    assert.are.same({
      { url = "https://a.example", title = "A", start_index = 0, end_index = 9 },
      { url = "https://b.example", title = "B", start_index = 0, end_index = 9 },
    }, added("add_grounding", { groundingChunks = chunks, groundingSupports = {
      { segment = { endIndex = 9, text = "It is so." }, groundingChunkIndices = { 0, 1, 7, -1, "x" } },
    } }))
    assert.are.same({ { url = "https://a.example", title = "A" }, { url = "https://b.example", title = "B" } },
      added("add_grounding", { groundingChunks = chunks }))
    assert.are.same({}, added("add_grounding", nil))
  end)

  it("add nothing for what is none of them", function()
    assert.are.same({}, added("add_items", { { type = "message", content = { 5, { annotations = "x" }, { annotations = { 1 } } } } }))
    assert.are.same({}, added("add_sources", { sources = { 1 } }))
    assert.are.same({}, added("add_grounding", { groundingChunks = { 1 }, groundingSupports = { 1, { segment = 1 } } }))
  end)

  it("of one choice say so", function()
    local events = {}
    citations.new(2):add(events, citations.from_source("https://a.example"))
    assert.are.equal(2, events[1].choice)
  end)
end)


describe("recorded citations", function()
  local recorded = {
    { "openai_chat", "openai/chat-citations-gpt-4o-mini-search-preview-2" }, { "openai_chat", "openrouter/chat-text-sonar" },
    { "anthropic", "anthropic/messages-server-tool-claude-sonnet-5" },
    { "openai_responses", "openai/responses-server-tool-gpt-4-1-2025-04-14" },
    { "gemini", "gemini/generate-server-tool-gemini-3-5-flash" },
    { "cohere", "cohere/v2-reasoning-stream-command-a-plus-05-2026" },
  }
  if not frames.read(FOLDER .. "README.md") then
    pending("need the recordings in " .. FOLDER)
    return
  end

  for _, case in ipairs(recorded) do
    it("are found in " .. case[2], function()
      local decoder = require("perilune.model.provider." .. case[1]).decoder()
      local body = assert(frames.read(FOLDER .. case[2] .. "/response.body"))
      local answer = response.collect(frames.feed(decoder, frames.split(body)))
      assert.is_true(#(answer.citations or {}) > 0)
      for _, citation in ipairs(answer.citations) do
        assert.is_truthy(citation.url or citation.title)
      end
    end)
  end
end)
