-- A client's own limits, as a stage around any model: so many requests at once, so many in a second. A request that must wait does so
-- when its first event is asked for; when it waits in vain its stream ends in an `overloaded` error.
local failover = require "perilune.sys.failover"
local stream = require "perilune.model.stream"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.limit", __index = methods }

-- How long a request waits for its turn, when its caller has set no time.
M.QUEUE_SECONDS = 60


---@param model table the model to wrap
---@param limiter perilune.Limiter shared by every model of a client
---@return table model
function M.new(model, limiter)
  return setmetatable({ model = model, limiter = limiter }, metatable)
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local limiter = self.limiter
  local is_taken, is_closed, pause, inner = limiter:acquire(0), false, nil, nil
  if is_taken then
    inner = self.model:stream(request, limits)
  else
    pause = failover.pause()
  end
  local outer
  outer = stream.new(function()
    if not inner then
      local has_turn, err = limiter:acquire(limits and limits.total or M.QUEUE_SECONDS, pause)
      if not has_turn then
        return { type = "error", error = err }
      elseif is_closed then
        limiter:release()
        return nil
      end
      is_taken = true
      inner = self.model:stream(request, limits)
      outer.rows = inner.rows
    end
    local event = inner:pull()
    if is_taken and (not event or event.type == "stop" or event.type == "error") then
      is_taken = false
      limiter:release()
    end
    return event
  end, function()
    is_closed = true
    if pause then
      pause:wake()
    end
    if inner then
      inner:close()
    end
    if is_taken then
      is_taken = false
      limiter:release()
    end
  end)
  if inner then
    outer.rows = inner.rows
  end
  return outer
end


return M
