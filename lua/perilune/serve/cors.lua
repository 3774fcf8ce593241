-- Cross-origin requests of browsers: allowed for the origins that are configured (serve.cors = { "https://app.example" }, or { "*" }).
local tables = require "perilune.std.tables"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.cors", __index = methods }

local EXPOSED = "x-request-id, retry-after, retry-after-ms, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
  .. "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
local MAX_AGE = "600"


---@param origins string[]?
---@return table? cors nil: no origin is allowed
function M.new(origins)
  if not origins or #origins == 0 then
    return nil
  end
  return setmetatable({ origins = tables.set(origins) }, metatable)
end


---Adds what tells a browser that its page may read the answer.
---@param exchange perilune.Exchange
---@param headers table<string, string>
function methods:add(exchange, headers)
  local origin = exchange:header("origin")
  if not origin then
    return
  end
  headers.vary = "Origin"
  if self.origins["*"] or self.origins[origin] then
    headers["access-control-allow-origin"] = self.origins["*"] and "*" or origin
    headers["access-control-expose-headers"] = EXPOSED
  end
end


---Answers the question of a browser whether it may ask.
---@param exchange perilune.Exchange
---@param methods_allowed string
function M.preflight(exchange, methods_allowed)
  local asked = exchange:header("access-control-request-headers")
  exchange:reply(204, "", {
    ["access-control-allow-methods"] = methods_allowed, ["access-control-max-age"] = MAX_AGE,
    ["access-control-allow-headers"] = asked and asked:find("^[%w%-,%s]+$") and asked or "authorization, content-type",
  })
end


return M
