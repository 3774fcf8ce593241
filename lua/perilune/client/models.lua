-- The models of a client: each is made once, because a client asks often and its options never change.
local failover = require "perilune.sys.failover"
local limit = require "perilune.model.limit"

local M = {}

-- A client that is asked for more than these forgets them all and makes them again.
local MODELS_MAX = 256

local NOT_NAMED = {}

-- What is the client's own business and no setting of a model.
local of_the_client = { "model", "fallbacks", "timeout", "cancel", "print_provider_info", "production_ready", "rate_limit" }


---The limiter that all models of a client share; nil when its options set no limit.
---@param options table
---@return perilune.Limiter?
function M.limiter(options)
  local rate = options.rate_limit
  if not rate and not options.max_inflight then
    return nil
  end
  rate = rate or {}
  return failover.limiter { rate = rate.requests_per_second, burst = rate.burst, max_inflight = options.max_inflight }
end


local function make(client, name)
  local settings = {}
  for option, value in pairs(client.options) do
    settings[option] = value
  end
  for _, option in ipairs(of_the_client) do
    settings[option] = nil
  end
  local model = client.app:model({ name or false, table.unpack(client.options.fallbacks or {}) }, settings)
  return client.limiter and limit.new(model, client.limiter) or model
end


---The model of that name, with the client's fallbacks behind it. The first time may wait.
---@param client perilune.Client
---@param name? string|table the client's model when there is none
---@return table model
function M.get(client, name)
  name = name or client.options.model
  local key = name or client.app.settings.model or NOT_NAMED -- a cassette brings the model of its recording
  local model = client.made[key]
  if not model then
    model = make(client, name)
    if client.made_count >= MODELS_MAX then
      client.made, client.made_count = {}, 0
    end
    client.made[key], client.made_count = model, client.made_count + 1
  end
  return model
end


return M
