-- perilune.tools: tools that come with the program. An assistant has none of them unless a script names it.
local check = require "perilune.std.check"
local text = require "perilune.std.text"

local M = {}

M.ask_user = require("perilune.tool.builtin.ask_user").new
M.calculator = require("perilune.tool.builtin.calculator").new
M.http_get = require("perilune.tool.builtin.http_get").new
M.list_files = require("perilune.tool.builtin.list_files").new
M.read_file = require("perilune.tool.builtin.read_file").new
M.run_command = require("perilune.tool.builtin.run_command").new
M.write_file = require("perilune.tool.builtin.write_file").new


return setmetatable(M, {
  __index = function(self, name)
    local names = {}
    for known in next, self do
      names[#names + 1] = known
    end
    local nearest = text.suggest(tostring(name), names)
    check.fail(("perilune.tools.%s does not exist%s"):format(name, nearest and (", did you mean perilune.tools." .. nearest .. "?") or ""))
  end,
})
