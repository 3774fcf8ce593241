-- bench.lua [--json] [--rounds N]: runs the sides of cases.lua in turn, round after round, and prints the rows. Started by
-- run.sh, which says in the environment what there is to measure beside.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"

local scripts = arg[0]:match "^(.*)/"
package.path = scripts .. "/?.lua;" .. package.path
local cases = require "cases"
local report = require "report"

local at = {
  scripts = scripts,
  perilune = proc.env "BENCH_PERILUNE",
  work = proc.env "BENCH_WORK",
  peers = proc.env "BENCH_PEERS",
  base_url = proc.env "BENCH_BASE_URL",
  other_core = {},
}
for word in (proc.env "BENCH_OTHER_CORE" or ""):gmatch "%S+" do
  table.insert(at.other_core, word)
end
at.langgraph = proc.env "BENCH_LANGGRAPH"
local has = {
  gateway = proc.env "BENCH_GATEWAY" ~= nil, peers = at.peers ~= nil, upstream = at.base_url ~= nil,
  langgraph = at.langgraph ~= nil and at.base_url ~= nil,
}
at.peers, at.base_url, at.langgraph = at.peers or "", at.base_url or "", at.langgraph or ""

local SECONDS_MAX = 60 -- for one side of one round
local rounds, is_json = 3, false


local function read_arguments()
  local position = 1
  while arg[position] do
    if arg[position] == "--json" then
      is_json = true
    elseif arg[position] == "--rounds" and math.tointeger(tonumber(arg[position + 1])) then
      position = position + 1
      rounds = math.tointeger(tonumber(arg[position]))
    else
      proc.write(2, "usage: tests/bench/run.sh [--json] [--rounds N]\n")
      os.exit(2)
    end
    position = position + 1
  end
end


local function last_line(text)
  return text:match "([^\n]+)\n*$" or ""
end


-- One side, once: the table that its last line holds, or nil and what went wrong.
local function measure(side, number)
  local database = ("%s/%d.db"):format(at.work, number)
  local result, err = proc.run {
    argv = side.argv, cwd = at.work, timeout = SECONDS_MAX,
    env = {
      PATH = proc.env "PATH", HOME = at.work, TMPDIR = at.work, PERILUNE_DB = database, OPENAI_API_KEY = "x", OPENAI_BASE_URL = at.base_url,
      BENCH_WORK = at.work, BENCH_PEERS = at.peers, BENCH_PERILUNE = at.perilune, BENCH_SHARED = proc.env "BENCH_SHARED",
      BENCH_OTHER_CORE = proc.env "BENCH_OTHER_CORE",
    },
  }
  if not result then
    return nil, "failed: " .. err.message
  elseif result.status ~= 0 then
    local why = result.stderr:match "[^\n]+" or "status " .. tostring(result.status or result.signal)
    return nil, "failed: " .. why:sub(1, 200)
  end
  for _, suffix in ipairs { "", "-wal", "-shm" } do
    fs.remove(database .. suffix)
  end
  local numbers = json.decode(last_line(result.stdout))
  if type(numbers) ~= "table" then
    return nil, "failed: no result"
  end
  return numbers
end


local function missing(side)
  for need in pairs(side.needs or {}) do
    if not has[need] then
      return ("no %s"):format(need == "langgraph" and "LangGraph" or need)
    end
  end
end


-- The version of an npm package; nil for what is none.
local function package_version(name)
  local folder = at.peers
  if name == "langgraph" then
    folder, name = at.langgraph, "@langchain/langgraph"
  end
  local text = folder ~= "" and fs.read(("%s/node_modules/%s/package.json"):format(folder, name))
  return text and json.decode(text).version or nil
end


local function measure_all()
  local results, failures, count, is_well = {}, {}, 0, true
  local sides = cases.sides(at)
  for round = 1, rounds do
    for _, side in ipairs(sides) do
      failures[side.name] = failures[side.name] or missing(side)
      if not failures[side.name] then
        proc.write(2, ("round %d of %d: %s\n"):format(round, rounds, side.name))
        count = count + 1
        results[side.name] = results[side.name] or {}
        results[side.name][round], failures[side.name] = measure(side, count)
        is_well = is_well and not failures[side.name]
      end
    end
  end
  return results, failures, is_well
end


local function evaluate_all(results, failures)
  local groups, versions = {}, {}
  for position, group in ipairs(cases.groups) do
    groups[position] = { title = group.title, lines = {} }
    for number, row in ipairs(group.rows) do
      local line = report.evaluate(row, results, failures)
      if row.peer_name then
        versions[row.peer_name] = versions[row.peer_name] or package_version(row.peer_name)
        line.peer_version = versions[row.peer_name]
      end
      groups[position].lines[number] = line
    end
  end
  return groups, versions
end


read_arguments()
local results, failures, is_well = measure_all()
local groups, versions = evaluate_all(results, failures)
print(is_json and report.json(groups) or report.text(groups, versions, rounds))
os.exit(is_well and 0 or 1)
