-- Threads and runs as a caller may see them, and what of the database belongs to the object of a run.
local errors = require "perilune.std.errors"
local events = require "perilune.store.events"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local objects = require "perilune.serve.shape.assistants.objects"
local problem = require "perilune.serve.problem"
local runs = require "perilune.store.runs"
local states = require "perilune.serve.states"
local step_shapes = require "perilune.serve.shape.assistants.steps"
local steps = require "perilune.store.steps"
local threads = require "perilune.store.threads"
local usages = require "perilune.store.usage"

local M = {}

local must = errors.must

local MESSAGES_READ = 100


---The thread of the path; raises 404 when there is none, or it is somebody else's.
---@param exchange perilune.Exchange
---@return perilune.ThreadRow
function M.thread(exchange)
  local id = exchange.params.thread_id
  local row, err = threads.get(exchange.server.db, id)
  if row and row.id ~= id then -- that was its key
    problem.not_found("thread", id)
  end
  return exchange:found("thread", id, row, err)
end


---A run that the caller may see, with the metadata that was given to it last; 404 otherwise.
---@param exchange perilune.Exchange
---@param id string
---@return perilune.RunRow
function M.find(exchange, id)
  local db = exchange.server.db
  local row = exchange:found("run", id, runs.get(db, id))
  local note = must(notes.run(db, id))
  if note.deleted_at then
    problem.not_found("run", id)
  end
  row.metadata = note.metadata or row.metadata
  return row
end


---The run of the path, on the thread of the path.
---@param exchange perilune.Exchange
---@return perilune.RunRow
function M.run(exchange)
  local params = exchange.params
  local row = M.find(exchange, params.run_id)
  if row.thread_id ~= params.thread_id then
    problem.not_found("run", params.run_id)
  end
  return row
end


---The calls of a run that wait for somebody.
---@param db perilune.Database
---@param row perilune.RunRow
---@return { id: string, seq: integer, name: string, arguments: string, waits_for: string }[]
function M.waiting(db, row)
  local waiting = {}
  for _, step in ipairs(must(steps.list(db, row))) do
    if step.status == "waiting" and not step.decision then
      waiting[#waiting + 1] = { id = step.call_id, seq = step.seq, name = step.name, arguments = step.input, waits_for = step.waits_for }
    end
  end
  return waiting
end


-- Why a run came to less than it should; our other limits have no word of OpenAI's. That an answer was cut is known from its last event.
local function reason_of(db, row)
  local shown = (row.asked or {}).shown or {}
  if row.status == "incomplete" then
    return "max_completion_tokens"
  elseif row.status == "completed" and shown.max_completion_tokens then
    local last = must(events.last(db, row))
    return last and last.type == "stop" and last.reason == "length" and "max_completion_tokens" or nil
  end
end


-- Was a message given to a run? As many as were asked for, from the first on; or those written in one batch with it.
local function is_given(row, stored)
  local inputs = (row.asked or {}).inputs
  if inputs then
    return stored.seq < (row.input_seq or 1) + inputs
  end
  return stored.created_at == row.created_at
end


---Was a message said in a run? Those that it began with were given to it, also where they speak for the assistant.
---@param row perilune.RunRow
---@param stored perilune.StoredMessage
---@return boolean
function M.is_answer(row, stored)
  return stored.role == "assistant" and stored.run_id == row.id and not (row.asked and is_given(row, stored))
end


---Is this answer the one at which a run was cut: its last one?
---@param db perilune.Database
---@param row perilune.RunRow
---@param stored perilune.StoredMessage
---@return boolean
function M.is_cut(db, row, stored)
  if row.status ~= "completed" or not reason_of(db, row) then
    return false
  end
  local following = must(messages.list(db, row.thread_id, { after = stored.seq, limit = 1, is_whole = true }))[1]
  return not following or following.run_id ~= row.id
end


---The object of a run.
---@param db perilune.Database
---@param row perilune.RunRow
---@return table
function M.show(db, row)
  local state = states.of(row)
  return objects.run(row, {
    calls = state.run == "requires_action" and M.waiting(db, row) or nil, reason = state.is_terminal and reason_of(db, row) or nil,
  })
end


-- The messages of a run, deleted ones too: they lie side by side in its thread.
local function messages_of(db, row)
  local asked = row.asked or {}
  local first_seq = row.input_seq or asked.first_seq
  local found, after = {}, (first_seq or 1) - 1
  while true do
    local list = must(messages.list(db, row.thread_id, { after = after, limit = MESSAGES_READ, is_whole = true }))
    for _, stored in ipairs(list) do
      if stored.run_id == row.id then
        found[#found + 1] = stored
      elseif stored.run_id and (found[1] or first_seq) then
        return found -- the next run has begun
      end
      after = stored.seq
    end
    if #list < MESSAGES_READ then
      return found
    end
  end
end


-- How many messages of the list a run began with.
local function count_inputs(row, list)
  local count = 0
  while list[count + 1] and is_given(row, list[count + 1]) do
    count = count + 1
  end
  return count
end


---What each model call of a run has used, by its step.
---@param db perilune.Database
---@param row perilune.RunRow
---@return table<integer, perilune.Usage>
function M.usage_by_step(db, row)
  local by_step = {}
  for _, attempt in ipairs(must(usages.attempts(db, row))) do
    local seq, prompt, completion = attempt.step_seq, attempt.prompt_tokens, attempt.completion_tokens
    if seq and prompt then
      local sum = by_step[seq] or { prompt_tokens = 0, completion_tokens = 0 }
      by_step[seq] = sum
      sum.prompt_tokens, sum.completion_tokens = sum.prompt_tokens + prompt, sum.completion_tokens + (completion or 0)
      sum.total_tokens = sum.prompt_tokens + sum.completion_tokens
    end
  end
  return by_step
end


---The steps of a run as objects, the oldest first.
---@param db perilune.Database
---@param row perilune.RunRow
---@return table[]
function M.steps(db, row)
  local list = messages_of(db, row)
  local answers = step_shapes.answers(list, count_inputs(row, list))
  return step_shapes.list(row, must(steps.list(db, row)), answers, M.usage_by_step(db, row))
end


return M
