-- What is measured: sides, each a program that ends with one line of JSON, and rows, each two numbers out of those lines.
-- The sides of a round run in this order, so that what is compared runs one after the other.
local M = {}


---@class perilune.bench.Side
---@field name string
---@field argv string[]
---@field needs? table<string, boolean> of "peers" (node and its packages), "langgraph", "upstream" and "gateway" (wrk, nginx, peers)

---@class perilune.bench.Number
---@field [1] string the side
---@field [2] string the field of its line
---@field times? number default 1

---@class perilune.bench.Row
---@field title string
---@field unit string
---@field less_is_better? boolean
---@field ours perilune.bench.Number
---@field peer? perilune.bench.Number
---@field peer_name? string
---@field note? string

local TEXTS = 200 -- chunks with text in one streamed answer of the upstream

local peers, upstream, both = { peers = true }, { upstream = true }, { peers = true, upstream = true }
local gateway = { gateway = true }


---@param at { perilune: string, scripts: string, peers: string, langgraph: string, base_url: string, other_core: string[] }
---@return perilune.bench.Side[]
function M.sides(at)
  local function ours(name, needs, script, ...)
    return { name = name, needs = needs, argv = { at.perilune, "run", at.scripts .. "/" .. script, ... } }
  end
  local function node(name, script, ...)
    return { name = name, needs = both, argv = { "node", at.peers .. "/" .. script, ... } }
  end
  local function langgraph(name, script, ...)
    return { name = name, needs = { langgraph = true }, argv = { "node", at.langgraph .. "/" .. script, ... } }
  end
  local function idle(name, needs, ...)
    local argv = table.move(at.other_core, 1, #at.other_core, 1, {})
    for _, word in ipairs { at.perilune, "run", at.scripts .. "/idle_upstream.lua", ... } do
      argv[#argv + 1] = word
    end
    return { name = name, needs = needs, argv = argv }
  end
  return {
    ours("whole 1", upstream, "turns.lua", "350", "1", "whole"),
    node("ai 1", "aisdk.mjs", "450", "1"),
    node("agents 1", "agents.mjs", "350", "1"),
    ours("whole 16", upstream, "turns.lua", "1000", "16", "whole"),
    node("ai 16", "aisdk.mjs", "500", "16"),
    node("agents 16", "agents.mjs", "400", "16"),
    ours("streamed 1", upstream, "turns.lua", "200", "1", "streamed"),
    node("ai streamed 1", "streamed_turns.mjs", "ai", "80", "1"),
    node("agents streamed 1", "streamed_turns.mjs", "agents", "70", "1"),
    ours("streamed 16", upstream, "turns.lua", "400", "16", "streamed"),
    node("ai streamed 16", "streamed_turns.mjs", "ai", "80", "16"),
    node("agents streamed 16", "streamed_turns.mjs", "agents", "70", "16"),
    ours("threads 16", upstream, "turns.lua", "1000", "16", "whole"),
    langgraph("langgraph 16", "langgraph.mjs", "150", "16", "1"),
    ours("thread", upstream, "thread.lua", "100", "300", "all"),
    ours("thread window", upstream, "thread.lua", "100", "300", "window"),
    langgraph("langgraph thread", "langgraph_thread.mjs", "100", "300"),
    ours("long thread", nil, "long_thread.lua", "1000", "1000000", "100"),
    ours("events", upstream, "events.lua", "1000", "4"),
    node("openai events", "openai.mjs", "500", "4", "stream"),
    node("ai events", "aisdk.mjs", "70", "4", "stream"),
    ours("stages", upstream, "stages.lua", "300", "21"),
    ours("decoder", upstream, "decoder.lua", "0.5", at.base_url),
    ours("start", nil, "start.lua", "34", at.perilune),
    idle("idle", nil, at.perilune, "run", at.scripts .. "/idle.lua", "1000", "2000"),
    idle("openai idle", peers, "node", at.peers .. "/idle.mjs", "1000", "2000"),
    idle("served idle", nil, at.perilune, "run", at.scripts .. "/served_idle.lua", "200", "5000", at.perilune),
    ours("slowloris", peers, "slowloris.lua", "2000", at.perilune, at.scripts .. "/slowloris.mjs"),
    ours("gateway", gateway, "gateway.lua", "perilune", "whole"),
    ours("nginx", gateway, "gateway.lua", "nginx", "whole"),
    ours("portkey", gateway, "gateway.lua", "portkey", "whole"),
    ours("gateway streamed", gateway, "gateway.lua", "perilune", "streamed"),
    ours("nginx streamed", gateway, "gateway.lua", "nginx", "streamed"),
    ours("codec", nil, "codec.lua", "0.1"),
  }
end


local function turn(title, side, peer_side, field, peer_name)
  return {
    title = title, unit = "turns/s", ours = { side, "turns_per_s" }, peer = { peer_side, field }, peer_name = peer_name,
  }
end


-- The same field of a thread of Perilune's and of one of LangGraph's.
local function along(title, field)
  return {
    title = title, unit = "turns/s", ours = { "thread", field }, peer = { "langgraph thread", field }, peer_name = "langgraph",
  }
end


-- Two kinds of turns of long_thread.lua.
local function flat(title, time, kind, beside, peer_name)
  return {
    title = title, unit = "ms", less_is_better = true, ours = { "long thread", kind .. "_" .. time },
    peer = { "long thread", beside .. "_" .. time }, peer_name = peer_name,
  }
end


local function codec(title, field)
  return {
    title = title, unit = "µs", less_is_better = true, ours = { "codec", field }, peer = { "codec", field .. ".cjson" },
    peer_name = "lua-cjson",
  }
end


---@type { title: string, rows: perilune.bench.Row[] }[]
M.groups = {
  { title = "Agent turns with one tool call; Perilune stores every step in SQLite and syncs it, the others store nothing", rows = {
    turn("whole answers, 1 at a time", "whole 1", "ai 1", "turns_per_s", "ai"),
    turn("whole answers, 1 at a time", "whole 1", "agents 1", "turns_per_s", "@openai/agents"),
    turn("whole answers, 16 at a time", "whole 16", "ai 16", "turns_per_s", "ai"),
    turn("whole answers, 16 at a time", "whole 16", "agents 16", "turns_per_s", "@openai/agents"),
    turn("streamed (207 chunks), 1 at a time", "streamed 1", "ai streamed 1", "turns_per_s", "ai"),
    turn("streamed (207 chunks), 1 at a time", "streamed 1", "agents streamed 1", "turns_per_s", "@openai/agents"),
    turn("streamed (207 chunks), 16 at a time", "streamed 16", "ai streamed 16", "turns_per_s", "ai"),
    turn("streamed (207 chunks), 16 at a time", "streamed 16", "agents streamed 16", "turns_per_s", "@openai/agents"),
    turn("streamed here, whole there, 1 at a time", "streamed 1", "ai 1", "turns_per_s", "ai"),
    turn("streamed here, whole there, 16 at a time", "streamed 16", "ai 16", "turns_per_s", "ai"),
  } },
  { title = "Turns that are stored: LangGraph with its SQLite checkpointer, which does not sync them; Perilune syncs every step", rows = {
    along("turn 1 of a thread", "first"),
    { title = "turn 1 of a thread, CPU time", unit = "ms", less_is_better = true, ours = { "thread", "first_cpu_ms" },
      peer = { "langgraph thread", "first_cpu_ms" }, peer_name = "langgraph" },
    turn("turn 1 of 16 threads at a time", "threads 16", "langgraph 16", "turns_per_s", "langgraph"),
    along("turns 2 to 31, every message sent", "begin"),
    along("turns 136 to 165", "middle"),
    along("turns 271 to 300", "end"),
    along("all 300", "turns_per_s"),
    turn("all 300, the usual 200 messages sent", "thread window", "langgraph thread", "turns_per_s", "langgraph"),
    { title = "the database after them", unit = "KB", less_is_better = true, ours = { "thread", "db_kb" },
      peer = { "langgraph thread", "db_kb" }, peer_name = "langgraph" },
  } },
  { title = "One turn with a tool call and no network, beside one in an empty thread and database (1.00: it costs the same)", rows = {
    flat("turn 1000, 20 messages sent: CPU time", "cpu", "long", "first", "turn 1"),
    flat("turn 1000, 20 messages sent", "wall", "long", "first", "turn 1"),
    flat("turn 1 beside 1,000,000 messages: CPU", "cpu", "full", "first", "beside none"),
    flat("turn 1 beside 1,000,000 messages", "wall", "full", "first", "beside none"),
    flat("turn 1000, 200 messages sent: CPU time", "cpu", "long_window", "middle_window", "turn 200"),
    flat("turn 200, 200 messages sent: CPU time", "cpu", "middle_window", "first", "turn 1"),
    { title = "database of turns 501 to 1000, each", unit = "bytes", less_is_better = true, ours = { "long thread", "end_bytes" },
      peer = { "long thread", "begin_bytes" }, peer_name = "turns 1 to 500" },
  } },
  { title = "Text events of streamed answers, 4 answers at a time", rows = {
    { title = "client:stream", unit = "events/s", ours = { "events", "events_per_s" },
      peer = { "openai events", "chunks_per_s" }, peer_name = "openai" },
    { title = "client:stream", unit = "events/s", ours = { "events", "events_per_s" },
      peer = { "ai events", "turns_per_s", times = TEXTS }, peer_name = "ai" },
    { title = "decoder alone, no network; there with it", unit = "events/s", ours = { "decoder", "events_per_s" },
      peer = { "openai events", "chunks_per_s" }, peer_name = "openai" },
    { title = "decoder alone, no network; there with it", unit = "events/s", ours = { "decoder", "events_per_s" },
      peer = { "ai events", "turns_per_s", times = TEXTS }, peer_name = "ai" },
  } },
  { title = "CPU time of one whole answer over loopback, one at a time", rows = {
    { title = "through every stage; a bare fetch", unit = "µs", less_is_better = true, ours = { "stages", "model" },
      peer = { "stages", "fetch" }, peer_name = "fetch" },
    { title = "failover alone; all that is below it", unit = "µs", less_is_better = true, ours = { "stages", "failover" },
      peer = { "stages", "meter" }, peer_name = "the rest" },
  } },
  { title = "From the start of the program to its end", rows = {
    { title = "perilune --version", unit = "ms", less_is_better = true, ours = { "start", "version" },
      peer = { "start", "lua" }, peer_name = "lua5.4 -v" },
    { title = "perilune run -e 'print(1)'", unit = "ms", less_is_better = true, ours = { "start", "script" },
      peer = { "start", "node" }, peer_name = "node -e \"\"" },
  } },
  { title = "Memory of one more idle stream, between 1000 and 2000 of them", rows = {
    { title = "growth of the resident set", unit = "KB", less_is_better = true, ours = { "idle", "kb_per_stream" },
      peer = { "openai idle", "kb_per_stream" }, peer_name = "openai" },
    { title = "the whole process with 2000", unit = "MB", less_is_better = true, ours = { "idle", "rss_kb", times = 1 / 1024 },
      peer = { "openai idle", "rss_kb", times = 1 / 1024 }, peer_name = "openai" },
  } },
  { title = "As a gateway: a prepaid key, a hold and a charge for each request, a row for each attempt", rows = {
    { title = "whole answers, 32 at a time", unit = "requests/s", ours = { "gateway", "requests_per_s" },
      peer = { "nginx", "requests_per_s" }, peer_name = "nginx" },
    { title = "whole answers, 32 at a time", unit = "requests/s", ours = { "gateway", "requests_per_s" },
      peer = { "portkey", "requests_per_s" }, peer_name = "portkey" },
    { title = "streamed, 202 chunks, 16 at a time", unit = "requests/s", ours = { "gateway streamed", "requests_per_s" },
      peer = { "nginx streamed", "requests_per_s" }, peer_name = "nginx" },
    { title = "half of the answers at 10 connections within", unit = "ms", less_is_better = true, ours = { "gateway", "p50_ms" },
      peer = { "nginx", "p50_ms" }, peer_name = "nginx" },
    { title = "the whole process after that", unit = "MB", less_is_better = true, ours = { "gateway", "rss_kb", times = 1 / 1024 },
      peer = { "portkey", "rss_kb", times = 1 / 1024 }, peer_name = "portkey" },
    { title = "one more idle stream through it, of 5000", unit = "KB", less_is_better = true, ours = { "served idle", "kb_per_stream" } },
    { title = "from the start to the first answer", unit = "ms", less_is_better = true, ours = { "served idle", "ready_ms" } },
    { title = "p99 of a client beside 2000 slow heads", unit = "µs", less_is_better = true, ours = { "slowloris", "beside_p99" },
      peer = { "slowloris", "alone_p99" }, peer_name = "alone" },
  } },
  { title = "JSON in one process (ours is exact: integers, empty arrays, every UTF-8 sequence checked)", rows = {
    codec("decode a chunk of 311 bytes", "chunk.decode"),
    codec("encode a chunk of 311 bytes", "chunk.encode"),
    codec("decode a reply of 4 KB", "reply.decode"),
    codec("encode a reply of 4 KB", "reply.encode"),
    codec("decode a request with tools of 5 KB", "tools.decode"),
    codec("encode a request with tools of 5 KB", "tools.encode"),
  } },
}

return M
