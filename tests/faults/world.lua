-- A program whose resolver and clocks are ours (world.c).
local fs = require "perilune.sys.fs"
local programs = require "tests.support.program"
local servers = require "tests.faults.server"

local M = {}


---A program in a world in which all is well. Own it with `<close>`.
---@return tests.Program
---@return fun(names: "answers"|"missing"|"failing"|"silent", seconds: integer?, ms: integer?) set the resolver, by how much the wall
---clock is wrong, and how long the process is held up whenever it looks at the other one
function M.program()
  local program = programs.new { LD_PRELOAD = servers.built("world.so"), OPENAI_API_KEY = "a-key" }
  program.env.PERILUNE_WORLD = program.folder .. "/world"
  program.env.ASAN_OPTIONS = "verify_asan_link_order=0:" .. (program.env.ASAN_OPTIONS or "")
  local function set(names, seconds, ms)
    assert(fs.write(program.env.PERILUNE_WORLD, ("%s %d %d"):format(names, seconds or 0, ms or 0)))
  end
  set "answers"
  return program, set
end


return M
