-- Summaries: what stands in a request for the older messages of a thread, which stay as they are. They are written in the batches of
-- store/runs.lua.
local rows = require "perilune.store.rows"

local M = {}

local time_columns = { "created_at" }


---@class perilune.SummaryRow
---@field upto_seq integer the last message that it stands for
---@field body string
---@field run_id? string that made it
---@field created_at number

---The one that reaches furthest; false when there is none.
---@param db perilune.Database
---@param thread string|{ id: string }
---@return perilune.SummaryRow|false|nil
---@return perilune.Error?
function M.latest(db, thread)
  local list, err = db:read("summary_latest", { thread_id = rows.id(thread) })
  if not list then
    return nil, err
  end
  return list[1] and rows.decode(list[1], {}, time_columns) or false
end


return M
