-- Events of runs: what a reader sees, numbered from 1 without gaps, kept so that one who comes back, even after a restart, goes on
-- where it was. A batch of a run holds those since the one before.
local json = require "perilune.json"
local rows = require "perilune.store.rows"

local M = {}

local LIST_MAX = 1000


---@param run perilune.RunRow
---@param list table[] at least one
---@param now integer
---@return perilune.StoreCall|nil
---@return perilune.Error?
function M.add_call(run, list, now)
  local body, err = json.encode(list, { repair = true })
  if not body then
    return nil, err
  end
  return { "event_add", {
    run_id = run.id, owner = run.lease_owner, epoch = run.lease_epoch, count = #list, body = body, now = now,
  }, expect = 1 }
end


---The events after this one, in order, each with its `seq`.
---@param db perilune.Database
---@param run string|{ id: string }
---@param after integer 0: from the beginning
---@return table[]|nil
---@return perilune.Error?
function M.list(db, run, after)
  local list, err = db:read("event_list", { run_id = rows.id(run), after = after, limit = LIST_MAX })
  if not list then
    return nil, err
  end
  local events = {}
  for _, row in ipairs(list) do
    local values
    values, err = json.decode(row.body)
    if not values then
      return nil, err
    end
    for position, event in ipairs(values) do
      event.seq = row.first_seq + position - 1
      if event.seq > after then
        events[#events + 1] = event
      end
    end
  end
  return events
end


---The last event of a run.
---@param db perilune.Database
---@param run string|{ id: string }
---@return table|false|nil event false: there is none
---@return perilune.Error?
function M.last(db, run)
  local list, err = db:read("event_last", { run_id = rows.id(run) })
  if not list then
    return nil, err
  elseif not list[1] then
    return false
  end
  local values
  values, err = json.decode(list[1].body)
  return values and values[#values], err
end


return M
