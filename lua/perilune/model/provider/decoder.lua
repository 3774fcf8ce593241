-- What every decoder does alike: frames are JSON, a broken one ends the answer (unless it is the cut end of a stream), an error
-- is the last event, and so is whatever the end of the body says. A format adds how it reads a frame.
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

local methods = {}

local REPAIR = wire.REPAIR


---@class perilune.Format
---@field name string for metatables
---@field state fun(self: table) fills in what the format keeps while it reads; `status`, `request`, `target` are there
---@field read fun(self: table, events: table[], root: table, event_name: string?) one frame; calls `fail` or sets `is_over` at the end
---@field ended fun(self: table): table[]? the body has ended: the last events of a complete answer, nil when it is not one
---@field usage fun(raw: any): perilune.Usage?
---@field missing string what is wrong when one frame came and it was no answer: "the answer is not a message"
---@field marker? fun(self: table, data: string): table[]? frames that are no JSON and mean something ("[DONE]")

---A value that is a text with something in it, else nil.
---@param value any
---@return string?
function M.text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


---A value that is a table, else an empty one.
---@param value any
---@return table
function M.list(value)
  return type(value) == "table" and value or {}
end


---Adds a `usage` event when `self.usage` can be counted.
---@param self table
---@param events table[]
function M.push_usage(self, events)
  local counted = self.format.usage(self.usage)
  if counted then
    events[#events + 1] = { type = "usage", usage = counted }
  end
end


---Ends the answer in an error.
---@param self table
---@param events table[]
---@param err perilune.Error
---@return table[] events
function M.fail(self, events, err)
  M.push_usage(self, events)
  events[#events + 1] = { type = "error", error = err }
  self.is_over = true
  return events
end


local function malformed(self, data)
  if self.frames > 0 and not self.broken then
    self.broken = data -- the last frame of a stream may be cut; whether it is the last shows later
    return {}
  end
  local reason = self.frames > 0 and "a part of the stream is not JSON" or "the answer is not JSON"
  return M.fail(self, {}, failure.from_bytes(self.broken or data, reason, self))
end


---Takes one frame.
---@param data string
---@param event_name? string
---@return table[] events
function methods:feed(data, event_name)
  if self.is_over then
    return {}
  end
  local marker = self.format.marker
  local marked = marker and not self.broken and marker(self, data)
  if marked then
    return marked
  end
  local root = not self.broken and json.decode(data, REPAIR)
  if type(root) ~= "table" then
    return malformed(self, data)
  end
  self.frames = self.frames + 1
  local events = {}
  self.format.read(self, events, root, event_name)
  return events
end


---Says that the body has ended.
---@return table[] events
function methods:finish()
  if self.is_over then
    return {}
  end
  local events = self.format.ended(self)
  if events then
    return events
  elseif self.frames == 0 and (self.status or 200) >= 400 then
    return M.fail(self, {}, failure.from_bytes(nil, "an empty answer", self))
  elseif self.frames == 1 and not self.broken and not self.is_started then
    return M.fail(self, {}, failure.from_bytes(nil, self.format.missing, self))
  end
  return M.fail(self, {}, failure.interrupted(self.stop_reason))
end


---The constructor of a format's decoders.
---@param format perilune.Format
---@return fun(options: { status: integer?, request: table?, target: table? }?): perilune.Decoder
function M.define(format)
  local metatable = { __name = ("perilune.model.provider.%s.decoder"):format(format.name), __index = methods }
  return function(options)
    options = options or {}
    local self = setmetatable({
      format = format, status = options.status, request = options.request or {}, target = options.target or {}, frames = 0,
      is_started = false, has_content = false, is_over = false,
    }, metatable)
    format.state(self)
    return self
  end
end


return M
