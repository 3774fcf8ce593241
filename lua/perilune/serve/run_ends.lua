-- Runs that somebody ends from outside: by name, or because what they belong to is deleted. A run ends before its rows go, so that whoever
-- waits for its answer is told how it has ended.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"

local M = {}

local must = errors.must

-- How long a run is waited for.
local LOOKS, LOOK_SECONDS = 20, 0.1


---Asks a run to end, and waits a while until it has.
---@param exchange perilune.Exchange
---@param row perilune.RunRow
---@return perilune.RunRow row as it is then
function M.end_run(exchange, row)
  local db = exchange.server.db
  run_object.get(exchange.app, row.id):cancel()
  for _ = 1, LOOKS do
    row = must(runs.get(db, row.id))
    if row.finished_at then
      break
    end
    task.sleep(LOOK_SECONDS)
  end
  return row
end


---The same with the run of a thread, if one is under way there.
---@param exchange perilune.Exchange
---@param thread perilune.ThreadRow
function M.end_on_thread(exchange, thread)
  local newest = must(runs.list(exchange.server.db, { thread = thread, limit = 1 }))[1]
  if newest and not newest.finished_at then
    M.end_run(exchange, newest)
  end
end


---A run that was under way, as it is now. One whose rows are gone was cancelled before.
---@param db perilune.Database
---@param run perilune.RunRow
---@return perilune.RunRow
function M.row_now(db, run)
  local row, err = runs.get(db, run.id)
  if not errors.is(err, "not_found") then
    return must(row, err)
  end
  row = { status = "cancelled", finished_at = clock.wall() }
  for name, value in pairs(run) do
    row[name] = row[name] or value
  end
  return row
end


return M
