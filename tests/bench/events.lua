-- events.lua CALLS CONCURRENCY: streamed answers of 202 chunks each, 200 of which carry text. One JSON line says how many
-- of these texts a second reached the script; those that have piled up come as one event.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local perilune = require "perilune"

local calls, concurrency = tonumber(arg[1]), tonumber(arg[2])
local TEXT = " token"
local client = perilune.client { model = "openai/fast" }


local function call()
  local texts = 0
  local stream <close> = client:stream "hi"
  for event in stream do
    if event.type == "text" then
      texts = texts + #event.text // #TEXT
    elseif event.type == "error" then
      error(event.error, 0)
    end
  end
  return texts
end


call()
local started, left, texts, workers = clock.mono(), calls, 0, {}
for position = 1, concurrency do
  workers[position] = function()
    while left > 0 do
      left = left - 1
      local got = call()
      texts = texts + got
    end
  end
end
perilune.gather(workers)
if texts ~= calls * 200 then
  error(("%d text events in %d calls"):format(texts, calls))
end
print(json.encode { events_per_s = texts / (clock.mono() - started) })
