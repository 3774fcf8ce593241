-- Opening a database by its URL. What is in it: threads, messages, runs, steps, usage, each a module of functions whose
-- first argument is the database.
local errors = require "perilune.std.errors"
local sys = require "perilune.sys.store"

local M = {}


---What a URL names.
---@param url string a path, "sqlite:PATH" or ":memory:"
---@return string? path
---@return perilune.Error?
function M.path(url)
  local scheme = url:match("^(%a[%w+.-]*)://")
  if scheme and scheme ~= "sqlite" then
    return nil, errors.new {
      kind = "configuration", code = "database",
      message = ("the database %s://… is not supported: name a file, as a path or as sqlite:PATH"):format(scheme),
    }
  end
  local path = url:match("^sqlite://(.*)$") or url:match("^sqlite:(.*)$") or url
  if path == "" then
    return nil, errors.new { kind = "configuration", code = "database", message = "the database has no path: " .. url }
  end
  return path
end


---@param url string a path, "sqlite:PATH" or ":memory:"
---@param options? { read_only: boolean?, busy_seconds: number? }
---@return perilune.Database|nil
---@return perilune.Error?
function M.open(url, options)
  local path, err = M.path(url)
  if not path then
    return nil, err
  end
  options = options or {}
  return sys.open { path = path, read_only = options.read_only, busy_seconds = options.busy_seconds }
end


return M
