-- What may be said about how providers are reached, checked where it is said: in the options of a client and in configuration.
local check = require "perilune.std.check"
local tables = require "perilune.std.tables"

local M = {}

---The types of these options.
M.options = {
  provider = "string", model = "string", fallbacks = "table", api_key = "string", api_keys = "table", base_url = "string",
  api = "string", timeout = "number", timeouts = "table", proxy = "string", ca_file = "string", verify_ssl = "boolean",
  headers = "table", image_provider = "string", exclude_images = "table",
}

-- Each is a number of seconds (model/call.lua has the defaults).
local time_limits = { connect = "number", first_byte = "number", first_byte_whole = "number", idle = "number", total = "number" }

local NAME_PATTERN = "^[%w!#$%%&'*+.^_`|~-]+$" -- of a header


---Raises unless every time limit is known, and more than nothing.
---@param where string
---@param timeouts table
---@param level? integer whose call to blame, as for `check.options`
function M.check_timeouts(where, timeouts, level)
  level = (level or 2) + 1
  check.options(where .. ": timeouts", timeouts, time_limits, level)
  for _, name in ipairs(tables.sorted_keys(timeouts)) do
    if not (timeouts[name] > 0 and timeouts[name] < math.huge) then
      check.fail(("%s: timeouts.%s must be more than 0 seconds, got %s"):format(where, name, timeouts[name]), level)
    end
  end
end


local function check_headers(where, headers, level)
  check.map(where .. ": headers", headers, "string", level)
  for _, name in ipairs(tables.sorted_keys(headers)) do
    if not name:find(NAME_PATTERN) or headers[name]:find("[%c\x7F]") then
      check.fail(("%s: headers['%s']: a header has a name without spaces, and no control characters"):format(where, name), level)
    end
  end
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
  check.list(where .. ": fallbacks", options.fallbacks or {}, "string", level)
  check.list(where .. ": exclude_images", options.exclude_images or {}, "string", level)
  check.map(where .. ": api_keys", options.api_keys or {}, "string", level)
  check_headers(where, options.headers or {}, level)
  M.check_timeouts(where, options.timeouts or {}, level)
  if options.timeout and not (options.timeout > 0 and options.timeout < math.huge) then
    check.fail(("%s: 'timeout' must be more than 0 seconds, got %s"):format(where, options.timeout), level)
  end
  return options
end


return M
