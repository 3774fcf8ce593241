-- The main task: what main.c runs. Prepares the state for scripts, hands over to the command line, and turns what comes
-- back into an exit code.
local strict = require "perilune.std.strict"

local exit_metatable = { __name = "perilune.exit" }


-- os.exit in a script ends the main task; the host then closes what is open. (The C function would skip all of that.)
local function exit(code)
  if code == nil or code == true then
    code = 0
  elseif code == false then
    code = 1
  end
  error(setmetatable({ code = code }, exit_metatable), 0)
end


---@param arg table the words of the command line, arg[0] is the program
---@param version string
---@return integer exit code
return function(arg, version)
  os.exit = exit -- luacheck: ignore 122
  rawset(_G, "arg", arg)
  if arg[1] ~= "test" then -- a test framework makes globals of its own
    strict.install(_G)
  end
  local cli = require "perilune.cli"
  local ok, result = xpcall(cli.main, function(err)
    if getmetatable(err) == exit_metatable then
      return err
    end
    return cli.describe(err)
  end, arg, version)
  if ok then
    return result
  elseif getmetatable(result) == exit_metatable then
    return result.code
  end
  -- Out of memory, Lua calls no message handler.
  return cli.report(type(result) == "table" and result or cli.describe(result))
end
