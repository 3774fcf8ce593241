-- perilune.testing: what scripts need to test agents without a network.
local M = {}

M.model = require("perilune.testing.model").new
M.faults = require("perilune.testing.faults").names

return M
