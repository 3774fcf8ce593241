-- Recording and replaying: what is asked once is kept in a file, a cassette; from then on the file answers, without a network and
-- without a key. `perilune run --record FILE script.lua` and `--replay FILE` do the same for a script that knows nothing of it.
local perilune = require "perilune"

local function ask(question)
  return perilune.client():chat(question).content
end

do
  local _ <close> = perilune.cassette { record = "crater.jsonl" }
  print("recorded: " .. ask("What is a crater?"))
end

do
  local _ <close> = perilune.cassette { replay = "crater.jsonl" }
  print("replayed: " .. ask("What is a crater?"))
  print(perilune.try(ask, "What is a tide?")) -- was not recorded: an error that says so, and nothing is sent
end
