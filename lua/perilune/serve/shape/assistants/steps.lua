-- The steps of a run as the Assistants family shows them, made of its rows: an answer that said something is a step, and so are all calls
-- of tools of one answer together. Pure.
local ids = require "perilune.serve.ids"
local json = require "perilune.json"
local objects = require "perilune.serve.shape.assistants.objects"

local M = {}

local null = json.null

-- What becomes of a step that is open when its run has ended.
local open_status = { cancelled = "cancelled", expired = "expired" }


---@class perilune.serve.StepView
---@field seq integer the number of its first row
---@field details table step_details
---@field status string
---@field created_at number
---@field ended_at? number
---@field error? table of the run, when that failed
---@field usage? perilune.Usage shown once the step has ended

---@param run perilune.RunRow
---@param view perilune.serve.StepView
---@return table
function M.step(run, view)
  local function at(status)
    return view.status == status and objects.seconds(view.ended_at) or null
  end
  return {
    id = ids.step(run.id, view.seq), object = "thread.run.step", created_at = objects.seconds(view.created_at),
    assistant_id = objects.assistant_id(run), thread_id = run.thread_id, run_id = run.id, type = view.details.type, status = view.status,
    step_details = view.details, last_error = view.status == "failed" and objects.last_error(view.error) or null,
    expired_at = at "expired", cancelled_at = at "cancelled", failed_at = at "failed", completed_at = at "completed", metadata = {},
    usage = view.usage and view.status ~= "in_progress" and objects.usage(view.usage) or null,
  }
end


---The answers of a run, in order, each with the results of the tools that it called.
---@param list perilune.StoredMessage[] of the run
---@param inputs integer how many of them it began with
---@return { stored: perilune.StoredMessage, results: perilune.StoredMessage[] }[]
function M.answers(list, inputs)
  local answers = {}
  for position = inputs + 1, #list do
    local stored, last = list[position], answers[#answers]
    if stored.role == "assistant" then
      answers[#answers + 1] = { stored = stored, results = {} }
    elseif stored.role == "tool" and last then
      last.results[#last.results + 1] = stored
    end
  end
  return answers
end


local function ended(run)
  if not run.finished_at then
    return nil
  end
  return open_status[run.status] or "failed"
end


-- The step of an answer that said something; nil of one that did not.
local function creation_of(run, row, answer, usage)
  if not answer or not objects.is_said(answer.stored.message) then
    return nil
  end
  local is_whole = answer.stored.status ~= "partial"
  return M.step(run, {
    seq = row.seq, status = is_whole and "completed" or ended(run) or "in_progress", created_at = row.started_at,
    ended_at = row.finished_at or run.finished_at, error = run.error, usage = usage,
    details = { type = "message_creation", message_creation = { message_id = ids.message(run.thread_id, answer.stored.seq) } },
  })
end


-- What a call came to: results are in the order in which they came, and models use an id again in another answer.
local function output_of(answer, call_id)
  for _, result in ipairs(answer and answer.results or {}) do
    if result.message.tool_call_id == call_id then
      local content = result.message.content
      return type(content) == "string" and content or json.encode(content)
    end
  end
  return null
end


-- The step of all calls of one answer.
local function calls_of(run, rows, answer, usage)
  local calls, open, ended_at = json.array {}, false, nil
  for position, row in ipairs(rows) do
    calls[position] = { id = row.call_id, type = "function", ["function"] = {
      name = row.name, arguments = row.input or "{}", output = output_of(answer, row.call_id),
    } }
    open = open or row.status ~= "finished"
    ended_at = math.max(ended_at or 0, row.finished_at or 0)
  end
  local status = open and (ended(run) or "in_progress") or "completed"
  return M.step(run, {
    seq = rows[1].seq, status = status, created_at = rows[1].started_at, ended_at = open and run.finished_at or ended_at,
    error = run.error, details = { type = "tool_calls", tool_calls = calls }, usage = usage,
  })
end


-- Calls that a limit of the run did not let begin: they have no rows of their own.
local function unmade(run, group)
  local answer, row, calls = group.answer, group.row, {}
  for position, call in ipairs(run.finished_at and answer and answer.stored.message.tool_calls or {}) do
    calls[position] = {
      seq = row.seq + 1, call_id = call.id, name = call.name, input = call.arguments, status = "waiting", started_at = row.finished_at,
    }
  end
  return calls
end


-- Model calls with what they said, and the tools that each of them called.
local function grouped(rows, answers)
  local groups, current, taken = {}, nil, 0
  for _, row in ipairs(rows) do
    if row.kind == "model" then
      local next_answer = answers[taken + 1]
      local is_answered = row.status == "finished" or next_answer and next_answer.stored.status == "partial" and row == rows[#rows]
      taken = is_answered and taken + 1 or taken
      current = { row = row, answer = is_answered and next_answer or nil, tools = {} }
      groups[#groups + 1] = current
    elseif row.kind == "tool" and current then
      current.tools[#current.tools + 1] = row
    end
  end
  return groups
end


---The steps of a run, the oldest first. What an answer used is shown with its last step: in a stream the step of its text ends before
---that is known.
---@param run perilune.RunRow
---@param rows perilune.StepRow[]
---@param answers { stored: perilune.StoredMessage, results: perilune.StoredMessage[] }[]
---@param usage_of? table<integer, perilune.Usage> what each model call used, by its number
---@return table[]
function M.list(run, rows, answers, usage_of)
  local list = {}
  for _, group in ipairs(grouped(rows, answers)) do
    local tools, usage = group.tools[1] and group.tools or unmade(run, group), (usage_of or {})[group.row.seq]
    list[#list + 1] = creation_of(run, group.row, group.answer, not tools[1] and usage or nil)
    if tools[1] then
      list[#list + 1] = calls_of(run, tools, group.answer, usage)
    end
  end
  return list
end


return M
