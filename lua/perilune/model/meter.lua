-- The meter: measures one attempt (time to the first content, duration, tokens, cost) and leaves a row about it in
-- `stream.rows`. It goes around each call, below failover, because every attempt is a cost of its own.
local clock = require "perilune.sys.clock"
local prices = require "perilune.model.prices"
local stream = require "perilune.model.stream"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.meter", __index = methods }

local is_content = {
  text = true, thinking = true, refusal = true, tool_call_start = true, tool_call = true, image = true, audio = true,
}


---@param model table the model to measure
---@param target perilune.Target what it calls
---@param own_prices? table<string, perilune.OwnPrice> the user's prices, by "provider/model"
---@return table model
function M.new(model, target, own_prices)
  return setmetatable({ model = model, target = target, own_prices = own_prices }, metatable)
end


local function milliseconds(from)
  return math.floor((clock.mono() - from) * 1000 + 0.5)
end


local function take_usage(row, self, usage)
  local prompt, completion = usage.prompt_tokens_details or {}, usage.completion_tokens_details or {}
  row.prompt_tokens = usage.prompt_tokens
  row.completion_tokens = usage.completion_tokens
  row.cached_tokens = prompt.cached_tokens
  row.cache_write_tokens = prompt.cache_write_tokens
  row.reasoning_tokens = completion.reasoning_tokens
  row.estimated = usage.estimated or false
  row.cost_nano, row.price = prices.cost(self.target.name, self.target.model, usage, self.own_prices)
  usage.cost = row.cost_nano
end


-- Completes the row with what this event says.
local function note(row, self, event, started)
  if not row.first_event_ms and is_content[event.type] then
    row.first_event_ms = milliseconds(started)
  end
  if event.type == "usage" then
    take_usage(row, self, event.usage)
  elseif event.type == "stop" then
    row.outcome = "ok"
  elseif event.type == "error" then
    row.outcome, row.status, row.error = event.error.kind, event.error.status, event.error.message
  end
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local target, started = self.target, clock.mono()
  local row = { provider = target.name, model = target.model, outcome = "cancelled", started_at = clock.wall() }
  local inner = self.model:stream(request, limits)
  local metered = stream.new(function()
    local event = inner:pull()
    if event then
      note(row, self, event, started)
    end
    row.duration_ms = milliseconds(started)
    return event
  end, function()
    row.duration_ms = row.duration_ms or milliseconds(started)
    inner:close()
  end)
  metered.rows[1] = row
  return metered
end


return M
