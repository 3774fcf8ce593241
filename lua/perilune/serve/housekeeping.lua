-- What a server does beside its requests: it goes on with what was interrupted, runs the jobs of scripts, lets go of holds nobody
-- will settle, ends runs whose time to wait is over, and forgets kept answers that are old.
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local holds = require "perilune.serve.holds"
local idempotency = require "perilune.store.idempotency"
local log = require "perilune.sys.log"
local run_jobs = require "perilune.serve.run_jobs"
local schedule = require "perilune.agent.schedule"
local task = require "perilune.sys.task"
local workflow = require "perilune.agent.workflow"

local M = {}

---How often runs that wait are looked at.
M.LOOK_SECONDS = 5
-- How often accounts and kept answers are.
local SWEEP_SECONDS = 60


local function say(what, err)
  if err then
    log.write("error", "serve", ("%s: %s"):format(what, errors.wrap(err).message))
  end
end


-- Goes on with what the last process left.
local function recover(server)
  run_jobs.recover(server)
  workflow.resume(server.app)
end


local function sweep(server)
  local done, err = credits.expire(server.db, holds.is_served)
  say("holds could not be released", not done and err)
  done, err = idempotency.sweep(server.db)
  say("kept answers could not be removed", not done and err)
end


local function work(server)
  sweep(server)
  recover(server)
  local rounds = 0
  while true do
    task.sleep(M.LOOK_SECONDS)
    rounds = rounds + 1
    run_jobs.expire(server)
    if rounds * M.LOOK_SECONDS % SWEEP_SECONDS == 0 then
      sweep(server)
    end
  end
end


---Starts all of this; it ends with the group.
---@param server perilune.Server
---@param group perilune.TaskGroup
function M.start(server, group)
  group:spawn(work, server)
  M.start_jobs(server)
end


---Starts the jobs of the scripts; those of a former generation are stopped first.
---@param server perilune.Server
function M.start_jobs(server)
  local before = server.jobs
  server.jobs = schedule.start(server.app)
  if before then
    before:stop()
  end
end


return M
