-- What a failure before the commit point means: may the same target be asked again, may another one, and what is remembered of the
-- target? Pure: an error goes in, a rule comes out. docs/faults.md has the same table fault by fault, and is played by the tests.
local failover = require "perilune.sys.failover"

local M = {}

---@class perilune.FailoverRule
---@field again? boolean the same target may be asked again, unless the error is `maybe_billed`
---@field goes_on? boolean another target may be asked
---@field strike? boolean it counts against the target (the circuit breaker)
---@field park? number seconds for which the key is not used, by no model
---@field cool? number seconds for which the target is not asked
---@field wait_min? number seconds before it is asked again, at least
---@field context? boolean a model that reads more may be asked, where one is configured

-- A wait that a provider asks for is granted up to here; who asks for more is passed over.
M.WAIT_MAX = 30

local PARK_SECONDS = 600
local COOL_SECONDS = 60

local stays = {}
local passes = { goes_on = true, strike = true }
local repeats = { again = true, goes_on = true, strike = true }

local by_kind = {
  authentication = { goes_on = true, park = PARK_SECONDS },
  permission = { goes_on = true, cool = COOL_SECONDS }, -- the key may be right for other models
  quota = { goes_on = true, park = PARK_SECONDS },
  rate_limit = repeats,
  overloaded = repeats,
  server = repeats,
  connection = repeats,
  stream_interrupted = repeats,
  empty_response = repeats,
  bad_response = passes,
  timeout = passes,
  tls = passes,
  not_found = { goes_on = true },
  model_not_found = { goes_on = true },
  context_length = { context = true },
}

-- Where the code, which says in what phase it happened, knows more than the kind.
local by_code = {
  ["connection:dns"] = passes,
  ["connection:refused"] = passes,
  ["connection:unreachable"] = passes,
  ["connection:no_descriptors"] = stays, -- nobody else could be reached either
  ["timeout:dns"] = repeats,
  ["timeout:tls"] = repeats,
  ["tls:handshake"] = repeats,
  ["bad_response:encoding"] = passes,
  ["configuration:cassette_elsewhere"] = { goes_on = true }, -- a replay: it was asked of another target
}

local by_status = {
  [408] = repeats, [409] = { again = true, goes_on = true }, [425] = { again = true, goes_on = true },
  [529] = { again = true, goes_on = true, strike = true, wait_min = 1 },
}


---The rule for a failure. What is in no table stays where it happened: the caller's own mistakes, refusals, cancels.
---@param err perilune.Error
---@return perilune.FailoverRule
function M.rule(err)
  return by_code[err.kind .. ":" .. tostring(err.code)] or by_status[err.status] or by_kind[err.kind] or stays
end


---Seconds to wait before the same target is asked again; nil when it asks for more patience than there is.
---@param err perilune.Error
---@param rule perilune.FailoverRule
---@param number integer the first repetition is 1
---@param retry perilune.Retry
---@return number?
function M.wait(err, rule, number, retry)
  if err.retry_after then
    return err.retry_after <= M.WAIT_MAX and err.retry_after or nil
  end
  return (rule.wait_min or 0) + failover.delay(number, retry.backoff, retry.max_backoff)
end


---@class perilune.Retry how often one target is asked, and how long it is left alone in between, in seconds
---@field max_attempts integer
---@field backoff number
---@field max_backoff number
---@field maybe_billed boolean also what may have been billed already

---The settings of retries; what is not said is the default.
---@param settings { retry: table?, max_retries: integer? }
---@return perilune.Retry
function M.retry(settings)
  local said = settings.retry or {}
  local backoff = said.backoff or 0.1
  return {
    max_attempts = said.max_attempts or settings.max_retries and settings.max_retries + 1 or 2,
    backoff = backoff,
    max_backoff = said.max_backoff or math.max(0.8, backoff),
    maybe_billed = said.maybe_billed or false,
  }
end


return M
