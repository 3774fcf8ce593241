local frames = require "tests.support.frames"
local json = require "perilune.json"
local tables = require "perilune.std.tables"
local usage = require "perilune.model.usage"

local FOLDER = "../shared/fixtures/"

local readers = {
  ["chat.completions"] = usage.from_openai, ["anthropic.messages"] = usage.from_anthropic, responses = usage.from_responses,
  ["gemini.generateContent"] = usage.from_gemini, ["gemini.streamGenerateContent"] = usage.from_gemini,
  ["ollama.chat"] = usage.from_ollama, ["cohere.chat"] = usage.from_cohere,
}


describe("usage", function()
  it("is nothing when nothing was said", function()
    for _, raw in ipairs { {}, { prompt_tokens = "5" }, { prompt_tokens = -1 }, "x" } do
      assert.is_nil(usage.from_openai(raw))
    end
    assert.is_nil(usage.from_openai(nil))
    assert.is_nil(usage.from_anthropic { input_tokens = {} })
  end)

  it("never has more cached tokens than were read", function()
    local raw = { prompt_tokens = 3, completion_tokens = 1, prompt_tokens_details = { cached_tokens = 9 } }
    assert.are.equal(3, usage.from_openai(raw).prompt_tokens_details.cached_tokens)
  end)

  it("lays numbers over earlier ones and leaves both as they were", function()
    local earlier, later = { a = 1, b = 2 }, { b = 3 }
    assert.are.same({ a = 1, b = 3 }, usage.overlay(earlier, later))
    assert.are.same({ a = 1, b = 2 }, earlier)
    assert.are.equal(earlier, usage.overlay(earlier, "junk"))
    assert.are.same(earlier, usage.overlay(earlier, { "junk", "in", "a", "list" }))
  end)
end)


-- The parts that must add up to a whole.
local function check_sums(counted)
  local part = usage.buckets(counted)
  assert.are.equal(counted.prompt_tokens, part.input + part.cache_read + part.cache_write + part.audio_input)
  assert.are.equal(counted.completion_tokens, part.output + part.audio_output)
  for _, name in ipairs(tables.sorted_keys(part)) do
    assert.are.equal("integer", math.type(part[name]), name)
    assert.is_true(part[name] >= 0, name)
  end
  assert.is_true(part.reasoning <= part.output and part.cache_write_1h <= part.cache_write)
  return part
end


describe("buckets", function()
  it("do not overlap and add up, for every way of counting", function()
    local openai = check_sums(usage.from_openai {
      prompt_tokens = 100, completion_tokens = 50,
      prompt_tokens_details = { cached_tokens = 60, cache_write_tokens = 10, audio_tokens = 5 },
      completion_tokens_details = { reasoning_tokens = 20, audio_tokens = 8 },
    })
    assert.are.same({
      input = 25, cache_read = 60, cache_write = 10, cache_write_1h = 0, audio_input = 5, output = 42, reasoning = 20,
      audio_output = 8,
    }, openai)
    local anthropic = check_sums(usage.from_anthropic {
      input_tokens = 7, output_tokens = 9, cache_read_input_tokens = 100, cache_creation_input_tokens = 30,
      cache_creation = { ephemeral_5m_input_tokens = 10, ephemeral_1h_input_tokens = 20 },
      output_tokens_details = { thinking_tokens = 4 },
    })
    assert.are.same({ 7, 100, 30, 20, 9, 4 }, {
      anthropic.input, anthropic.cache_read, anthropic.cache_write, anthropic.cache_write_1h, anthropic.output,
      anthropic.reasoning,
    })
    local gemini = check_sums(usage.from_gemini {
      promptTokenCount = 50, candidatesTokenCount = 5, thoughtsTokenCount = 12, cachedContentTokenCount = 40,
    })
    assert.are.same({ 10, 40, 17, 12 }, { gemini.input, gemini.cache_read, gemini.output, gemini.reasoning })
    check_sums(usage.estimate(3, 4))
  end)

  it("stay within the whole when a gateway reports nonsense", function()
    local part = check_sums(usage.from_openai {
      prompt_tokens = 10, completion_tokens = 2,
      prompt_tokens_details = { cached_tokens = 99, cache_write_tokens = 99, audio_tokens = 99 },
      completion_tokens_details = { reasoning_tokens = 99, audio_tokens = 99 },
    })
    assert.are.same({ 10, 0, 0, 0, 2 }, { part.cache_read, part.input, part.cache_write, part.output, part.audio_output })
  end)

  local readme = frames.read(FOLDER .. "README.md")
  if not readme then
    pending("of recorded usage need " .. FOLDER)
    return
  end

  it("add up for all recorded usage", function()
    local count = 0
    for provider, api, case in readme:gmatch("\n| (%S+) | (%S+) | [^|]+ | [^|]+ | [^|]+ | [^|]+ | (%S+) |") do
      local expect = readers[api] and json.decode(frames.read(("%s%s/%s/expect.json"):format(FOLDER, provider, case)))
      local counted = expect and readers[api](expect.usage_raw)
      if counted then
        count = count + 1
        check_sums(counted)
      end
    end
    assert.is_true(count > 90, count)
  end)
end)
