-- Server-sent events with their ids, which the host's own framer drops: a broken stream is taken up again after the last one.
local errors = require "perilune.std.errors"
local lines = require "perilune.tool.mcp.lines"

local M = {}

local methods = {}
local metatable = { __name = "perilune.mcp.Events", __index = methods }

local RETRY_SECONDS_MAX = 60


---@class perilune.mcp.Events
---@field last_id? string of the last complete event that had one
---@field retry? number seconds the server asks to wait before a stream is taken up again

---@param bytes_max integer of one event
---@return perilune.mcp.Events
function M.new(bytes_max)
  local self = setmetatable({ bytes_max = bytes_max }, metatable)
  self:restart()
  return self
end


---Forgets what is not complete: another stream begins. The last id stays.
function methods:restart()
  self.lines = lines.new(self.bytes_max)
  self.data, self.size, self.event, self.id, self.skip_feed = {}, 0, nil, self.last_id, false
end


-- A blank line ends an event. Only messages are wanted; an event without data still says how far we are.
local function finish(self, list)
  if #self.data > 0 and (self.event == nil or self.event == "message") then
    list[#list + 1] = table.concat(self.data, "\n")
  end
  self.data, self.size, self.event, self.last_id = {}, 0, nil, self.id
end


local fields = {}


function fields.data(self, value)
  self.size = self.size + #value + 1
  self.data[#self.data + 1] = value
end


function fields.event(self, value)
  self.event = value ~= "" and value or nil
end


function fields.id(self, value)
  if not value:find("\0", 1, true) then
    self.id = value ~= "" and value or nil
  end
end


function fields.retry(self, value)
  if value:find("^%d+$") then
    self.retry = math.min(tonumber(value) / 1000, RETRY_SECONDS_MAX)
  end
end


---The data of the messages that these bytes complete.
---@param bytes string not empty
---@return string[]?
---@return perilune.Error?
function methods:feed(bytes)
  local text = self.skip_feed and bytes:gsub("^\n", "") or bytes
  self.skip_feed = bytes:sub(-1) == "\r"
  local complete, err = self.lines:feed((text:gsub("\r\n?", "\n")))
  if not complete then
    return nil, err
  end
  local list = {}
  for _, line in ipairs(complete) do
    local name, value = line:match("^([^:]*):? ?(.*)$")
    if line == "" then
      finish(self, list)
    elseif fields[name] then
      fields[name](self, value)
    end
    if self.size > self.bytes_max then
      return nil, errors.new { kind = "bad_response", code = "limit", message = ("an event of more than %d bytes"):format(self.bytes_max) }
    end
  end
  return list
end


return M
