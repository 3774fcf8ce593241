-- The fluent way to a client: `perilune.client.builder():model("openai/gpt-4o-mini"):timeout(30):build()`. Every option of a client
-- is a method; some read better under a name of their own.
local check = require "perilune.std.check"
local clients = require "perilune.client"
local settings = require "perilune.model.settings"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

local methods = {}
local metatable = { __name = "perilune.ClientBuilder" }


---@class perilune.ClientBuilder every option of a client is a method; each returns the builder
---@field model fun(self, name: string|table): perilune.ClientBuilder
---@field provider fun(self, name: string): perilune.ClientBuilder
---@field api_key fun(self, key: string): perilune.ClientBuilder
---@field base_url fun(self, url: string): perilune.ClientBuilder
---@field timeout fun(self, seconds: number): perilune.ClientBuilder
---@field max_inflight fun(self, count: integer): perilune.ClientBuilder

for name, spec in pairs(settings.options) do
  methods[name] = function(self, value)
    self.options[name] = check.value("builder:" .. name, value, spec)
    return self
  end
end


-- Puts one more value into an option that is a table.
local function put(self, option, name, value)
  local values = {}
  for known, one in pairs(self.options[option] or {}) do
    values[known] = one
  end
  values[name] = value
  self.options[option] = values
  return self
end


---The key for one model.
---@param model string
---@param key string
---@return perilune.ClientBuilder
function methods:api_key_for(model, key)
  check.string("builder:api_key_for: model", model)
  check.string("builder:api_key_for: key", key)
  return put(self, "api_keys", model, key)
end


---A header for every request.
---@param name string
---@param value string
---@return perilune.ClientBuilder
function methods:header(name, value)
  check.string("builder:header: name", name)
  check.string("builder:header: value", value)
  return put(self, "headers", name, value)
end


---Who is asked, in this order, when the model fails.
---@param names (string|table)[]
---@return perilune.ClientBuilder
function methods:with_fallbacks(names)
  self.options.fallbacks = check.list("builder:with_fallbacks", names, "string|table")
  return self
end


---How often one target is asked, and how long it is left alone in between: up to `backoff` seconds, doubled each time, up to
---`max_backoff`.
---@param max_attempts integer|{ max_attempts: integer?, backoff: number?, max_backoff: number?, maybe_billed: boolean? }
---@param backoff? number
---@param max_backoff? number
---@return perilune.ClientBuilder
function methods:retry(max_attempts, backoff, max_backoff)
  if type(max_attempts) == "table" then
    self.options.retry = max_attempts
    return self
  end
  self.options.retry = {
    max_attempts = check.value("builder:retry: max_attempts", max_attempts, "integer"),
    backoff = check.value("builder:retry: backoff", backoff, "number|nil"),
    max_backoff = check.value("builder:retry: max_backoff", max_backoff, "number|nil"),
  }
  return self
end


---Settings for a program that runs unattended: 3 attempts, 1 to 30 s in between, 10 requests a second (15 at once), 10 at the same
---time, a provider that failed 5 times is left alone for 30 s. What is said explicitly wins.
---@return perilune.ClientBuilder
function methods:production_ready()
  self.options.production_ready = true
  return self
end


---The client.
---@return perilune.Client
function methods:build()
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  return clients.new(self.app, options)
end


function metatable.__index(_, name)
  local method = methods[name]
  if not method then
    local nearest = text.suggest(tostring(name), tables.sorted_keys(methods))
    check.fail(("builder:%s does not exist%s"):format(name, nearest and (", did you mean '%s'?"):format(nearest) or ""))
  end
  return method
end


---@param app perilune.App
---@return perilune.ClientBuilder
function M.new(app)
  return setmetatable({ app = app, options = {} }, metatable)
end


return M
