-- perilune workflows: executions in the database, and what they wait for.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local text = require "perilune.std.text"
local workflow = require "perilune.agent.workflow"

local M = {
  usage = "workflows list | show ID | answer ID NAME VALUE | resume ID --step NAME --again|--result JSON | cancel ID",
  summary = "Lists and shows executions of workflows, answers their questions, and decides about steps whose outcome is unknown.\n"
    .. "VALUE is JSON where it reads as JSON, else text. Executions go on in the process that runs them, or when their script runs again.",
  options = {
    { names = { "--workflow", "-w" }, key = "workflow", value = "NAME", help = "which, where several have that ID; list: only its own" },
    {
      names = { "--status" }, key = "status", value = "STATUS", of = { "list" },
      help = "running, sleeping, waiting, completed, failed or cancelled",
    },
    {
      names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1, max = 1000, of = { "list" },
      help = "how many (50)",
    },
    { names = { "--step" }, key = "step", value = "NAME", of = { "resume" }, help = "the step whose outcome is unknown" },
    { names = { "--again" }, key = "again", of = { "resume" }, help = "the step is to be done again" },
    {
      names = { "--result" }, key = "result", value = "JSON", of = { "resume" },
      help = "the step had its effect, and this was its result",
    },
  },
  examples = {
    "list --status waiting", "show order-17", "answer order-17 approve yes", "resume order-17 --step charge --again",
    "resume order-17 --step charge --result '{\"receipt\": 9}'", "cancel order-17",
  },
}

local ID_BYTES_MAX = 60 -- in the table; --json says all of it
local QUESTION_BYTES_MAX = 100


local function find(values, app, id)
  if values.workflow then
    return workflow.get(app, values.workflow, id)
  end
  local list = workflow.find(app, id)
  if #list == 0 then
    options.fail("workflows: there is no execution with the id '%s'", id)
  elseif #list > 1 then
    local names = {}
    for position, execution in ipairs(list) do
      names[position] = execution.workflow
    end
    options.fail("workflows: several have the id '%s' (%s): say which with --workflow NAME", id, table.concat(names, ", "))
  end
  return list[1]
end


local function described(execution)
  return {
    workflow = execution.workflow, id = execution.id, status = execution.status, input = execution.input, result = execution.result,
    error = execution.error, created_at = execution.created_at, finished_at = execution.finished_at,
  }
end


local function report(values, execution, note)
  if values.json then
    output.json(described(execution:refresh()))
  elseif not values.quiet then
    output.note(note)
  end
end


local function shorten(value, bytes)
  return text.truncate((value:gsub("%c", " ")), bytes)
end


local actions = {}


function actions.list(values, app)
  local list = workflow.list(app, { name = values.workflow, status = values.status, limit = values.limit or 50 })
  if values.json then
    for position, execution in ipairs(list) do
      list[position] = described(execution)
    end
    return output.json(json.array(list))
  end
  output.table(list, {
    { "WORKFLOW", function(row) return shorten(row.workflow, ID_BYTES_MAX) end },
    { "ID", function(row) return shorten(row.id, ID_BYTES_MAX) end },
    { "STATUS", "status" },
    { "BEGUN", function(row) return clock.iso(row.created_at) end },
  })
end


-- What there is to say about a step besides its state.
local function remark(step)
  if step.error then
    return shorten(step.error.message or "", QUESTION_BYTES_MAX)
  elseif step.kind == "ask" and step.status == "waiting" then
    return shorten(step.input_text or "", QUESTION_BYTES_MAX)
  elseif step.due_at and not step.finished_at then
    return "until " .. clock.iso(step.due_at)
  elseif step.result ~= nil then
    return shorten(json.encode(step.result), QUESTION_BYTES_MAX)
  end
end


function actions.show(values, app, id)
  local execution = find(values, app, id)
  local steps = execution:steps()
  if values.json then
    local all = described(execution)
    for _, step in ipairs(steps) do
      step.input_text = nil
    end
    all.steps = json.array(steps)
    return output.json(all)
  end
  local problem = execution.error and ": " .. shorten(execution.error.message or "", QUESTION_BYTES_MAX) or ""
  output.write(("%s %s is %s%s\n"):format(execution.workflow, execution.id, execution.status, problem))
  if #steps > 0 then
    output.table(steps, {
      { "STEP", "name" }, { "KIND", "kind" }, { "STATUS", "status" },
      { "SECONDS", function(step) return step.finished_at and ("%.3f"):format(step.finished_at - step.started_at) end },
      { "", function(step) return remark(step) or "" end },
    })
  end
end


function actions.answer(values, app, id, name, value)
  if not value then
    options.fail("workflows: which answer, to which question? (perilune workflows answer ID NAME VALUE)")
  end
  local read, err = json.decode(value)
  if err then
    read = value
  end
  local execution = find(values, app, id)
  execution:answer(name, read)
  report(values, execution, ("answered '%s' of %s %s"):format(name, execution.workflow, id))
end


function actions.resume(values, app, id)
  if not values.step or (values.again == nil) == (values.result == nil) then
    options.fail("workflows: resume needs --step NAME, and either --again or --result JSON")
  end
  local result, err
  if values.result then
    result, err = json.decode(values.result)
    if err then
      options.fail("workflows: --result: %s", err.message)
    end
  end
  local execution = find(values, app, id)
  execution:resolve(values.step, { again = values.again, result = result })
  report(values, execution, ("the step '%s' of %s %s %s"):format(values.step, execution.workflow, id,
    values.again and "will be done again" or "counts as done"))
end


function actions.cancel(values, app, id)
  local execution = find(values, app, id):cancel()
  report(values, execution, ("%s %s is %s"):format(execution.workflow, id, execution.status))
end


function M.run(values, words, app)
  local action = words[1] or "list"
  if not actions[action] then
    options.fail("workflows: unknown action '%s'; it is list, show, answer, resume or cancel", action)
  end
  options.only("workflows", M.options, values, action)
  options.at_most("workflows", words, action == "list" and 1 or action == "answer" and 4 or 2)
  if action ~= "list" and not words[2] then
    options.fail("workflows: which one? (perilune workflows %s ID)", action)
  end
  actions[action](values, app, table.unpack(words, 2))
  return 0
end


return M
