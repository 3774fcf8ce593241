-- The program under test as another process: the binary that runs the specs, in a folder of its own, with a database of its own
-- and nothing of this environment.
local fs = require "perilune.sys.fs"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "tests.program", __index = methods }

-- How long a test waits for what must happen before it fails.
local RUN_SECONDS = 60
local WAIT_SECONDS = 20

local binary


-- The binary of this process.
local function find_binary()
  if not binary then
    local pid = assert(proc.self()):match(":(%d+):")
    local result = assert(proc.run { argv = { "readlink", ("/proc/%s/exe"):format(pid) } })
    binary = assert(result.stdout:match("^[^\n]+"))
  end
  return binary
end


---A path of the repository, from its root, that holds in any folder.
---@param path string
---@return string
function M.path(path)
  return path:sub(1, 1) == "/" and path or assert(fs.cwd()) .. "/" .. path
end


---@class tests.Program
---@field folder string where it runs; removed at the end
---@field db string its database
---@field env table<string, string> what its processes get

---A folder to run the program in. Own it with `<close>`.
---@param env? table<string, string> more for its environment
---@return tests.Program
function M.new(env)
  local folder = assert(fs.temp_dir("perilune-program"))
  local self = setmetatable({ folder = folder, db = folder .. "/perilune.db" }, metatable)
  self.env = {
    PATH = proc.env("PATH"), HOME = folder, PERILUNE_DB = self.db, PERILUNE_LUA = proc.env("PERILUNE_LUA"),
    ASAN_OPTIONS = proc.env("ASAN_OPTIONS"), LSAN_OPTIONS = proc.env("LSAN_OPTIONS"), UBSAN_OPTIONS = proc.env("UBSAN_OPTIONS"),
  }
  if self.env.PERILUNE_LUA then
    self.env.PERILUNE_LUA = M.path(self.env.PERILUNE_LUA)
  end
  for name, value in pairs(env or {}) do
    self.env[name] = value
  end
  return self
end


local function argv_of(words)
  local argv = { find_binary() }
  return table.move(words, 1, #words, 2, argv)
end


---Runs it to its end: `program:run { "ask", "Hello", stdin = "..." }`.
---@param words { [integer]: string, stdin: string?, timeout: number? }
---@return perilune.ProcResult
function methods:run(words)
  return assert(proc.run {
    argv = argv_of(words), cwd = self.folder, env = self.env, stdin = words.stdin, timeout = words.timeout or RUN_SECONDS,
  })
end


---Runs it with its standard output in a file, or in a pipe that nobody reads when no file is named.
---@param words string[]
---@param file? string
---@return perilune.ProcResult
function methods:run_into(words, file)
  local shell = file and 'exec "$@" >' .. file or 'mkfifo out; exec 3<>out 4>out 3<&-; exec "$@" >&4 4>&-'
  local argv = { "sh", "-c", shell, "sh", table.unpack(argv_of(words)) }
  return assert(proc.run { argv = argv, cwd = self.folder, env = self.env, timeout = RUN_SECONDS })
end


---Runs it in a shell that did something before: `program:run_after("ulimit -n 20", { "run", "x.lua" })`.
---@param command string
---@param words string[]
---@return perilune.ProcResult
function methods:run_after(command, words)
  local argv = { "sh", "-c", command .. '; exec "$@"', "sh", table.unpack(argv_of(words)) }
  return assert(proc.run { argv = argv, cwd = self.folder, env = self.env, timeout = RUN_SECONDS })
end


---Starts it; own the child with `<close>`.
---@param words string[]
---@return perilune.ProcChild
function methods:start(words)
  return assert(proc.start { argv = argv_of(words), cwd = self.folder, env = self.env })
end


---Writes a file into its folder.
---@param name string
---@param text string
---@return string name
function methods:file(name, text)
  assert(fs.write(self.folder .. "/" .. name, text))
  return name
end


function methods:close()
  assert(fs.remove(self.folder, { recursive = true }))
end


metatable.__close = methods.close


local function read_until(child, pattern, output)
  local said = ""
  while not said:find(pattern) do
    said = said .. assert(child:read(output), "the program ended after: " .. said)
  end
  return said
end


---Reads what a child writes until the pattern is there; returns all of it.
---@param child perilune.ProcChild
---@param pattern string
---@param output? "stdout"|"stderr"
---@return string
function M.read_until(child, pattern, output)
  return task.deadline(WAIT_SECONDS, read_until, child, pattern, output)
end


---Waits until a child has ended.
---@param child perilune.ProcChild
---@return { status: integer?, signal: string? }
function M.ending_of(child)
  return assert(task.deadline(WAIT_SECONDS, child.wait, child))
end


return M
