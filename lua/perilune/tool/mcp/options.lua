-- What perilune.mcp{...} is given, checked. Misuse is reported where the connection is made.
local check = require "perilune.std.check"
local log = require "perilune.sys.log"

local M = {}

local WHERE = "perilune.mcp"
local NAME_BYTES_MAX = 32

local option_types = {
  name = "string", command = "table", cwd = "string", env = "table", url = "string", headers = "table", proxy = "string",
  ca_file = "string", verify_ssl = "boolean", roots = "table", pins = "string", timeouts = "table",
}

local default_timeouts = { start = 30, call = 60, total = 600 }
local timeout_types = { start = "number", call = "number", total = "number" }
local of_command, of_url = { "cwd", "env" }, { "headers", "proxy", "ca_file", "verify_ssl" }


---@class perilune.mcp.Options
---@field name string 1 to 32 letters, digits, _ and -; goes before the names of its tools
---@field command? string[] the program and its arguments: a server on standard input and output
---@field cwd? string
---@field env? table<string, string> more variables; keys of the host's environment are not passed on
---@field url? string a server over streamable HTTP
---@field headers? table<string, string>
---@field proxy? string
---@field ca_file? string
---@field verify_ssl? boolean
---@field roots? string[] folders, or file:// addresses, that the server is told of
---@field pins? string a file that keeps which tools were approved
---@field timeouts? { start: number?, call: number?, total: number? } seconds: of a start (30), of a call without progress (60), with it (600)

local secret_words = { "key", "token", "secret", "password", "auth", "cookie" }


-- What looks like a secret is never printed from here on; of "Bearer abc" the second word too.
local function note_secrets(values)
  for name, value in pairs(values) do
    for _, word in ipairs(secret_words) do
      if name:lower():find(word, 1, true) then
        log.secret(value)
        log.secret(value:match("^%a+ +(.+)$") or value)
      end
    end
  end
end


local function root_of(root, level)
  if root:find("^%a[%w+.-]*://") then
    return { uri = root }
  elseif root:sub(1, 1) ~= "/" then
    check.fail(("%s: roots: '%s' is neither an absolute path nor an address"):format(WHERE, root), level + 1)
  end
  local path = root:gsub("[^%w/._~-]", function(character)
    return ("%%%02X"):format(character:byte())
  end)
  return { uri = "file://" .. path }
end


local function check_transport(options)
  if (options.command == nil) == (options.url == nil) then
    check.fail(WHERE .. ": give it either a 'command' or a 'url'", 4)
  end
  for _, name in ipairs(options.url and of_command or of_url) do
    if options[name] ~= nil then
      check.fail(("%s: option '%s' is for a server with a '%s'"):format(WHERE, name, options.url and "command" or "url"), 4)
    end
  end
  if options.command then
    check.list(WHERE .. ": command", options.command, "string", 4)
    if #options.command == 0 then
      check.fail(WHERE .. ": 'command' is empty", 4)
    end
  elseif not options.url:find("^https?://[^%s]+$") then
    check.fail(("%s: '%s' is not an http:// or https:// address"):format(WHERE, options.url), 4)
  end
end


local function timeouts_of(given)
  local timeouts = setmetatable({}, { __index = default_timeouts })
  for limit, seconds in pairs(check.options(WHERE .. ": timeouts", given, timeout_types, 4)) do
    if not (seconds > 0 and seconds <= 86400) then
      check.fail(("%s: timeouts: '%s' must be more than 0 seconds and at most a day"):format(WHERE, limit), 4)
    end
    timeouts[limit] = seconds
  end
  return timeouts
end


-- In lower case, so that ours and the script's are not both sent.
local function headers_of(given)
  local headers = {}
  for name, value in pairs(check.map(WHERE .. ": headers", given, "string", 4)) do
    headers[name:lower()] = value
  end
  return headers
end


local function roots_of(given)
  local roots = {}
  for position, root in ipairs(check.list(WHERE .. ": roots", given, "string", 4)) do
    roots[position] = root_of(root, 4)
  end
  return roots
end


---The options, checked, with what is left out filled in.
---@param given perilune.mcp.Options
---@return table
function M.read(given)
  check.options(WHERE, given, option_types, 3)
  local name = given.name
  if not name or not name:find("^[%w_-]+$") or #name > NAME_BYTES_MAX then
    check.fail(("%s: 'name' must be 1 to %d letters, digits, _ and -"):format(WHERE, NAME_BYTES_MAX), 3)
  end
  check_transport(given)
  check.map(WHERE .. ": env", given.env or {}, "string", 3)
  local options = {}
  for option, value in pairs(given) do
    options[option] = value
  end
  options.timeouts = timeouts_of(given.timeouts)
  options.headers = headers_of(given.headers or {})
  options.roots = given.roots and roots_of(given.roots)
  note_secrets(options.env or {})
  note_secrets(options.headers)
  return options
end


return M
