-- long_thread.lua TURNS MESSAGES: what a turn costs at the beginning of a thread, at its end, and in a database that is full of other
-- messages. The model is scripted, the window 20 messages: what grows here would be the store's doing. Milliseconds and KB a turn.
local clock = require "perilune.sys.clock"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local perilune = require "perilune"
local store = require "perilune.store"
local threads = require "perilune.store.threads"

local turns, filling = tonumber(arg[1]), tonumber(arg[2])
local BLOCK = 100
local path = perilune.env "PERILUNE_DB"

local model = perilune.testing.model { "All right.", repeat_last = true }
local assistant = perilune.assistant { name = "listener", model = model, history = { messages = 20 } }


local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end


-- The median of so many turns; each on the thread that `key_of` names.
local function measure(count, key_of)
  local times = {}
  for number = 1, count do
    local thread = perilune.thread(key_of(number))
    local started = clock.mono()
    thread:run(assistant, "This is a line of a conversation, number " .. number)
    times[number] = (clock.mono() - started) * 1000
    model.requests = {}
  end
  return median(times)
end


-- Messages of other threads, as fast as the store takes them.
local function fill(count)
  local db <close> = assert(store.open(path))
  local body = json.encode { role = "user", content = ("x"):rep(80) }
  for number = 1, count // 10000 do
    local thread = assert(threads.open(db, "filler " .. number))
    for _ = 1, 10000 // 500 do
      local batch = {}
      for position = 1, 500 do
        batch[2 * position - 1] = { "message_append", { thread_id = thread.id, role = "user", status = "complete", body = body, now = 1 } }
        batch[2 * position] = { "thread_advance", { id = thread.id, now = 1 } }
      end
      assert(db:write(batch))
    end
  end
end


local function fresh(prefix)
  return function(number)
    return prefix .. number
  end
end


local function long()
  return "long"
end


measure(BLOCK, fresh "warm-up ")
local result = { first = measure(BLOCK, fresh "fresh "), begin = measure(BLOCK, long) }
local size = fs.stat(path).size
measure(turns - 2 * BLOCK, long)
result["end"] = measure(BLOCK, long)
result.kb_per_turn = (fs.stat(path).size - size) / (turns - BLOCK) / 1000
fill(filling)
result.full = measure(BLOCK, fresh "late ")
result.messages = filling
print(json.encode(result))
