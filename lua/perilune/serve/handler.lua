-- What happens to every request, whatever its route: who calls, may he, has he asked this before, the route's function, what becomes of
-- an error, a line in the log. This is where the errors of a request end.
local auth = require "perilune.serve.auth"
local clock = require "perilune.sys.clock"
local cors = require "perilune.serve.cors"
local exchanges = require "perilune.serve.exchange"
local hooks = require "perilune.agent.hooks"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local problem = require "perilune.serve.problem"
local quota = require "perilune.serve.quota"
local repeats = require "perilune.serve.repeats"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local M = {}


-- The route, or what is wrong with the address.
local function find_route(exchange)
  local server = exchange.server
  local route, found = server.router:find(exchange.method, exchange.path)
  if route then
    exchange.route, exchange.params = route, found
    return route
  elseif found == "" then
    error(problem.new {
      status = 404, type = "invalid_request_error", code = "not_found",
      message = ("Invalid URL (%s %s)"):format(exchange.method, exchange.path:gsub("[^%g]", "?"):sub(1, 200)),
    }, 0)
  end
  if exchange.method == "OPTIONS" then
    return nil, found
  end
  error(problem.new {
    status = 405, type = "invalid_request_error", code = "method_not_allowed", headers = { allow = found },
    message = ("%s is not allowed here; allowed: %s"):format(exchange.method, found),
  }, 0)
end


-- Who calls; hooks of scripts are asked first.
local function authenticate(exchange)
  local server, family = exchange.server, exchange.route.family
  local caller = hooks.authenticate(exchange.app, exchange)
  local key = caller and server.auth:key_of_caller(caller)
  if not key then
    key = server.auth:key_of(exchange)
    if key.id == "local" then
      server.proxy:check_names(exchange)
    end
  end
  exchange.key = key
  auth.check_family(key, family)
end


-- The route's function, within what the key may do at a time.
local function run_limited(exchange)
  local ticket, err = quota.enter(exchange.key)
  exchange.ticket = ticket
  for name, value in pairs(quota.headers(exchange.key)) do
    exchange.more_headers[name] = value
  end
  if not ticket then
    error(err, 0)
  end
  hooks.before(exchange.app, exchange)
  if exchange.is_answered then
    return
  end
  return repeats.run(exchange, exchange.route.run)
end


local function serve(exchange)
  local route, allowed = find_route(exchange)
  if not route then
    if exchange.server.cors then
      return cors.preflight(exchange, allowed)
    end
    return exchange:reply(204, "", { allow = allowed })
  elseif not route.family then
    return route.run(exchange)
  end
  authenticate(exchange)
  return run_limited(exchange)
end


-- The answer to what was raised. Once the answer has begun nothing can be said any more: the connection is cut, so that nobody takes
-- what has come for the whole.
local function answer_error(exchange, raised)
  local answer, err = exchange:explain(raised)
  exchange.failure = answer
  if answer.message ~= err.message or err.kind == "configuration" and answer.status == 500 then -- the client is not told all of it
    log.write("error", "serve", ("%s %s %s: %s"):format(exchange.id, exchange.method, exchange.path, tostring(err)))
  end
  if exchange.has_begun or exchange.request:is_gone() then
    return
  end
  local headers = { ["content-type"] = "application/json" }
  for name, value in pairs(answer.headers) do
    headers[name] = value
  end
  exchange.status, exchange.is_answered = answer.status, true
  exchange.request:reply { status = answer.status, headers = exchange:head(headers), body = exchange:error_text(answer) }
end


-- A line about a request that was answered, and the numbers of the metrics.
local function note_end(exchange)
  local seconds, failure = clock.mono() - exchange.started, exchange.failure
  local status = exchange.status or failure and failure.status or 499
  local pattern = exchange.route and exchange.route.pattern or "none"
  exchange.server.metrics:http(pattern, exchange.method, status, seconds)
  hooks.after(exchange.app, exchange, status, seconds)
  if not log.is_on("info") then
    return
  end
  local usage = exchange.usage or {}
  log.write("info", "access", ("%s %s %d"):format(exchange.method, exchange.path, status), json.encode {
    request_id = exchange.id, method = exchange.method, path = exchange.path, route = pattern, status = status,
    milliseconds = math.floor(seconds * 1000 + 0.5), key = exchange.key and exchange.key.id, model = exchange.model_name,
    provider = exchange.provider, prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens,
    error = failure and (failure.code or failure.type), remote = exchange.remote,
  })
end


-- Pauses between looks at a client that sends no more, in seconds: the way there and back may be long.
local LOOKS = { 0.02, 0.2, 2 }


-- A client that sends no more has gone, or still reads: it is sent something that an answer may have in it. Whoever has gone answers
-- with a reset, which the next write sees.
local function look_after(exchange)
  local request = exchange.request
  for _, pause in ipairs(LOOKS) do
    if exchange.is_over or request:is_gone() then
      return
    elseif exchange.stream and exchange.stream.has_begun then
      exchange.stream:comment()
    else
      request:probe()
    end
    task.sleep(pause)
  end
end


---Looks after the clients that stop sending, for as long as the server lives; one task does it for all of them.
---@param server perilune.Server
function M.watch(server)
  while server.listener:half_closed() do
    for exchange in pairs(server.exchanges) do
      if not exchange.is_watched and exchange.request:is_half_closed() then
        exchange.is_watched = true
        task.spawn(look_after, exchange)
      end
    end
  end
end


-- The end of a request, however its handler ended.
local function leave(exchange)
  local server = exchange.server
  if exchange.stream then
    exchange.stream:leave() -- a script's that was not closed
  end
  if exchange.ticket then
    exchange.ticket:leave()
  end
  server.active = server.active - 1
  exchange.is_over = true
  server.exchanges[exchange] = nil
  if server.active == 0 then
    server.idle:wake()
  end
  note_end(exchange)
end


local leaving = {
  __close = function(self, err)
    if err then -- a handler that was stopped from outside: there is nobody left to answer
      log.write("error", "serve", ("%s %s %s: %s"):format(self.exchange.id, self.exchange.method, self.exchange.path, tostring(err)))
    end
    leave(self.exchange)
  end,
}


---Answers one request; the task of a handler.
---@param server perilune.Server
---@param request perilune.serve.Request owned by this call
function M.run(server, request)
  local owned <close> = request -- luacheck: ignore 211
  local exchange = exchanges.new(server, request, token.id("req"))
  server.active = server.active + 1
  server.exchanges[exchange] = true
  local _ <close> = setmetatable({ exchange = exchange }, leaving)
  if log.is_on("info") then
    exchange:address() -- as long as there is one
  end
  request:end_with_client()
  local ok, err = pcall(serve, exchange)
  if not ok then
    answer_error(exchange, err)
  end
end


return M
