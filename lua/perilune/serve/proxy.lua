-- Where a request comes from. What a proxy says of it is believed of proxies that are configured (serve.trusted_proxies), and of nobody
-- else; a request that says it was passed on is never taken for one of this machine.
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.proxy", __index = methods }

local local_names = { localhost = true, ["127.0.0.1"] = true, ["[::1]"] = true }


---@param options { trusted_proxies: string[]?, hosts: string[]? }
---@return table proxy
function M.new(options)
  return setmetatable({ trusted = tables.set(options.trusted_proxies or {}), hosts = tables.set(options.hosts or {}) }, metatable)
end


-- "127.0.0.1" of "127.0.0.1:4711", "::1" of "[::1]:4711".
local function without_port(remote)
  return remote:match("^%[(.*)%]:%d+$") or remote:match("^(.*):%d+$") or remote
end


local function peer(exchange)
  return without_port(exchange.request:remote() or "")
end


---The address of whoever sent the request.
---@param exchange perilune.Exchange
---@return string
function methods:address(exchange)
  local address = peer(exchange)
  local forwarded = self.trusted[address] and exchange:header("x-forwarded-for")
  -- The last one that no trusted proxy has added.
  for one in (forwarded or ""):reverse():gmatch("[^,]+") do
    one = one:reverse():match("^%s*(.-)%s*$")
    if not self.trusted[one] then
      return one
    end
  end
  return address
end


local function is_loopback(address)
  return address:find("^127%.") ~= nil or address == "::1" or address:find("^::ffff:127%.") ~= nil
end


---Does it come from this machine, not passed on by anybody?
---@param exchange perilune.Exchange
---@return boolean
function M.is_local(exchange)
  return is_loopback(peer(exchange)) and not exchange:header("x-forwarded-for") and not exchange:header("forwarded")
end


-- The name in a Host or an Origin.
local function name_of(host)
  return host:match("^(%[[^%]]*%])") or host:match("^([^:/]+)") or ""
end


---Raises when a request without a key may come from a page of somebody else that a browser on this machine has open: its Host must be
---this machine's, and so must its Origin.
---@param exchange perilune.Exchange
function methods:check_names(exchange)
  local host, origin = exchange:header("host") or "", exchange:header("origin")
  local name = name_of(host):lower()
  local origin_name = origin and name_of(origin:lower():gsub("^%a[%w+.-]*://", ""))
  local is_fine = (local_names[name] or self.hosts[name]) and (not origin or local_names[origin_name] or self.hosts[origin_name])
  if not is_fine then
    error(problem.new {
      status = 403, type = "permission_error", code = "foreign_origin", is_retryable = false,
      message = "A request without a key must be made to localhost, and not by a page of somebody else; create a key, or name the host "
        .. "in serve.hosts.",
    }, 0)
  end
end


return M
