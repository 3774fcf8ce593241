-- Configuration, later wins: built-in defaults, the user's config.lua, ./perilune.lua, .env, the environment, options.
-- A file is Lua that returns a table; a field that is not known is an error with a suggestion. This is the only module
-- that reads the environment.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local log = require "perilune.sys.log"
local proc = require "perilune.sys.proc"

local M = {}

local field_types = {
  db = "string", model = "string", log_level = "string", log_format = "string", timeouts = "table", proxy = "string",
  ca_file = "string", verify_ssl = "boolean", env = "table", prices = "table",
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


---Reads the lines of a .env file: NAME=value, with quotes, `export` and comments.
---@param text string
---@return table<string, string>
function M.parse_env(text)
  local values = {}
  for line in text:gmatch("[^\r\n]+") do
    local name, value = line:match("^%s*export%s+([%a_][%w_]*)%s*=%s*(.-)%s*$")
    if not name then
      name, value = line:match("^%s*([%a_][%w_]*)%s*=%s*(.-)%s*$")
    end
    if name then
      local quoted = value:match('^"(.*)"$') or value:match("^'(.*)'$")
      values[name] = quoted or value:gsub("%s+#.*$", "")
    end
  end
  return values
end


local function read_env_file()
  local text, err = fs.read(".env")
  if text then
    return M.parse_env(text)
  elseif err.kind == "not_found" then
    return {}
  end
  return nil, err
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
  local values = chunk()
  if type(values) ~= "table" then
    return fail(("the configuration %s must return a table, not a %s"):format(path, type(values)))
  end
  check.options("configuration " .. path, values, field_types, NOBODY)
  for name, price in pairs(values.prices or {}) do
    check_price(("configuration %s: prices['%s']"):format(path, name), name, price)
  end
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


---Loads the configuration of this process.
---@param options? { db: string?, config: string?, model: string?, log_level: string?, log_format: string? } from the command line
---@return perilune.Settings?
---@return perilune.Error?
function M.load(options)
  options = options or {}
  local env_file, env_error = read_env_file()
  if not env_file then
    return nil, env_error
  end
  local values, own_env = {}, {}
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
  values.env = env
  return values
end


return M
