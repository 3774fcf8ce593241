-- Workflows: functions whose work survives the process. A definition is a name and a function; its executions have an id that the
-- caller chooses.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local executions = require "perilune.agent.workflow.execution"
local workflows = require "perilune.store.workflows"

local M = {}

local must = errors.must

local methods = {}
local metatable = { __name = "perilune.Workflow", __index = methods }

local NAME_BYTES_MAX = 256

local statuses = { "running", "sleeping", "waiting", "completed", "failed", "cancelled" }

local list_options = { name = "string", status = "string", limit = "integer", after = "table" }


---@class perilune.Workflow
---@field name string
---@field body fun(flow: perilune.Flow, input: any): any

local function check_name(where, name)
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES_MAX or not utf8.len(name) then
    check.fail(("%s is 1 to %d bytes of text"):format(where, NAME_BYTES_MAX), 3)
  end
end


---Defines a workflow.
---@param app perilune.App
---@param name string
---@param run fun(flow: perilune.Flow, input: any): any
---@return perilune.Workflow
function M.define(app, name, run)
  check_name("perilune.workflow: a name", name)
  check.value("perilune.workflow: the second argument", run, "function")
  local definitions = executions.registry(app).definitions
  if definitions[name] then
    check.fail(("perilune.workflow: '%s' is defined already"):format(name))
  end
  definitions[name] = setmetatable({ app = app, name = name, body = run }, metatable)
  return definitions[name]
end


local function input_text(where, input)
  local text, err = workflows.encode(where .. ": the input", input)
  if err then
    check.fail(err.message, 3)
  end
  return text
end


---The execution of that id: begun, or attached to. Another input than it began with is a conflict; without one it is the one of
---that id, whatever its input was.
---@param id string
---@param input? any JSON
---@return perilune.Execution
function methods:start(id, input)
  check_name("workflow:start: an id", id)
  local text = input_text("workflow:start", input)
  return executions.start(self.app, self, id, text)
end


---Starts and waits.
---@param id string
---@param input? any JSON
---@return any
function methods:run(id, input)
  check_name("workflow:run: an id", id)
  local text = input_text("workflow:run", input)
  return executions.start(self.app, self, id, text):wait()
end


---An execution as it is stored. It is not begun, and not gone on with before somebody waits for it.
---@param app perilune.App
---@param name string of the workflow
---@param id string
---@return perilune.Execution
function M.get(app, name, id)
  check_name("perilune.workflows.get: a name", name)
  check_name("perilune.workflows.get: an id", id)
  return executions.of_row(app, must(workflows.get(app:database(), name, id)))
end


---The executions of any workflow with that id.
---@param app perilune.App
---@param id string
---@return perilune.Execution[]
function M.find(app, id)
  local list = must(workflows.find(app:database(), id))
  for position, row in ipairs(list) do
    list[position] = executions.of_row(app, row)
  end
  return list
end


---The newest executions first.
---@param app perilune.App
---@param options? { name: string?, status: string?, limit: integer?, after: perilune.Execution? } after: the last one of the previous page
---@return perilune.Execution[]
function M.list(app, options)
  options = check.options("perilune.workflows.list", options, list_options)
  if options.status then
    check.choice("perilune.workflows.list: status", options.status, statuses)
  end
  local list = must(workflows.list(app:database(), {
    name = options.name, status = options.status, limit = options.limit, after = options.after and options.after.row.no,
  }))
  for position, row in ipairs(list) do
    list[position] = executions.of_row(app, row)
  end
  return list
end


---Goes on with every execution that nobody runs any more and whose workflow is defined.
---@param app perilune.App
---@return perilune.Execution[]
function M.resume(app)
  local definitions, resumed = executions.registry(app).definitions, {}
  for _, row in ipairs(must(workflows.list_open(app:database()))) do
    local definition = definitions[row.name]
    if definition then
      local execution = executions.start(app, definition, row.id)
      resumed[#resumed + 1] = execution.task and execution or nil
    end
  end
  return resumed
end


return M
