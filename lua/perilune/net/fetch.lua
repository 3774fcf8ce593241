-- perilune.fetch: whole HTTP exchanges for scripts. A thin layer over perilune.sys.fetch: JSON bodies, redirects, the
-- response as one table. It returns nil, err; it never raises for what the network does.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local secrets = require "perilune.net.secrets"
local sys = require "perilune.sys.fetch"

local M = {}

local option_types = {
  method = "string", headers = "table", body = "string", json = "any", timeout = "number", connect = "number",
  idle = "number", redirects = "integer", body_bytes = "integer", proxy = "string", ca_file = "string",
  verify_ssl = "boolean",
}

---@class perilune.FetchRequest times in seconds
---@field method? string default GET, POST with a body
---@field headers? table<string, string>
---@field body? string
---@field json? any sent as the body
---@field timeout? number of the whole exchange; default 30
---@field connect? number default 10
---@field idle? number
---@field redirects? integer default 5
---@field body_bytes? integer
---@field proxy? string
---@field ca_file? string
---@field verify_ssl? boolean

-- What stands between scripts and the network, when something does: a cassette.
local guard

local response_methods = {}
local response_metatable = { __name = "perilune.net.response", __index = response_methods }


---The body as JSON.
---@return any
---@return perilune.Error?
function response_methods:json()
  return json.decode(self.body)
end


local function arguments(url, options)
  local headers = {}
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local body = options.body
  if options.json ~= nil then
    local text, err = json.encode(options.json)
    if not text then
      return nil, err
    end
    body = text
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  return {
    url = url, method = options.method or (body and "POST" or "GET"), headers = headers, body = body, frame = "bytes",
    total = options.timeout or 30, connect = options.connect or 10, idle = options.idle,
    redirects = options.redirects or 5, body_bytes = options.body_bytes, proxy = options.proxy,
    ca_file = options.ca_file, insecure = options.verify_ssl == false,
  }
end


---Puts something between every exchange and the network: `f(given, send)` answers itself, or with what `send(given)` returns. Nil
---takes it away.
---@param f nil|fun(given: table, send: fun(given: table): table?, perilune.Error?): table?, perilune.Error?
function M.guard(f)
  guard = f
end


-- One exchange over the network.
local function send(given)
  local handle <close>, open_error = sys.open(given)
  if not handle then
    return nil, open_error
  end
  local head, err = handle:head()
  local parts = {}
  while head and not err do
    local part
    part, err = handle:next()
    if not part then
      break
    end
    parts[#parts + 1] = part
  end
  if err then
    err.message = ("%s (%s)"):format(err.message, secrets.hide_in_url(given.url))
    err.retryable = errors.is(err, "connection") or errors.is(err, "timeout")
    return nil, err
  end
  return { status = head.status, headers = head.headers, body = table.concat(parts) }
end


---Makes one request and waits for the whole answer; any status is an answer.
---@param url string
---@param options? perilune.FetchRequest
---@return { status: integer, headers: table<string, string>, body: string, json: fun(self): any }?
---@return perilune.Error?
function M.request(url, options)
  options = options or {}
  check.options("perilune.fetch", options, option_types)
  local given, encode_error = arguments(url, options)
  if not given then
    return nil, encode_error
  end
  local response, err
  if guard then
    response, err = guard(given, send)
  else
    response, err = send(given)
  end
  return response and setmetatable(response, response_metatable), err
end


return M
