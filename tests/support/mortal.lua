-- A program that dies on cue: an agent with tools, on a thread, whose process is killed before or after its n-th write, or by somebody
-- else at any time. Started again, it goes on. What its tools did is in a file, a line for each time.
local checks = require "perilune.store"
local fs = require "perilune.sys.fs"
local messages = require "perilune.store.messages"
local programs = require "tests.support.program"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"

local M = {}

local methods = {}
local metatable = { __name = "tests.mortal", __index = methods }

-- Arguments: when ("before", "after" or "-"), at which write, and whether every tool counts as idempotent ("broken"): then a tool
-- that is not may run twice, which the checks must find.
local SCRIPT = [=[
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local store = require "perilune.store"

local when, at, mode = arg[1], tonumber(arg[2]) or 0, arg[3]
local writes = 0

local function die()
  proc.run { argv = { "kill", "-9", proc.self():match(":(%d+):") } }
  perilune.sleep(60)
end

local open = store.open
store.open = function(...)
  local db, err = open(...)
  if not db then
    return nil, err
  end
  return setmetatable({}, { __index = function(_, name)
    return function(_, ...)
      local counts = name == "write"
      writes = writes + (counts and 1 or 0)
      local is_its_time = counts and writes == at
      if is_its_time and when == "before" then
        die()
      end
      local result, problem = db[name](db, ...)
      if is_its_time and when == "after" then
        die()
      end
      return result, problem
    end
  end })
end

if mode == "broken" then
  local steps = require "perilune.store.steps"
  local start_call = steps.start_call
  steps.start_call = function(run, step, now)
    step.idempotent = true
    return start_call(run, step, now)
  end
end

local function tool(name, idempotent)
  return perilune.tool {
    name = name, description = name, parameters = { n = "integer" }, idempotent = idempotent,
    run = function(arguments, context)
      local file = io.open("effects", "a")
      file:write(name, " ", arguments.n, " ", context.idempotency_key, "\n")
      file:close()
      perilune.sleep(0.002)
      return name .. " " .. arguments.n .. " is done"
    end,
  }
end

local rounds = {
  { { name = "charge", arguments = { n = 1 } }, { name = "lookup", arguments = { n = 2 } } },
  { { name = "charge", arguments = { n = 3 } } },
}
local model = perilune.testing.model { function(request)
  local answered, last = 0, 0
  for position, message in ipairs(request.messages) do
    if message.role == "user" then
      answered, last = 0, position
    elseif message.tool_calls then
      answered = answered + 1
    end
  end
  return rounds[answered + 1] and { tool_calls = rounds[answered + 1], text = "I will.", word_delay = 0.001 }
    or { text = "Everything is done after " .. #request.messages - last, word_delay = 0.001 }
end, repeat_last = true }

local assistant = perilune.assistant { name = "mortal", model = model, tools = { tool("charge"), tool("lookup", true) } }
local thread = perilune.thread "k"
local run, err = perilune.try(thread.run, thread, assistant, "Go.")
if err and err.code == "waiting_run" then
  run = perilune.runs.get(err.details.run_id)
elseif err and err.code == "quarantined" then
  print("quarantined")
  return
elseif err then
  error(err, 0)
end
while run.waiting do
  run:reject(nil, "nobody knows")
  run = run:resume(assistant)
end
if run.status == "waiting_tool" then -- decided about, but not gone on with
  run = run:resume(assistant)
end
print(run.status, run.id)
]=]


---A folder with the program and its database. Own it with `<close>`.
---@return table
function M.new()
  local program = programs.new()
  program:file("mortal.lua", SCRIPT)
  return setmetatable({ program = program, acknowledged = {} }, metatable)
end


-- What it said when it came to its end: the run is acknowledged from then on.
local function take(self, stdout)
  local status, id = stdout:match("^(%a+)%s*(%S*)")
  if status == "completed" then
    self.acknowledged[#self.acknowledged + 1] = id
  end
  return status
end


---Runs it, and kills it on cue; returns what it said ("completed", "quarantined"), nil when it was killed.
---@param when "before"|"after"|"-"
---@param at? integer
---@param mode? string
---@return string?
function methods:run(when, at, mode)
  local result = self.program:run { "run", "mortal.lua", when, tostring(at or 0), mode or "sound" }
  if result.signal == "KILL" then
    return nil
  end
  assert(result.status == 0, result.stderr)
  return take(self, result.stdout)
end


---Starts it, to be killed from outside.
---@return perilune.ProcChild
function methods:start()
  return self.program:start { "run", "mortal.lua", "-", "0", "sound" }
end


---Notes what a child said that ended by itself.
---@param stdout string
---@return string? status
function methods:said(stdout)
  return take(self, stdout)
end


local function effects(self)
  local counts, text = {}, fs.read(self.program.folder .. "/effects") or ""
  for name, key in text:gmatch("(%a+) %d+ (%x+)\n") do
    local id = name .. " " .. key
    counts[id] = (counts[id] or 0) + 1
  end
  return counts
end


-- Every call of the thread has its result right behind it, or none that belongs to another.
local function check_messages(db, problems)
  local thread = assert(db:read("thread_by_key", { key = "k" }))[1]
  local open = {}
  for _, stored in ipairs(thread and assert(messages.list(db, thread, { limit = 10000 })) or {}) do
    local message = stored.message
    if message.role == "tool" then
      if not open[message.tool_call_id] then
        problems[#problems + 1] = ("message %d is a result without a call"):format(stored.seq)
      end
      open[message.tool_call_id] = nil
    else
      open = {}
      for _, call in ipairs(message.tool_calls or {}) do
        open[call.id] = true
      end
    end
  end
end


---What is wrong: an effect that happened twice, a database that is not valid, a run that was acknowledged and is not there. Empty when
---all is well.
---@return string[]
function methods:problems()
  local problems = {}
  for id, count in pairs(effects(self)) do
    if count > 1 and id:find("^charge") then
      problems[#problems + 1] = ("%s happened %d times"):format(id, count)
    end
  end
  local db <close> = assert(checks.open(self.program.db))
  for _, problem in ipairs(assert(db:check())) do
    problems[#problems + 1] = problem
  end
  check_messages(db, problems)
  for _, id in ipairs(self.acknowledged) do
    local row = runs.get(db, id)
    if not row or row.status ~= "completed" then
      problems[#problems + 1] = ("the run %s was acknowledged and is %s"):format(id, row and row.status or "gone")
    end
  end
  for _, row in ipairs(assert(runs.list(db, { limit = 1000 }))) do
    for position, step in ipairs(assert(steps.list(db, row))) do
      if step.seq ~= position then
        problems[#problems + 1] = ("the steps of %s are not dense"):format(row.id)
      end
    end
  end
  return problems
end


function methods:close()
  self.program:close()
end


metatable.__close = methods.close

return M
