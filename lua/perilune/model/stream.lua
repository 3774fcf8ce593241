-- Streams: the one thing between the agent loop and the socket. A stage makes one out of a function that gives the next
-- event and one that lets go; everything else (iteration, collecting, closing) is here, once.
local response = require "perilune.model.response"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.stream", __index = methods }

local is_terminal = { stop = true, error = true }


---@class perilune.Stream
---@field rows table[] one row for each attempt (docs/model.md), complete once the stream has ended

---@param next_event fun(): table? gives the next event; nil when there is none any more
---@param close? fun() lets go of what the events come from; called once
---@return perilune.Stream
function M.new(next_event, close)
  return setmetatable({
    next_event = next_event, on_close = close, collector = response.collector(), rows = {}, has_ended = false,
  }, metatable)
end


---A stream of events that are there already.
---@param events table[]
---@return perilune.Stream
function M.from_list(events)
  local position = 0
  return M.new(function()
    position = position + 1
    return events[position]
  end)
end


---The next event, for a stage that passes it on: it is not collected here, `so_far` does not know it.
---@return table?
function methods:pull()
  if self.has_ended then
    return nil
  end
  local event = self.next_event()
  if not event or is_terminal[event.type] then
    self.has_ended = true
  end
  return event
end


---The next event, or nil after `stop` or `error`.
---@return table?
function methods:next()
  local event = self:pull()
  if event then
    self.collector:add(event)
  end
  return event
end


---What has arrived so far, as a Response; `error` is set when it ended in one.
---@return perilune.Response
function methods:so_far()
  return self.collector:response()
end


---Reads the rest and returns the whole answer; raises the error the stream ended in.
---@return perilune.Response
function methods:response()
  while self:next() do end
  local answer = self:so_far()
  answer.stats = self.stats
  if answer.error then
    error(answer.error, 0)
  end
  return answer
end


---Cancels what is left. Harmless when called again.
function methods:close()
  self.has_ended = true
  local close = self.on_close
  self.on_close = nil
  if close then
    close()
  end
end


metatable.__call = methods.next
metatable.__close = methods.close

return M
