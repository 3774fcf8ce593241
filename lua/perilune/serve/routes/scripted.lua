-- Routes that scripts define: perilune.route("POST /hooks/github", function(request) ... end). They are open to everybody: who may call is
-- the script's to say. What the function returns is the answer: nothing, a text, a table (JSON), or { status =, headers =, body = }.
local errors = require "perilune.std.errors"
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


-- Is that table an answer, and not data? It has a status, which is a number, or a body and headers.
local function is_answer(result)
  return math.type(result.status) ~= nil or result.status == nil and result.body ~= nil and type(result.headers) == "table"
end


-- A mistake of the script's: the log says which route has made it.
local function fail(exchange, problem_text)
  error(errors.new {
    kind = "internal", message = ("the route '%s' returns %s"):format(exchange.route.pattern, problem_text),
  }, 0)
end


local function reply(exchange, result)
  local status, body, headers = result.status or 200, result.body, {}
  if math.type(status) ~= "integer" or status < 200 or status > 599 then
    fail(exchange, "a status that is no integer from 200 to 599: " .. tostring(status))
  elseif body ~= nil and type(body) ~= "string" and type(body) ~= "table" then
    fail(exchange, "a body that is neither a text nor a table, but a " .. type(body))
  elseif (status == 204 or status == 304) and body ~= nil and body ~= "" then
    fail(exchange, ("a body with the status %d, which has none"):format(status))
  end
  for name, value in pairs(result.headers or {}) do
    headers[tostring(name):lower()] = tostring(value)
  end
  exchange:reply(status, body or "", headers)
end


local function answer(exchange, result)
  if exchange.has_begun then
    return
  elseif result == nil then
    exchange:reply(204, "")
  elseif type(result) == "string" then
    exchange:reply(200, result, { ["content-type"] = "text/plain; charset=utf-8" })
  elseif type(result) ~= "table" then
    fail(exchange, "a " .. type(result) .. ", and not a text, a table or nothing")
  elseif is_answer(result) then
    reply(exchange, result)
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
        headers = headers_of(exchange), body = exchange.request:body(), remote = exchange:address(),
      }, metatable)
      answer(exchange, route.run(request))
    end,
  }
end


return M
