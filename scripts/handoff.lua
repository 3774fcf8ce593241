-- Handing over: one assistant listens, others know. The run goes on with the one it was handed to, and the thread remembers all of it.
local perilune = require "perilune"

local function expert(name, answer)
  return perilune.assistant {
    name = name, description = "Knows everything about " .. name .. ".", model = perilune.testing.model { answer, repeat_last = true },
  }
end

local tides, eclipses = expert("tides", "The moon pulls the sea."), expert("eclipses", "The moon hides the sun.")

local front = perilune.assistant {
  name = "front",
  instructions = "Find out what the question is about, and hand it over.",
  handoffs = { tides, eclipses },
  model = perilune.testing.model { function(request)
    local question = request.messages[#request.messages].content
    local topic = question:find("dark") and "eclipses" or "tides"
    return { tool_calls = { { name = "transfer_to_" .. topic, arguments = { reason = "it is about " .. topic } } } }
  end, repeat_last = true },
}

for _, question in ipairs { "Why does the sea rise?", "Why did it get dark at noon?" } do
  local run = perilune.thread(question):run(front, question)
  print(("%s %s (%s, %d steps)"):format(question, run.content, run.assistant, run.steps))
end
