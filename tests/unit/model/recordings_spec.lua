-- Every recorded answer of the wire formats, read by the decoders without the network.
local expectation = require "tests.support.expectation"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local response = require "perilune.model.response"
local tables = require "perilune.std.tables"

local FOLDER = "../shared/fixtures/"

local formats = {
  ["chat.completions"] = { provider = require "perilune.model.provider.openai_chat", count = 78 },
  ["openai.vector_stores"] = { provider = require "perilune.model.provider.openai_chat", count = 1 }, -- an error body, which is the same for all
  ["anthropic.messages"] = { provider = require "perilune.model.provider.anthropic", count = 16 },
  ["ollama.chat"] = { provider = require "perilune.model.provider.ollama", count = 6 },
  ["responses"] = { provider = require "perilune.model.provider.openai_responses", count = 28 },
  ["gemini.generateContent"] = { provider = require "perilune.model.provider.gemini", count = 10 },
  ["gemini.streamGenerateContent"] = { provider = require "perilune.model.provider.gemini", count = 10 },
  ["cohere.chat"] = { provider = require "perilune.model.provider.cohere", count = 8 },
}


-- The cases are listed in the table of the collection's README.
local function list_cases()
  local cases, readme = {}, frames.read(FOLDER .. "README.md")
  for line in (readme or ""):gmatch("[^\n]+") do
    local provider, api, case = line:match("^| (%S+) | (%S+) | [^|]+ | [^|]+ | [^|]+ | [^|]+ | (%S+) |")
    if formats[api] then
      cases[#cases + 1] = { name = provider .. "/" .. case, api = api, provider = formats[api].provider }
    end
  end
  return cases
end


local function load_case(case)
  local folder = FOLDER .. case.name .. "/"
  case.meta = json.decode(frames.read(folder .. "meta.json"))
  case.expect = json.decode(frames.read(folder .. "expect.json"))
  case.body = frames.read(folder .. "response.body")
  case.frames = frames.split(case.body, case.provider.frame)
  return case
end


local function count_terminal(events)
  local count = 0
  for _, event in ipairs(events) do
    count = count + ((event.type == "stop" or event.type == "error") and 1 or 0)
  end
  return count
end


describe("recorded traffic", function()
  local cases = list_cases()
  if #cases == 0 then
    pending("needs the recordings in " .. FOLDER)
    return
  end

  for _, api in ipairs(tables.sorted_keys(formats)) do
    it(("has all %d cases of %s"):format(formats[api].count, api), function()
      local count = 0
      for _, case in ipairs(cases) do
        count = count + (case.api == api and 1 or 0)
      end
      assert.are.equal(formats[api].count, count)
    end)
  end

  for _, case in ipairs(cases) do
    it("reads " .. case.name, function()
      load_case(case)
      local events = frames.feed(case.provider.decoder { status = case.meta.status }, case.frames)
      assert.are.same({}, expectation.compare(response.collect(events), case.expect, case.api))
      assert.are.equal(1, count_terminal(events))
      local last = events[#events].type
      assert.is_true(last == "stop" or last == "error")
    end)

    it("survives a cut after any frame of " .. case.name, function()
      load_case(case)
      local text = case.expect.text
      for count = 0, #case.frames - 1 do
        local events = frames.feed(case.provider.decoder { status = case.meta.status }, case.frames, count)
        local cut = response.collect(events)
        assert.are.equal(1, count_terminal(events))
        assert.are.equal(text:sub(1, #cut.content), cut.content)
        if not cut.finish_reason then
          assert.is_truthy(cut.error)
        end
      end
    end)
  end
end)
