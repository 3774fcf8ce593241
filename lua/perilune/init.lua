-- perilune: what scripts require. A façade: every name leads to the module that does the work, loaded when it is used.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local task = require "perilune.sys.task"

local M = {}

local app


-- The application of this process; made from the configuration when first needed.
local function the_app()
  if not app then
    local settings, err = require("perilune.config").load()
    if not settings then
      error(err, 0)
    end
    app = require("perilune.app").new(settings)
  end
  return app
end


---Makes an application the one that scripts use. For commands and tests.
---@param new perilune.App?
function M.use(new)
  app = new
end


---Defines a tool.
---@param options table name, description, parameters, run, idempotent, timeout
---@return perilune.Tool
function M.tool(options)
  return require("perilune.tool").define(options)
end


---Defines an assistant.
---@param options table name, model, fallbacks, instructions, tools, ...
---@return perilune.Assistant
function M.assistant(options)
  require "perilune.agent.delegate" -- assistant:as_tool
  return require("perilune.agent.assistant").new(options, require("perilune.agent.defined").add)
end


---Connects to an MCP server: a program (`command`) or an address (`url`). `server:tools()` are for an assistant.
---@param options perilune.mcp.Options
---@return perilune.mcp.Server
function M.mcp(options)
  return require("perilune.tool.mcp").connect(options)
end


---An assistant with a conversation of its own, in memory: `agent:chat(text)`, `:chat_stream(text)`, `:register_tool(tool)`, …
---@param options table those of perilune.assistant; `system` is another word for `instructions`
---@return perilune.Agent
function M.agent(options)
  return require("perilune.agent.agent").new(the_app(), options)
end


---Opens the thread of that key, or creates it; it survives the process.
---@param key string
---@return perilune.Thread
function M.thread(key)
  return require("perilune.agent.thread").open(the_app(), key)
end


---A client: questions without a thread. `perilune.client.builder()` is the fluent form.
---@class perilune.ClientFactory
---@field builder fun(): perilune.ClientBuilder
---@overload fun(options: table?): perilune.Client
M.client = setmetatable({
  builder = function()
    return require("perilune.client.builder").new(the_app())
  end,
}, {
  __call = function(_, options)
    return require("perilune.client").new(the_app(), options)
  end,
})


---Puts a cassette in: from here on everything that clients, agents and perilune.fetch ask is recorded in a file, or answered from
---one, until it is closed: `local cassette <close> = perilune.cassette { replay = "trip.jsonl" }`.
---@param options { record: string?, replay: string?, timing: boolean? } timing: a replay is as slow as what was recorded
---@return table cassette `:close()` takes it out
function M.cassette(options)
  local deck = require "perilune.model.deck"
  deck.check("perilune.cassette", options)
  local current = the_app()
  current:discover()
  return deck.insert(current.settings, options)
end


---The providers that are known, those of the user's files among them; all, of one kind, or those that need no key.
---@param filter? { kind: "chat"|"image"|"embedding"|nil, free: boolean? }
---@return perilune.KnownProvider[]
function M.providers(filter)
  filter = check.options("perilune.providers", filter, { kind = "string", free = "boolean" })
  if filter.kind then
    check.choice("perilune.providers: kind", filter.kind, { "chat", "image", "embedding" })
  end
  local current = the_app()
  current:discover()
  return require("perilune.model.known").providers(current.settings, filter)
end


---What this process knows of the targets that were asked: the state of their breakers, how often they failed and why, how quick they
---are. Sorted by provider and model.
---@return perilune.Health[]
function M.health()
  return require("perilune.sys.failover").health()
end


---Makes one HTTP request and waits for the whole answer: `response` or `nil, err`.
---@param url string
---@param options? table
---@return table?
---@return perilune.Error?
function M.fetch(url, options)
  check.string("perilune.fetch: the address", url)
  return require("perilune.net.fetch").request(url, options)
end


---Runs a program without a shell: `{ status=, stdout=, stderr= }` or `nil, err`.
---@param options table argv = {...}, cwd, env, stdin, timeout
---@return table?
---@return perilune.Error?
function M.process(options)
  check.value("perilune.process: options", options, "table")
  check.list("perilune.process: argv", options.argv, "string")
  return require("perilune.sys.proc").run(options)
end


---An environment variable, from the environment or .env.
---@param name string
---@return string?
function M.env(name)
  check.string("perilune.env: name", name)
  return the_app().settings.env(name)
end


---Runs f(...) as a task of its own.
---@param f function
---@return perilune.Task
function M.spawn(f, ...)
  local meta = type(f) == "table" and getmetatable(f)
  if meta and meta.__call then -- client.chat, for one
    return task.spawn(meta.__call, f, ...)
  end
  check.value("perilune.spawn: the first argument", f, "function")
  return task.spawn(f, ...)
end


---Runs all functions side by side and returns their first results in order; the first error cancels the others and is raised.
---@param functions (fun(): any)[]
---@return any[]
function M.gather(functions)
  check.list("perilune.gather: functions", functions, "function")
  local results = {}
  local group <close> = task.group()
  for position, f in ipairs(functions) do
    group:spawn(function()
      results[position] = f()
    end)
  end
  group:wait()
  return results
end


---Defines a workflow: a function whose steps are done once, whatever happens to the process.
---@param name string
---@param run fun(flow: perilune.Flow, input: any): any
---@return perilune.Workflow
function M.workflow(name, run)
  return require("perilune.agent.workflow").define(the_app(), name, run)
end


---For `perilune serve`: what answers requests like "POST /hooks/github".
---@param pattern string
---@param run fun(request: table): any
function M.route(pattern, run)
  return require("perilune.agent.hooks").route(the_app(), pattern, run)
end


---For `perilune serve`: a name of a model for clients, and who answers to it: the first that can.
---@param name string
---@param models string|string[] "provider/model", ...
function M.alias(name, models)
  return require("perilune.agent.hooks").alias(the_app(), name, models)
end


---For `perilune serve`: a function that takes part in every request. "authenticate" says who calls, "request" sees a request before it
---is answered, and "response" how it ended.
---@param moment "authenticate"|"request"|"response"
---@param run function
function M.on(moment, run)
  return require("perilune.agent.hooks").on(the_app(), moment, run)
end


---For `perilune serve`: a job that runs again and again.
---@param interval string|number "10m", or seconds
---@param run fun(due: number)
function M.every(interval, run)
  return require("perilune.agent.schedule").every(the_app(), interval, run)
end


---For `perilune serve`: a job at times, in UTC.
---@param expression string "0 9 * * mon-fri"
---@param run fun(due: number)
function M.cron(expression, run)
  return require("perilune.agent.schedule").cron(the_app(), expression, run)
end


M.sleep = task.sleep
M.deadline = task.deadline


---What cancels requests from outside: give the token to calls (`cancel = token`), call `handle:cancel(reason)` when it is time.
---@return perilune.CancelToken
---@return perilune.CancelHandle
function M.cancel_pair()
  return require("perilune.model.cancellation").pair()
end


-- Where a raise becomes a return value: perilune.try.
local function pack(ok, ...)
  if ok then
    return ...
  end
  local err = errors.wrap((...))
  if err.kind == "cancelled" then
    task.check() -- raises when it is the running task that was cancelled
  end
  return nil, err
end


---Calls f(...): its results, or nil and an error object. A cancel of the running task is not caught.
---@param f function
---@return any
function M.try(f, ...)
  check.value("perilune.try: the first argument", f, "function|table") -- a table that can be called, like client.chat
  return pack(pcall(f, ...))
end


---Is it an error object, of this kind when one is given?
---@param value any
---@param kind? string
---@return boolean
function M.is_error(value, kind)
  return errors.is(value, kind)
end


---@param value any
---@return boolean
function M.is_auth_error(value)
  return errors.is(value, "authentication") or errors.is(value, "permission")
end


---@param value any
---@return boolean
function M.is_rate_limit_error(value)
  return errors.is(value, "rate_limit")
end


---@param value any
---@return boolean
function M.is_retryable(value)
  return errors.is(value) and value.retryable == true
end


-- perilune.json, perilune.log, ...: loaded on first use.
local parts = { json = "perilune.json", log = "perilune.log", provider = "perilune.provider", testing = "perilune.testing",
  tools = "perilune.tool.builtin" }

-- perilune.threads, perilune.assistants: functions of these modules, whose first argument is the application.
local collections = {
  threads = { "perilune.agent.threads", "create", "get", "list", "search", "delete" },
  workflows = { "perilune.agent.workflow", "get", "list", "resume" },
  assistants = { "perilune.agent.registry", "create", "get", "list", "update", "delete" },
  runs = { "perilune.agent.runs", "get", "list", "resume", "cancel", "recover" },
}


local function bind(collection)
  local module, bound = require(collection[1]), {}
  for position = 2, #collection do
    local f = module[collection[position]]
    bound[collection[position]] = function(...)
      return f(the_app(), ...)
    end
  end
  return bound
end


return setmetatable(M, {
  __index = function(self, name)
    if not parts[name] and not collections[name] then
      local text = require "perilune.std.text"
      local names = {}
      for _, known in ipairs { self, parts, collections } do
        for one in next, known do
          names[#names + 1] = one
        end
      end
      local nearest = text.suggest(tostring(name), names)
      check.fail(("perilune.%s does not exist%s"):format(name, nearest and (", did you mean perilune." .. nearest .. "?") or ""))
    end
    local part = parts[name] and require(parts[name]) or bind(collections[name])
    rawset(self, name, part)
    return part
  end,
})
