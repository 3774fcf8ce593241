-- Chunks that differ in their text alone are not decoded, and those that have piled up are read together. Whatever stands in them, the
-- events are those of a decoder that decodes each.
local decoders = require "perilune.model.provider.openai_chat"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"

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


-- A server that sends these chunks, cut at any places; reads them as model/call does.
local function with_chunks(chunks, any, read)
  local server <close> = assert(serve.listen {})
  local group <close> = task.group()
  group:spawn(function()
    local request <close> = server:accept()
    request:start { status = 200, headers = { ["content-type"] = "text/event-stream" } }
    local bytes = "data: " .. table.concat(chunks, "\n\ndata: ") .. "\n\n"
    while bytes ~= "" do
      local n = any(2000)
      request:write(bytes:sub(1, n))
      bytes = bytes:sub(n + 1)
      if any(3) == 1 then
        task.yield()
      end
    end
    request:finish()
  end)
  local handle <close> = assert(fetch.open { url = "http://127.0.0.1:" .. server:port(), frame = "sse" })
  assert(handle:head())
  read(handle)
end


-- The events, texts that follow one another joined; `pieces` must be what the text is made of.
local function joined(events)
  local list = {}
  for _, event in ipairs(events) do
    local last = list[#list]
    if event.pieces then
      assert.are.equal(event.text, table.concat(event.pieces))
      event.pieces = nil
    end
    if event.type == "text" and last and last.type == "text" and last.choice == event.choice then
      last.text = last.text .. event.text
    else
      list[#list + 1] = event
    end
  end
  return list
end


local function append(list, more)
  table.move(more, 1, #more, #list + 1, list)
end


describe("a decoder that remembers what stands around the text", function()
  it("produces what one does that decodes every chunk, for any chunks", function()
    local frames, taken = 0, 0
    for seed = 1, 100 do
      local any = generator(seed)
      local remembering, decoding, chunks, expected, events = decoders.decoder(), decoders.decoder(), {}, {}, {}
      for position = 1, 100 do
        chunks[position] = any_chunk(any)
        append(expected, decoding:feed(chunks[position]))
      end
      append(expected, decoding:finish())
      with_chunks(chunks, any, function(handle)
        while true do
          local before, after = remembering:alike()
          local data, _, count, found
          if before then
            data, _, count, found = handle:next_texts(before, after, seed % 2 == 0)
          else
            data = handle:next()
          end
          if not data then
            break
          end
          append(events, count and remembering:feed_text(data, count, found) or remembering:feed(data))
          frames, taken = frames + (count or 1), taken + (count or 0)
          assert.are.equal(count and seed % 2 == 0 and count or nil, found and #found)
        end
      end)
      append(events, remembering:finish())
      assert.are.same(joined(expected), joined(events))
    end
    assert.are.equal(100 * 100, frames)
    assert.is_true(taken > 1000, taken)
  end)

  it("knows nothing before the first text, nor after a chunk that was damaged, nor at the end", function()
    local decoder = decoders.decoder()
    local chunk = '{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
    decoder:feed('{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}')
    assert.is_nil(decoder:alike())
    decoder:feed(chunk:format "one")
    local before, after = decoder:alike()
    assert.are.equal(chunk, before .. "%s" .. after)
    assert.are.same({ { type = "text", text = "two" } }, decoder:feed_text("two", 1))
    decoder:feed "{"
    assert.is_nil(decoder:alike())
    decoder = decoders.decoder()
    decoder:feed(chunk:format "one")
    decoder:feed "[DONE]"
    assert.is_nil(decoder:alike())
  end)
end)
