-- What a script defines for serve, and the schedule that runs jobs, by a clock that the test moves.
local apps = require "perilune.app"
local clock = require "perilune.sys.clock"
local hooks = require "perilune.agent.hooks"
local log = require "perilune.sys.log"
local perilune = require "perilune"
local schedule = require "perilune.agent.schedule"
local task = require "perilune.sys.task"

local START = 1795255200 -- 2026-11-21T10:00:00Z


-- A clock whose sleepers wake when the test says so.
local function new_time()
  local time = { now = START, moved = task.signal() }
  function time.wall()
    return time.now
  end
  function time.sleep(seconds)
    local until_then = time.now + seconds
    while time.now < until_then do
      time.moved:wait()
    end
  end
  function time.advance(seconds)
    task.yield()
    time.now = time.now + seconds
    time.moved:wake()
    for _ = 1, 10 do
      task.yield()
    end
  end
  return time
end


describe("a script", function()
  local app

  before_each(function()
    app = apps.new { db = ":memory:" }
  end)

  local function refused(pattern, f, ...)
    local _, err = perilune.try(f, app, ...)
    assert.same({ "configuration", "misuse" }, { err.kind, err.code })
    assert.matches(pattern, err.message, 1, true)
  end

  it("defines routes", function()
    hooks.route(app, "POST /hooks/github", print)
    hooks.route(app, "GET /hooks/github", print)
    local routes = hooks.of(app).routes
    assert.same({ 2, "POST", "/hooks/github", print }, { #routes, routes[1].method, routes[1].path, routes[1].run })
    refused("'POST /hooks/github' is defined already", hooks.route, "POST /hooks/github", print)
    refused("is not a method, a space and a path, like 'POST /hooks/github'", hooks.route, "/hooks", print)
    refused("the method must be one of", hooks.route, "post /hooks", print)
    refused("'hooks' is no path", hooks.route, "POST hooks", print)
    refused("is no path", hooks.route, "POST /hooks?x=1", print)
    refused("the second argument must be a function, got nil", hooks.route, "POST /x")
    refused("'/e/{a...}/b': nothing comes after {a...}", hooks.route, "GET /e/{a...}/b", print)
  end)

  it("defines jobs", function()
    schedule.every(app, "10m", print)
    schedule.cron(app, "0 9 * * mon-fri", print)
    assert.equal(2, #hooks.of(app).jobs)
    refused("'10 m' is no interval; it is like 30s, 10m, 1h30m or 1d", schedule.every, "10 m", print)
    refused("is no interval", schedule.every, "m10", print)
    refused("is no interval", schedule.every, "", print)
    refused("an interval is 1 second to 366 days, not 0s", schedule.every, "0s", print)
    refused("an interval is 1 second to 366 days, not 0.5", schedule.every, 0.5, print)
    refused("must be a function", schedule.every, "1m")
    refused("'0 25 * * *': field 2 (hour), at column 3: the hour 25 is not between 0 and 23", schedule.cron, "0 25 * * *", print)
  end)

  it("is blamed for what is wrong, at its own line", function()
    perilune.use(app)
    local _, err = perilune.try(function() perilune.cron("x", print) end)
    perilune.use(nil)
    assert.matches("schedule_spec.lua:%d+$", err.where)
  end)
end)


describe("a schedule", function()
  local app, time, ran

  before_each(function()
    app, time, ran = apps.new { db = ":memory:" }, new_time(), {}
  end)

  local function notes(due)
    ran[#ran + 1] = due - START
  end

  it("runs jobs at their times", function()
    schedule.every(app, "1m30s", notes)
    schedule.cron(app, "2 * * * *", function(due) notes(due + 0.5) end)
    local jobs <close> = schedule.start(app, time)
    time.advance(89)
    assert.same({}, ran)
    time.advance(1)
    assert.same({ 90 }, ran)
    time.advance(30)
    time.advance(60)
    assert.same({ 90, 120.5, 180 }, ran)
    jobs:stop()
    time.advance(1000)
    assert.same({ 90, 120.5, 180 }, ran)
  end)

  it("makes up once for the times that it has missed, and keeps to its times", function()
    schedule.every(app, 60, notes)
    local _ <close> = schedule.start(app, time)
    time.advance(60)
    time.advance(10 * 60 + 30)
    assert.same({ 60, 120 }, ran)
    time.advance(29)
    assert.same({ 60, 120 }, ran)
    time.advance(1)
    assert.same({ 60, 120, 720 }, ran)
  end)

  it("does not run a job beside itself, and others beside it", function()
    local go_on = task.signal()
    local running, most = 0, 0
    schedule.every(app, "10s", function()
      running = running + 1
      most = math.max(most, running)
      go_on:wait()
      running = running - 1
    end)
    schedule.every(app, "10s", notes)
    local _ <close> = schedule.start(app, time)
    for _ = 1, 5 do
      time.advance(10)
    end
    assert.same({ 1, 1, 5 }, { running, most, #ran })
    go_on:wake()
    time.advance(0)
    assert.same({ 1, 1 }, { running, most }) -- the missed time, once
    go_on:wake()
    time.advance(0)
    assert.equal(0, running)
  end)

  it("goes on after a job that raised", function()
    schedule.every(app, "10s", function(due)
      notes(due)
      error("broken")
    end)
    local _ <close> = schedule.start(app, time)
    log.set_level("off")
    time.advance(10)
    time.advance(10)
    log.set_level("warn")
    assert.same({ 10, 20 }, ran)
  end)

  it("cancels what runs when it is stopped, and may be stopped again", function()
    local reason
    schedule.every(app, "10s", function()
      local _ <close> = setmetatable({}, { __close = function(_, err) reason = err.reason end })
      task.sleep(1000)
    end)
    local jobs = schedule.start(app, time)
    time.advance(10)
    jobs:stop()
    jobs:stop()
    assert.equal("shutdown", reason)
  end)

  it("goes by the clock of the host", function()
    local came = task.signal()
    schedule.every(app, "1h", function() ran[1] = true came:wake() end)
    local _ <close> = schedule.start(app)
    task.yield()
    clock.advance(3600)
    if not ran[1] then
      came:wait()
    end
    assert.is_true(ran[1])
  end)
end)
