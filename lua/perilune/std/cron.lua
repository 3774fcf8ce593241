-- Times in the five fields of cron: minute hour day month weekday. Pure; all times are UTC, so that no minute is skipped or comes
-- twice.
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

local methods = {}
local metatable = { __name = "perilune.std.cron", __index = methods }

local MINUTES_A_DAY = 24 * 60

-- The 29th of February can be eight years away.
local DAYS_AHEAD_MAX = 8 * 366

local month_names = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6, jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12 }
local day_names = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

local fields = {
  { name = "minute", min = 0, max = 59 },
  { name = "hour", min = 0, max = 23 },
  { name = "day", min = 1, max = 31 },
  { name = "month", min = 1, max = 12, names = month_names },
  { name = "weekday", min = 0, max = 7, names = day_names }, -- 0 and 7 are Sunday
}

local shorthands = {
  ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0",
  ["@monthly"] = "0 0 1 * *", ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *",
}


---@class perilune.Cron
---@field minute table<integer, true>
---@field hour table<integer, true>
---@field day table<integer, true>
---@field month table<integer, true>
---@field weekday table<integer, true>
---@field any_day boolean the day field is `*`
---@field any_weekday boolean

-- The number that a word stands for, or nil and what is wrong with it.
local function number_of(field, word)
  local number = word:find("^%d%d?$") and math.tointeger(tonumber(word)) or field.names and field.names[word:lower()]
  if not number then
    local nearest = field.names and text.suggest(word:lower(), tables.sorted_keys(field.names))
    return nil, ("'%s' is no %s%s"):format(word, field.name, nearest and (", did you mean '%s'?"):format(nearest) or "")
  elseif number < field.min or number > field.max then
    return nil, ("the %s %d is not between %d and %d"):format(field.name, number, field.min, field.max)
  end
  return number
end


-- Adds one item of a list, "5", "1-5", "*/10", "8-18/2" or "5/15", to a set.
local function add_item(set, field, item)
  local range, step_text = item:match("^([^/]*)/?(.*)$")
  local step = step_text:find("^%d+$") and math.tointeger(tonumber(step_text))
  if item:find("/", 1, true) and not (step and step >= 1 and step <= field.max) then
    return ("the step '/%s' is not between 1 and %d"):format(step_text, field.max)
  end
  local from, to, problem = field.min, field.max, nil
  if range ~= "*" then
    local first, last = range:match("^([^-]*)%-?(.*)$")
    from, problem = number_of(field, first)
    if from and range:find("-", 1, true) then
      to, problem = number_of(field, last)
    elseif not step then
      to = from
    end
  end
  if problem then
    return problem
  elseif from > to then
    return ("the range %s goes backwards"):format(range)
  end
  for number = from, to, step or 1 do
    set[number] = true
  end
end


local function parse_field(field, word)
  local set = {}
  for item in (word .. ","):gmatch("([^,]*),") do
    local problem = add_item(set, field, item)
    if problem then
      return nil, problem
    end
  end
  return set
end


-- Year, month and day of a day that is counted from 1970-01-01; weeks of this calendar begin anew every 400 years.
local function date_of(day)
  local shifted = day + 719468 -- from 0000-03-01, so that the leap day is the last of its year
  local era = shifted // 146097
  local day_of_era = shifted % 146097
  local year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
  local month = (5 * day_of_year + 2) // 153
  local day_of_month = day_of_year - (153 * month + 2) // 5 + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day_of_month
end


-- Both day fields restricted: either of them is enough, as in every cron.
local function is_day(self, day)
  local _, month, day_of_month = date_of(day)
  if not self.month[month] then
    return false
  end
  local in_month, in_week = self.day[day_of_month] == true, self.weekday[(day + 4) % 7] == true
  if self.any_day or self.any_weekday then
    return in_month and in_week
  end
  return in_month or in_week
end


-- The first minute of a day that is not before `minute`.
local function minute_of_day(self, minute)
  for hour = minute // 60, 23 do
    if self.hour[hour] then
      for one = hour == minute // 60 and minute % 60 or 0, 59 do
        if self.minute[one] then
          return hour * 60 + one
        end
      end
    end
  end
end


---The first time after this one.
---@param after number seconds since 1970-01-01 UTC
---@return integer|nil seconds nil: there is none
function methods:next(after)
  local minute = math.floor(after) // 60 + 1
  local day, from = minute // MINUTES_A_DAY, minute % MINUTES_A_DAY
  for one = day, day + DAYS_AHEAD_MAX do
    local found = is_day(self, one) and minute_of_day(self, one == day and from or 0)
    if found then
      return (one * MINUTES_A_DAY + found) * 60
    end
  end
end


---Reads an expression: five fields, or @hourly, @daily, @weekly, @monthly, @yearly.
---@param expression string
---@return perilune.Cron|nil
---@return string? problem names the field and where it begins
function M.parse(expression)
  local plain = shorthands[expression:lower()]
  if not plain and expression:find("^@") then
    local nearest = text.suggest(expression:lower(), tables.sorted_keys(shorthands))
    return nil, ("there is no %s%s"):format(expression, nearest and (", did you mean %s?"):format(nearest) or "")
  end
  local self, count = {}, 0
  for at, word in (plain or expression):gmatch("()(%S+)") do
    count = count + 1
    local field = fields[count]
    if field then
      local set, problem = parse_field(field, word)
      if not set then
        return nil, ("field %d (%s), at column %d: %s"):format(count, field.name, at, problem)
      end
      self[field.name] = set
      self["any_" .. field.name] = word == "*"
    end
  end
  if count ~= #fields then
    return nil, ("there are five fields, minute hour day month weekday, and this has %d"):format(count)
  end
  self.weekday[0] = self.weekday[0] or self.weekday[7]
  setmetatable(self, metatable)
  if not self:next(0) then
    return nil, "no such day ever comes"
  end
  return self
end


return M
