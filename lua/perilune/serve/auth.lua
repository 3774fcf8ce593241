-- Who calls: the key of a request. While no key has been created only this machine may call, without one.
local accounts = require "perilune.store.accounts"
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local keys = require "perilune.store.keys"
local problem = require "perilune.serve.problem"
local proxy = require "perilune.serve.proxy"
local quota = require "perilune.serve.quota"
local token = require "perilune.sys.token"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.auth", __index = methods }

---How long a key, or an account, is believed without being looked up: a key that is revoked is refused after that.
M.CACHE_SECONDS = 1

local CACHED_MAX = 10000

-- What tells of everybody's requests: a key must name it among its routes.
local ADMIN = "admin"

---Who calls from this machine while there is no key.
M.LOCAL = { id = "local", name = "local", account = nil, account_no = 0, scopes = {}, limits = {}, is_prepaid = false }


---@class perilune.serve.Key
---@field id string what may be shown of it
---@field name string
---@field account? string whose things it may see; nil: everything (the local caller)
---@field account_no integer
---@field scopes { models: string[]?, routes: string[]? }
---@field limits { requests: integer?, tokens: integer?, concurrency: integer? }
---@field is_prepaid boolean
---@field tier? string

---@class perilune.serve.Caller whom an authenticate hook of a script knows
---@field name? string
---@field id? string what is shown of it; default: the name
---@field account? string whose things it may see and who pays: an account by name or id, or one that only the script knows; default: the name
---@field models? string[]
---@field routes? string[]
---@field limits? { requests: integer?, tokens: integer?, concurrency: integer? }

local caller_types = { id = "string", name = "string", account = "string", models = "table", routes = "table", limits = "table" }
local limit_types = { requests = "integer", tokens = "integer", concurrency = "integer" }

---@param server perilune.Server
---@return table auth
function M.new(server)
  return setmetatable({ server = server, cached = {}, count = 0, any = { at = -math.huge, value = false } }, metatable)
end


local function refuse(message)
  error(problem.new {
    status = 401, type = "authentication_error", code = "invalid_api_key", message = message, is_retryable = false,
    headers = { ["www-authenticate"] = "Bearer" },
  }, 0)
end


-- The text of the key in a request.
local function key_text(exchange)
  local authorization = exchange:header("authorization")
  if authorization then
    return authorization:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+)$") or ""
  end
  return exchange:header("x-api-key") or exchange:header("api-key")
end


---Has any key been created?
---@return boolean
function methods:has_keys()
  local now, any = clock.mono(), self.any
  if not any.value and now - any.at > M.CACHE_SECONDS then
    local value, err = keys.any(self.server.db)
    if value == nil then
      error(err, 0)
    end
    any.value, any.at = value, now
  end
  return any.value
end


-- What `find` knows of that; a row is believed for a while.
local function look_up(self, name, find, what)
  local known, now = self.cached[name], clock.mono()
  if known and now - known.at <= M.CACHE_SECONDS then
    return known.row
  end
  local row, err = find(self.server.db, what)
  if not row then
    self.cached[name] = nil
    return nil, err
  end
  if not known then
    if self.count >= CACHED_MAX then
      self.cached, self.count = {}, 0
    end
    self.count = self.count + 1
  end
  self.cached[name] = { row = row, at = now }
  return row
end


---The key of a request. Raises when it has none that may call.
---@param exchange perilune.Exchange
---@return perilune.serve.Key
function methods:key_of(exchange)
  local text = key_text(exchange)
  if not self:has_keys() then
    if proxy.is_local(exchange) then
      return M.LOCAL
    end
    refuse("No key has been created yet, so only this machine may call. Create one: perilune keys create NAME")
  end
  local address = exchange:address()
  if text == nil then
    refuse("A key is missing: send it as 'Authorization: Bearer KEY'. Keys are made with `perilune keys create NAME`.")
  elseif not quota.may_try(address) then
    error(problem.new {
      status = 429, type = "rate_limit_exceeded", code = "too_many_wrong_keys", headers = { ["retry-after"] = "5" },
      message = "Too many wrong keys came from this address: try again later.",
    }, 0)
  end
  local key, err = look_up(self, token.sha256(text), keys.find, text)
  if key then
    return key
  elseif err.kind ~= "authentication" then
    error(err, 0)
  end
  quota.refused(address)
  refuse(err.message)
end


-- A script that says who calls must say it right: whoever it leaves out may see everything, or nothing.
local function check_caller(known)
  local where = "perilune.on authenticate: the caller"
  check.options(where, known, caller_types)
  check.options(where .. ": limits", known.limits or {}, limit_types)
  for _, list in ipairs { "models", "routes" } do
    if known[list] then
      check.list(("%s: %s"):format(where, list), known[list], "string")
    end
  end
  if (known.account or known.name or "") == "" then
    check.fail(where .. " has neither an account nor a name")
  end
end


-- The account of that name or id, or one that only the script knows.
local function account_of(db, name)
  local account, err = accounts.get(db, name)
  if not account and errors.is(err, "not_found") then
    return { id = name, no = 0, is_prepaid = false }
  end
  return account, err
end


---What a caller may whom a script knows.
---@param known perilune.serve.Caller
---@return perilune.serve.Key
function methods:key_of_caller(known)
  check_caller(known)
  local name = known.account or known.name
  local account = errors.must(look_up(self, "account " .. name, account_of, name))
  return {
    id = known.id or known.name or name, name = known.name or name, account = account.id, account_no = account.no, tier = account.tier,
    is_prepaid = account.is_prepaid, scopes = { models = known.models, routes = known.routes }, limits = known.limits or {},
  }
end


---Raises unless the key may use the route's family.
---@param key perilune.serve.Key
---@param family string
function M.check_family(key, family)
  local routes = key.scopes.routes
  if not routes and (family ~= ADMIN or key == M.LOCAL) then
    return
  end
  routes = routes or { "all but " .. ADMIN }
  for _, allowed in ipairs(routes) do
    if allowed == family then
      return
    end
  end
  error(problem.new {
    status = 403, type = "permission_error", code = "route_not_allowed", is_retryable = false,
    message = ("This key may not use '%s'; it may use: %s."):format(family, table.concat(routes, ", ")),
  }, 0)
end


return M
