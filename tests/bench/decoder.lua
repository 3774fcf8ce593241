-- decoder.lua SECONDS BASE_URL: records one stream of the upstream, then decodes it over and over in this process: no
-- network, no framing, no stages. One JSON line says how many chunks a second.
local clock = require "perilune.sys.clock"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local openai_chat = require "perilune.model.provider.openai_chat"

local seconds, base_url = tonumber(arg[1]), arg[2]


local function record()
  local handle <close> = assert(fetch.open {
    method = "POST", url = base_url .. "/chat/completions", headers = { ["content-type"] = "application/json" },
    body = '{"model":"fast","stream":true,"messages":[{"role":"user","content":"hi"}]}', frame = "sse",
  })
  local frames = {}
  for frame in function() return handle:next() end do
    frames[#frames + 1] = frame
  end
  return frames
end


local function decode(frames)
  local decoder, texts = openai_chat.decoder { status = 200 }, 0
  for _, frame in ipairs(frames) do
    for _, event in ipairs(decoder:feed(frame)) do
      if event.type == "text" then
        texts = texts + 1
      end
    end
  end
  decoder:finish()
  return texts
end


local frames = record()
assert(decode(frames) == 200, "the recording has not 200 chunks with text")
local started, texts = clock.mono(), 0
repeat
  texts = texts + decode(frames)
until clock.mono() - started > seconds
print(json.encode { events_per_s = texts / (clock.mono() - started) })
