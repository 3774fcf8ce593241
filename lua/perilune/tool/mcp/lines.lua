-- Cuts bytes into lines, whatever the pieces they come in.
local errors = require "perilune.std.errors"

local M = {}

local methods = {}
local metatable = { __name = "perilune.mcp.Lines", __index = methods }


---@param bytes_max integer of one line
---@return perilune.mcp.Lines
function M.new(bytes_max)
  return setmetatable({ bytes_max = bytes_max, pieces = {}, size = 0 }, metatable)
end


---@class perilune.mcp.Lines
---@field bytes_max integer
---@field pieces string[] of the line that is not complete
---@field size integer their bytes

---The lines that these bytes complete, without their line feeds. After a failure nothing more can be fed.
---@param bytes string
---@return string[]?
---@return perilune.Error?
function methods:feed(bytes)
  local list, from = {}, 1
  while true do
    local at = bytes:find("\n", from, true)
    local piece = bytes:sub(from, at and at - 1)
    self.size = self.size + #piece
    if self.size > self.bytes_max then
      return nil, errors.new {
        kind = "bad_response", code = "limit", message = ("a line of more than %d bytes"):format(self.bytes_max),
      }
    end
    self.pieces[#self.pieces + 1] = piece
    if not at then
      return list
    end
    list[#list + 1] = table.concat(self.pieces)
    self.pieces, self.size = {}, 0
    from = at + 1
  end
end


return M
