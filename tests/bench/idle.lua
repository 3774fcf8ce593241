-- idle.lua FEW MANY: opens streams that go silent after their first event, each read by a task of its own. One JSON line
-- says what one more costs: the growth of the resident set between FEW and MANY, a stream.
local json = require "perilune.json"
local perilune = require "perilune"
local task = require "perilune.sys.task"

local few, many = tonumber(arg[1]), tonumber(arg[2])
local client = perilune.client { model = "openai/idle", max_inflight = many }
local tasks, silent, changed = {}, 0, task.signal()


local function hold()
  local stream <close> = client:stream "hi"
  for event in stream do
    if event.type == "error" then
      error(event.error, 0)
    elseif event.type == "text" then
      silent = silent + 1
      changed:wake()
    end
  end
end


local function open(count)
  while #tasks < count do
    tasks[#tasks + 1] = perilune.spawn(hold)
  end
  while silent < count do
    changed:wait()
  end
end


local function resident_kb()
  collectgarbage()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s*(%d+)"
    if kb then
      return tonumber(kb)
    end
  end
end


open(few)
local before = resident_kb()
open(many)
local after = resident_kb()
for _, one in ipairs(tasks) do
  one:cancel()
end
print(json.encode { kb_per_stream = (after - before) / (many - few), rss_kb = after, streams = many })
