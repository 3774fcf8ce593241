-- JSON, exactly: integers stay integers, floats read back identical, [] stays [], keys are written in byte order, or in that
-- of the text they come from, where it was kept.
local sys = require "perilune.sys.json"

local M = {}

--- What `null` reads as, and is written from. It is truthy: compare with `== json.null`.
M.null = sys.null

M.decode = sys.decode
M.encode = sys.encode
M.array = sys.array
M.is_array = sys.is_array
M.raw = sys.raw
M.is_raw = sys.is_raw
M.keep_order = sys.keep_order

return M
