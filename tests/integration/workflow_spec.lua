-- Workflows of real processes: killed with kill -9 around every write, watched, answered and cancelled from other processes.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local programs = require "tests.support.program"
local store = require "perilune.store"
local steps = require "perilune.store.workflow_steps"
local task = require "perilune.sys.task"
local workflows = require "perilune.store.workflows"

local SEED = 47
local RANDOM_KILLS = 100
local WRITES_MAX = 40 -- more than an execution makes

-- A workflow of six steps whose effects are lines of a file. It may kill itself before, after or during its n-th write. As a person
-- would, it looks into the file for what became of a step whose outcome is unknown.
local STORY = [[
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local store = require "perilune.store"

local id, kill_at, how = arg[1], tonumber(arg[2]), arg[3]
local writes, open = 0, store.open

local function die()
  os.execute("kill -KILL " .. proc.self():match(":(%d+):"))
end

function store.open(...)
  local db = assert(open(...))
  local proxy = {}
  function proxy:write(batch)
    writes = writes + 1
    local is_last = writes == kill_at
    if is_last and how == "before" then die() end
    if is_last and how == "during" then perilune.spawn(die) end
    local results, err = db:write(batch)
    if is_last and how == "after" then die() end
    return results, err
  end
  return setmetatable(proxy, { __index = function(_, name)
    return function(_, ...) return db[name](db, ...) end
  end })
end

local function effect(name, key)
  local file <close> = assert(io.open("effects", "a"))
  file:write(id, " ", name, " ", key or "-", "\n")
end

local function has_effect(name)
  local file <close> = io.open("effects") or io.tmpfile()
  return (file:read("a"):find(id .. " " .. name .. " ", 1, true)) ~= nil
end

local story = perilune.workflow("story", function(flow, input)
  local function work(name)
    return name, function() effect(name) return name end
  end
  local function again(name)
    return name, { idempotent = true }, function() effect(name, flow:idempotency_key(name)) return name end
  end
  local told = { input, flow:random(1, 1000000) }
  told[#told + 1] = flow:step(work "draft")
  told[#told + 1] = flow:step(work "charge")
  flow:sleep(0.001)
  told[#told + 1] = flow:step(again "notify")
  local sides = flow:gather { table.pack(work "left"), table.pack(again "right") }
  told[#told + 1] = sides[1] .. " " .. sides[2]
  told[#told + 1] = flow:step("mail " .. told[2], function() effect "mail" return "mail" end)
  return told
end)

local function decide(execution)
  for _, step in ipairs(execution:steps()) do
    if step.kind == "step" and not step.idempotent and (step.status == "started" or step.status == "unknown") then
      local name = step.name:match("%a+")
      execution:resolve(step.name, has_effect(name) and { result = name } or { again = true })
    end
  end
end

if id:find("[02468]$") then -- before it goes on
  local found = perilune.try(perilune.workflows.get, "story", id)
  if found and not found.finished_at then decide(found) end
end
local execution = story:start(id, "once")
perilune.spawn(function() -- or when it waits
  while not execution:refresh().finished_at do
    if execution.status == "waiting" then decide(execution) end
    perilune.sleep(0.002)
  end
end)
print(perilune.json.encode(execution:wait()))
]]

local NON_IDEMPOTENT = { draft = true, charge = true, left = true, mail = true }


-- What the steps of an execution did: name -> { count, key }.
local function effects_of(program, id)
  local effects = {}
  for line in (fs.read(program.folder .. "/effects") or ""):gmatch("[^\n]+") do
    local whose, name, key = line:match("^(%S+) (%S+) (%S+)$")
    if whose == id then
      local effect = effects[name] or { count = 0, key = key }
      assert(effect.key == key, "another key for the same step")
      effect.count = effect.count + 1
      effects[name] = effect
    end
  end
  return effects
end


-- Names of the steps that are finished, with how often they had had their effect.
local function finished(program, id)
  local db <close> = assert(store.open(program.db))
  local row = workflows.get(db, "story", id)
  local effects, names = effects_of(program, id), {}
  for _, step in ipairs(row and assert(steps.list(db, row)) or {}) do
    local name = step.name:match("^%a+")
    if step.kind == "step" and step.finished_at then
      names[name] = effects[name].count
    end
  end
  return names
end


-- Runs the story to its end, killed on the way as `kills` says; returns how often it was.
local function tell(program, id, kills)
  local killed, before = 0, {}
  for attempt = 1, #kills + 1 do
    local kill = kills[attempt] or { 0, "never" }
    local result = program:run { "run", "story.lua", id, tostring(kill[1]), kill[2] }
    if result.signal == "KILL" then
      killed = killed + 1
      for name, count in pairs(finished(program, id)) do
        before[name] = before[name] or count
      end
    else
      assert.are.equal(0, result.status, result.stderr)
      local told = assert(json.decode(result.stdout))
      assert.are.same({ "once", "draft", "charge", "notify", "left right", "mail" }, { told[1], table.unpack(told, 3) })
      break
    end
  end
  local effects = effects_of(program, id)
  for _, name in ipairs { "draft", "charge", "notify", "left", "right", "mail" } do
    local count = effects[name].count
    assert.is_true(count == 1 or not NON_IDEMPOTENT[name] and count <= 1 + killed, name .. " had its effect " .. count .. " times")
    assert.is_true(not before[name] or count == before[name], name .. " was done again after it had finished")
  end
  return killed
end


local function new_program(name, text)
  local program = programs.new()
  program:file(name, text)
  return program
end


local function check(program)
  local result = program:run { "db", "check" }
  assert.are.same({ 0, "ok\n", "" }, { result.status, result.stdout, result.stderr })
end


describe("a workflow that is killed", function()
  for _, how in ipairs { "before", "after", "during" } do
    it(how .. " each of its writes ends with the right result, and did nothing twice", function()
      local program <close> = new_program("story.lua", STORY)
      local kills, at = 0, 0
      repeat
        at = at + 1
        local killed = tell(program, "id" .. at, { { at, how } })
        kills = kills + killed
      until killed == 0 or at == WRITES_MAX
      assert.is_true(kills >= 16 and at < WRITES_MAX, ("killed %d times"):format(kills))
      check(program)
    end)
  end

  it(("at random writes, in its recovery too, %d times, ends with the right result, and did nothing twice"):format(RANDOM_KILLS), function()
    local program <close> = new_program("story.lua", STORY)
    local hows = { "before", "after", "during" }
    math.randomseed(SEED)
    local killed, stories = 0, 0
    while killed < RANDOM_KILLS do
      stories = stories + 1
      local kills = {}
      for position = 1, 2 do -- a third would be the last
        kills[position] = { math.random(18), hows[math.random(3)] }
      end
      local times = tell(program, "id" .. stories, kills)
      killed = killed + times
    end
    check(program)
  end)

  it("three times is not tried again", function()
    local program <close> = new_program("story.lua", STORY)
    for _ = 1, 3 do -- each has begun, or taken over, and does something
      assert.are.equal("KILL", program:run({ "run", "story.lua", "x", "3", "before" }).signal)
    end
    local result = program:run { "run", "story.lua", "x" }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:find("ended in the middle of it, 3 times: it is not tried again", 1, true), result.stderr)
    check(program)
  end)
end)


-- Asks, then sleeps, then works.
local ASKING = [[
local perilune = require "perilune"
local publish = perilune.workflow("publish", function(flow, input)
  flow:step("draft", function() io.write("draft\n") io.flush() end)
  local answer = flow:ask("approve", { text = input })
  return flow:step("print", function() return { answer = answer, pages = 3 } end)
end)
local execution = publish:start(arg[1], arg[2])
io.write("started\n") io.flush()
print(perilune.json.encode(execution:wait()))
]]


-- Waits until a process that runs it has come so far; what a former process has left says nothing.
local function wait_for_status(program, id, status)
  local db <close> = assert(store.open(program.db))
  task.deadline(20, function()
    repeat
      task.sleep(0.01)
      local row = workflows.get(db, "publish", id)
    until row and row.status == status and row.lease_owner
  end)
end


describe("an execution", function()
  it("waits for a person while its process is gone; the answer comes from the command line", function()
    local program <close> = new_program("asking.lua", ASKING)
    local child <close> = program:start { "run", "asking.lua", "page-1", "Tides" }
    wait_for_status(program, "page-1", "waiting")
    assert(child:kill("KILL"))
    programs.ending_of(child)
    local shown = program:run({ "workflows", "show", "page-1" }).stdout
    assert.is_truthy(shown:find("^publish page%-1 is waiting\n"), shown)
    assert.is_truthy(shown:find('approve +ask +waiting +%- +{"text":"Tides"}\n'), shown)
    local result = program:run { "workflows", "answer", "page-1", "approve", "yes" }
    assert.are.same({ 0, "", "answered 'approve' of publish page-1\n" }, { result.status, result.stdout, result.stderr })
    assert.are.equal(1, program:run({ "workflows", "answer", "page-1", "approve", "no" }).status)
    result = program:run { "run", "asking.lua", "page-1", "Tides" }
    assert.are.same({ 0, 'started\n{"answer":"yes","pages":3}\n', "" }, { result.status, result.stdout, result.stderr })
    local listed = assert(json.decode(program:run({ "workflows", "list", "--json" }).stdout))
    assert.are.same({ 1, "publish", "page-1", "completed" }, { #listed, listed[1].workflow, listed[1].id, listed[1].status })
    check(program)
  end)

  it("runs in one of two processes; the other sees the answer, and takes over when the first is killed", function()
    local program <close> = new_program("asking.lua", ASKING)
    local first <close> = program:start { "run", "asking.lua", "x" }
    wait_for_status(program, "x", "waiting")
    local second <close> = program:start { "run", "asking.lua", "x" }
    assert.are.equal("started\n", programs.read_until(second, "started\n")) -- and no second draft
    assert.are.equal(0, program:run({ "workflows", "answer", "x", "approve", '{"by":"anna"}' }).status)
    local told = '{"answer":{"by":"anna"},"pages":3}\n'
    assert.is_truthy(programs.read_until(first, "3}\n"):find(told, 1, true))
    assert.are.equal(told, programs.read_until(second, "3}\n"))

    local third <close> = program:start { "run", "asking.lua", "y" }
    wait_for_status(program, "y", "waiting")
    local fourth <close> = program:start { "run", "asking.lua", "y" }
    programs.read_until(fourth, "started\n")
    assert(third:kill("KILL"))
    assert.are.equal(0, program:run({ "workflows", "answer", "y", "approve", "7" }).status)
    assert.are.equal('{"answer":7,"pages":3}\n', programs.read_until(fourth, "3}\n"))
    check(program)
  end)

  it("is cancelled from the command line, and its process hears of it", function()
    local program <close> = new_program("asking.lua", ASKING)
    local child <close> = program:start { "run", "asking.lua", "x" }
    wait_for_status(program, "x", "waiting")
    local result = program:run { "workflows", "cancel", "x" }
    assert.are.same({ 0, "publish x is cancelled\n" }, { result.status, result.stderr })
    assert.are.same({ status = 130 }, programs.ending_of(child))
    result = program:run { "workflows", "answer", "x", "approve", "yes" }
    assert.are.equal(1, result.status)
    check(program)
  end)

  it("goes on where it was after Ctrl-C, and that is no crash", function()
    local program <close> = new_program("asking.lua", ASKING)
    for _ = 1, 4 do
      local child <close> = program:start { "run", "asking.lua", "x" }
      wait_for_status(program, "x", "waiting")
      assert(child:kill("INT"))
      assert.are.same({ status = 130 }, programs.ending_of(child))
    end
    local db <close> = assert(store.open(program.db))
    local row = assert(workflows.get(db, "publish", "x"))
    assert.are.same({ 0, "waiting" }, { row.crashes, row.status })
    assert.is_nil(row.lease_owner)
  end)

  it("of which nobody knows whether a step had its effect is decided about on the command line", function()
    local program <close> = new_program("slow.lua", [[
      local perilune = require "perilune"
      local publish = perilune.workflow("publish", function(flow)
        return flow:step("charge", function()
          print("charging") io.flush()
          perilune.sleep(arg[2] and 0 or 1000)
          return "charged"
        end)
      end)
      print(publish:run(arg[1]))
    ]])
    for id, words in pairs { a = { "--again" }, b = { "--result", '"paid"' } } do
      local child <close> = program:start { "run", "slow.lua", id }
      programs.read_until(child, "charging\n")
      local refused = program:run { "workflows", "resume", id, "--step", "charge", table.unpack(words) }
      assert.are.equal(1, refused.status) -- it runs
      assert(child:kill("KILL"))
      programs.ending_of(child)
      assert.are.equal(2, program:run({ "workflows", "resume", id, "--step", "charge" }).status)
      local result = program:run { "workflows", "resume", id, "--step", "charge", table.unpack(words) }
      assert.are.same({ 0, "" }, { result.status, result.stdout })
      result = program:run { "run", "slow.lua", id, "quickly" }
      assert.are.same({ 0, id == "a" and "charging\ncharged\n" or "paid\n" }, { result.status, result.stdout })
    end
    check(program)
  end)
end)


describe("perilune run", function()
  it("says that routes and jobs run only under serve", function()
    local program <close> = new_program("hooks.lua", [[
      local perilune = require "perilune"
      perilune.route("POST /hooks/github", print)
      perilune.every("10m", print)
      perilune.cron("0 9 * * *", print)
    ]])
    local result = program:run { "run", "hooks.lua" }
    assert.are.same({ 0, "", "" }, { result.status, result.stdout, result.stderr })
    result = program:run { "--log-level", "info", "run", "hooks.lua" }
    for _, what in ipairs { "the route POST /hooks/github", "the job every 10m", "the job cron 0 9 * * *" } do
      assert.is_truthy(result.stderr:find(what .. " is defined, but runs only under `perilune serve`", 1, true), result.stderr)
    end
  end)
end)
