-- gateway.lua SIDE KIND: requests a second through one that stands between a client and an upstream. SIDE is `perilune` (a prepaid key: a
-- hold and a charge in the ledger for each request, and a row for each attempt), `nginx` (proxy_pass, the same bytes untouched) or
-- `portkey` (a public gateway in JavaScript). KIND is `whole` or `streamed` (an answer of 202 chunks at once). wrk asks, from the other core.
-- One JSON line: requests_per_s, p50_ms, p99_ms, rss_kb.
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"

local side, kind = arg[1], arg[2]
local shared, work, peers = proc.env "BENCH_SHARED", proc.env "BENCH_WORK", proc.env "BENCH_PEERS"
local is_streamed = kind == "streamed"
local upstream = is_streamed and "http://127.0.0.1:18080" or "http://127.0.0.1:18082"

local sides = {}


local function program(words, env)
  local result = assert(proc.run { argv = { proc.env "BENCH_PERILUNE", table.unpack(words) }, cwd = work, env = env })
  assert(result.status == 0, result.stderr)
  return (result.stdout:gsub("%s+$", ""))
end


function sides.perilune()
  local env = {
    PATH = proc.env "PATH", HOME = work, PERILUNE_DB = work .. "/gateway.db", OPENAI_API_KEY = "x", OPENAI_BASE_URL = upstream .. "/v1",
  }
  local name = "bench-" .. proc.self():match ":(%d+):"
  local key = program({ "keys", "create", name }, env)
  program({ "credits", "grant", name, "1000000" }, env)
  local child = assert(proc.start { argv = { proc.env "BENCH_PERILUNE", "serve", "--listen", "0" }, cwd = work, env = env })
  local url = assert(child:read()):match "(http://[%d.:]+)"
  return { child = child, url = url, key = key, model = "openai/gpt-4o-mini" }
end


function sides.nginx()
  return { url = is_streamed and "http://127.0.0.1:18083" or "http://127.0.0.1:18081", key = "x", model = "fast" }
end


function sides.portkey()
  local child = assert(proc.start {
    argv = { "node", peers .. "/node_modules/@portkey-ai/gateway/build/start-server.js", "--port=18087", "--headless" }, cwd = work,
  })
  while not (child:read() or error "the gateway ended"):find "Ready" do end
  return {
    child = child, url = "http://127.0.0.1:18087", key = "x", model = "fast",
    headers = ("x-portkey-provider: openai|x-portkey-custom-host: %s/v1"):format(upstream),
  }
end


local function load_on(subject, connections, seconds)
  local argv = {}
  for word in (proc.env "BENCH_OTHER_CORE" or ""):gmatch "%S+" do
    argv[#argv + 1] = word
  end
  for _, word in ipairs { "wrk", "-t1", "-c" .. connections, "-d" .. seconds, "--latency", "-s", shared .. "/post.lua",
    subject.url .. "/v1/chat/completions" } do
    argv[#argv + 1] = word
  end
  local result = assert(proc.run { argv = argv, timeout = seconds + 30, env = {
    PATH = proc.env "PATH", MODEL = subject.model, KEY = subject.key, HEADERS = subject.headers or "", STREAM = is_streamed and "1" or "0",
  } })
  assert(not result.stdout:find "Non%-2xx", result.stdout)
  local function milliseconds(percent)
    local number, unit = result.stdout:match(percent .. "%%%s+([%d.]+)(%a+)")
    return tonumber(number) * ({ us = 0.001, ms = 1, s = 1000 })[unit]
  end
  return tonumber(result.stdout:match "Requests/sec:%s+([%d.]+)"), milliseconds "50", milliseconds "99"
end


local function resident_kb(child)
  return child and tonumber(assert(fs.read(("/proc/%d/status"):format(child:pid()))):match "VmRSS:%s*(%d+)") or 0
end


local subject = sides[side]()
local handle = assert(fetch.open { url = subject.url .. "/v1/models", first_byte = 5 })
handle:head()
handle:close()
load_on(subject, 8, 1)
local requests_per_s, _, p99 = load_on(subject, is_streamed and 16 or 32, 3)
local _, p50 = load_on(subject, 10, 1)
local rss_kb = resident_kb(subject.child)
if subject.child then
  subject.child:close()
end
print(json.encode { requests_per_s = requests_per_s, p50_ms = p50, p99_ms = p99, rss_kb = rss_kb })
