-- perilune serve: one process of providers, assistants, threads and accounts behind HTTP. A server owns its listener, what it knows of
-- models and keys, and the tasks beside the requests; `run` serves until it is asked to stop, and then lets what is under way end.
local accounts = require "perilune.store.accounts"
local auth = require "perilune.serve.auth"
local billing = require "perilune.serve.billing"
local clock = require "perilune.sys.clock"
local cors = require "perilune.serve.cors"
local errors = require "perilune.std.errors"
local handler = require "perilune.serve.handler"
local housekeeping = require "perilune.serve.housekeeping"
local jobs = require "perilune.agent.job"
local log = require "perilune.sys.log"
local metrics = require "perilune.serve.metrics"
local model_lists = require "perilune.serve.model_list"
local names = require "perilune.serve.names"
local observed = require "perilune.serve.observed"
local proc = require "perilune.sys.proc"
local proxy = require "perilune.serve.proxy"
local routes = require "perilune.serve.routes"
local serve = require "perilune.sys.serve"
local sse = require "perilune.serve.sse"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Server", __index = methods }

-- Models that are kept ready: names come from clients.
local MODELS_MAX = 1000

---How long requests that are under way may take when the server stops.
M.DRAIN_SECONDS = 10
-- Of these, to let go of runs that do not end.
local LET_GO_SECONDS = 1


---@class perilune.ServeOptions
---@field host? string default "127.0.0.1"
---@field port? integer default 8080; 0: any free one
---@field connections? integer
---@field connections_per_address? integer

---@class perilune.Server
---@field app perilune.App
---@field db perilune.Database
---@field owner string the name of this process
---@field listener perilune.serve.Server
---@field settings perilune.Settings
---@field options table the configuration's `serve`
---@field extra_fields table<string, true> of chat completions that go on to providers (serve/extras.lua)
---@field router table
---@field streams table<perilune.serve.EventStream, true>
---@field exchanges table<perilune.Exchange, true> those that are being answered
---@field active integer how many these are
---@field idle perilune.TaskSignal woken when there is none any more
---@field is_ready boolean
---@field is_draining boolean

-- Requests at once with one key of a provider, unless the configuration has a `max_inflight`: answers take seconds, and everybody's go
-- out with the same key.
local INFLIGHT = 1000


---A server of an application; it does not listen yet.
---@param app perilune.App
---@return perilune.Server
function M.new(app)
  local options = app.settings.serve or {}
  app.settings.max_inflight = app.settings.max_inflight or INFLIGHT
  local self = setmetatable({
    app = app, settings = app.settings, options = options, db = app:database(), owner = proc.self(), streams = {},
    exchanges = {}, active = 0, idle = task.signal(), metrics = metrics.new(), cors = cors.new(options.cors),
    proxy = proxy.new(options), models = {}, model_count = 0,
    extra_fields = tables.set(options.extra_fields or {}), is_ready = false, is_draining = false, started = clock.mono(),
  }, metatable)
  self.auth = auth.new(self)
  self.model_list = model_lists.new(self)
  app.is_serving = true
  self:load_routes()
  return self
end


---Makes the routes anew: those of the host, and those of the scripts.
function methods:load_routes()
  self.router = routes.router(self.app)
end


---Forgets what was made of the configuration and the scripts.
function methods:forget_models()
  self.models, self.model_count = {}, 0
end


---What answers for the name of a model, without accounts; made once. Raises when nothing does.
---@param name string "provider/model", a model's name, or "auto"
---@return table model
---@return string name
function methods:model(name)
  local known = self.models[name]
  if not known then
    local model, full = self.app:model { name }
    known = { model = model, name = names.of(model) or full }
    if self.model_count >= MODELS_MAX then
      self:forget_models()
    end
    self.models[name], self.model_count = known, self.model_count + 1
  end
  return known.model, known.name
end


---What a name is read as (serve/names.lua): as it was when the model for it was made, so that what is checked is what is asked.
---@param family perilune.Family
---@param name string
---@return string full
function methods:full_name(family, name)
  local known = family == "models" and not names.is_label(self.app, family, name) and self.models[name]
  return known and known.name or names.full(self.app, family, name)
end


-- The accounts around a model; `options` says who pays, and what the client called it.
local function billed(self, model, name, options)
  options.name = names.of(model) or name
  options.asked = options.asked or options.name
  options.label = names.label(self.app, options.asked)
  options.db, options.settings = self.db, self.settings
  return billing.new(model, options)
end


---@class perilune.serve.BillOptions
---@field asked? string what the client called it; else what this request named
---@field run_id? string
---@field writes_attempts? boolean

---The accounts around a model, and what looks at its answers for the metrics.
---@param exchange perilune.Exchange
---@param model table
---@param name string where nobody can say who is asked first
---@param options? perilune.serve.BillOptions
---@return table model
function methods:bill(exchange, model, name, options)
  options = options or {}
  return billed(self, model, name, {
    key = exchange.key, asked = options.asked or exchange.model_name, run_id = options.run_id, writes_attempts = options.writes_attempts,
    charge_id = function()
      return exchange:charge_id()
    end,
    observe = observed.new(exchange, name),
  })
end


-- An account; nil for one that a script knows, and the database does not.
local function account_of(db, id)
  local account, err = accounts.get(db, id)
  if not account and not errors.is(err, "not_found") then
    error(err, 0)
  end
  return account
end


---The accounts around a model of a run that nobody asks for at the moment: its account pays.
---@param row perilune.RunRow
---@param model table
---@param name string where nobody can say who is asked first
---@return table model
function methods:bill_account(row, model, name)
  local key, account = auth.LOCAL, row.account and account_of(self.db, row.account)
  if account then
    key = { account = account.id, account_no = account.no, is_prepaid = account.is_prepaid, tier = account.tier, limits = {}, scopes = {} }
  end
  return billed(self, model, name, {
    key = key, asked = row.asked and row.asked.model, run_id = row.id,
    charge_id = function()
      return token.id("req")
    end,
  })
end


---Begins to listen.
---@param options perilune.ServeOptions
function methods:listen(options)
  local listener, err = serve.listen {
    host = options.host or "127.0.0.1", port = options.port or 8080, connections = options.connections,
    connections_per_address = options.connections_per_address,
  }
  if not listener then
    error(err, 0)
  end
  self.listener = listener
end


---Accepts requests until the listener is closed; each is a task of its own.
function methods:accept()
  while true do
    local request = self.listener:accept()
    if not request then
      return
    end
    task.spawn(handler.run, self, request)
  end
end


-- What a server lives by: when it ends, so does the server, and says why.
local function vital(ending, f, ...)
  local _ <close> = setmetatable({}, { __close = function(_, err)
    if err and not errors.is(err, "cancelled") then
      log.write("error", "serve", "the server ends: " .. tostring(err))
    end
    ending:wake()
  end })
  f(...)
end


---Answers requests until `stop` returns; then those that are under way are let end for a while.
---@param stop fun() waits until the server is to stop
function methods:run(stop)
  local listener <close> = self.listener
  local beside <close> = task.group()
  local ending = task.signal()
  beside:spawn(vital, ending, sse.keep_alive, self.streams)
  beside:spawn(vital, ending, self.accept, self)
  beside:spawn(vital, ending, handler.watch, self)
  housekeeping.start(self, beside)
  self.is_ready = true
  beside:spawn(vital, ending, stop)
  ending:wait()
  self:drain()
  listener:close()
  beside:cancel("shutdown")
end


---Takes no new connections, and waits until the requests and the runs that are under way have ended, at most for a while. Runs that
---have not are left to the next process.
function methods:drain()
  self.is_draining, self.is_ready = true, false
  local until_at = clock.mono() + math.max(0, M.DRAIN_SECONDS - LET_GO_SECONDS)
  log.write("info", "serve", ("stopping: %d requests and %d runs are under way"):format(self.active, jobs.count()))
  self.listener:stop_accepting()
  while self.active > 0 and clock.mono() < until_at do
    self.idle:wait(until_at - clock.mono())
  end
  if self.active > 0 then
    log.write("warn", "serve", ("%d requests did not end in %d s: they are cut off"):format(self.active, M.DRAIN_SECONDS))
  end
  if not jobs.wait_idle(math.max(0, until_at - clock.mono())) then
    log.write("warn", "serve", ("some runs did not end in %d s: the next process goes on with them"):format(M.DRAIN_SECONDS))
    jobs.let_go(self.app)
    jobs.wait_idle(LET_GO_SECONDS)
  end
end


---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == metatable
end


return M
