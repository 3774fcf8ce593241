-- Waits for what a test cannot hear of.
local task = require "perilune.sys.task"

local SECONDS, PAUSE = 20, 0.01


---Waits until `is_true()`; fails the test when it takes too long.
---@param what string "the run has ended"
---@param is_true fun(): any
return function(what, is_true)
  for _ = 1, SECONDS / PAUSE do
    if is_true() then
      return
    end
    task.sleep(PAUSE)
  end
  error("it did not happen: " .. what)
end
