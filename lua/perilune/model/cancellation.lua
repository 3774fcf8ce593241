-- Cancellation from outside: a token says "stop" to the calls it was given to, its handle decides when. A call is whatever has
-- `:cancel(reason)`: a stream, a task. Tokens hold calls weakly: one that nobody reads any more does not live for its token.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local task = require "perilune.sys.task"

local M = {}

---Why something is cancelled.
M.reasons = { "user_requested", "timeout", "error", "shutdown" }

---@class perilune.CancelToken
---@field reason? string why it was cancelled; nil before
local token_methods = {}
local token_metatable = { __name = "perilune.cancel_token", __index = token_methods }

---@class perilune.CancelHandle
---@field state "active"|"cancelling"|"cancelled" cancelling: some of the calls have not ended yet
---@field reason? string
local handle_methods = {}
local handle_metatable = { __name = "perilune.cancel_handle" }


-- Calls by number, so that they are cancelled in the order they came.
local weak_values = { __mode = "v" }


---A token to give to calls, and the handle that cancels them.
---@return perilune.CancelToken
---@return perilune.CancelHandle
function M.pair()
  local token = setmetatable({ calls = setmetatable({}, weak_values), last = 0 }, token_metatable)
  return token, setmetatable({ token = token }, handle_metatable)
end


---The error of a call that was cancelled.
---@param reason string
---@return perilune.Error
function M.error(reason)
  return errors.new { kind = "cancelled", code = "cancelled", message = "the request was cancelled", reason = reason }
end


---@param value any
---@return boolean
function M.is_token(value)
  return getmetatable(value) == token_metatable
end


---@return boolean
function token_methods:is_cancelled()
  return self.reason ~= nil
end


---From now on a cancel reaches this call. The token is not cancelled yet.
---@param call { cancel: fun(self, reason: string) }
---@return integer place for `leave`
function token_methods:enter(call)
  self.last = self.last + 1
  self.calls[self.last] = call
  return self.last
end


---The call has ended.
---@param place integer
function token_methods:leave(place)
  self.calls[place] = nil
end


---Cancels every call the token was given to, and those it will be given to. Only the first time counts.
---@param reason? "user_requested"|"timeout"|"error"|"shutdown"
function handle_methods:cancel(reason)
  local token = self.token
  reason = reason or "user_requested"
  check.choice("handle:cancel: reason", reason, M.reasons)
  if token.reason then
    return
  end
  token.reason = reason
  local places = {}
  for place in pairs(token.calls) do
    places[#places + 1] = place
  end
  table.sort(places)
  for _, place in ipairs(places) do
    local call = token.calls[place]
    if call then
      call:cancel(reason)
    end
  end
end


function handle_metatable.__index(self, name)
  local token = self.token
  if name == "state" then
    return not token.reason and "active" or next(token.calls) and "cancelling" or "cancelled"
  elseif name == "reason" then
    return token.reason
  end
  return handle_methods[name]
end


local leaving = { __close = function(self)
  self.token:leave(self.place)
end }


---Runs f(...), which is no stream, so that the token can cancel it: as a task of its own, with the deadline of the running one.
---Returns its results or raises its error; does not begin when the token is cancelled already.
---@param token? perilune.CancelToken nil: just calls f(...)
---@param f function
---@param ... any
---@return any ...
function M.run(token, f, ...)
  if not token then
    return f(...)
  elseif token.reason then
    error(M.error(token.reason), 0)
  end
  local seconds = task.remaining()
  local group <close> = task.group()
  local child = seconds and group:spawn(task.deadline, seconds, f, ...) or group:spawn(f, ...)
  local entered <close> = setmetatable({ token = token, place = token:enter(child) }, leaving) -- luacheck: ignore 211
  return child:wait()
end


return M
