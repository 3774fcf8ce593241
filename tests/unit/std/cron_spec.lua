-- Cron expressions against a search, minute by minute, that knows the calendar from the C library.
local clock = require "perilune.sys.clock"
local cron = require "perilune.std.cron"

local SEED = 20261121
local EXPRESSIONS = 120

-- The search is slow: of a time that is farther away, only the days before it are searched.
local SECONDS_SEARCHED = 15 * 86400

local bounds = { { 0, 59 }, { 0, 23 }, { 1, 31 }, { 1, 12 }, { 0, 7 } }
local keys = { "min", "hour", "day", "month", "wday" }


local function time(iso)
  local year, month, day, hour, minute, second = iso:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):?(%d*)")
  local civil = { year = year, month = month, day = day, hour = hour, min = minute, sec = tonumber(second) or 0, isdst = false }
  local seconds = os.time(civil) -- as if it were local time ...
  local utc = os.date("!*t", seconds)
  utc.isdst = false
  return seconds + (seconds - os.time(utc)) -- ... and back
end


local function next_of(expression, after)
  return clock.iso(assert(cron.parse(expression)):next(time(after)))
end


-- Numbers, as the test reads a field: another way than the parser's.
local function numbers_of(word, low, high)
  local set = {}
  for item in word:gmatch("[^,]+") do
    local range, step = item:match("^(.-)/(%d+)$")
    range = range or item
    local from, to = range:match("^(%d+)-(%d+)$")
    if range == "*" then
      from, to = low, high
    elseif not from then
      from, to = range, step and high or range
    end
    for number = low, high do
      local offset = number - tonumber(from)
      set[number] = set[number] or offset >= 0 and number <= tonumber(to) and offset % (tonumber(step) or 1) == 0
    end
  end
  return set
end


local function search(words, after)
  local sets = {}
  for position, word in ipairs(words) do
    sets[position] = numbers_of(word, bounds[position][1], bounds[position][2])
  end
  local function has(position, value)
    return sets[position][value] or position == 5 and value == 0 and sets[5][7]
  end
  local minute = after // 60 * 60
  for _ = 1, SECONDS_SEARCHED // 60 + 1 do
    minute = minute + 60
    local date = os.date("!*t", minute)
    date.wday = date.wday - 1
    local in_month, in_week = has(3, date.day), has(5, date.wday)
    local is_day = in_month and in_week
    if words[3] ~= "*" and words[5] ~= "*" then
      is_day = in_month or in_week
    end
    if is_day and has(1, date[keys[1]]) and has(2, date[keys[2]]) and has(4, date[keys[4]]) then
      return minute
    end
  end
end


local function random_word(position)
  local low, high = bounds[position][1], bounds[position][2]
  local items = {}
  for index = 1, math.random(3) == 1 and math.random(3) or 1 do
    local a, b = math.random(low, high), math.random(low, high)
    local kind = math.random(7)
    items[index] = ({
      "*", "*", tostring(a), ("%d-%d"):format(math.min(a, b), math.max(a, b)), ("*/%d"):format(math.random(high)),
      ("%d-%d/%d"):format(math.min(a, b), math.max(a, b), math.random(high)), ("%d/%d"):format(a, math.random(high)),
    })[kind]
  end
  return table.concat(items, ",")
end


describe("a cron expression", function()
  it("names the next minute", function()
    assert.equal("2026-11-21T09:00:00Z", next_of("0 9 * * *", "2026-11-21T08:59:59"))
    assert.equal("2026-11-22T09:00:00Z", next_of("0 9 * * *", "2026-11-21T09:00:00"))
    assert.equal("2026-11-23T09:30:00Z", next_of("30 9 * * mon-fri", "2026-11-20T10:00")) -- a Friday
    assert.equal("2026-11-21T10:15:00Z", next_of("*/15 * * * *", "2026-11-21T10:00"))
    assert.equal("2027-01-01T00:00:00Z", next_of("0 0 1 JAN *", "2026-11-21T10:00"))
    assert.equal("2026-12-31T23:59:00Z", next_of("59 23 31 12 *", "2026-12-31T23:58"))
    assert.equal("2026-11-21T12:20:00Z", next_of("20/20 12 * * *", "2026-11-21T12:00"))
  end)

  it("knows leap years", function()
    assert.equal("2028-02-29T00:00:00Z", next_of("0 0 29 2 *", "2026-11-21T10:00"))
    assert.equal("2104-02-29T00:00:00Z", next_of("0 0 29 2 *", "2096-02-29T00:00"))
    assert.equal(-672 * 86400, cron.parse("0 0 29 2 *"):next(-100000000)) -- 1968
  end)

  it("with a day and a weekday means either of them", function()
    assert.equal("2026-11-27T00:00:00Z", next_of("0 0 13 * fri", "2026-11-21T10:00"))
    assert.equal("2026-12-13T00:00:00Z", next_of("0 0 13 * fri", "2026-12-11T00:00"))
  end)

  it("takes 0, 7 and sun for Sunday", function()
    for _, day in ipairs { "0", "7", "sun", "Sun" } do
      assert.equal("2026-11-22T00:00:00Z", next_of("0 0 * * " .. day, "2026-11-21T10:00"))
    end
    assert.equal("2026-11-22T00:00:00Z", next_of("0 0 * * sat-7", "2026-11-21T10:00"))
  end)

  it("may be a shorthand", function()
    local expected = {
      ["@hourly"] = "2026-11-21T11:00:00Z", ["@daily"] = "2026-11-22T00:00:00Z", ["@midnight"] = "2026-11-22T00:00:00Z",
      ["@weekly"] = "2026-11-22T00:00:00Z", ["@monthly"] = "2026-12-01T00:00:00Z", ["@yearly"] = "2027-01-01T00:00:00Z",
      ["@annually"] = "2027-01-01T00:00:00Z",
    }
    for name, iso in pairs(expected) do
      assert.equal(iso, next_of(name, "2026-11-21T10:00"))
    end
  end)

  it("that is wrong is refused, with the field and its column", function()
    local problems = {
      ["0 9 * *"] = "there are five fields, minute hour day month weekday, and this has 4",
      ["0 9 * * * *"] = "and this has 6",
      [""] = "and this has 0",
      ["60 9 * * *"] = "field 1 (minute), at column 1: the minute 60 is not between 0 and 59",
      ["0  24 * * *"] = "field 2 (hour), at column 4: the hour 24 is not between 0 and 23",
      ["0 9 0 * *"] = "field 3 (day), at column 5: the day 0 is not between 1 and 31",
      ["0 9 * jam *"] = "field 4 (month), at column 7: 'jam' is no month, did you mean 'jan'?",
      ["0 9 * * fri-mon"] = "field 5 (weekday), at column 9: the range fri-mon goes backwards",
      ["*/0 9 * * *"] = "the step '/0' is not between 1 and 59",
      ["*/x 9 * * *"] = "the step '/x' is not between 1 and 59",
      ["1,,2 9 * * *"] = "'' is no minute",
      ["1- 9 * * *"] = "'' is no minute",
      ["-1 9 * * *"] = "'' is no minute",
      ["1.5 9 * * *"] = "'1.5' is no minute",
      ["0 0 30 2 *"] = "no such day ever comes",
      ["@dayly"] = "there is no @dayly, did you mean @daily?",
    }
    for expression, expected in pairs(problems) do
      local parsed, problem = cron.parse(expression)
      assert.is_nil(parsed, expression)
      assert.matches(expected, problem, 1, true)
    end
  end)

  it(("finds what a search finds, %d times"):format(EXPRESSIONS), function()
    math.randomseed(SEED)
    local whole = 0
    for _ = 1, EXPRESSIONS do
      local words = {}
      for position = 1, 5 do
        words[position] = random_word(position)
      end
      local expression = table.concat(words, " ")
      local parsed = cron.parse(expression)
      local after = math.random(0, 4000000000)
      local expected = parsed and parsed:next(after)
      if expected then
        local from = math.max(after, expected - SECONDS_SEARCHED)
        whole = whole + (from == after and 1 or 0)
        assert.equal(expected, search(words, from), expression)
      end
    end
    assert.is_true(whole > EXPRESSIONS // 2, whole)
  end)
end)
