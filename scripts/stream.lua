-- An answer as it arrives: a stream is a list of events, and `for` reads it.
local perilune = require "perilune"

local client = perilune.client()
local stream <close> = client:stream(arg[1] or "Tell me a short story about the moon.")

for event in stream do
  if event.type == "text" then
    io.write(event.text)
    io.flush()
  elseif event.type == "usage" then
    io.write("\n(", event.usage.total_tokens, " tokens)")
  elseif event.type == "error" then
    error(event.error, 0)
  end
end
print()
