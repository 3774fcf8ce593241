-- What looks at the answers of models for the log and the metrics of a server: who answered, how soon, how much. It changes nothing.
local clock = require "perilune.sys.clock"

local M = {}

local is_content = {
  text = true, thinking = true, refusal = true, tool_call_start = true, tool_call = true, image = true, audio = true,
}


local function note_content(exchange, seen)
  seen.first = seen.first or clock.mono()
  exchange.has_content = true
end


local function note_start(exchange, seen, event)
  seen.provider = event.provider
  exchange.provider = event.provider
end


local function note_attempt(exchange, event)
  exchange.attempts = (exchange.attempts or 0) + 1
  exchange.fallbacks = (exchange.fallbacks or 0) + (event.reason == "failed" and 1 or 0)
end


local function note_end(exchange, seen, name)
  local provider, model = name:match("^([^/]+)/(.+)$")
  exchange.server.metrics:model {
    operation = "chat", provider = seen.provider or provider or "unknown", model = model or name, usage = seen.usage,
    seconds = clock.mono() - seen.started, first_content = seen.first and seen.first - seen.started,
  }
end


---What is called with every event of an answer, and something of the answer's own to remember things in.
---@param exchange perilune.Exchange whose answer it is
---@param name string "provider/model"
---@return fun(seen: { started: number }, event: table)
function M.new(exchange, name)
  return function(seen, event)
    local kind = event.type
    if is_content[kind] then
      note_content(exchange, seen)
    elseif kind == "start" then
      note_start(exchange, seen, event)
    elseif kind == "usage" then
      seen.usage, exchange.usage = event.usage, event.usage
    elseif kind == "attempt" then
      note_attempt(exchange, event)
    elseif kind == "stop" or kind == "error" then
      note_end(exchange, seen, name)
    end
  end
end


return M
