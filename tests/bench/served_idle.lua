-- served_idle.lua FEW MANY PROGRAM: streams through `perilune serve` that go silent after their first event (run it under idle_upstream.lua). One
-- JSON line says what one more costs the server: the growth of its resident set between FEW and MANY, a stream; and how long the server
-- took from its start to its first answer.
local clock = require "perilune.sys.clock"
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local few, many = tonumber(arg[1]), tonumber(arg[2])
local folder = assert(fs.temp_dir "perilune-idle")
assert(fs.write(folder .. "/perilune.lua", "return { max_inflight = 20000 }"))

local started = clock.mono()
local child <close> = assert(proc.start {
  argv = { arg[3] or "perilune", "serve", "--listen", "0" }, cwd = folder,
  env = {
    PATH = proc.env "PATH", HOME = folder, PERILUNE_DB = folder .. "/x.db", OPENAI_API_KEY = "x",
    OPENAI_BASE_URL = proc.env "OPENAI_BASE_URL",
  },
})
local url = assert(child:read()):match "(http://[%d.:]+)"


local function get(path)
  local handle <close> = assert(fetch.open { url = url .. path })
  assert(handle:head().status == 200)
end


get "/health"
local ready_ms = (clock.mono() - started) * 1000

local handles, silent, changed = {}, 0, task.signal()


local function hold()
  local handle = assert(fetch.open {
    method = "POST", url = url .. "/v1/chat/completions", frame = "sse", headers = { ["content-type"] = "application/json" },
    body = json.encode { model = "openai/idle", stream = true, messages = { { role = "user", content = "hi" } } },
  })
  handles[#handles + 1] = handle
  assert(handle:head().status == 200)
  assert(handle:next() and handle:next()) -- the role, and the first word
  silent = silent + 1
  changed:wake()
end


local function open(count)
  for _ = silent + 1, count do
    perilune.spawn(hold)
  end
  while silent < count do
    changed:wait()
  end
end


local function resident_kb()
  for line in io.lines(("/proc/%d/status"):format(child:pid())) do
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
for _, handle in ipairs(handles) do
  handle:close()
end
assert(fs.remove(folder, { recursive = true }))
print(json.encode { kb_per_stream = (after - before) / (many - few), rss_kb = after, streams = many, ready_ms = ready_ms })
