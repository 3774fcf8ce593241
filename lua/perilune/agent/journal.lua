-- What a run shows, as it is kept: deltas of one kind are joined, and each batch of the run takes what has come since the one before.
-- Readers of another process, and of another day, see them with store/events.lua.
local clock = require "perilune.sys.clock"

local M = {}

local methods = {}
local metatable = { __name = "perilune.agent.journal", __index = methods }

---An answer that takes its time is written down this often, in seconds.
M.FLUSH_SECONDS = 0.5

local joined_by = { text = "text", thinking = "text", refusal = "text", tool_call_delta = "arguments" }


---@return table journal
function M.new()
  return setmetatable({ list = {}, flushed_at = clock.mono() }, metatable)
end


local function is_same_place(a, b)
  return a.type == b.type and a.choice == b.choice and a.index == b.index
end


local function copy(event)
  local kept = {}
  for name, value in pairs(event) do
    kept[name] = value
  end
  local err = event.error
  if err then
    kept.error = { kind = err.kind, code = err.code, message = err.message, status = err.status, provider = err.provider }
  end
  return kept
end


---@param event table
function methods:add(event)
  local list = self.list
  local last, field = list[#list], joined_by[event.type]
  if field and last and is_same_place(last, event) then
    local pieces = last.pieces
    if not pieces then
      pieces = { last[field] }
      last.pieces = pieces
    end
    pieces[#pieces + 1] = event[field]
  else
    list[#list + 1] = copy(event)
  end
end


---Is it time to write down what has come?
---@return boolean
function methods:is_due()
  return self.list[1] ~= nil and clock.mono() - self.flushed_at > M.FLUSH_SECONDS
end


---What has come since the last call, for a batch; nil when that is nothing.
---@return table[]?
function methods:take()
  self.flushed_at = clock.mono()
  local list = self.list
  if not list[1] then
    return nil
  end
  for _, event in ipairs(list) do
    if event.pieces then
      event[joined_by[event.type]] = table.concat(event.pieces)
      event.pieces = nil
    end
  end
  self.list = {}
  return list
end


return M
