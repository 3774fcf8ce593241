-- What is left of a provider's rate limits, out of the headers of an answer, in one shape. Vendors spell the same thing as
-- x-ratelimit-remaining-tokens, anthropic-ratelimit-tokens-remaining or x-ratelimit-remaining-tokens-minute, and say when it
-- resets as 6m0s, as seconds, as a time or as milliseconds since 1970. Absolute times are compared with the `date` of the
-- answer itself where it has one, so that our clock does not matter. -1, and a limit of 0, mean that nothing is known.
local clock = require "perilune.sys.clock"

local M = {}

-- The words that say which number it is, and the windows a limit may be for.
local measures = { limit = "limit", remaining = "remaining", reset = "reset_seconds" }
local windows = { second = true, minute = true, hour = true, day = true, month = true }

-- The vendors' words for what is limited.
local kinds = { [""] = "requests", req = "requests", request = "requests", token = "tokens" }

local unit_seconds = { d = 86400, h = 3600, m = 60, s = 1, ms = 1e-3, us = 1e-6, ["µs"] = 1e-6, ns = 1e-9 }

-- Numbers from here on are times, not durations: seconds since 1970, and milliseconds.
local EPOCH_SECONDS_MIN, EPOCH_MS_MIN = 1000000000, 100000000000


-- "1h27m50.4s", "120ms".
local function parse_duration(text)
  local seconds, rest = 0, text
  while rest ~= "" do
    local number, unit, after = rest:match("^(%d+%.?%d*)([a-zµ]+)(.*)$")
    if not unit or not unit_seconds[unit] then
      return nil
    end
    seconds, rest = seconds + tonumber(number) * unit_seconds[unit], after
  end
  return text ~= "" and seconds or nil
end


-- Days since 1970-01-01 of a Gregorian date; years begin in March, so that the leap day is the last one.
local function days_since_1970(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end


-- RFC 3339: "2026-01-09T00:52:38Z", with a fraction or an offset where there is one.
local function parse_time(text)
  local year, month, day, hour, minute, second, zone = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d%.?%d*)(.*)$")
  if not year then
    return nil
  end
  local days = days_since_1970(tonumber(year), tonumber(month), tonumber(day))
  local seconds = days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
  local sign, zone_hour, zone_minute = zone:match("^([+-])(%d%d):?(%d%d)$")
  if sign then
    local offset = tonumber(zone_hour) * 3600 + tonumber(zone_minute) * 60
    return sign == "+" and seconds - offset or seconds + offset
  end
  return (zone == "Z" or zone == "z" or zone == "") and seconds or nil
end


local function until_time(seconds, now)
  return math.max(0, seconds - now())
end


-- When something resets, as seconds from now; nil when it makes no sense.
local function parse_reset(text, now)
  local number = tonumber(text)
  if number and number >= EPOCH_MS_MIN then
    return until_time(number / 1000, now)
  elseif number and number >= EPOCH_SECONDS_MIN then
    return until_time(number, now)
  elseif number then
    return number >= 0 and number or nil
  end
  local time = parse_time(text)
  return time and until_time(time, now) or parse_duration(text)
end


local function parse_count(text)
  local number = tonumber(text)
  local whole = number and math.tointeger(number)
  return whole and whole >= 0 and whole or nil
end


-- Takes the name of a header apart: what is limited, the measure, the window. Nil when it is not about a limit.
local function parse_name(name)
  local sort, rest = name:match("ratelimit(%a*)%-(.+)$")
  if sort ~= "" and sort ~= "bysize" then
    return nil
  end
  local measure, window
  local words = {}
  for word in rest:gmatch("[^-]+") do
    if measures[word] and not measure then
      measure = measures[word]
    elseif windows[word] then
      window = word
    else
      words[#words + 1] = word
    end
  end
  local kind = sort == "bysize" and "size" or table.concat(words, "_")
  return measure and (kinds[kind] or kind), measure, window
end


-- How much of a limit is left, from 0 to 1.
local function share_left(entry)
  return entry.limit and entry.remaining and entry.remaining / entry.limit or 1
end


-- Is it nearer to its end than `other`? The name of the window decides between two that are alike.
local function is_nearer(entry, other)
  local left, other_left = share_left(entry), share_left(other)
  if left ~= other_left then
    return left < other_left
  end
  return (entry.window or "") < (other.window or "")
end


-- A limit of 0 is no limit that anybody has: then nothing is known, unless something is left.
local function tidy(entry)
  if entry.limit == 0 then
    entry.limit = nil
    entry.remaining = entry.remaining ~= 0 and entry.remaining or nil
  end
  return (entry.limit or entry.remaining or entry.reset_seconds) and entry
end


-- What each header says, by what it is about.
local function read(headers, now)
  local entries = {}
  for name, text in pairs(headers) do
    local kind, measure, window = parse_name(name)
    if kind then
      local key = kind .. "\0" .. (window or "")
      local entry = entries[key] or { kind = kind, window = window }
      entries[key] = entry
      if measure == "reset_seconds" then
        entry.reset_seconds = parse_reset(text, now)
      else
        entry[measure] = parse_count(text)
      end
    end
  end
  return entries
end


---Reads the rate limits of an answer: `requests`, `tokens`, `input_tokens`, and whatever else is limited. Of several windows
---of one kind the one that is nearest to its end counts.
---@param headers table<string, string> names in lower case
---@param now? number wall-clock time; default: the `date` of the answer, else this host's clock
---@return table<string, perilune.RateLimit>? limits nil when nothing is said
function M.parse(headers, now)
  local function get_now()
    now = now or headers.date and clock.parse_http_date(headers.date) or clock.wall()
    return now
  end
  local limits = {}
  for _, entry in pairs(read(headers, get_now)) do
    local kind = entry.kind
    entry.kind = nil
    if tidy(entry) and (not limits[kind] or is_nearer(entry, limits[kind])) then
      limits[kind] = entry
    end
  end
  return next(limits) and limits or nil
end


---@class perilune.RateLimit
---@field limit? integer
---@field remaining? integer
---@field reset_seconds? number until it is full again, counted from the answer
---@field window? "second"|"minute"|"hour"|"day"|"month" where the vendor says it

return M
