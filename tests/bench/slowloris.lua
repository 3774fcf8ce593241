-- slowloris.lua SOCKETS PROGRAM CLIENTS: what a normal client of `perilune serve` notices of SOCKETS connections that send a head byte by
-- byte and never end it (CLIENTS is slowloris.mjs, which runs on the other core). One JSON line: alone_p99 and beside_p99 in microseconds.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"

local SECONDS_MAX = 60

local folder = assert(fs.temp_dir "perilune-slowloris")

local server <close> = assert(proc.start {
  argv = { arg[2] or "build/perilune", "serve", "--listen", "0" }, cwd = folder,
  env = { PATH = proc.env "PATH", HOME = folder, PERILUNE_DB = folder .. "/x.db" },
})
local url = assert(server:read()):match "(http://[%d.:]+)"

local argv = {}
for word in (proc.env "BENCH_OTHER_CORE" or ""):gmatch "%S+" do
  argv[#argv + 1] = word
end
for _, word in ipairs { "node", arg[3] or "tests/bench/slowloris.mjs", url, arg[1] or "2000" } do
  argv[#argv + 1] = word
end
local clients = assert(proc.run { argv = argv, timeout = SECONDS_MAX })
assert(fs.remove(folder, { recursive = true }))
assert(clients.status == 0, clients.stderr)
local seen = assert(json.decode(clients.stdout))
print(json.encode { alone_p99 = seen.alone.p99, beside_p99 = seen.beside.p99 })
