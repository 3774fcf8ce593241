-- What is no conversation (vectors, images), paid for: held before it is sent, settled when it is known, given back when nothing came.
local accounts = require "perilune.store.accounts"
local billing = require "perilune.serve.billing"
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local holds = require "perilune.serve.holds"
local names = require "perilune.serve.names"
local pricing = require "perilune.serve.pricing"
local quota = require "perilune.serve.quota"
local task = require "perilune.sys.task"

local M = {}

local WRITE_SECONDS = 30

local operations = { embeddings = "embeddings", images = "generate_content" }


---@class perilune.OnceOptions
---@field family "embeddings"|"images"
---@field name string as it was asked for
---@field requests? integer how many requests it counts for
---@field prompt_tokens integer of its texts, estimated from above
---@field completion_tokens? integer that may come, where what comes has tokens


-- The rate; nil where nobody pays.
local function rate_of(server, key, full, name)
  if key.account_no == 0 then
    return nil
  end
  local rate = pricing.rate(server.settings, full)
  if not rate and key.is_prepaid then
    pricing.refuse(name)
  end
  return rate
end


local function amount_of(rate, requests, prompt_tokens, completion_tokens)
  local usage = { prompt_tokens = prompt_tokens, completion_tokens = completion_tokens, total_tokens = prompt_tokens + completion_tokens }
  return pricing.charge(rate, usage) + rate.request * (requests - 1)
end


-- What it has come to.
local function charge_of(self)
  if not self.rate or not self.result then
    return 0
  end
  local images, usage = self.result.data, self.result.usage
  local requests = images and #images or self.options.requests or 1 -- an image that did not come is not paid for
  if usage then
    return pricing.charge(self.rate, usage) + self.rate.request * (requests - 1)
  end
  return amount_of(self.rate, requests, self.options.prompt_tokens, 0)
end


local function milliseconds(seconds)
  return math.floor(seconds * 1000 + 0.5)
end


-- Whom it was asked of, in order: those that failed first are told by images only.
local function attempts_of(self)
  local list, result, failure = {}, self.result, self.failure
  local function add(one, outcome, err)
    if one.provider and one.model then
      list[#list + 1] = {
        provider = one.provider, model = one.model, outcome = outcome, status = one.status, started_at = self.started_at,
        duration_ms = one.duration_ms or milliseconds(clock.mono() - self.started), error = err and err.message,
      }
    end
  end
  for _, one in ipairs((result or failure or {}).attempts or {}) do
    add(one, one.error.kind, one.error)
  end
  if result then
    local usage = result.usage or {}
    add(result, "ok")
    local last = list[#list]
    last.prompt_tokens, last.completion_tokens, last.cost_nano = usage.prompt_tokens, usage.completion_tokens, usage.cost
  elseif failure and not list[1] then
    add(failure, failure.kind, failure)
  end
  return list
end


local function settle(self)
  local key, db, result = self.key, self.server.db, self.result
  local attempts = attempts_of(self)
  if result then
    quota.spend(key, result.usage and result.usage.total_tokens or self.options.prompt_tokens)
  end
  if key.account_no == 0 then
    return errors.must(credits.note_attempts(db, self.id, attempts))
  end
  local amount, rate = charge_of(self), self.rate
  local charged = self.held and math.min(amount, self.held) or amount
  return errors.must(holds.settle(db, {
    request_id = self.id, account = key.account, account_no = key.account_no, held = self.held, amount = charged,
    overrun = amount - charged, key_id = key.id, model = self.options.name, provider = result and result.provider,
    band = rate and rate.band, rate = rate, outcome = result and "ok" or self.failure and self.failure.kind or "cancelled",
    usage = result and result.usage, attempts = attempts,
  }))
end


local books = { __name = "perilune.serve.billing_once" }


function books.__close(self)
  task.shield(WRITE_SECONDS, settle, self)
end


-- Opens the books of a request: from here on they are closed, whatever happens.
local function open(exchange, options)
  local server, key = exchange.server, exchange.key
  local rate = rate_of(server, key, names.full(exchange.app, options.family, options.name), options.name)
  local self = {
    server = server, key = key, id = exchange:charge_id(), options = options, rate = rate, started = clock.mono(),
    started_at = clock.wall(),
  }
  if rate and key.is_prepaid then
    self.held = amount_of(rate, options.requests or 1, options.prompt_tokens, options.completion_tokens or 0)
    local done, err = holds.take(server.db, self.id, key.account_no, self.held)
    if not done and err.kind == "quota" and billing.reset_if_due(server, errors.must(accounts.get(server.db, key.account))) then
      done, err = holds.take(server.db, self.id, key.account_no, self.held)
    end
    errors.must(done, err)
  end
  return setmetatable(self, books)
end


---Runs `f`, which returns a result with `usage`, `provider` and `model`, or nil and an error, which is raised.
---@generic T
---@param exchange perilune.Exchange
---@param options perilune.OnceOptions
---@param f fun(): T?, perilune.Error?
---@return T
function M.run(exchange, options, f)
  local result, failure
  do
    local book <close> = open(exchange, options)
    result, failure = f()
    book.result, book.failure = result, failure
    exchange.usage, exchange.provider, exchange.has_content = result and result.usage, result and result.provider, result ~= nil
  end
  if not result then
    error(failure, 0)
  end
  exchange.server.metrics:model {
    operation = operations[options.family], provider = result.provider, model = result.model, usage = result.usage,
    seconds = clock.mono() - exchange.started,
  }
  return result
end


return M
