-- What the options of the built-in tools have in common. Misuse is reported at the line that makes the tool: script -> new -> here.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"

local M = {}

local SCRIPT_LEVEL = 3
local HELPER_LEVEL = 4 -- script -> new -> a helper of it -> here

---@class perilune.BuiltinOptions
---@field name? string what the model calls it
---@field timeout? number seconds
---@field approval? "never"|"always"|fun(arguments: table, context: table): boolean

local shared = { name = "string", timeout = "number", approval = "string|function" }


---Checks the options of a tool; numbers must be more than 0.
---@param where string "perilune.tools.http_get"
---@param options table|nil
---@param own table<string, perilune.TypeSpec>
---@return table
function M.read(where, options, own)
  local allowed = {}
  for _, types in ipairs { shared, own } do
    for name, its_type in pairs(types) do
      allowed[name] = its_type
    end
  end
  options = check.options(where, options, allowed, SCRIPT_LEVEL)
  for name, value in pairs(options) do
    if type(value) == "number" and not (value > 0 and value < math.huge) then
      check.fail(("%s: option '%s' must be more than 0, got %s"):format(where, name, value), SCRIPT_LEVEL)
    end
  end
  if type(options.approval) == "string" then
    check.choice(where .. ": approval", options.approval, { "never", "always" }, SCRIPT_LEVEL)
  end
  if options.name and (not options.name:find("^[%w_-]+$") or #options.name > 64) then
    check.fail(where .. ": a name has 1 to 64 letters, digits, _ and -", SCRIPT_LEVEL)
  end
  return options
end


---Raises unless the list is there and has something in it. For a helper of `new`.
---@param where string
---@param options table
---@param name string
---@param spec perilune.TypeSpec
---@return table
function M.list(where, options, name, spec)
  if options[name] == nil then
    check.fail(("%s: '%s' is missing: nothing is allowed unless it is listed"):format(where, name), HELPER_LEVEL)
  end
  local list = check.list(("%s: %s"):format(where, name), options[name], spec, HELPER_LEVEL)
  if #list == 0 then
    check.fail(("%s: '%s' is empty, so that nothing would be allowed"):format(where, name), HELPER_LEVEL)
  end
  return list
end


---A folder as an absolute path, so that it stays the same one whatever the working folder becomes. For a helper of `new`.
---@param where string
---@param path string
---@return string
function M.folder(where, path)
  if path == "" or path:find("\0", 1, true) then
    check.fail(where .. ": a path is not empty and contains no NUL", HELPER_LEVEL)
  end
  if path:sub(1, 1) ~= "/" then
    local cwd, err = fs.cwd()
    if not cwd then
      error(err, 0)
    end
    path = cwd .. "/" .. path
  end
  local components = {}
  for component in path:gmatch("[^/]+") do
    components[#components + 1] = component ~= "." and component or nil
  end
  return "/" .. table.concat(components, "/")
end


---An error for the model.
---@param code string
---@param message string
---@return nil
---@return perilune.Error
function M.failure(code, message)
  return nil, errors.new { kind = "tool", code = code, message = message }
end


return M
