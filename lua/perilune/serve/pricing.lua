-- What requests cost in credits. Rates are whole micro-credits for a million tokens, and for a request; a charge is added up first and
-- rounded up once. Everything stays within 64 bits: a rate is at most 10^12 (a million credits for a million tokens), tokens count up to
-- 2 * 10^6 of each kind, so that four products add up to less than 8 * 10^18.
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local names = require "perilune.serve.names"
local prices = require "perilune.model.prices"
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"
local thinking = require "perilune.model.thinking"
local tokens = require "perilune.model.tokens"
local usages = require "perilune.model.usage"

local M = {}

local MILLION = 1000000
local RATE_MAX = 1000000 * credits.CREDIT
local TOKENS_MAX = 2 * MILLION
local NANO_PER_DOLLAR = 1000000000

---Credits for a dollar, where the rate comes from the price of a model.
M.PER_DOLLAR = 1000

---Output tokens a request may have when it does not say how many.
M.OUTPUT_TOKENS = 4096

-- The prompt is counted here before it is sent. A token has a byte at least, nearly always more: a third of the bytes, and what
-- surrounds messages, is more than tokenizers make of any text but noise; what comes above that is the house's loss.
local BYTES_A_TOKEN = 3
local MARGIN_TOKENS = 32


---@class perilune.Rate micro-credits; for a million tokens, but for `request`
---@field band? string
---@field input integer
---@field output integer
---@field cached integer
---@field request integer

local function integer_rate(credits_number)
  return math.tointeger(math.floor(credits_number * credits.CREDIT + 0.5))
end


local function band_of(settings, name)
  local bands = settings.bands or {}
  for _, band in ipairs(tables.sorted_keys(bands)) do
    for _, pattern in ipairs(bands[band].models or {}) do
      if names.fits(pattern:lower(), name:lower()) then
        return band, bands[band]
      end
    end
  end
end


---The rate of a model; nil when neither a band nor a price says it.
---@param settings perilune.Settings
---@param name string "provider/model"
---@param label? string what the client called it, where that may have a rate of its own (serve/names.lua): a band of it goes first
---@return perilune.Rate?
function M.rate(settings, name, label)
  local own = settings.credits or {}
  local band, row = band_of(own, label or name)
  if not band then
    band, row = band_of(own, name)
  end
  if band then
    local input = integer_rate(row.input or 0)
    return {
      band = band, input = input, output = integer_rate(row.output or 0), cached = row.cached and integer_rate(row.cached) or input,
      request = integer_rate(row.request or 0),
    }
  end
  local provider, model = name:match("^([^/]+)/(.+)$")
  local price = provider and prices.get(provider, model, settings.prices)
  if not price then
    return nil
  end
  -- nano-dollars for a million tokens, times micro-credits for a dollar
  local per_dollar = math.tointeger((own.per_dollar or M.PER_DOLLAR) * credits.CREDIT // 1)
  local function rate(nano)
    return math.min(RATE_MAX, -(-nano * (per_dollar // 1000) // (NANO_PER_DOLLAR // 1000)))
  end
  return { input = rate(price.input), output = rate(price.output), cached = rate(price.cached), request = 0 }
end


local function bounded(count)
  return math.max(0, math.min(count, TOKENS_MAX))
end


-- Rounds up.
local function of_millions(sum)
  return -(-sum // MILLION)
end


---What an answer costs.
---@param rate perilune.Rate
---@param usage perilune.Usage
---@return integer micro-credits
function M.charge(rate, usage)
  local part = usages.buckets(usage)
  local fresh = part.input + part.cache_write + part.audio_input
  return rate.request + of_millions(bounded(fresh) * rate.input + bounded(part.cache_read) * rate.cached
    + bounded(part.output + part.audio_output) * rate.output)
end


-- What is sent beside the texts of messages, and may be as long as they are.
local beside = { "response_format", "provider_specific_params", "stop", "user", "tool_choice" }


local function bytes_beside(request)
  local bytes = 0
  for _, name in ipairs(beside) do
    local value = request[name]
    bytes = bytes + (value ~= nil and #(json.encode(value, { repair = true }) or "") or 0)
  end
  return bytes
end


---Tokens of a prompt, estimated from above.
---@param request perilune.Request
---@return integer
function M.prompt_tokens(request)
  local sum = MARGIN_TOKENS
  for _, message in ipairs(request.messages) do
    local content = message.content
    if type(content) == "string" then
      sum = sum + math.max(#content // BYTES_A_TOKEN, tokens.of_message(message)) + 8
    else
      sum = sum + tokens.of_message(message) * 4 // 3 + 8
    end
  end
  return sum + tokens.of_tools(request.tools or {}) * 4 // 3 + bytes_beside(request) // BYTES_A_TOKEN
end


---What a request may cost at most, and how many tokens it may write so that this holds. Raises when not even the least that it can
---write is covered.
---@param rate perilune.Rate
---@param request perilune.Request
---@param available integer? micro-credits; nil: no limit
---@param output_tokens integer for a request that does not say how many
---@return integer amount
---@return integer? max_tokens what the request is clamped to
function M.shape(rate, request, available, output_tokens)
  local asked = request.max_completion_tokens or request.max_tokens
  local least = request.enable_thinking and thinking.TOKENS_MIN or 1 -- a lower limit is raised to this one
  local wanted = math.min(math.max(asked or output_tokens, least), TOKENS_MAX)
  local answers = math.min(request.n or 1, TOKENS_MAX)
  local base = bounded(M.prompt_tokens(request)) * math.max(rate.input, rate.cached)
  local function worst(count)
    return rate.request + of_millions(base + bounded(count * answers) * rate.output)
  end
  local amount = worst(wanted)
  if not available or amount <= available then
    return amount, rate.output > 0 and not asked and wanted or nil
  end
  local left = (available - rate.request) * MILLION - base
  local covered = rate.output > 0 and left > 0 and left // (rate.output * answers) or 0
  if covered < least then
    error(errors.new {
      kind = "quota", code = "insufficient_quota", retryable = false,
      message = ("The account of this key has not enough credits for this request: it may cost %s, and %s are free."):format(
        credits.text(worst(least)), credits.text(math.max(0, available))),
    }, 0)
  end
  covered = math.min(covered, wanted)
  return worst(covered), covered
end


---Raises: this model has no rate, and its caller has to pay.
---@param name string
function M.refuse(name)
  error(problem.new {
    status = 403, type = "permission_error", code = "model_not_priced", param = "model", is_retryable = false,
    message = ("The model '%s' has no price in credits here: the configuration can put it into a band (credits.bands), or say its price.")
      :format(name),
  }, 0)
end


return M
