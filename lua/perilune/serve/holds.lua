-- Credits that are held for what this process answers. While it does, nobody lets go of them, whatever the clock says: an answer that
-- takes hours, or a clock that jumps, would else end a hold that is about to be settled. Those of processes that are gone are released.
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {}

-- One of ours that nobody serves any more (its settlement could not be written) is released after this.
local ORPHAN_SECONDS = 3600
local WRITE_SECONDS = 30

local served = {} -- the names of requests
local ours


local function owner()
  ours = ours or proc.self()
  return ours
end


---Holds credits for a request.
---@param db perilune.Database
---@param request_id string
---@param account_no integer
---@param amount integer micro-credits
---@return true?
---@return perilune.Error? err of kind `quota` when they are not there
function M.take(db, request_id, account_no, amount)
  local done, err = task.shield(WRITE_SECONDS, credits.hold, db, {
    request_id = request_id, account_no = account_no, amount = amount, owner = owner(), seconds = ORPHAN_SECONDS,
  })
  served[request_id] = done
  return done, err
end


local ending = {
  __close = function(self)
    served[self.request_id] = nil
  end,
}


---Ends a request in the books, and its hold if it has one.
---@param db perilune.Database
---@param settlement perilune.Settlement
---@return true?
---@return perilune.Error?
function M.settle(db, settlement)
  local _ <close> = setmetatable({ request_id = settlement.request_id }, ending)
  return credits.settle(db, settlement)
end


---Will somebody settle this open hold?
---@param hold { request_id: string, owner: string, expires_at: integer } as the database has it
---@return boolean
function M.is_served(hold)
  if hold.owner == owner() then
    return served[hold.request_id] ~= nil or hold.expires_at > clock.wall() * 1000
  end
  return proc.is_alive(hold.owner)
end


return M
