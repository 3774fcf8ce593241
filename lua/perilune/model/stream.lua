-- Streams: the one thing between the agent loop and the socket. A stage makes one out of a function that gives the next
-- event and one that lets go; everything else (iteration, collecting, closing, cancelling) is here, once.
local cancellation = require "perilune.model.cancellation"
local check = require "perilune.std.check"
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
  return setmetatable({ next_event = next_event, on_close = close, rows = {}, has_ended = false }, metatable)
end


-- What a consumer reads is collected; a stage's stream, which is only pulled, collects nothing.
local function collector_of(self)
  local collector = self.collector
  if not collector then
    collector = response.collector()
    self.collector = collector
  end
  return collector
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


-- A token has nothing to cancel any more.
local function leave_tokens(self)
  local entered = self.entered
  if entered then
    self.entered = nil
    for token, place in pairs(entered) do
      token:leave(place)
    end
  end
end


-- What a stream that has ended still gives: the error of a cancel, once.
local function take_last(self)
  local last = self.last
  self.last = nil
  return last
end


---The next event, for a stage that passes it on: it is not collected here, `so_far` does not know it.
---@return table?
function methods:pull()
  if self.has_ended then
    return take_last(self)
  end
  local event = self.next_event()
  if self.has_ended then -- by another task, while this one waited
    return take_last(self)
  elseif not event or is_terminal[event.type] then
    self.has_ended = true
    leave_tokens(self)
  end
  return event
end


---The next event, or nil after `stop` or `error`.
---@return table?
function methods:next()
  local event = self:pull()
  if event then
    collector_of(self):add(event)
  end
  return event
end


---What has arrived so far, as a Response; `error` is set when it ended in one.
---@return perilune.Response
function methods:so_far()
  return collector_of(self):response()
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


---Ends the stream in an `error` event of kind `cancelled`, also while another task waits for its next event. What it comes from
---is let go at once. Harmless when it has ended.
---@param reason? "user_requested"|"timeout"|"error"|"shutdown"
function methods:cancel(reason)
  if not self.has_ended then
    self.last = { type = "error", error = cancellation.error(reason or "user_requested") }
    self:close()
  end
end


---Lets a token cancel this stream, until it ends.
---@param token perilune.CancelToken
---@return perilune.Stream self
function methods:with_cancellation(token)
  if not cancellation.is_token(token) then
    check.fail("stream:with_cancellation: expected a token of perilune.cancel_pair, got " .. type(token))
  elseif token.reason then
    self:cancel(token.reason)
  elseif not self.has_ended then
    self.entered = self.entered or {}
    self.entered[token] = self.entered[token] or token:enter(self)
  end
  return self
end


---Cancels what is left: the end for whoever waits in `next`. Harmless when called again.
function methods:close()
  self.has_ended = true
  leave_tokens(self)
  local close = self.on_close
  self.on_close = nil
  if close then
    close()
  end
end


metatable.__call = methods.next
metatable.__close = methods.close

return M
