-- Reasoning apart from the answer: what a model thinks is an event of its own, also where it stands in <think> tags in the text.
local perilune = require "perilune"

local client = perilune.client()
local stream <close> = client:stream(arg[1] or "Is 391 a prime number?", { enable_thinking = true })
local labels, last = { thinking = "(thinking) ", text = "(answer) " }, nil

for event in stream do
  if labels[event.type] then
    if event.type ~= last then
      io.write(last and "\n" or "", labels[event.type])
      last = event.type
    end
    io.write(event.text)
  elseif event.type == "error" then
    error(event.error, 0)
  end
end
print()
