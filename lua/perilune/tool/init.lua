-- Tools: define one, read what a model wrote for it, call it. The parts are in definition.lua, parameters.lua and call.lua.
local call = require "perilune.tool.call"
local definition = require "perilune.tool.definition"

local M = {}

M.define = definition.define
M.is = definition.is
M.parse_arguments = call.parse_arguments
M.call = call.call


return M
