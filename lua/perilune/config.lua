-- Configuration, later wins: built-in defaults, the user's config.lua, ./perilune.lua, .env, the environment, options.
-- A file is Lua that returns a table; a field that is not known is an error with a suggestion. This is the only module
-- that reads the environment.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local log = require "perilune.sys.log"
local proc = require "perilune.sys.proc"
local tables = require "perilune.std.tables"

local M = {}

local field_types = {
  db = "string", model = "string", log_level = "string", log_format = "string", timeouts = "table", proxy = "string",
  ca_file = "string", verify_ssl = "boolean", env = "table", prices = "table", failover = "string", fallbacks = "table",
  context_fallbacks = "table", max_inflight = "integer", exclude = "table", exclude_images = "table", max_retries = "integer",
  retry = "table", breaker = "table", hedge = "number", on_interrupt = "string", max_error_length = "integer",
  truncate_long_errors = "boolean", log_http = "boolean", log_http_requests = "boolean", log_http_responses = "boolean",
  mcp = "table", tools = "table", serve = "table", credits = "table",
}

local credit_types = { per_dollar = "number", max_output_tokens = "integer", tiers = "table", bands = "table" }
local tier_types = { allowance = "number" }
local band_types = { models = "table", input = "number", output = "number", cached = "number", request = "number" }

-- A million credits for a million tokens, or for a request: what comes of it fits 64 bits (serve/pricing.lua).
local RATE_MAX = 1000000

local serve_types = {
  cors = "table", trusted_proxies = "table", hosts = "table", run_expires_seconds = "integer", connections_per_address = "integer",
  extra_fields = "table",
}

-- A price, in dollars per million tokens: prices = { ["openai/my-model"] = { input = 1.5, output = 6 } }.
local price_types = {
  input = "number", cached = "number", output = "number", write = "number", write_1h = "number", audio_input = "number",
  audio_output = "number", prompt_max = "integer",
}

-- Whose call to blame for a wrong field: nobody's, the message names the file.
local NOBODY = 1000

-- What looks like a secret is never printed from the moment it is read.
local secret_suffixes = { "_KEY", "_TOKEN", "_SECRET", "_PASSWORD" }


local function fail(message)
  return nil, errors.new { kind = "configuration", message = message }
end


local function note_secret(name, value)
  for _, suffix in ipairs(secret_suffixes) do
    if name:sub(-#suffix) == suffix then
      log.secret(value)
    end
  end
  return value
end


local escapes = { n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["$"] = "$" }


-- What stands between the quotes at the beginning, and what follows; nothing when the quote is not closed.
local function quoted(value)
  if value:sub(1, 1) == "'" then
    return value:match("^'([^']*)'(.*)$")
  end
  local position = 2
  while true do
    local at = value:find('[\\"]', position)
    if not at then
      return nil
    elseif value:sub(at, at) == '"' then
      return value:sub(2, at - 1):gsub("\\(.)", escapes), value:sub(at + 1)
    end
    position = at + 2
  end
end


-- The value of one line; nothing when it cannot be read.
local function env_value(value)
  if not value:find("^[\"']") then
    return ((" " .. value):gsub("%s#.*$", ""):gsub("^%s+", ""):gsub("%s+$", ""))
  end
  local inside, rest = quoted(value)
  return rest and (rest:find("^%s*$") or rest:find("^%s+#")) and inside or nil
end


---Reads the lines of a .env file: NAME=value, with quotes (\n is a line feed between double ones), `export` and comments.
---@param text string
---@return table<string, string>
---@return integer[] lines that are none of this, and are left out
function M.parse_env(text)
  local values, bad, number = {}, {}, 0
  for line in text:gsub("^\xEF\xBB\xBF", ""):gsub("\r\n?", "\n"):gmatch("[^\n]*") do
    number = number + 1
    local name, value = line:gsub("^%s*export%s+", ""):match("^%s*([%a_][%w_]*)%s*=%s*(.*)$")
    value = value and env_value(value)
    if value then
      values[name] = value
    elseif line:find("^%s*[^%s#]") then
      bad[#bad + 1] = number
    end
  end
  return values, bad
end


local function read_env_file()
  local text, err = fs.read(".env")
  if text then
    return M.parse_env(text)
  elseif err.kind == "not_found" then
    return {}, {}
  end
  return fail(err.message)
end


local function check_price(where, name, price)
  check.options(where, price, price_types, NOBODY)
  if type(name) ~= "string" or not name:find("^[^/]+/.") then
    check.fail(where .. " must be named provider/model", NOBODY)
  elseif not price.input or not price.output then
    check.fail(where .. " needs 'input' and 'output', in dollars per million tokens", NOBODY)
  end
  for option, value in pairs(price) do
    if not (value >= 0 and value < math.huge) then
      check.fail(("%s: option '%s' must not be negative"):format(where, option), NOBODY)
    end
  end
end


local function check_numbers(where, values)
  for option, value in pairs(values) do
    if math.type(value) and not (value >= 0 and value <= RATE_MAX) then
      check.fail(("%s: option '%s' must be between 0 and %d"):format(where, option, RATE_MAX), NOBODY)
    end
  end
end


local function check_at_least_one(where, values, option)
  if values[option] and values[option] < 1 then
    check.fail(("%s: option '%s' must be at least 1"):format(where, option), NOBODY)
  end
end


local function check_credits(where, values)
  where = where .. ": credits"
  check.options(where, values, credit_types, NOBODY)
  check_numbers(where, values)
  check_at_least_one(where, values, "max_output_tokens")
  for kind, types in pairs { tiers = tier_types, bands = band_types } do
    for name, row in pairs(check.map(("%s.%s"):format(where, kind), values[kind] or {}, "table", NOBODY)) do
      local place = ("%s.%s['%s']"):format(where, kind, name)
      check.options(place, row, types, NOBODY)
      check_numbers(place, row)
    end
  end
  for name, band in pairs(values.bands or {}) do
    local place = ("%s.bands['%s']: models"):format(where, name)
    if #check.list(place, band.models, "string", NOBODY) == 0 then
      check.fail(place .. " must be a list of patterns, like { 'openai/*' }", NOBODY)
    end
  end
end


local function check_serve(where, values)
  where = where .. ": serve"
  check.options(where, values, serve_types, NOBODY)
  for _, option in ipairs { "cors", "trusted_proxies", "hosts", "extra_fields" } do
    check.list(("%s.%s"):format(where, option), values[option] or {}, "string", NOBODY)
  end
  check_at_least_one(where, values, "run_expires_seconds")
  check_at_least_one(where, values, "connections_per_address")
  for position, address in ipairs(values.trusted_proxies or {}) do
    if address:find("/", 1, true) or not fetch.is_range(address) then
      check.fail(("%s.trusted_proxies[%d] must be one address, like 10.0.0.1, got '%s'"):format(where, position, address), NOBODY)
    end
  end
end


local function check_fields(where, values)
  check.options(where, values, field_types, NOBODY)
  check.map(where .. ": env", values.env or {}, "string", NOBODY)
  check.map(where .. ": mcp", values.mcp or {}, "table", NOBODY)
  check.map(where .. ": tools", values.tools or {}, "table", NOBODY)
  check_serve(where, values.serve or {})
  check_credits(where, values.credits or {})
  if next(values) then
    require("perilune.model.settings").check_values(where, values, NOBODY)
  end
  for name, price in pairs(values.prices or {}) do
    check_price(("%s: prices['%s']"):format(where, name), name, price)
  end
end


-- Where a raise in a configuration file becomes a return value.
local function run(chunk)
  local ok, value = pcall(chunk)
  if ok then
    return value
  end
  return nil, errors.wrap(value, "configuration")
end


-- The table a configuration file returns; an absent file is an empty one unless it was asked for by name.
local function read_file(path, is_named)
  local text, err = fs.read(path)
  if not text then
    if err.kind == "not_found" and not is_named then
      return {}
    end
    return fail("the configuration cannot be read: " .. err.message)
  end
  local chunk, problem = load(text, "@" .. path, "t")
  if not chunk then
    return fail("the configuration is not valid Lua: " .. problem)
  end
  local values
  values, err = run(chunk)
  if err then
    return nil, err
  elseif type(values) ~= "table" then
    return fail(("the configuration %s must return a table, not %s"):format(path, values == nil and "nothing" or "a " .. type(values)))
  end
  check_fields("configuration " .. path, values)
  return values
end


local function merge(into, values)
  for name, value in pairs(values) do
    into[name] = value
  end
end


local function home(env, variable, fallback)
  local folder = env(variable)
  return folder and folder ~= "" and folder or (env("HOME") or ".") .. "/" .. fallback
end


local log_levels = tables.set { "debug", "info", "warn", "error", "off" }


-- The settings, when what they say about the log can be done.
local function check_log(values, options)
  local level, format = values.log_level, values.log_format
  local problem
  if level and not log_levels[level] then
    problem = ("the log level (--log-level, PERILUNE_LOG_LEVEL, log_level) is debug, info, warn, error or off, not '%s'"):format(level)
  elseif format and format ~= "text" and format ~= "json" then
    problem = ("the log format (--log-format, log_format) is text or json, not '%s'"):format(format)
  else
    return values
  end
  local is_option = options.log_level == level and level or options.log_format == format and format
  return nil, errors.new { kind = "configuration", code = is_option and "usage" or nil, message = problem }
end


---Loads the configuration of this process.
---@param options? { db: string?, config: string?, model: string?, log_level: string?, log_format: string? } from the command line
---@return perilune.Settings?
---@return perilune.Error?
function M.load(options)
  options = options or {}
  local env_file, bad_lines = read_env_file()
  if not env_file then
    return nil, bad_lines
  end
  local values, own_env, files = {}, {}, { next(env_file) and ".env" }
  local function env(name)
    local value = proc.env(name) or env_file[name] or own_env[name]
    return value ~= nil and value ~= "" and note_secret(name, value) or nil
  end
  local named = options.config or env("PERILUNE_CONFIG")
  for _, path in ipairs { home(env, "XDG_CONFIG_HOME", ".config") .. "/perilune/config.lua", "perilune.lua", named } do
    local found, err = read_file(path, path == named)
    if not found then
      return nil, err
    end
    files[#files + 1] = next(found) and path
    merge(values, found)
    merge(own_env, found.env or {})
  end
  merge(values, {
    db = options.db or env("PERILUNE_DB") or values.db or home(env, "XDG_DATA_HOME", ".local/share") .. "/perilune/perilune.db",
    model = options.model or env("PERILUNE_MODEL") or values.model,
    log_level = options.log_level or env("PERILUNE_LOG_LEVEL") or values.log_level,
    log_format = options.log_format or values.log_format,
    https_proxy = env("HTTPS_PROXY") or env("https_proxy"), -- for https:// addresses; `proxy` is for all
    provider_folders = { "providers", home(env, "XDG_CONFIG_HOME", ".config") .. "/perilune/providers" },
  })
  values.env, values.notes, values.files = env, {}, files
  for position, number in ipairs(bad_lines) do
    values.notes[position] = (".env:%d: this is not NAME=value (or its quote is not closed): the line is left out"):format(number)
  end
  return check_log(values, options)
end


return M
