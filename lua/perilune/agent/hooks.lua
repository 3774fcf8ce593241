-- What a script defines for `perilune serve`: routes, jobs at times (agent/schedule.lua), and functions that take part in every request.
-- They are kept here; serve runs them.
local check = require "perilune.std.check"
local defined = require "perilune.agent.defined"
local log = require "perilune.sys.log"
local path_pattern = require "perilune.std.path_pattern"

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
---@field on table<string, function[]> by the name of the moment
---@field aliases table<string, string[]> who answers to a name of a model

---@return perilune.Hooks without anything in it
function M.none()
  return { routes = {}, jobs = {}, aliases = {}, on = { authenticate = {}, request = {}, response = {} } }
end


---What the scripts of this application have defined; for the task that loads them anew, what they have so far.
---@param app perilune.App
---@return perilune.Hooks
function M.of(app)
  local draft = defined.draft()
  if draft then
    return draft.hooks
  end
  app.hooks = app.hooks or M.none()
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
  if #path > PATH_BYTES_MAX or not path:find("^/[%w%-._~!$&'()*+,;=:@%%{}/]*$") then
    check.fail(("perilune.route: '%s' is no path: it begins with /, and has neither ? nor #"):format(path))
  end
  local segments, problem = path_pattern.parse(path)
  if not segments then
    check.fail(("perilune.route: '%s': %s"):format(path, problem))
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


local moments = { "authenticate", "request", "response" }


---Takes part in every request: `perilune.on("request", f)`.
---@param app perilune.App
---@param moment "authenticate"|"request"|"response"
---@param run function
function M.on(app, moment, run)
  check.string("perilune.on: the moment", moment)
  check.choice("perilune.on: the moment", moment, moments)
  check.value("perilune.on: the second argument", run, "function")
  local list = M.of(app).on[moment]
  list[#list + 1] = run
  M.note(app, "the hook " .. moment)
end


---Gives clients a name for models: the first one that can answers.
---@param app perilune.App
---@param name string
---@param models string|string[]
function M.alias(app, name, models)
  check.string("perilune.alias: the name", name)
  models = type(models) == "string" and { models } or models
  check.list("perilune.alias: the models", models, "string")
  if name == "" or name:find("^assistant/") or not models[1] then
    check.fail("perilune.alias: a name that does not begin with assistant/, and at least one model")
  end
  M.of(app).aliases[name] = models
  M.note(app, "the alias " .. name)
end


-- A request as scripts see it.
local function view(exchange)
  return {
    id = exchange.id, method = exchange.method, path = exchange.path, key = exchange.key,
    header = function(_, name)
      return exchange:header(name)
    end,
    body = function()
      return exchange:body(true)
    end,
    reply = function(_, status, value, headers)
      exchange:reply(status, value, headers)
    end,
  }
end


---Asks the scripts who calls; the first one that knows says it.
---@param app perilune.App
---@param exchange perilune.Exchange
---@return perilune.serve.Caller? caller as it says; nil: no script knows
function M.authenticate(app, exchange)
  for _, run in ipairs(M.of(app).on.authenticate) do
    local known = run(view(exchange))
    if known then
      return known
    end
  end
end


---Shows a request to the scripts before its route answers it: they may change its body, answer it, or raise.
---@param app perilune.App
---@param exchange perilune.Exchange
function M.before(app, exchange)
  for _, run in ipairs(M.of(app).on.request) do
    run(view(exchange))
    if exchange.is_answered then
      return
    end
  end
end


---Tells the scripts how a request ended. What they raise ends in the log.
---@param app perilune.App
---@param exchange perilune.Exchange
---@param status integer
---@param seconds number
function M.after(app, exchange, status, seconds)
  for _, run in ipairs(M.of(app).on.response) do
    local ok, err = pcall(run, {
      id = exchange.id, method = exchange.method, path = exchange.path, key = exchange.key, status = status, seconds = seconds,
      model = exchange.model_name, provider = exchange.provider, usage = exchange.usage,
    })
    if not ok then
      log.write("error", "serve", ("a response hook failed: %s"):format(tostring(err)))
    end
  end
end


return M
