-- Chunks that differ in their text alone are not decoded one by one. Whatever stands in them, the events are those of a decoder that
-- decodes each.
local decoders = require "perilune.model.provider.openai_chat"
local json = require "perilune.json"

local pieces = {
  "a", " token", "é", "漢", "\\", '"', "\n", "\t", "\0", "}", "]", '","x":"', "\u{1F600}", "data: ", "\x7f", "content", "null",
}


local function generator(seed)
  return function(n)
    seed = (seed * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
    return (seed >> 33) % n + 1
  end
end


local function any_text(any)
  local text = {}
  for position = 1, any(4) - 1 do
    text[position] = pieces[any(#pieces)]
  end
  return table.concat(text)
end


-- A chunk as an upstream may write it: nearly always the same around the text, now and then something else.
local function any_chunk(any)
  local text = any_text(any)
  local content = assert(json.encode(text))
  local other = any(20)
  if other == 1 then
    return ('{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":%s,"refusal":"no"},"finish_reason":null}]}'):format(content)
  elseif other == 2 then
    return ('{"id":"c","model":"m","choices":[{"index":1,"delta":{"content":%s},"finish_reason":null}]}'):format(content)
  elseif other == 3 then
    return ('{"id":"c","model":"m","choices":[{"index":0,"delta":{"content": %s},"finish_reason":"stop"}]}'):format(content)
  elseif other == 4 then
    return ('{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"\xFF%s"},"finish_reason":null}]}'):format("x")
  elseif other == 5 then
    return '{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
  end
  return ('{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}'):format(content)
end


describe("a decoder that remembers what stands around the text", function()
  it("produces what one does that remembers nothing, for any chunks", function()
    for seed = 1, 300 do
      local any = generator(seed)
      local remembering, forgetting = decoders.decoder(), decoders.decoder()
      for _ = 1, 20 do
        local chunk = any_chunk(any)
        forgetting.before = nil
        assert.are.same(forgetting:feed(chunk), remembering:feed(chunk), chunk)
      end
      assert.are.same(forgetting:finish(), remembering:finish())
    end
  end)

  it("does remember", function()
    local decoder = decoders.decoder()
    local chunk = '{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
    decoder:feed('{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}')
    decoder:feed(chunk:format "one")
    assert.are.equal(chunk, decoder.before .. "%s" .. decoder.after)
    assert.are.same({ { type = "text", text = "two" } }, decoder:feed(chunk:format "two"))
  end)
end)
