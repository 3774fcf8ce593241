-- A tool that needs a person's word: the run is stored as waiting, and the process may end. It goes on when somebody has decided, here or
-- with `perilune runs approve`. (At a terminal the question is asked at once; this script decides itself.)
local perilune = require "perilune"

local delete = perilune.tool {
  name = "delete_file", description = "Delete a file", parameters = { path = "string" }, approval = "always",
  run = function(arguments) return "deleted " .. arguments.path end,
}

local janitor = perilune.assistant {
  name = "janitor", tools = { delete },
  model = perilune.testing.model {
    { tool_calls = { { name = "delete_file", arguments = { path = "old.log" } } } }, "The log is gone.",
    { tool_calls = { { name = "delete_file", arguments = { path = "photos" } } } }, "I kept the photos.",
  },
}

local function nobody() end -- no answer at once: the run waits

local thread = perilune.thread "cleaning"
local run = thread:run(janitor, "Delete the old log.", { person = nobody })
print(run.status, run.waiting[1].name, run.waiting[1].arguments)
run:approve()
print(run:resume(janitor).content)

run = thread:run(janitor, "And the photos.", { person = nobody })
run:reject(run.waiting[1].id, "they are dear to me")
print(run:resume(janitor).content)
print(thread:messages()[7].message.content)
