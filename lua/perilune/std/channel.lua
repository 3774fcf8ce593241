-- A bounded queue between tasks: `put` waits while it is full, `get` while it is empty. Closing it ends both sides.
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.std.channel", __index = methods }


---@param capacity integer how many values may wait
---@return table channel
function M.new(capacity)
  return setmetatable({
    values = {}, first = 1, last = 0, capacity = capacity, changed = task.signal(), is_closed = false,
  }, metatable)
end


---Adds a value; waits while the channel is full. False when the channel is closed: nobody will read it.
---@param value any not nil
---@return boolean
function methods:put(value)
  while not self.is_closed and self.last - self.first + 1 >= self.capacity do
    self.changed:wait()
  end
  if self.is_closed then
    return false
  end
  self.last = self.last + 1
  self.values[self.last] = value
  self.changed:wake()
  return true
end


---The next value; waits for one. Nil when the channel is closed and empty.
---@return any
function methods:get()
  while self.first > self.last do
    if self.is_closed then
      return nil
    end
    self.changed:wait()
  end
  local value = self.values[self.first]
  self.values[self.first] = nil
  self.first = self.first + 1
  self.changed:wake()
  return value
end


---No more values come; what is queued can still be read.
function methods:close()
  self.is_closed = true
  self.changed:wake()
end


return M
