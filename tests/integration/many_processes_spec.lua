-- Sixteen processes on one database, each with turns of its own and turns on a thread that all of them want: nobody finds it locked,
-- nothing is lost, and one run at a time is on the shared thread.
local messages = require "perilune.store.messages"
local programs = require "tests.support.program"
local runs = require "perilune.store.runs"
local store = require "perilune.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"

local PROCESSES, TURNS = 16, 5

local SCRIPT = [[
local perilune = require "perilune"
local me, turns = arg[1], tonumber(arg[2])
local note = perilune.tool {
  name = "note", description = "Notes.", parameters = { text = "string" },
  run = function(arguments) return "noted " .. arguments.text end,
}
local writer = perilune.assistant { name = "writer", tools = { note }, model = perilune.testing.model({ function(request)
  local last = request.messages[#request.messages]
  return last.role == "tool" and "done: " .. last.content or { tool_calls = { { name = "note", arguments = { text = last.content } } } }
end, repeat_last = true }) }

local function run(thread, text)
  while true do
    local result, err = perilune.try(thread.run, thread, writer, text)
    if result then
      return print(result.id, thread.key)
    elseif err.code ~= "active_run" then
      error(err, 0)
    end
    perilune.sleep(0.002) -- somebody else has the thread
  end
end

for turn = 1, turns do
  run(perilune.thread("own " .. me), ("%s says %d"):format(me, turn))
  run(perilune.thread "shared", ("%s shares %d"):format(me, turn))
end
]]


-- The roles of the messages of each run on that thread, in their order.
local function roles_by_run(db, key)
  local roles = {}
  for _, stored in ipairs(assert(messages.list(db, assert(threads.get(db, key)), { limit = 10000 }))) do
    local before = roles[stored.run_id]
    roles[stored.run_id] = before and before .. " " .. stored.role or stored.role
  end
  return roles
end


describe("sixteen processes on one database", function()
  it("find it never locked, and lose nothing", function()
    local program <close> = programs.new()
    program:file("writer.lua", SCRIPT)
    local acknowledged = {}
    do
      local group <close> = task.group()
      for number = 1, PROCESSES do
        group:spawn(function()
          local result = program:run { "run", "writer.lua", "p" .. number, tostring(TURNS) }
          assert(result.status == 0, result.stderr)
          for id, key in result.stdout:gmatch("(run_%w+)\t([^\n]+)") do
            acknowledged[#acknowledged + 1] = { id = id, key = key }
          end
        end)
      end
    end
    assert.are.equal(PROCESSES * TURNS * 2, #acknowledged)
    local db <close> = assert(store.open(program.db))
    assert.are.same({}, assert(db:check()))
    local roles = {}
    for _, run in ipairs(acknowledged) do
      roles[run.key] = roles[run.key] or roles_by_run(db, run.key)
      assert.are.equal("completed", assert(runs.get(db, run.id)).status)
      assert.are.equal("user assistant tool assistant", roles[run.key][run.id])
    end
    local said = {}
    for _, stored in ipairs(assert(messages.list(db, assert(threads.get(db, "shared")), { limit = 10000 }))) do
      if stored.role == "user" then
        said[stored.message.content] = (said[stored.message.content] or 0) + 1
      end
    end
    for number = 1, PROCESSES do
      for turn = 1, TURNS do
        assert.are.equal(1, said[("p%d shares %d"):format(number, turn)])
      end
    end
  end)
end)
