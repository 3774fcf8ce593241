-- What a script defines for `perilune serve`: routes, and jobs at times (agent/schedule.lua). They are kept here; serve runs them.
local check = require "perilune.std.check"
local log = require "perilune.sys.log"

local M = {}

local PATH_BYTES_MAX = 1024

local methods = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }


---@class perilune.Route
---@field method string "POST"
---@field path string "/hooks/github"
---@field run fun(request: table): any

---@class perilune.Hooks
---@field routes perilune.Route[]
---@field jobs perilune.Job[]

---What the scripts of this application have defined.
---@param app perilune.App
---@return perilune.Hooks
function M.of(app)
  app.hooks = app.hooks or { routes = {}, jobs = {} }
  return app.hooks
end


---Says that nothing comes of a definition unless this process serves (app.is_serving).
---@param app perilune.App
---@param what string "the route POST /hooks/github"
function M.note(app, what)
  if not app.is_serving then
    log.write("info", "serve", what .. " is defined, but runs only under `perilune serve`")
  end
end


---Defines what answers requests of one method to one path: `perilune.route("POST /hooks/github", f)`.
---@param app perilune.App
---@param pattern string the method and the path, with one space between
---@param run fun(request: table): any
function M.route(app, pattern, run)
  check.string("perilune.route: the pattern", pattern)
  check.value("perilune.route: the second argument", run, "function")
  local method, path = pattern:match("^(%S+) (%S+)$")
  if not method then
    check.fail(("perilune.route: '%s' is not a method, a space and a path, like 'POST /hooks/github'"):format(pattern))
  end
  check.choice("perilune.route: the method", method, methods)
  if #path > PATH_BYTES_MAX or not path:find("^/[%w%-._~!$&'()*+,;=:@%%/]*$") then
    check.fail(("perilune.route: '%s' is no path: it begins with /, and has neither ? nor #"):format(path))
  end
  local routes = M.of(app).routes
  for _, route in ipairs(routes) do
    if route.method == method and route.path == path then
      check.fail(("perilune.route: '%s' is defined already"):format(pattern))
    end
  end
  routes[#routes + 1] = { method = method, path = path, run = run }
  M.note(app, "the route " .. pattern)
end


return M
