-- What is no conversation (vectors, images), paid for: held before it is sent, settled when it is known, given back when nothing came.
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local pricing = require "perilune.serve.pricing"
local task = require "perilune.sys.task"

local M = {}

local HOLD_SECONDS = 3600
local WRITE_SECONDS = 30


---@class perilune.OnceOptions
---@field name string "provider/model" as it was asked for
---@field requests? integer how many requests it counts for
---@field prompt_tokens? integer of its texts, estimated from above

-- The books of something that nobody has a price for, or that nobody pays for, have no rate.
local function rate_of(server, key, name)
  if key.account_no == 0 then
    return nil
  end
  local rate = pricing.rate(server.settings, name, name)
  if not rate and key.is_prepaid then
    pricing.refuse(name)
  end
  return rate
end


local function worst(rate, options)
  return pricing.charge(rate, { prompt_tokens = options.prompt_tokens or 0, completion_tokens = 0, total_tokens = 0 })
    + rate.request * ((options.requests or 1) - 1)
end


---Runs `f`, which returns a result with `usage`, `provider` and `model`, or nil and an error.
---@generic T
---@param exchange perilune.Exchange
---@param options perilune.OnceOptions
---@param f fun(): T?, perilune.Error?
---@return T
function M.run(exchange, options, f)
  local server, key, id = exchange.server, exchange.key, exchange:charge_id()
  local rate = rate_of(server, key, options.name)
  local held = rate and key.is_prepaid and worst(rate, options) or nil
  if held then
    errors.must(task.shield(WRITE_SECONDS, credits.hold, server.db, {
      request_id = id, account_no = key.account_no, amount = held, owner = server.owner, seconds = HOLD_SECONDS,
    }))
  end
  local outcome, result = "cancelled", nil
  local books <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    if key.account_no == 0 then
      return
    end
    local usage = result and result.usage or nil
    local amount = 0
    if rate and result then
      amount = pricing.charge(rate, usage or { prompt_tokens = options.prompt_tokens or 0, completion_tokens = 0, total_tokens = 0 })
        + rate.request * ((options.requests or 1) - 1)
    end
    local charged = held and math.min(amount, held) or amount
    errors.must(task.shield(WRITE_SECONDS, credits.settle, server.db, {
      request_id = id, account = key.account, account_no = key.account_no, held = held, amount = charged, overrun = amount - charged,
      key_id = key.id, model = options.name, provider = result and result.provider, band = rate and rate.band, rate = rate,
      outcome = outcome, usage = usage,
    }))
  end })
  local problem
  result, problem = f()
  outcome = result and "ok" or problem.kind
  if not result then
    error(problem, 0)
  end
  exchange.usage, exchange.provider = result.usage, result.provider
  exchange.more_headers["x-perilune-provider"] = result.provider
  return result
end


return M
