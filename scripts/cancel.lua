-- Stopping an answer: leaving the block closes the stream, and closing it cancels the request. The thread keeps what had
-- arrived, marked as partial, and can go on.
local perilune = require "perilune"

local assistant = perilune.assistant { name = "storyteller", instructions = "Tell long stories." }
local thread = perilune.thread "a-story-that-was-stopped"

do
  local words = 0
  local stream <close> = thread:stream(assistant, "Tell me everything about the far side of the moon.")
  for event in stream do
    if event.type == "text" then
      words = words + 1
      io.write(event.text)
    end
    if words == 5 then
      break
    end
  end
end

print("\n-- stopped --")
print(thread:run(assistant, "Go on.").content)
