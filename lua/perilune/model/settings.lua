-- What may be said about how providers are reached, checked where it is said: in the options of a client and in configuration.
local cancellation = require "perilune.model.cancellation"
local check = require "perilune.std.check"
local tables = require "perilune.std.tables"

local M = {}

---The types of these options.
M.options = {
  provider = "string", model = "string|table", fallbacks = "table", context_fallbacks = "table", exclude = "table",
  api = "string", api_key = "string", api_keys = "table", base_url = "string", headers = "table", proxy = "string",
  ca_file = "string", verify_ssl = "boolean", timeout = "number", timeouts = "table", max_retries = "integer", retry = "table",
  max_inflight = "integer", rate_limit = "table", breaker = "table", failover = "string", hedge = "number",
  on_interrupt = "string", image_provider = "string", exclude_images = "table", print_provider_info = "boolean",
  cancel = "table", log_http = "boolean", log_http_requests = "boolean", log_http_responses = "boolean",
  max_error_length = "integer", truncate_long_errors = "boolean", production_ready = "boolean",
}

-- A number of seconds: more than none, and an end.
local SECONDS = { type = "number", is_seconds = true }

local BOOLEAN = { type = "boolean" }

local FOREVER = 366 * 86400 -- nobody waits longer than a year


local function whole(least, most)
  return { type = "integer", least = least, most = most }
end


local function number(least, most)
  return { type = "number", least = least, most = most }
end


-- What the numbers among the options may be.
local ranges = {
  timeout = SECONDS, hedge = SECONDS, max_retries = whole(0, 99), max_inflight = whole(1, 1000000),
  max_error_length = whole(1, 1 << 20),
}

-- The options that are tables of such values. model/call.lua has the defaults of the time limits, model/policy.lua those of retries.
local groups = {
  timeouts = {
    connect = SECONDS, first_byte = SECONDS, first_byte_whole = SECONDS, first_content = SECONDS, idle = SECONDS,
    progress = SECONDS, total = SECONDS,
  },
  retry = { max_attempts = whole(1, 100), backoff = number(0, 3600), max_backoff = number(0, 3600), maybe_billed = BOOLEAN },
  rate_limit = { requests_per_second = number(0.001, 1000000), burst = whole(1, 1000000) },
  breaker = { failures = whole(1, 1000), open = SECONDS, successes = whole(1, 1000) },
}

local choices = { failover = { "listed", "auto", "off" }, on_interrupt = { "fail", "restart" } }

local NAME_PATTERN = "^[%w!#$%%&'*+.^_`|~-]+$" -- of a header


-- Raises unless the number is in its range; `subject` is what it is called.
local function check_range(where, subject, value, range, level)
  level = level + 1
  if range.is_seconds and not (value > 0 and value <= FOREVER) then
    check.fail(("%s: %s must be more than 0 seconds%s, got %s"):format(
      where, subject, value > FOREVER and " and less than a year" or "", value), level)
  elseif range.least and not (value >= range.least and value <= range.most) then
    check.fail(("%s: %s must be %s to %s, got %s"):format(where, subject, range.least, range.most, value), level)
  end
end


-- Raises unless the table holds what its group says, and nothing else.
local function check_group(where, name, values, level)
  level = level + 1
  local types = {}
  for field, range in pairs(groups[name]) do
    types[field] = range.type
  end
  check.options(where .. ": " .. name, values, types, level)
  for _, field in ipairs(tables.sorted_keys(values)) do
    check_range(where, name .. "." .. field, values[field], groups[name][field], level)
  end
end


local function check_headers(where, headers, level)
  level = level + 1
  check.map(where .. ": headers", headers, "string", level)
  for _, name in ipairs(tables.sorted_keys(headers)) do
    if not name:find(NAME_PATTERN) or headers[name]:find("[%c\x7F]") then
      check.fail(("%s: headers['%s']: a header has a name without spaces, and no control characters"):format(where, name), level)
    end
  end
end


-- What a model is called, or a model itself: a table with `:stream`.
local function check_name(where, subject, value, level)
  if type(value) == "table" and type(value.stream) ~= "function" then
    check.fail(("%s: %s is the name of a model, or a model: a table with 'stream'"):format(where, subject), level + 1)
  end
end


local function check_names(where, name, names, level)
  level = level + 1
  check.list(where .. ": " .. name, names, "string|table", level)
  for position, one in ipairs(names) do
    check_name(where, ("%s[%d]"):format(name, position), one, level)
  end
end


---Raises unless the value is a token of `perilune.cancel_pair`.
---@param where string
---@param value any
---@param level? integer whose call to blame, as for `check.options`
function M.check_token(where, value, level)
  if value ~= nil and not cancellation.is_token(value) then
    check.fail(where .. ": 'cancel' must be a token, the first value of perilune.cancel_pair()", (level or 2) + 1)
  end
end


---Raises unless it is a number of seconds.
---@param where string
---@param name string
---@param value number?
---@param level? integer whose call to blame, as for `check.options`
function M.check_seconds(where, name, value, level)
  if value then
    check_range(where, ("'%s'"):format(name), value, SECONDS, (level or 2) + 1)
  end
end


-- Raises what two options say of one thing, or one that says nothing alone.
local function check_together(where, options, level)
  local retry = options.retry or {}
  if options.max_retries and retry.max_attempts and options.max_retries + 1 ~= retry.max_attempts then
    check.fail(("%s: 'max_retries' is retry.max_attempts - 1: say one of them"):format(where), level + 1)
  elseif retry.backoff and retry.max_backoff and retry.max_backoff < retry.backoff then
    check.fail(("%s: retry.max_backoff must be at least retry.backoff, %s, got %s"):format(
      where, retry.backoff, retry.max_backoff), level + 1)
  elseif options.rate_limit and not options.rate_limit.requests_per_second then
    check.fail(("%s: rate_limit needs 'requests_per_second'"):format(where), level + 1)
  end
end


---Raises when a value makes no sense. For tables whose names and types are checked already.
---@param where string
---@param options table
---@param level? integer whose call to blame, as for `check.options`
function M.check_values(where, options, level)
  level = (level or 2) + 1
  for _, name in ipairs(tables.sorted_keys(options)) do
    local value = options[name]
    if ranges[name] then
      check_range(where, ("'%s'"):format(name), value, ranges[name], level)
    elseif groups[name] then
      check_group(where, name, value, level)
    elseif choices[name] then
      check.choice(("%s: '%s'"):format(where, name), value, choices[name], level)
    end
  end
  check_name(where, "'model'", options.model, level)
  check_names(where, "fallbacks", options.fallbacks or {}, level)
  check_names(where, "context_fallbacks", options.context_fallbacks or {}, level)
  check.list(where .. ": exclude", options.exclude or {}, "string", level)
  check.list(where .. ": exclude_images", options.exclude_images or {}, "string", level)
  check.map(where .. ": api_keys", options.api_keys or {}, "string", level)
  check_headers(where, options.headers or {}, level)
  M.check_token(where, options.cancel, level)
  check_together(where, options, level)
end


---Raises at the caller's line when an option is unknown, of the wrong type, or makes no sense. Returns the options, a new
---table when there were none.
---@param where string the function as the caller knows it
---@param options table?
---@param level? integer whose call to blame, as for `check.options`
---@return table
function M.check(where, options, level)
  level = (level or 2) + 1
  options = check.options(where, options, M.options, level)
  M.check_values(where, options, level)
  return options
end


return M
