-- start.lua TIMES PERILUNE: how long a program takes from its start to its end when it does next to nothing. One JSON line
-- has the median milliseconds of each program that is installed.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"

local times, perilune = tonumber(arg[1]), arg[2]

local programs = {
  version = { perilune, "--version" },
  script = { perilune, "run", "-e", "print(1)" },
  node = { "node", "-e", "" },
  lua = { "lua5.4", "-v" },
}


local function milliseconds(argv)
  local started = clock.mono()
  local result, err = proc.run { argv = argv }
  if not result then
    return nil, err
  elseif result.status ~= 0 then
    error(table.concat(argv, " ") .. ": " .. result.stderr)
  end
  return (clock.mono() - started) * 1000
end


local taken = {}
for _ = 1, times do
  for name, argv in pairs(programs) do
    local spent, err = milliseconds(argv)
    if spent then
      taken[name] = taken[name] or {}
      table.insert(taken[name], spent)
    elseif err.kind ~= "not_found" then
      error(err, 0)
    end
  end
end
local medians = {}
for name, list in pairs(taken) do
  table.sort(list)
  medians[name] = list[(#list + 1) // 2]
end
print(json.encode(medians))
