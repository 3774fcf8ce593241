-- Several questions at the same time: tasks in a group, each waits without stopping the others.
local perilune = require "perilune"

local client = perilune.client()
local questions = { "What is a crater?", "What is an eclipse?", "What is a tide?" }

local functions = {}
for position, question in ipairs(questions) do
  functions[position] = function()
    return client:chat(question).content
  end
end

for position, answer in ipairs(perilune.gather(functions)) do
  print(("%d. %s\n   %s"):format(position, questions[position], answer))
end
