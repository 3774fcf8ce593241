-- What looks at the answers of models for the headers, the log and the metrics of a server: who answered, how soon, how much, after how
-- many requests. It changes nothing.
local clock = require "perilune.sys.clock"

local M = {}

local is_content = {
  text = true, thinking = true, refusal = true, tool_call_start = true, tool_call = true, image = true, audio = true,
}


local function note_content(exchange, seen)
  seen.first = seen.first or clock.mono()
  exchange.has_content = true
end


-- A target that is passed over before anybody was asked is whom the question was meant for.
local function note_attempt(seen, event)
  if seen.meant == nil then
    seen.meant = event.reason == "skipped" and event
  end
end


-- Counts the requests that this question has led to by now, and how often another target was asked than before.
local function count_requests(exchange, seen)
  local rows, last, fallbacks = seen.inner.rows, seen.meant, 0
  for _, row in ipairs(rows) do
    if last and (row.provider ~= last.provider or row.model ~= last.model) then
      fallbacks = fallbacks + 1
    end
    last = row
  end
  exchange.attempts = (exchange.attempts or 0) + #rows - (seen.attempts or 0)
  exchange.fallbacks = (exchange.fallbacks or 0) + fallbacks - (seen.fallbacks or 0)
  seen.attempts, seen.fallbacks = #rows, fallbacks
end


local function note_start(exchange, seen, event)
  seen.provider, exchange.provider = event.provider, event.provider
  count_requests(exchange, seen)
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
---@return fun(seen: { started: number, inner: perilune.Stream }, event: table)
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
      note_attempt(seen, event)
    elseif kind == "stop" or kind == "error" then
      count_requests(exchange, seen)
      note_end(exchange, seen, name)
    end
  end
end


return M
