-- Decoders never throw, whatever the bytes: recordings are damaged in a few thousand ways, with a fixed seed.
local frames = require "tests.support.frames"

local ROUNDS = 4000
local SEED = 20261121

local closed_list = {
  start = true, text = true, thinking = true, refusal = true, tool_call_start = true, tool_call_delta = true, tool_call = true,
  item = true, image = true, audio = true, citation = true, logprobs = true, usage = true, stop = true, error = true,
}

local corpora = {
  { format = "openai_chat", files = {
    "openai/text.sse", "openai/tools.sse", "openai/whole.json", "openai/error.json", "compatible/thinking_parts.sse",
    "compatible/fragments.sse", "compatible/reasoning_details.sse", "compatible/error_after_text.sse", "compatible/wrapper.sse",
    "compatible/extras.sse", "compatible/extras.json",
  } },
  { format = "openai_responses", files = {
    "responses/reasoning.sse", "responses/tools.sse", "responses/failed.sse", "responses/whole.json", "responses/error.json",
  } },
  { format = "gemini", files = {
    "gemini/thinking_tool.sse", "gemini/partial_arguments.sse", "gemini/bare_error.sse", "gemini/array.json",
    "gemini/blocked.json", "gemini/quota.json",
  } },
  { format = "anthropic", files = {
    "anthropic/thinking_tool.sse", "anthropic/restart.sse", "anthropic/overloaded.sse", "anthropic/server_tool.json",
    "anthropic/error.json",
  } },
  { format = "ollama", files = {
    "ollama/thinking_tools.ndjson", "ollama/error_after_text.ndjson", "ollama/whole.json", "ollama/error.json",
  } },
  { format = "cohere", files = { "cohere/tools.sse", "cohere/cited.sse", "cohere/whole.json", "cohere/error.json" } },
}

-- JSON that fits where other JSON was: this reaches deeper than damaged bytes.
local values = {
  "null", "true", "{}", "[]", '""', '"x"', "0", "-1", "1.5", "99999999999", '[{"type":"text","text":5}]', '{"a":[null]}',
}


-- A small generator, so that every run is the same everywhere.
local function new_random(seed)
  local state = seed
  return function(limit)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return (state >> 33) % limit + 1
  end
end


local mutations = {
  function(random, bytes) -- another byte
    local at = random(#bytes)
    return bytes:sub(1, at - 1) .. string.char(random(256) - 1) .. bytes:sub(at + 1)
  end,
  function(random, bytes) -- a piece is missing
    local at = random(#bytes)
    return bytes:sub(1, at - 1) .. bytes:sub(at + random(40))
  end,
  function(random, bytes) -- a piece comes twice
    local at, length = random(#bytes), random(200)
    return bytes:sub(1, at + length) .. bytes:sub(at)
  end,
  function(random, bytes) -- cut off
    return bytes:sub(1, random(#bytes))
  end,
  function(random, bytes) -- one value replaced by another, still JSON
    local at, value = random(#bytes), values[random(#values)]
    local first, last = bytes:find('":%s*[^,{}%[%]\n]+', at)
    return first and bytes:sub(1, first + 1) .. value .. bytes:sub(last + 1) or bytes
  end,
  function(random, bytes) -- an object or a list replaced by a value
    local at, value = random(#bytes), values[random(#values)]
    local first, last = bytes:find('":%s*%b{}', at)
    if random(2) == 1 then
      first, last = bytes:find('":%s*%b[]', at)
    end
    return first and bytes:sub(1, first + 1) .. value .. bytes:sub(last + 1) or bytes
  end,
}


local function check(events)
  local terminals = 0
  for position, event in ipairs(events) do
    assert(closed_list[event.type], "unknown event " .. tostring(event.type))
    if event.type == "stop" or event.type == "error" then
      terminals = terminals + 1
      assert(position == #events, "something follows the end")
    elseif event.text ~= nil then
      assert(type(event.text) == "string" and event.text ~= "", "a text event without text")
    elseif event.type == "tool_call" then
      assert(type(event.id) == "string" and type(event.name) == "string" and event.arguments:find("%S"), "an incomplete call")
    end
  end
  assert(terminals == 1, "exactly one end is wanted, not " .. terminals)
end


describe("damaged recordings", function()
  for _, corpus in ipairs(corpora) do
    it(("never make the %s decoder fail (%d rounds)"):format(corpus.format, ROUNDS), function()
      local provider = require("perilune.model.provider." .. corpus.format)
      local bodies, random = {}, new_random(SEED)
      for position, name in ipairs(corpus.files) do
        bodies[position] = assert(frames.read("tests/fixtures/" .. name))
      end
      for _ = 1, ROUNDS do
        local bytes = bodies[random(#bodies)]
        for _ = 1, random(3) do
          bytes = #bytes > 0 and mutations[random(#mutations)](random, bytes) or bytes
        end
        check(frames.feed(provider.decoder { status = random(8) == 1 and 500 or 200 }, frames.split(bytes, provider.frame)))
      end
    end)
  end
end)
