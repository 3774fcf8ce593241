-- Recorded answers through the whole stack: replayed over HTTP, whole, in the recorded chunks, byte by byte and cut at random
-- places; read by the call stage, and by a client with its failover around it.
local apps = require "perilune.app"
local call = require "perilune.model.call"
local clients = require "perilune.client"
local expectation = require "tests.support.expectation"
local fetch = require "perilune.sys.fetch"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local replay = require "tests.support.replay"
local requests = require "perilune.model.request"
local resolve = require "perilune.model.resolve"
local response = require "perilune.model.response"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local FOLDER = "../shared/fixtures/"
local CUTS, CUTS_PER_ANSWER = 50, 12

local family = {
  ["chat.completions"] = "openai", ["anthropic.messages"] = "anthropic", ["responses"] = "openai",
  ["gemini.generateContent"] = "gemini", ["gemini.streamGenerateContent"] = "gemini", ["ollama.chat"] = "ollama",
  ["cohere.chat"] = "cohere", ["openai.vector_stores"] = "openai", -- the last: an error body, which is the same for all
}

-- The name that chooses a wire format which is not the vendor's first one.
local other_api = { responses = "responses" }


-- The provider of a case: its own where it is known, else the one whose wire format it is.
local function provider_of(case)
  local name = case.name:match("^[^/]+")
  local found, of_family = providers.get(name), providers.get(family[case.api])
  return found and found.decoder == of_family.decoder and found.name or of_family.name
end


local function settings_of(case, base_url)
  return {
    provider = provider_of(case), api = other_api[case.api], base_url = base_url, api_key = "a-key-for-tests",
    truncate_long_errors = false, env = function() end,
  }
end


-- Every way to send one answer, by name.
local function answers_of(recording)
  local answers = {
    whole = replay.whole(recording), recorded = replay.recorded(recording), bytes = replay.bytes(recording),
  }
  for seed = 1, CUTS do
    answers["cut" .. seed] = replay.cut(recording, CUTS_PER_ANSWER, seed)
  end
  return answers
end


local function request_of(case)
  return assert(requests.new("Hello", { stream = case.streaming }))
end


local function ask(case, base_url)
  local settings = settings_of(case, base_url)
  local target = assert(resolve.target(case.model, settings))
  local stream <close> = call.new(target, settings):stream(request_of(case))
  while stream:next() do end
  return stream:so_far()
end


-- The same question with failover around it. What was held back before a failure is not seen, only the error is.
local function ask_client(case, base_url)
  local settings = settings_of(case, base_url)
  local client = clients.new(apps.new { env = settings.env }, {
    provider = settings.provider, api = settings.api, model = case.model, base_url = base_url, api_key = settings.api_key,
    max_retries = 0, truncate_long_errors = false,
  })
  local stream <close> = client:stream("Hello", { max_tokens = 100 })
  while stream:next() do end
  return stream:so_far()
end


-- What the provider does not say, the call stage does: its model is then the one that was asked for.
local function compare_answer(case, answer, expect)
  if expect.model == json.null and answer.model == case.model then
    answer.model = nil
  end
  return expectation.compare(answer, expect, case.api)
end


-- Asks once for each way of sending, side by side; what differs from the truth, by way.
local function differences_of(case, recording, compare)
  local server <close> = replay.serve(answers_of(recording))
  local found = {}
  local group <close> = task.group()
  for way in pairs(server.answers) do
    group:spawn(function()
      local differences = compare(ask(case, ("%s/%s"):format(server.url, way)))
      found[way] = #differences > 0 and differences or nil
    end)
  end
  group:wait()
  assert.are.equal(CUTS + 3, #server.requests)
  return found
end


-- What failover must make of an answer: the same, an error alone, or an empty answer that is an error.
local function compare_client(case, answer, expect)
  local is_empty = expect.text:find("%S") == nil and expect.reasoning == json.null and #expect.tool_calls == 0
  if expect.error ~= json.null and answer.content == "" and not answer.has_tool_calls then
    local said = answer.error or {}
    return { said.status, said.type, said.code, said.message },
      { expect.error.status, expect.error.type, expect.error.code, expect.error.message }
  elseif expect.block_reason then
    return { answer.error.kind, answer.error.code }, { "content_filter", expect.block_reason }
  elseif answer.error and answer.error.kind == "empty_response" then
    return is_empty, true
  end
  return compare_answer(case, answer, expect), {}
end


local function without_null(list)
  for key, value in pairs(list) do
    list[key] = value ~= json.null and value or nil
  end
  return list
end


-- The cases are listed in the table of the collection's README.
local function list_cases()
  local cases = {}
  for line in (frames.read(FOLDER .. "README.md") or ""):gmatch("[^\n]+") do
    local provider, api, case = line:match("^| (%S+) | (%S+) | [^|]+ | [^|]+ | [^|]+ | [^|]+ | (%S+) |")
    if family[api] then
      cases[#cases + 1] = { name = provider .. "/" .. case, api = api }
    end
  end
  return cases
end


local function load_case(case)
  local meta = assert(json.decode(frames.read(FOLDER .. case.name .. "/meta.json")))
  case.streaming, case.model = meta.streaming, meta.model ~= json.null and meta.model or "unknown"
  case.expect = assert(json.decode(frames.read(FOLDER .. case.name .. "/expect.json")))
  return case, replay.load(FOLDER .. case.name)
end


describe("recorded traffic over HTTP", function()
  local cases = list_cases()
  if #cases == 0 then
    pending("needs the recordings in " .. FOLDER)
    return
  end

  for _, case in ipairs(cases) do
    it("is read the same however it is cut: " .. case.name, function()
      local _, recording = load_case(case)
      assert.are.same({}, differences_of(case, recording, function(answer)
        return compare_answer(case, answer, case.expect)
      end))
    end)

    it("comes through failover unchanged: " .. case.name, function()
      local _, recording = load_case(case)
      local server <close> = replay.serve { replay.recorded(recording) }
      local found, expected = compare_client(case, ask_client(case, server.url), case.expect)
      assert.are.same(type(expected) == "table" and without_null(expected) or expected, found)
    end)
  end
end)


-- The repository's own recordings: what they are is said by their decoders' specs, here by the decoder without a network.
local own = {
  { name = "anthropic/error.json", api = "anthropic.messages", status = 404, kind = "model_not_found" },
  { name = "anthropic/overloaded.sse", api = "anthropic.messages", kind = "overloaded" },
  { name = "anthropic/restart.sse", api = "anthropic.messages" },
  { name = "anthropic/server_tool.json", api = "anthropic.messages" },
  { name = "anthropic/thinking_tool.sse", api = "anthropic.messages" },
  { name = "compatible/bad_gateway.html", api = "chat.completions", status = 502, kind = "server" },
  { name = "compatible/error_after_text.sse", api = "chat.completions", kind = "server" },
  { name = "compatible/fragments.sse", api = "chat.completions" },
  { name = "compatible/reasoning_details.sse", api = "chat.completions" },
  { name = "compatible/thinking_parts.sse", api = "chat.completions" },
  { name = "compatible/wrapper.sse", api = "chat.completions" },
  { name = "compatible/xai_usage.sse", api = "chat.completions" },
  { name = "gemini/array.json", api = "gemini.generateContent" },
  { name = "gemini/bare_error.sse", api = "gemini.generateContent", kind = "overloaded" },
  { name = "gemini/blocked.json", api = "gemini.generateContent", kind = "content_filter" },
  { name = "gemini/partial_arguments.sse", api = "gemini.generateContent" },
  { name = "gemini/quota.json", api = "gemini.generateContent", status = 429, kind = "quota" },
  { name = "gemini/thinking_tool.sse", api = "gemini.generateContent" },
  { name = "openai/error.json", api = "chat.completions", status = 429, kind = "quota" },
  { name = "openai/text.sse", api = "chat.completions" },
  { name = "openai/tools.sse", api = "chat.completions" },
  { name = "openai/whole.json", api = "chat.completions" },
  { name = "responses/error.json", api = "responses", status = 400, kind = "api" },
  { name = "responses/failed.sse", api = "responses", kind = "quota" },
  { name = "responses/reasoning.sse", api = "responses" },
  { name = "responses/tools.sse", api = "responses" },
  { name = "responses/whole.json", api = "responses" },
}


-- What an answer says, as plain data.
local function said(answer)
  return {
    content = answer.content, reasoning = answer.reasoning, refusal = answer.refusal, model = answer.model,
    finish_reason = answer.finish_reason, choices = answer.choices, usage = answer.usage, items = answer.provider_items,
    error = answer.error and { kind = answer.error.kind, status = answer.error.status, message = answer.error.message },
  }
end


describe("the repository's own recordings over HTTP", function()
  for _, case in ipairs(own) do
    it("are read the same however they are cut: " .. case.name, function()
      local body = assert(frames.read("tests/fixtures/" .. case.name))
      case.streaming, case.model = case.name:find("%.sse$") ~= nil, "small-1"
      local target = assert(resolve.target(case.model, settings_of(case, "http://127.0.0.1")))
      local decoder = target.provider.decoder { status = case.status or 200, request = request_of(case), target = target }
      local expected = said(response.collect(frames.feed(decoder, frames.split(body))))
      assert.are.equal(case.kind, expected.error and expected.error.kind)
      local found = differences_of(case, replay.recording(body, { status = case.status }), function(answer)
        local text, truth = json.encode(said(answer), { repair = true }), json.encode(expected, { repair = true })
        return text == truth and {} or { text, truth }
      end)
      assert.are.same({}, found)
    end)
  end
end)


describe("the replay server", function()
  -- How many pieces a reader without framing gets.
  local function pieces_of(answer)
    local server <close> = replay.serve { answer }
    local handle <close> = assert(fetch.open { url = server.url })
    assert(handle:head())
    local pieces = {}
    for piece in handle.next, handle do
      pieces[#pieces + 1] = piece
    end
    return pieces
  end

  it("really sends every piece on its own", function()
    local recording = replay.recording("data: one\n\ndata: two\n\n", { chunks = { 11, 4, 7 } })
    assert.are.same({ recording.body }, pieces_of(replay.whole(recording)))
    assert.are.same({ "data: one\n\n", "data", ": two\n\n" }, pieces_of(replay.recorded(recording)))
    local bytes = pieces_of(replay.bytes(recording))
    assert.are.equal(#recording.body, #bytes)
    assert.are.equal(recording.body, table.concat(bytes))
  end)

  it("cuts at other places for another seed, and loses nothing", function()
    local recording = replay.recording(("data: 0123456789\n\n"):rep(50))
    local seen = {}
    for seed = 1, 3 do
      local pieces = pieces_of(replay.cut(recording, CUTS_PER_ANSWER, seed))
      assert.are.equal(recording.body, table.concat(pieces))
      assert.is_true(#pieces > 1)
      seen[table.concat(pieces, "|")] = true
    end
    assert.are.equal(3, #tables.sorted_keys(seen))
  end)
end)
