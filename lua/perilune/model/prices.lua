-- What tokens cost, as published on a date. Money is whole nano-dollars; a price is nano-dollars per million tokens,
-- so that $0.075 is exact. An unknown model costs nil, never 0; so does what the table cannot know: audio, and
-- prompts longer than a price holds for.
local usages = require "perilune.model.usage"

local M = {}

local DOLLAR = 1000000000
local MILLION = 1000000


local function nano(dollars)
  return math.tointeger(math.floor(dollars * DOLLAR + 0.5))
end

-- Columns: model, input, cached input, output; then `write` (5 minutes) and `write_1h` where writing the cache costs,
-- `prompt_max` where longer prompts cost more, `note` where the published price needs a word. `date` is when the source
-- was checked. Aliases that move between models (…-latest) have no price.
local groups = {
  {
    provider = "openai", date = "2026-06-01", source = "https://developers.openai.com/api/docs/pricing",
    { "gpt-5.4", 2.50, 0.25, 15.00, prompt_max = 272000 },
    { "gpt-5.4-mini", 0.75, 0.075, 4.50 },
    { "gpt-5.4-nano", 0.20, 0.02, 1.25 },
    { "gpt-5", 1.25, 0.125, 10.00 },
    { "gpt-5-mini", 0.25, 0.025, 2.00 },
    { "gpt-5-nano", 0.05, 0.005, 0.40 },
    { "gpt-4.1", 2.00, 0.50, 8.00 },
    { "gpt-4.1-mini", 0.40, 0.10, 1.60 },
    { "gpt-4.1-nano", 0.10, 0.025, 0.40 },
    { "gpt-4o", 2.50, 1.25, 10.00 },
    { "gpt-4o-2024-05-13", 5.00, 5.00, 15.00 },
    { "gpt-4o-mini", 0.15, 0.075, 0.60 },
    { "o3", 2.00, 0.50, 8.00 },
    { "o4-mini", 1.10, 0.275, 4.40 },
  },
  {
    provider = "anthropic", date = "2026-10-24", source = "https://platform.claude.com/docs/en/about-claude/pricing",
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
    provider = "groq", date = "2026-06-04", source = "https://groq.com/pricing",
    { "llama-3.3-70b-versatile", 0.59, 0.59, 0.79 },
    { "llama-3.1-8b-instant", 0.05, 0.05, 0.08 },
    { "openai/gpt-oss-120b", 0.15, 0.075, 0.60 },
  },
  {
    provider = "mistral", date = "2026-11-21", source = "https://margindash.com/mistral-api-pricing",
    { "mistral-large-2512", 0.50, 0.50, 1.50 },
    { "mistral-medium-2508", 0.40, 0.40, 2.00 },
    { "mistral-small-2506", 0.10, 0.10, 0.30 },
  },
  {
    provider = "deepseek", date = "2026-10-27", source = "https://api-docs.deepseek.com/quick_start/pricing",
    { "deepseek-flash", 0.30, 0.006, 1.20, note = "peak hours; half of it at other times" },
    { "deepseek-v4-pro", 1.32, 0.044, 3.96, note = "peak hours; half of it at other times" },
  },
  {
    provider = "xai", date = "2026-07-13", source = "https://docs.x.ai/docs/models",
    { "grok-4.3", 1.25, 0.20, 2.50, prompt_max = 200000 },
    { "grok-4", 3.00, 0.75, 15.00, prompt_max = 128000 },
    { "grok-3", 3.00, 0.75, 15.00 },
    { "grok-3-mini", 0.30, 0.075, 0.50 },
  },
  { provider = "offline", date = "2026-11-21", source = "runs here", { "demo", 0, 0, 0 } },
}

---Every price, as a list of rows.
---@type perilune.Price[]
M.rows = {}

local by_name = {}

for _, group in ipairs(groups) do
  for _, row in ipairs(group) do
    local price = {
      provider = group.provider, model = row[1], date = group.date, source = group.source, note = row.note,
      input = nano(row[2]), cached = nano(row[3]), output = nano(row[4]),
      write = nano(row.write or row[2]), write_1h = nano(row.write_1h or row.write or row[2]),
      prompt_max = row.prompt_max,
    }
    M.rows[#M.rows + 1] = price
    by_name[price.provider .. "/" .. price.model] = price
  end
end


---The price of a model; a date at the end of its name may be missing in the table.
---@param provider string
---@param model string
---@return perilune.Price?
function M.get(provider, model)
  local name = provider .. "/" .. model
  return by_name[name] or by_name[(name:gsub("%-%d%d%d%d%-?%d%d%-?%d%d$", ""))]
end


local function is_count(value)
  return math.type(value) == "integer" and value > 0
end


-- Sums first, rounds once, to the nearest nano-dollar.
local function cost_of(price, usage)
  local read, written = usage.prompt_tokens_details or {}, usage.completion_tokens_details or {}
  if is_count(read.audio_tokens) or is_count(written.audio_tokens) then
    return nil
  elseif price.prompt_max and usage.prompt_tokens > price.prompt_max then
    return nil
  end
  local cached, kept = read.cached_tokens or 0, read.cache_write_tokens or 0
  local creation = usage.raw and usage.raw.cache_creation
  local long = type(creation) == "table" and creation.ephemeral_1h_input_tokens
  long = is_count(long) and math.min(long, kept) or 0
  local sum = (usage.prompt_tokens - cached - kept) * price.input + cached * price.cached
    + (kept - long) * price.write + long * price.write_1h + usage.completion_tokens * price.output
  return (sum + MILLION // 2) // MILLION
end


-- One answer may be billed in several parts, each perhaps for another model (Anthropic's `iterations`).
local function cost_of_iterations(provider, model, iterations)
  local sum = 0
  for _, iteration in ipairs(iterations) do
    local usage = usages.from_anthropic(iteration)
    local name = type(iteration) == "table" and type(iteration.model) == "string" and iteration.model or model
    local price = M.get(provider, name)
    local cost = usage and price and cost_of(price, usage)
    if not cost then
      return nil
    end
    sum = sum + cost
  end
  return sum
end


---What an answer cost, in nano-dollars; nil when that is not known. What the provider itself says wins over the table.
---@param provider string
---@param model string
---@param usage perilune.Usage?
---@return integer? cost
---@return perilune.Price? price the row that was used
function M.cost(provider, model, usage)
  if not usage then
    return nil
  end
  local raw = usage.raw or {}
  if provider == "openrouter" then
    return type(raw.cost) == "number" and nano(raw.cost) or nil
  elseif type(raw.iterations) == "table" and #raw.iterations > 0 then
    local cost = cost_of_iterations(provider, model, raw.iterations)
    return cost, cost and M.get(provider, model)
  end
  local price = M.get(provider, model)
  local cost = price and cost_of(price, usage)
  return cost, cost and price
end


---@class perilune.Price nano-dollars per million tokens
---@field provider string
---@field model string
---@field input integer
---@field cached integer
---@field output integer
---@field write integer
---@field write_1h integer
---@field prompt_max? integer the price holds for prompts up to this many tokens
---@field date string when it was read
---@field source string where it is published
---@field note? string

return M
