-- `production_ready`: settings for a program that runs unattended. What is said explicitly wins.
local log = require "perilune.sys.log"
local tables = require "perilune.std.tables"

local M = {}

---What is set, unless it is said otherwise. Times are seconds.
M.settings = {
  retry = { max_attempts = 3, backoff = 1, max_backoff = 30 },
  rate_limit = { requests_per_second = 10, burst = 15 },
  breaker = { failures = 5, open = 30, successes = 2 },
  max_inflight = 10,
}


local function fill(given, defaults)
  local filled = {}
  for _, values in ipairs { defaults, given or {} } do
    for name, value in pairs(values) do
      filled[name] = value
    end
  end
  return filled
end


-- Tells the values that are in force: "retry.max_attempts = 3, ...".
local function tell(options)
  if not log.is_on "debug" then
    return
  end
  local parts = {}
  for _, name in ipairs(tables.sorted_keys(M.settings)) do
    local value = options[name]
    for _, field in ipairs(type(value) == "table" and tables.sorted_keys(value) or {}) do
      parts[#parts + 1] = ("%s.%s = %s"):format(name, field, value[field])
    end
    parts[#parts + 1] = type(value) ~= "table" and ("%s = %s"):format(name, value) or nil
  end
  log.write("debug", "client", "production_ready: " .. table.concat(parts, ", "))
end


---The options of a client, with these settings where it says `production_ready`; what was passed in is not changed.
---@param options table
---@return table
function M.apply(options)
  if not options.production_ready then
    return options
  end
  local applied = fill(options, {})
  for name, default in pairs(M.settings) do
    if type(default) == "table" then
      applied[name] = fill(options[name], default)
    else
      applied[name] = options[name] or default
    end
  end
  local retry = applied.retry
  if options.max_retries then
    retry.max_attempts = options.max_retries + 1
  end
  retry.max_backoff = math.max(retry.max_backoff, retry.backoff)
  tell(applied)
  return applied
end


return M
