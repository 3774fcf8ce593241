-- Calls that must not be made, with the files that are the exception and why. Comments and strings are not looked at.
local source = require "source"

local function list(text)
  local set = {}
  for word in text:gmatch("%S+") do
    set[word] = true
  end
  return set
end

local allocators = list "src/base/mem.c src/script/pool.c"
local printers = list "src/base/log.c src/base/mem.c src/main.c"
local nobody = {}

-- C: a function and the files that may call it.
local c_functions = {
  strcpy = nobody, strcat = nobody, sprintf = nobody, vsprintf = nobody, strtok = nobody, atoi = nobody, atol = nobody,
  atof = nobody, gets = nobody, system = nobody, popen = nobody, alloca = nobody,
  malloc = allocators, calloc = allocators, realloc = allocators, free = allocators, strdup = allocators,
  strndup = allocators,
  exit = list "src/main.c", _exit = list "src/main.c",
  printf = printers, fprintf = printers, vfprintf = printers, puts = printers, fputs = printers, putchar = printers,
  perror = printers,
}

-- Lua: where errors end. Everything else lets them pass.
local boundaries = list [[
  lua/perilune/tool/call.lua
  lua/perilune/tool/mcp/tools.lua
  lua/perilune/serve/handler.lua
  lua/perilune/agent/job.lua
  lua/perilune/agent/resumption.lua
  lua/perilune/agent/workflow/execution.lua
  lua/perilune/agent/workflow/flow.lua
  lua/perilune/agent/schedule.lua
  lua/perilune/agent/hooks.lua
  lua/perilune/serve/reload.lua
  lua/perilune/boot.lua
  lua/perilune/init.lua
  lua/perilune/model/discovery.lua
  lua/perilune/config.lua
  lua/perilune/testing/conformance.lua
]] -- a tool call, a schema of an MCP server, a request handler, the task of a run, of an execution, an attempt of a step, a job, a response hook, scripts that are loaded anew, runs that
-- go on, the main task, perilune.try, a provider file, a configuration file, a case of the kit

local loaders = list "lua/perilune/serve/reload.lua lua/perilune/config.lua lua/perilune/cli/run.lua lua/perilune/model/discovery.lua"

-- Lua: a pattern that follows a word border, the name to print, and the files that may.
local lua_calls = {
  { "pcall%f[^%w_]", "pcall", boundaries },
  { "xpcall%f[^%w_]", "xpcall", boundaries },
  { "load%s*[%(\"'{%[]", "load", loaders },
  { "loadstring%f[^%w_]", "loadstring", nobody },
  { "loadfile%f[^%w_]", "loadfile", nobody },
  { "dofile%f[^%w_]", "dofile", nobody },
  { "print%s*[%(\"'{%[]", "print", nobody },
  { "math%.random%f[^%w_]", "math.random", nobody },
  { "math%.randomseed%f[^%w_]", "math.randomseed", nobody },
  { "io%.%a+", "io.*", list "lua/perilune/testing/busted.lua" }, -- busted's reporter runs where nobody can wait
  { "os%.exit%f[^%w_]", "os.exit", list "lua/perilune/boot.lua" },
  { "os%.%a+", "os.*", list "lua/perilune/boot.lua" },
}


-- The positions of a pattern where a name begins that is nobody's member.
local function each(code, pattern)
  local from = 1
  return function()
    while true do
      local at, stop = code:find("%f[%w_]" .. pattern, from)
      if not at then
        return nil
      end
      from = stop + 1
      local before = code:sub(math.max(1, at - 20), at - 1)
      local is_member = before:find("[.:]%s*$") and not before:find("%.%.%s*$") or before:find("%->%s*$")
      if not is_member and not before:find("function%s+$") then
        return at
      end
    end
  end
end


for _, file in ipairs(source.files("src", "c", "h")) do
  local code = source.cut(source.read(file), "c")
  for name, exceptions in pairs(c_functions) do
    local line_of = source.line_counter(code)
    for at in each(code, name .. "%s*%(") do
      local line = line_of(at)
      if not exceptions[file] then
        source.report(file, line, "%s is banned here", name)
      end
    end
  end
end

for _, file in ipairs(source.files("lua", "lua")) do
  local code = source.cut(source.read(file), "lua")
  for _, call in ipairs(file:find("/meta/", 1, true) and {} or lua_calls) do
    local line_of = source.line_counter(code)
    for at in each(code, call[1]) do
      local line = line_of(at)
      if not call[3][file] then
        source.report(file, line, "%s is banned here", call[2])
      end
    end
  end
end

source.finish()
