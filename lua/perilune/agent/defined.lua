-- The assistants that the scripts of this process have defined, by name. A name that is defined again means the new one.
local log = require "perilune.sys.log"
local tables = require "perilune.std.tables"

local M = {}

local by_name = {}


---@param assistant perilune.Assistant
function M.add(assistant)
  if by_name[assistant.name] then
    log.write("debug", "agent", ("the assistant '%s' is defined again"):format(assistant.name))
  end
  by_name[assistant.name] = assistant
end


---@param name string
---@return perilune.Assistant?
function M.get(name)
  return by_name[name]
end


---@return string[]
function M.names()
  return tables.sorted_keys(by_name)
end


---Forgets all of them.
function M.clear()
  by_name = {}
end


---Puts other assistants in the place of all that are defined.
---@param others table<string, perilune.Assistant>
---@return table<string, perilune.Assistant> before
function M.swap(others)
  local before = by_name
  by_name = others
  return before
end


return M
