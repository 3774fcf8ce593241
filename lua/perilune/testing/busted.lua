-- What busted gets from the host: counts of what passed, and after each test the check that nothing was left running.
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local task = require "perilune.sys.task"

local M = {}

local SETTLE_SECONDS = 2
local TEST_SECONDS = 180 -- a test that takes longer hangs: the whole run is stopped and fails

local counts = { success = 0, failure = 0, error = 0, pending = 0 }


-- What a test left behind gets a moment to end by itself (a closed connection, a cancelled task).
local function leftovers(own_tasks, own_requests)
  local tries = 0
  repeat
    local tasks, requests = task.count() - own_tasks, fetch.live() - own_requests
    if tasks <= 0 and requests <= 0 then
      return nil
    end
    tries = tries + 1
    task.sleep(0.005)
  until tries * 0.005 > SETTLE_SECONDS
  return ("%d tasks and %d requests were left running"):format(task.count() - own_tasks, fetch.live() - own_requests)
end


---How many tests failed so far, those that left something running among them.
---@return integer
function M.failures()
  return counts.failure + counts.error
end


---Subscribes to a busted instance.
---@param busted table
---@param counts_path string? where `N passed, N failed, N skipped` goes at the end
function M.install(busted, counts_path)
  local main, own_tasks, own_requests, watchdog = task.current(), task.count(), 0, nil
  busted.subscribe({ "test", "start" }, function(element)
    watchdog = task.spawn(function()
      for _ = 1, TEST_SECONDS do -- one by one: a test may move the clock
        task.sleep(1)
      end
      io.stderr:write(("\n'%s' took more than %d seconds: stopped\n"):format(element.name, TEST_SECONDS))
      main:cancel("timeout")
    end)
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    watchdog:cancel()
    local left = leftovers(own_tasks, own_requests)
    if left then
      io.stderr:write(("\nleft over after '%s': %s: close or wait for what a test starts\n"):format(element.name, left))
      counts.failure = counts.failure + 1
      own_tasks, own_requests = task.count(), fetch.live() -- not the fault of the next test
    else
      counts[status] = counts[status] + 1
    end
    return nil, true
  end)
  -- Errors outside of tests: a spec file that does not load, a failing setup.
  busted.subscribe({ "error" }, function(element)
    if element.descriptor ~= "it" then
      counts.error = counts.error + 1
    end
    return nil, true
  end)
  busted.subscribe({ "suite", "end" }, function()
    if counts_path then
      assert(fs.write(counts_path, ("%d passed, %d failed, %d skipped\n")
        :format(counts.success, M.failures(), counts.pending)))
    end
    return nil, true
  end)
end


return M
