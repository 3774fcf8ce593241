-- A conversation that never ends: what no longer fits into a request is summarised. The thread keeps every message; only the requests
-- stay short. Two scripted models stand in for real ones, so that this runs anywhere.
local perilune = require "perilune"

local sent

local captain = perilune.testing.model { function(request)
  sent = request.messages
  return "Noted."
end, repeat_last = true }

-- Gets the older messages, and the summary before, as a text.
local clerk = perilune.testing.model { function(request)
  local days = {}
  for day in request.messages[2].content:gmatch("%d+") do
    days[#days + 1] = day
  end
  return "Logged so far: day " .. table.concat(days, ", ") .. "."
end, repeat_last = true }

local logbook = perilune.assistant {
  name = "logbook", instructions = "You keep the log of a voyage.", model = captain,
  history = { messages = 6, compaction = "summary", keep = 1, model = clerk },
}

local thread = perilune.thread "voyage"
for day = 1, 8 do
  thread:run(logbook, ("Day %d: nothing but water."):format(day))
  print(("day %d: the thread has %2d messages, %d were sent"):format(day, #thread:messages(), #sent))
end
print(sent[2].content)
