-- Going on with runs: one that is named, or all whose process ended.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local log = require "perilune.sys.log"
local loop = require "perilune.agent.loop"
local proc = require "perilune.sys.proc"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"

local M = {}

local option_types = {
  on_event = "function", person = "function", cancel = "table", budget = "table", depth = "integer", parent = "string",
  account = "string", wrap = "function", asked = "table",
}


-- The job that goes on with a run.
local function job_of(app, run, assistant, options)
  assistant = assistant or app:assistant(run.assistant)
  return jobs.new(app, { id = run.thread_id }, assistant, nil, options)
end


---Goes on with a run whose process ended, or about whose calls was decided; waits for what comes of it. It is the method `resume` of
---runs.
---@param run perilune.Run
---@param assistant? perilune.Assistant by default the one of its name, of this script or of the database
---@param options? perilune.RunOptions
---@return perilune.Run
function M.resume(run, assistant, options)
  options = check.options("run:resume", options, option_types)
  return jobs.run(job_of(run.app, run, assistant, options), function(job)
    return loop.take_over(job, run.id)
  end)
end


-- May this process go on with it? Nobody living owns it, and it was in the middle of something, or all that waited was decided about.
local function is_due(app, row)
  if row.lease_owner then
    return not proc.is_alive(row.lease_owner)
  end
  return row.status == "running" or run_object.get(app, row.id).waiting == nil
end


-- A run that another one has called as a tool goes on when that one makes its call again, and ends with it; where a person has decided
-- about its own calls, it goes on by itself.
local function is_callers(app, row)
  return row.parent ~= nil and not errors.must(steps.was_decided(app:database(), row))
end


-- What becomes of a run that has not ended: true: this process goes on with it.
local function look(app, row, is_open)
  if not is_callers(app, row) then
    return is_due(app, row)
  elseif not is_open[row.parent] and row.status == "running" and is_due(app, row) then
    errors.must(runs.interrupt(app:database(), row))
  end
  return false
end


---Goes on, in the background, with every run whose process ended. What cannot go on is told in the log and left as it is.
---@param app perilune.App
---@param job_of_row? fun(row: perilune.RunRow): perilune.Job? for runs that are more than an assistant's name
---@return perilune.Run[]
function M.recover(app, job_of_row)
  local open, err = runs.list_open(app:database())
  if not open then
    error(err, 0)
  end
  local started, is_open = {}, {}
  for _, row in ipairs(open) do
    is_open[row.id] = true
  end
  for _, row in ipairs(open) do
    if look(app, row, is_open) then
      local ok, result = pcall(function()
        local job = job_of_row and job_of_row(row) or job_of(app, { thread_id = row.thread_id, assistant = row.assistant })
        return jobs.start(job, function()
          return loop.take_over(job, row.id)
        end)
      end)
      if ok then
        started[#started + 1] = result
      elseif errors.is(result, "cancelled") then
        error(result, 0)
      else
        log.write("warn", "agent", ("the run %s cannot go on: %s"):format(row.id, tostring(result)))
      end
    end
  end
  return started
end


run_object.methods.resume = M.resume

return M
