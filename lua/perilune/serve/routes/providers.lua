-- GET /v1/providers/status: which providers can be called and why not, and how the targets that were asked are.
local configured = require "perilune.model.configured"
local failover = require "perilune.sys.failover"
local json = require "perilune.json"
local known = require "perilune.model.known"


local function why_not(row, settings)
  local found = configured.get(row.name)
  return configured.is_excluded(found, settings.exclude) and "excluded" or configured.unusable(found, settings)
end


local function encode_health(one)
  local function milliseconds(percentiles)
    if percentiles.count == 0 then
      return json.null
    end
    return { p50 = percentiles.p50 * 1000, p95 = percentiles.p95 * 1000, p99 = percentiles.p99 * 1000 }
  end
  return {
    provider = one.provider, model = one.model, state = one.state, retry_in = one.retry_in or json.null, requests = one.requests,
    successes = one.successes, failures = one.failures, inflight = one.inflight, queued = one.queued,
    latency_ms = milliseconds(one.latency), first_content_ms = milliseconds(one.first_content), last_error = one.last_error or json.null,
  }
end


local function status(exchange)
  exchange.app:discover()
  local settings, providers, targets = exchange.app.settings, json.array(), json.array()
  for _, row in ipairs(known.providers(settings)) do
    local why = why_not(row, settings)
    providers[#providers + 1] = {
      name = row.name, kinds = json.array(row.kinds), is_usable = why == nil, reason = why or json.null,
      base_url = row.base_url or json.null,
    }
  end
  for _, one in ipairs(failover.health()) do
    targets[#targets + 1] = encode_health(one)
  end
  exchange:reply(200, { object = "providers.status", providers = providers, targets = targets })
end


return {
  { "GET", "/v1/providers/status", status, family = "admin" },
}
