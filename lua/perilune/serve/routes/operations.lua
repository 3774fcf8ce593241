-- What runs a server: is it alive, is it ready, what does it count.
local TEXT = "text/plain; version=0.0.4; charset=utf-8"


-- It answers: that is all that is asked.
local function health(exchange)
  exchange:reply(200, { status = "ok", version = exchange.app.version })
end


-- Should requests be sent here?
local function ready(exchange)
  local server = exchange.server
  local stored, err = server.db:read("thread_by_id", { id = "" })
  if not server.is_ready or not stored then
    local why = server.is_draining and "stopping" or err and "the database cannot be read" or "starting"
    exchange:reply(503, { status = why }, { ["retry-after"] = "1" })
    return
  end
  exchange:reply(200, { status = "ready" })
end


local function metrics(exchange)
  exchange:reply(200, exchange.server.metrics:text(exchange.server), { ["content-type"] = TEXT })
end


return {
  { "GET", "/health", health, family = false },
  { "GET", "/ready", ready, family = false },
  { "GET", "/metrics", metrics, family = "admin" },
}
