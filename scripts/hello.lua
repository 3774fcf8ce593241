-- One question, one answer. Without a key the built-in offline model answers.
local perilune = require "perilune"

local client = perilune.client()
local answer = client:chat(arg[1] or "Hello, who are you?")

print(answer.content)
print(("(%s/%s, %d tokens)"):format(answer.provider, answer.model, answer.usage.total_tokens))
