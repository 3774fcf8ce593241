-- The person at the terminal, who is asked about tool calls that wait. Where there is no terminal nobody is asked: the run waits as a row.
local json = require "perilune.json"
local output = require "perilune.cli.output"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"

local M = {}

local ARGUMENTS_BYTES_MAX = 2000

local questions = {
  approval = "The assistant wants to call %s(%s). Allow it? [y/N] ",
  outcome = "The process ended while %s(%s) was under way: nobody knows whether it was done. Do it again? [y/N] ",
  output = "The assistant asks for the result of %s(%s): ",
}


-- What a model wrote, without what could move the cursor.
local function printable(words)
  return (text.truncate(text.to_utf8(words), ARGUMENTS_BYTES_MAX):gsub("[%c\x7F]", " "))
end


local function ask(call, waits_for)
  local arguments = json.decode(call.arguments) and call.arguments or ("%q"):format(call.arguments)
  output.note(questions[waits_for]:format(printable(call.name), printable(arguments)))
  local line = proc.read_line()
  if waits_for == "output" then
    return line and { kind = "output", output = line } or nil
  elseif not line then
    return nil -- the input was closed: the run waits
  end
  return line:find("^%s*[yY]") and { kind = "approve" } or { kind = "reject" }
end


---Who decides about calls of this process: a function for jobs, nil when nobody sits there. Calls of several runs are asked about one
---after the other.
---@return (fun(call: table, waits_for: string): table?)|nil
function M.here()
  if not (proc.is_tty(0) and proc.is_tty(2)) then
    return nil
  end
  local is_asking, free = false, task.signal()
  return function(call, waits_for)
    while is_asking do
      free:wait()
    end
    is_asking = true
    local asked <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
      is_asking = false
      free:wake(1)
    end })
    return ask(call, waits_for)
  end
end


return M
