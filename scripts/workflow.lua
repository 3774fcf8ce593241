-- A workflow: what it has done is kept, step by step. End it anywhere (Ctrl-C, kill -9), run it again: it goes on where it was.
local perilune = require "perilune"

local writer = perilune.assistant { name = "writer", instructions = "Write one paragraph." }

local publish = perilune.workflow("publish", function(flow, article)
  local draft = flow:step("draft", function()
    print("writing about " .. article.topic)
    return perilune.thread("drafts/" .. flow.id):run(writer, "Write about " .. article.topic).content
  end)

  flow:sleep("think it over", 0.1) -- or 86400: the process may end meanwhile

  local checks = flow:gather {
    { "count", function() return #draft end },
    { "name", { retry = { max_attempts = 3, backoff = 1 } }, function() return flow.name .. "/" .. flow.id end },
  }

  -- perilune workflows answer moon approve yes
  if flow:ask("approve", { question = "Print it?", text = draft }) ~= "yes" then
    return "dropped"
  end

  return flow:step("print", { idempotent = true }, function() -- may be done again, with the same key
    print(("printing %s: %d bytes, key %s..."):format(checks[2], checks[1], flow:idempotency_key("print"):sub(1, 8)))
    return "printed"
  end)
end)

local execution = publish:start("moon", { topic = "the far side of the moon" })
perilune.spawn(function() -- somebody who answers, once it is asked
  repeat perilune.sleep(0.05) until execution:refresh().status == "waiting" or execution.finished_at
  return execution.finished_at or execution:answer("approve", "yes")
end)
print(execution:wait())
