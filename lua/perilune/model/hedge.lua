-- Hedging, a step of failover: when the target that was asked shows nothing for a while, the next one is asked too, and whoever has
-- content first answers. The other one's request is closed; it may have cost something all the same.
local errors = require "perilune.std.errors"
local policy = require "perilune.model.policy"
local task = require "perilune.sys.task"

local M = {}

-- A race may take as long as its attempts have time.
local FOREVER_SECONDS = 86400


local function add_racer(run)
  local racer, pause = { trial = run.trial }, run:pause_of()
  run.trial = nil
  run.racers[#run.racers + 1] = racer
  task.spawn(function()
    racer.err = racer.trial:read()
    racer.is_done = true
    pause:wake()
  end)
end


local function win(run, winner)
  for _, racer in ipairs(run.racers) do
    if racer ~= winner then
      local trial = racer.trial
      trial:close()
      run:report(trial.candidate, "hedged", errors.new {
        kind = "cancelled", code = "hedged", message = "another target answered first", maybe_billed = true,
      }, { duration_ms = trial:duration() })
    end
  end
  run.racers, run.trial, run.step = nil, winner.trial, run.commit
end


-- A racer failed: the others go on, the last one decides what happens next.
local function lose(run, position)
  local racer = table.remove(run.racers, position)
  if #run.racers == 0 then
    run.racers, run.trial = nil, racer.trial
    run:judge(racer.err)
  else
    racer.trial:fail(racer.err, policy.rule(racer.err))
    run:report(racer.trial.candidate, "failed", racer.err, { duration_ms = racer.trial:duration() })
  end
end


-- Whoever is done: a winner, or somebody who is out. False: nobody yet.
local function settle(run)
  for position, racer in ipairs(run.racers) do
    if racer.is_done then
      if racer.err then
        lose(run, position)
      else
        win(run, racer)
      end
      return true
    end
  end
  return false
end


-- Asks one more, if there is one that can be asked at once.
local function ask_another(run)
  while run.order[run.position + 1] do
    run.position = run.position + 1
    if run:ask(run.order[run.position], false, false) then
      return add_racer(run)
    end
  end
end


---The step of a run while targets race: returns after anything has changed.
---@param run table
function M.step(run)
  run.racers = run.racers or {}
  if run.trial then
    add_racer(run)
  end
  local may_ask = #run.racers == 1 and run.order[run.position + 1] ~= nil and run.tried < run.stage.attempts_max
  while not run.is_closed and not settle(run) do
    local is_woken = run.pause:wait(may_ask and run.stage.hedge or FOREVER_SECONDS)
    if not is_woken and may_ask then
      may_ask = false
      ask_another(run)
    end
  end
end


return M
