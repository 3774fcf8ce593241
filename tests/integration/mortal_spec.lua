-- kill -9 at every point of a run: nothing that was acknowledged is lost, a tool that is not idempotent runs at most once, the journal is
-- dense, and the run comes to its end when the program is started again.
local mortals = require "tests.support.mortal"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local KILLS = tonumber(proc.env("KILLS")) or 1000
local SEED = tonumber(proc.env("SEED")) or 1
local WRITES_MAX = 40


-- Lets it come to its end, whatever that takes.
local function finish(mortal)
  for _ = 1, 10 do
    if mortal:run("-") == "completed" then
      return
    end
  end
  error("it does not come to its end")
end


describe("a process that is killed", function()
  for _, when in ipairs { "before", "after" } do
    it(when .. " each of its writes goes on where its rows end", function()
      local at = 0
      repeat
        at = at + 1
        local mortal <close> = mortals.new()
        local said = mortal:run(when, at)
        finish(mortal)
        assert.are.same({}, mortal:problems(), "at write " .. at)
      until said == "completed" or at > WRITES_MAX
      assert.is_true(at > 6 and at <= WRITES_MAX, "it has written " .. at .. " times")
    end)

    it(when .. " each write of its recovery does, too", function()
      for first = 2, 5 do
        local at = 0
        repeat
          at = at + 1
          local mortal <close> = mortals.new()
          assert.is_nil(mortal:run("after", first))
          local said = mortal:run(when, at)
          finish(mortal)
          assert.are.same({}, mortal:problems(), ("at write %d, then at write %d"):format(first, at))
        until said == "completed" or at > WRITES_MAX
        assert.is_true(at <= WRITES_MAX)
      end
    end)
  end

  it("and treats every tool as idempotent is found out by these checks", function()
    local found = 0
    for at = 1, 8 do
      local mortal <close> = mortals.new()
      mortal:run("before", at, "broken")
      for _ = 1, 5 do
        mortal:run("-", 0, "broken")
      end
      found = found + #mortal:problems()
    end
    assert.is_true(found > 0)
  end)
end)


-- Numbers by chance, the same ones for the same seed.
local function dice(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    return (state >> 24) % n
  end
end


-- Starts it again and again, and kills it after a while that chance decides.
local function campaign(mortal, kills, roll)
  local count = 0
  while count < kills do
    local child <close> = mortal:start()
    task.sleep(roll(40) / 1000)
    child:kill("KILL")
    local said = child:read() or ""
    local ending = child:wait()
    if ending.signal then
      count = count + 1
    else
      assert(ending.status == 0, child:read("stderr"))
      mortal:said(said)
    end
  end
end


describe(("%d kills at any time"):format(KILLS), function()
  it("lose nothing and repeat nothing", function()
    local workers = {}
    do
      local group <close> = task.group()
      for worker = 1, 2 do
        workers[worker] = mortals.new()
        group:spawn(campaign, workers[worker], KILLS // 2, dice(SEED * 1000 + worker))
      end
    end
    for _, mortal in ipairs(workers) do
      local owned <close> = mortal -- luacheck: ignore 211
      finish(mortal)
      assert.are.same({}, mortal:problems())
    end
  end)
end)
