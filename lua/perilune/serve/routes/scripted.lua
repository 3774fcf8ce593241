-- Routes that scripts define: perilune.route("POST /hooks/github", function(request) ... end). They are open to everybody: who may call is
-- the script's to say. What the function returns is the answer: nothing, a text, a table (JSON), or { status =, headers =, body = }.
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Request", __index = methods }


---@class perilune.RouteRequest
---@field id string
---@field method string
---@field path string
---@field params table<string, string> of `{name}` segments of the path
---@field headers table<string, string> names in lower case
---@field body string
---@field remote string the client's address

---A parameter of the query.
---@param name string
---@return string?
function methods:query(name)
  return self.exchange:query(name)
end


---The body as JSON; a body that is none is answered with 400.
---@return any
function methods:json()
  local value, err = json.decode(self.body)
  if err then
    problem.invalid(nil, "The body of the request is not valid JSON: " .. err.message, "invalid_json")
  end
  return value
end


---Begins a stream of server-sent events; own it with `<close>`.
---@return perilune.serve.EventStream
function methods:events()
  return self.exchange:events()
end


local function headers_of(exchange)
  local headers = {}
  for _, pair in ipairs(exchange.request:headers()) do
    local name = pair[1]:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. pair[2] or pair[2]
  end
  return headers
end


local function answer(exchange, result)
  if exchange.has_begun then
    return
  elseif result == nil then
    exchange:reply(204, "")
  elseif type(result) == "string" then
    exchange:reply(200, result, { ["content-type"] = "text/plain; charset=utf-8" })
  elseif type(result) == "table" and (result.status or result.body ~= nil and result.headers) then
    local headers = {}
    for name, value in pairs(result.headers or {}) do
      headers[name:lower()] = tostring(value)
    end
    exchange:reply(result.status or 200, result.body == nil and "" or result.body, headers)
  else
    exchange:reply(200, result)
  end
end


---A route of the host for one of a script.
---@param route perilune.Route
---@return perilune.serve.Route
function M.route(route)
  return {
    family = false,
    run = function(exchange)
      local request = setmetatable({
        exchange = exchange, id = exchange.id, method = exchange.method, path = exchange.path, params = exchange.params,
        headers = headers_of(exchange), body = exchange.request:body(), remote = exchange.server.proxy:address(exchange),
      }, metatable)
      answer(exchange, route.run(request))
    end,
  }
end


return M
