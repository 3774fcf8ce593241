-- The main task: what main.c runs. Prepares the state for scripts, hands over to the command line, and turns what comes
-- back into an exit code.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local task = require "perilune.sys.task"

-- os.exit in a script ends the main task; the host then closes what is open. (The C function would skip all of that.)
local function exit(code)
  if code == nil or code == true then
    code = 0
  elseif code == false then
    code = 1
  else
    code = math.tointeger(code) or code
    check.value("os.exit: the exit code", code, "integer|boolean")
  end
  error(errors.new { kind = "cancelled", code = "exit", message = "the script called os.exit", exit_code = code }, 0)
end


---@param arg table the words of the command line, arg[0] is the program
---@param version string
---@return integer exit code
return function(arg, version)
  os.exit = exit -- luacheck: ignore 122
  rawset(_G, "arg", arg)
  -- In a task of its own: what it did to its budget or its deadline must not keep us from reporting it.
  local cli = require "perilune.cli"
  local work = task.spawn(cli.main, arg, version)
  task.foreground(work)
  local ok, result = pcall(work.wait, work)
  if ok then
    return result
  end
  result = errors.wrap(result) -- out of memory, Lua calls no message handler
  return result.code == "exit" and result.exit_code or cli.report(result)
end
