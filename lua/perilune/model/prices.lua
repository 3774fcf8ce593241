-- What tokens cost, as published on a date. Money is whole nano-dollars; a price is nano-dollars per million tokens,
-- so that $0.075 is exact. What the provider itself says an answer cost wins, then the user's own prices, then this table.
-- A cost that is not known is nil, never 0: an unknown model, a prompt longer than a price holds for, another tier of
-- service, audio or searches that the price says nothing about.
local usages = require "perilune.model.usage"

local M = {}

local DOLLAR = 1000000000
local MILLION = 1000000
local TICKS_PER_NANO = 10 -- xAI: 10^10 ticks are a dollar


local function nano(dollars)
  return math.tointeger(math.floor(dollars * DOLLAR + 0.5))
end

-- Columns: model, input, cached input, output; then `write` (5 minutes) and `write_1h` where writing the cache costs, and
-- `prompt_max` where longer prompts cost more. `date` is the day for which the source gives the price, `via` who read the
-- vendor's page where it is not the page itself. Not here: aliases that move between models (...-latest), and vendors whose
-- price depends on the hour (DeepSeek).
local groups = {
  {
    provider = "openai", date = "2026-05-04", source = "https://developers.openai.com/api/docs/pricing",
    via = "github.com/api-evangelist/openai plans/openai-plans-pricing.yml",
    { "gpt-5.4", 2.50, 0.25, 15.00, prompt_max = 272000 },
    { "gpt-5.4-mini", 0.75, 0.075, 4.50 },
    { "gpt-5.4-nano", 0.20, 0.02, 1.25 },
  },
  {
    provider = "openai", date = "2025-11-13", source = "https://platform.openai.com/docs/pricing",
    via = "github.com/pydantic/genai-prices prices/providers/openai.yml",
    { "gpt-5", 1.25, 0.125, 10.00 },
    { "gpt-5-mini", 0.25, 0.025, 2.00 },
    { "gpt-5-nano", 0.05, 0.005, 0.40 },
  },
  {
    provider = "openai", date = "2025-07-04", source = "https://platform.openai.com/docs/pricing",
    via = "github.com/pydantic/genai-prices prices/providers/openai.yml",
    { "gpt-4.1", 2.00, 0.50, 8.00 },
    { "gpt-4.1-mini", 0.40, 0.10, 1.60 },
    { "gpt-4.1-nano", 0.10, 0.025, 0.40 },
    { "gpt-4o", 2.50, 1.25, 10.00 },
    { "gpt-4o-mini", 0.15, 0.075, 0.60 },
    { "o3", 2.00, 0.50, 8.00 },
    { "o4-mini", 1.10, 0.275, 4.40 },
  },
  {
    provider = "openai", date = "2025-06-03", source = "https://platform.openai.com/docs/pricing",
    via = "hex.pm/packages/openai_responses lib/responses/pricing.ex",
    { "gpt-4o-2024-05-13", 5.00, 5.00, 15.00 }, -- read from a cache, it costs what it costs
  },
  {
    provider = "anthropic", date = "2026-10-24", source = "https://platform.claude.com/docs/en/about-claude/pricing",
    via = "github.com/kurofune/claudit v1.9.2",
    { "claude-opus-5-5", 4.00, 0.20, 20.00, write = 5.00, write_1h = 8.00 },
    { "claude-opus-5", 5.00, 0.50, 25.00, write = 6.25, write_1h = 10.00 },
    { "claude-opus-4-6", 5.00, 0.50, 25.00, write = 6.25, write_1h = 10.00 },
    { "claude-opus-4-5", 5.00, 0.50, 25.00, write = 6.25, write_1h = 10.00 },
    { "claude-opus-4-1", 15.00, 1.50, 75.00, write = 18.75, write_1h = 30.00 },
    { "claude-sonnet-5-5", 2.00, 0.10, 10.00, write = 2.50, write_1h = 4.00 },
    { "claude-sonnet-5", 2.00, 0.20, 10.00, write = 2.50, write_1h = 4.00 },
    { "claude-sonnet-4-6", 3.00, 0.30, 15.00, write = 3.75, write_1h = 6.00 },
    { "claude-sonnet-4-5", 3.00, 0.30, 15.00, write = 3.75, write_1h = 6.00, prompt_max = 200000 },
    { "claude-haiku-5-5", 0.10, 0.01, 0.50, write = 0.125, write_1h = 0.20, prompt_max = 100000 },
    { "claude-haiku-4-5", 1.00, 0.10, 5.00, write = 1.25, write_1h = 2.00 },
  },
  {
    provider = "mistral", date = "2026-06-09", source = "https://mistral.ai/pricing",
    via = "github.com/pydantic/genai-prices prices/providers/mistral.yml",
    { "mistral-large-2512", 0.50, 0.05, 1.50 },
    { "mistral-medium-2508", 0.40, 0.04, 2.00 },
    { "mistral-small-2603", 0.15, 0.015, 0.60 },
  },
  {
    provider = "xai", date = "2026-05-19", source = "https://docs.x.ai/docs/models",
    { "grok-4.3", 1.25, 0.20, 2.50, prompt_max = 200000 },
  },
  { provider = "offline", date = "2026-11-21", source = "runs here", { "demo", 0, 0, 0 } },
}


-- A price out of dollars per million tokens. Writing a cache costs what reading costs unless it is said.
local function new_price(dollars)
  local write = dollars.write or dollars.input
  return {
    input = nano(dollars.input), cached = nano(dollars.cached or dollars.input), output = nano(dollars.output),
    write = nano(write), write_1h = nano(dollars.write_1h or write), prompt_max = dollars.prompt_max,
    audio_input = dollars.audio_input and nano(dollars.audio_input),
    audio_output = dollars.audio_output and nano(dollars.audio_output),
  }
end


---Every price, as a list of rows.
---@type perilune.Price[]
M.rows = {}

local by_name = {}

for _, group in ipairs(groups) do
  for _, row in ipairs(group) do
    local price = new_price {
      input = row[2], cached = row[3], output = row[4], write = row.write, write_1h = row.write_1h, prompt_max = row.prompt_max,
    }
    price.provider, price.model = group.provider, row[1]
    price.date, price.source, price.via = group.date, group.source, group.via
    M.rows[#M.rows + 1] = price
    by_name[price.provider .. "/" .. price.model] = price
  end
end


local function find(prices, name)
  return prices[name] or prices[(name:gsub("%-%d%d%d%d%-?%d%d%-?%d%d$", ""))]
end


---The price of a model; a date at the end of its name may be missing in the table.
---@param provider string
---@param model string
---@param own? table<string, perilune.OwnPrice> the user's prices, by "provider/model"
---@return perilune.Price?
function M.get(provider, model, own)
  local name = provider .. "/" .. model
  local dollars = own and find(own, name)
  if dollars then
    local price = new_price(dollars)
    price.provider, price.model, price.source = provider, model, "configuration"
    return price
  end
  return find(by_name, name)
end


-- The words for the service that a price is for; other tiers cost more or less.
local usual_tiers = { default = true, standard = true, auto = true, on_demand = true }


-- Does the price say everything about this answer?
local function holds(price, usage, buckets)
  local raw = usage.raw or {}
  local tools = raw.server_tool_use
  if price.prompt_max and usage.prompt_tokens > price.prompt_max then
    return false
  elseif usage.service_tier and not usual_tiers[usage.service_tier] then
    return false
  elseif type(tools) == "table" and type(tools.web_search_requests) == "number" and tools.web_search_requests > 0 then
    return false -- searches are billed beside the tokens
  end
  return (buckets.audio_input == 0 or price.audio_input ~= nil) and (buckets.audio_output == 0 or price.audio_output ~= nil)
end


-- Sums first, rounds once, to the nearest nano-dollar.
local function cost_of(price, usage)
  local part = usages.buckets(usage)
  if not holds(price, usage, part) then
    return nil
  end
  local sum = part.input * price.input + part.cache_read * price.cached + part.output * price.output
    + (part.cache_write - part.cache_write_1h) * price.write + part.cache_write_1h * price.write_1h
    + part.audio_input * (price.audio_input or 0) + part.audio_output * (price.audio_output or 0)
  return (sum + MILLION // 2) // MILLION
end


-- One answer may be billed in several parts, each perhaps for another model (Anthropic's `iterations`).
local function cost_of_iterations(provider, model, iterations, own)
  local sum = 0
  for _, iteration in ipairs(iterations) do
    local usage = usages.from_anthropic(iteration)
    local name = type(iteration) == "table" and type(iteration.model) == "string" and iteration.model or model
    local price = M.get(provider, name, own)
    local cost = usage and price and cost_of(price, usage)
    if not cost then
      return nil
    end
    sum = sum + cost
  end
  return sum
end


local function dollars(value)
  return type(value) == "number" and value >= 0 and nano(value) or nil
end


-- Vendors that say what an answer cost. With a key of the user's own behind it, OpenRouter's cost is its fee alone.
local reported = {
  openrouter = function(raw)
    local cost = dollars(raw.cost)
    local details = type(raw.cost_details) == "table" and raw.cost_details or {}
    return cost and raw.is_byok == true and cost + (dollars(details.upstream_inference_cost) or 0) or cost
  end,
  xai = function(raw)
    local ticks = raw.cost_in_usd_ticks
    return math.type(ticks) == "integer" and ticks >= 0 and (ticks + TICKS_PER_NANO // 2) // TICKS_PER_NANO or nil
  end,
  perplexity = function(raw)
    return type(raw.cost) == "table" and dollars(raw.cost.total_cost) or nil
  end,
}


---What an answer cost, in nano-dollars; nil when that is not known.
---@param provider string
---@param model string
---@param usage perilune.Usage?
---@param own? table<string, perilune.OwnPrice> the user's prices, by "provider/model"
---@return integer? cost
---@return perilune.Price? price the row that was used
function M.cost(provider, model, usage, own)
  if not usage then
    return nil
  end
  local raw = usage.raw or {}
  local said = reported[provider] and reported[provider](raw)
  if said then
    return said
  end
  local price = M.get(provider, model, own)
  local cost
  if type(raw.iterations) == "table" and #raw.iterations > 0 then
    cost = cost_of_iterations(provider, model, raw.iterations, own)
  else
    cost = price and cost_of(price, usage)
  end
  return cost, cost and price
end


---@class perilune.OwnPrice dollars per million tokens
---@field input number
---@field output number
---@field cached? number read from the provider's cache; default: like input
---@field write? number written to it; default: like input
---@field write_1h? number written for an hour; default: like write
---@field audio_input? number
---@field audio_output? number
---@field prompt_max? integer the price holds for prompts up to this many tokens

---@class perilune.Price nano-dollars per million tokens
---@field provider string
---@field model string
---@field input integer
---@field cached integer
---@field output integer
---@field write integer
---@field write_1h integer
---@field audio_input? integer
---@field audio_output? integer
---@field prompt_max? integer the price holds for prompts up to this many tokens
---@field source string where it is published, or "configuration"
---@field date? string the day it was published there
---@field via? string who read it there

return M
