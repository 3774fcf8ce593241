-- Several agents side by side: each looks into one part of the question, a writer puts it together. The experts are tools of the
-- writer, called at the same time, each on a thread of its own; what they use counts for the writer's run.
local perilune = require "perilune"

local function researcher(topic, finding)
  return perilune.assistant {
    name = topic, description = "Looks into " .. topic .. ".", model = perilune.testing.model { { text = finding, word_delay = 0.01 } },
  }
end

local topics = { history = "People have watched it for ever.", physics = "It circles the earth.", art = "Everybody has painted it." }
local tools, calls = {}, {}
for _, topic in ipairs { "history", "physics", "art" } do
  tools[#tools + 1] = researcher(topic, topics[topic]):as_tool()
  calls[#calls + 1] = { name = topic, arguments = { input = "The moon, as far as " .. topic .. " is concerned." } }
end

local writer = perilune.assistant {
  name = "writer", tools = tools,
  model = perilune.testing.model { { tool_calls = calls }, function(request)
    local parts = {}
    for _, message in ipairs(request.messages) do
      parts[#parts + 1] = message.role == "tool" and message.content or nil
    end
    return "The moon: " .. table.concat(parts, " ")
  end },
}

local run = perilune.thread("the moon"):run(writer, "Tell me about the moon.")
print(run.content)
print(("%d steps, %d runs on the way"):format(run.steps, #perilune.runs.list()))
