-- The stage that looks at what a model answers, for the log and the metrics of a server: who answered, how soon, how much. It changes
-- nothing.
local clock = require "perilune.sys.clock"
local stream = require "perilune.model.stream"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.observed", __index = methods }

local is_content = {
  text = true, thinking = true, refusal = true, tool_call_start = true, tool_call = true, image = true, audio = true,
}


---@param model table
---@param exchange perilune.Exchange whose answer it is
---@param name string "provider/model"
---@return table model
function M.new(model, exchange, name)
  return setmetatable({ model = model, exchange = exchange, name = name }, metatable)
end


local function note(self, seen, event)
  local kind, exchange = event.type, self.exchange
  if kind == "text" then
    seen.first = seen.first or clock.mono()
  elseif kind == "start" then
    seen.provider, seen.model = event.provider, event.model
    exchange.provider = event.provider
  elseif kind == "usage" then
    seen.usage = event.usage
    exchange.usage = event.usage
  elseif kind == "attempt" then
    exchange.attempts = (exchange.attempts or 0) + 1
    exchange.fallbacks = (exchange.fallbacks or 0) + (event.reason == "failed" and 1 or 0)
  elseif kind == "stop" or kind == "error" then
    seen.is_over = true
    local provider, model = self.name:match("^([^/]+)/(.+)$")
    exchange.server.metrics:model {
      operation = "chat", provider = seen.provider or provider or "unknown", model = model or self.name, usage = seen.usage,
      seconds = clock.mono() - seen.started, first_content = seen.first and seen.first - seen.started,
    }
  elseif is_content[kind] then
    seen.first = seen.first or clock.mono()
  end
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local inner, seen = self.model:stream(request, limits), { started = clock.mono() }
  local outer = stream.new(function()
    local event = inner:pull()
    if event then
      note(self, seen, event)
    end
    return event
  end, function()
    inner:close()
  end)
  outer.rows = inner.rows
  return outer
end


return M
