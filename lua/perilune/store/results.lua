-- Tool results, whole: a request gets the beginning of a long one, and its id.
local rows = require "perilune.store.rows"

local M = {}


---@param db perilune.Database
---@param id string
---@param thread string|{ id: string } only of this thread
---@return string|nil body
---@return perilune.Error?
function M.get(db, id, thread)
  local list, err = db:read("result_get", { id = id, thread_id = rows.id(thread) })
  local row
  row, err = rows.one(list, err, "result", id)
  return row and row.body, err
end


return M
