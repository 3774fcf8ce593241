-- Jobs at times: perilune.every and perilune.cron define them, a schedule runs them. A job never runs beside itself: a time that
-- comes while it runs, or while the machine sleeps, is made up for once. Times are UTC.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local cron = require "perilune.std.cron"
local errors = require "perilune.std.errors"
local hooks = require "perilune.agent.hooks"
local log = require "perilune.sys.log"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Schedule", __index = methods, __close = function(self) self:stop() end }

-- How often a job that waits looks whether the clock was set.
local NAP_SECONDS = 60

local INTERVAL_SECONDS_MAX = 366 * 86400

local unit_seconds = { s = 1, m = 60, h = 3600, d = 86400 }


---@class perilune.ScheduledJob
---@field name string "every 10m"
---@field next fun(after: number, start: number): number the first time after this one; `start` is when the schedule began
---@field run fun(due: number)

-- "1h30m" in seconds; nil when it is no interval.
local function seconds_of(interval)
  if type(interval) == "number" then
    return interval
  elseif not interval:find("^[%dsmhd]+$") then
    return nil
  end
  local seconds, read = 0, 0
  for number, unit in interval:gmatch("(%d+)([smhd])") do
    seconds, read = seconds + tonumber(number) * unit_seconds[unit], read + #number + 1
  end
  return read == #interval and seconds or nil
end


local function add(app, job)
  local jobs = hooks.of(app).jobs
  jobs[#jobs + 1] = job
  hooks.note(app, "the job " .. job.name)
end


---Defines a job that runs again and again: `perilune.every("10m", f)`.
---@param app perilune.App
---@param interval string|number "30s", "10m", "1h30m", "1d", or seconds; at least one second
---@param run fun(due: number)
function M.every(app, interval, run)
  check.value("perilune.every: the interval", interval, "string|number")
  check.value("perilune.every: the second argument", run, "function")
  local seconds = seconds_of(interval)
  if not seconds then
    check.fail(("perilune.every: '%s' is no interval; it is like 30s, 10m, 1h30m or 1d"):format(interval))
  elseif not (seconds >= 1 and seconds <= INTERVAL_SECONDS_MAX) then
    check.fail(("perilune.every: an interval is 1 second to 366 days, not %s"):format(interval))
  end
  add(app, { name = "every " .. interval, run = run, next = function(after, start)
    return start + ((after - start) // seconds + 1) * seconds
  end })
end


---Defines a job at times: `perilune.cron("0 9 * * mon-fri", f)`.
---@param app perilune.App
---@param expression string see std/cron.lua
---@param run fun(due: number)
function M.cron(app, expression, run)
  check.string("perilune.cron: the expression", expression)
  check.value("perilune.cron: the second argument", run, "function")
  local times, problem = cron.parse(expression)
  if not times then
    check.fail(("perilune.cron: '%s': %s"):format(expression, problem))
  end
  add(app, { name = "cron " .. expression, run = run, next = function(after)
    return times:next(after)
  end })
end


-- One turn of a job. It is one of the places where an error ends: in the log.
local function run(job, due)
  local ok, err = pcall(job.run, due)
  task.check() -- the schedule was stopped
  if not ok then
    log.write("error", "schedule", ("the job %s failed: %s"):format(job.name, errors.wrap(err).message))
  end
end


local function run_for_ever(job, time)
  local start = time.wall()
  local last = start
  while true do
    local due = job.next(last, start)
    local left = due - time.wall()
    while left > 0 do
      time.sleep(math.min(left, NAP_SECONDS))
      left = due - time.wall()
    end
    last = math.max(due, time.wall())
    run(job, due)
  end
end


---Runs the jobs of an application until the schedule is stopped: `local jobs <close> = schedule.start(app)`.
---@param app perilune.App
---@param time? { wall: (fun(): number), sleep: fun(seconds: number) } another clock, for tests
---@return perilune.Schedule
function M.start(app, time)
  local self = setmetatable({ group = task.group() }, metatable)
  for _, job in ipairs(hooks.of(app).jobs) do
    self.group:spawn(run_for_ever, job, time or { wall = clock.wall, sleep = task.sleep })
  end
  return self
end


---@class perilune.Schedule
---@field group perilune.TaskGroup

---Stops: no job begins any more, and those that run are cancelled; waits for them. May be called again.
function methods:stop()
  local group <close> = self.group
  group:cancel("shutdown")
end


return M
