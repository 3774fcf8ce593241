-- A conversation that is kept: every run adds to it, `messages` reads it back.
local perilune = require "perilune"

local assistant = perilune.assistant { name = "listener", instructions = "Listen, and remember." }
local thread = perilune.thread(arg[1] or "notes")

thread:run(assistant, arg[2] or "The moon is 384,400 km away.")

for _, stored in ipairs(thread:messages { order = "asc", limit = 1000 }) do
  print(("%3d %-9s %s"):format(stored.seq, stored.role, stored.message.content))
end
