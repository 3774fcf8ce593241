-- What the state of a run is called in each family of endpoints: one table for all views of a run.
local M = {}


---@class perilune.serve.State
---@field run string of the Assistants family
---@field response string of the Responses family
---@field is_terminal boolean

local states = {
  queued = { run = "queued", response = "queued", is_terminal = false },
  running = { run = "in_progress", response = "in_progress", is_terminal = false },
  cancelling = { run = "cancelling", response = "in_progress", is_terminal = false },
  waiting_tool = { run = "requires_action", response = "completed", is_terminal = false },
  waiting_approval = { run = "requires_action", response = "in_progress", is_terminal = false },
  completed = { run = "completed", response = "completed", is_terminal = true },
  incomplete = { run = "incomplete", response = "incomplete", is_terminal = true },
  failed = { run = "failed", response = "failed", is_terminal = true },
  cancelled = { run = "cancelled", response = "cancelled", is_terminal = true },
  expired = { run = "expired", response = "failed", is_terminal = true },
}


---The state of a run.
---@param row perilune.RunRow
---@return perilune.serve.State
function M.of(row)
  if row.cancel_at and not row.finished_at then
    return states.cancelling
  end
  return states[row.status]
end


---What a status of ours is called.
---@param status string
---@return perilune.serve.State
function M.named(status)
  return states[status]
end


return M
