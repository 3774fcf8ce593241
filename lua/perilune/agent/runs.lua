-- The functions of perilune.runs: by id, whatever process a run belongs to.
local check = require "perilune.std.check"
local resumption = require "perilune.agent.resumption"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"

local M = {}

local list_types = { thread = "string|table", status = "string", limit = "integer", after = "string" }


---The run of that id; raises when there is none.
---@param app perilune.App
---@param id string
---@return perilune.Run
function M.get(app, id)
  check.string("perilune.runs.get: the id", id)
  return run_object.get(app, id)
end


---Rows of runs, the newest first.
---@param app perilune.App
---@param options? { thread: string|{ id: string }|nil, status: string?, limit: integer?, after: string? }
---@return perilune.RunRow[]
function M.list(app, options)
  options = check.options("perilune.runs.list", options, list_types)
  local list, err = runs.list(app:database(), options)
  if not list then
    error(err, 0)
  end
  local found = {}
  for _, row in ipairs(list) do
    found[#found + 1] = (not options.status or row.status == options.status) and row or nil
  end
  return found
end


---Goes on with a run; see run:resume.
---@param app perilune.App
---@param id string
---@param assistant? perilune.Assistant
---@param options? perilune.RunOptions
---@return perilune.Run
function M.resume(app, id, assistant, options)
  return M.get(app, id):resume(assistant, options)
end


---Asks a run to end; see run:cancel.
---@param app perilune.App
---@param id string
---@return perilune.Run
function M.cancel(app, id)
  return M.get(app, id):cancel()
end


---Goes on, in the background, with every run whose process ended.
---@param app perilune.App
---@return perilune.Run[]
function M.recover(app)
  return resumption.recover(app)
end


return M
