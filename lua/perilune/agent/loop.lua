-- The agent loop: one run of an assistant on a thread, as a state machine over rows. Before every effect (a model call, a tool) a row
-- says that it begins; after it a row says what came of it. A run whose process ended goes on from its rows (agent/resume.lua).
-- Scripts and the server go through here alike.
local assistants = require "perilune.agent.assistant"
local compaction = require "perilune.agent.compaction"
local context = require "perilune.agent.context"
local errors = require "perilune.std.errors"
local history = require "perilune.agent.history"
local guards = require "perilune.agent.guards"
local limits = require "perilune.agent.limits"
local messages = require "perilune.store.messages"
local outputs = require "perilune.agent.outputs"
local proc = require "perilune.sys.proc"
local resume = require "perilune.agent.resume"
local runs = require "perilune.store.runs"
local task = require "perilune.sys.task"
local team = require "perilune.agent.team"
local tool_calls = require "perilune.agent.tool_calls"
local toolset = require "perilune.agent.toolset"
local turns = require "perilune.agent.turn"

local M = {}

local must = errors.must

-- Events of a model that the caller sees; `usage` and `stop` come once, at the end of the run.
local passes = {
  start = true, attempt = true, attempt_discarded = true, text = true, thinking = true, refusal = true, tool_call_start = true,
  tool_call_delta = true, tool_call = true, image = true, audio = true, citation = true,
}


-- Of these the caller sees at once that something happens; the others say what the answer is.
local tells_progress = { start = true, attempt = true, attempt_discarded = true }


-- Who owns the runs of this process; it never changes.
local me


local function owner()
  me = me or proc.self()
  return me
end


-- The same question to the same assistant, on a thread whose last run was interrupted: that run goes on.
local function is_same_question(job, row)
  if job.input == nil or not team.find(job.assistant, row.assistant) or not row.input_seq then
    return false
  end
  local list = must(messages.list(job.db, job.thread, { after = row.input_seq - 1, limit = 1 }))
  local asked = list[1] and list[1].message.content
  return asked == job.input and type(asked) == "string"
end


---Begins a run: its first rows are stored when this returns. On a thread whose last run was interrupted the same question goes on with
---that run; another one closes it.
---@param job perilune.Job
---@return table turn own it with `<close>`
function M.begin(job)
  guards.check_input(job)
  local name, model_name = team.first(job)
  local options = {
    thread = job.thread, inputs = job.messages or job.input ~= nil and { { role = "user", content = job.input } } or nil,
    assistant = name, model = model_name, owner = owner(), step = { kind = "model", name = model_name },
    parent = job.parent, metadata = job.metadata, id = job.run_id, account = job.account, asked = job.asked, expires_at = job.expires_at,
  }
  local row, err = task.shield(turns.WRITE_SECONDS, runs.begin, job.db, options, proc.is_alive)
  if not row and err.code == "interrupted_run" then
    local before = err.details.run
    if is_same_question(job, before) then
      return M.take_over(job, before.id)
    end
    options.replaces = before
    row, err = task.shield(turns.WRITE_SECONDS, runs.begin, job.db, options, proc.is_alive)
  end
  local turn = turns.new(job, must(row, err))
  turn.model_seq = row.step_seq
  return turn
end


---Takes over a run that no living process owns.
---@param job perilune.Job without input
---@param id string
---@return table turn own it with `<close>`
function M.take_over(job, id)
  local row = must(task.shield(turns.WRITE_SECONDS, runs.claim, job.db, id, owner(), proc.is_alive))
  return resume.turn(job, row)
end


---Runs the assistant until it has answered, or waits for a person. Raises what made it fail; by then the run's last rows are written.
---@param job perilune.Job
---@return perilune.Run
function M.run(job)
  local turn <close> = M.begin(job)
  return M.go(turn)
end


-- Asking

-- What belongs to the assistant that is at work now.
local function prepare(turn)
  local job, assistant = turn.job, turn.assistant
  turn.instructions = assistants.instructions(assistant, { thread = job.thread, run = turn.row, assistant = assistant })
  turn.toolset = toolset.of(assistant, job.db, job.thread, turn.has_results)
end


-- What goes along of the thread: read once, and again when there is more than fits. A summary that is made of the rest is stored before
-- the model is asked; what it cost belongs to the model call that it was made for.
local function take_history(turn)
  local job, options = turn.job, { model_name = turn.model_name, instructions = turn.instructions, tools = turn.toolset.list }
  turn.history = turn.history or must(history.load(job.db, job.thread, turn.assistant, options))
  local made
  turn.history, made = compaction.if_needed {
    db = job.db, thread = job.thread, assistant = turn.assistant, loaded = turn.history, options = options, run = turn.row,
    model = turn.assistant.history.model and job.summary_model_of(turn.assistant) or turn.model,
  }
  turn.stored = turn.history.messages
  if made then
    turn:add_usage(made.attempts, made.usage)
    if made.upto_seq then
      turn:advance { summary = made }
    end
    return made.attempts
  end
  return {}
end


local function request_of(turn)
  local request = { stream = true, messages = context.build(turn.stored, turn.instructions, turn.history.summary) }
  for name, value in pairs(turn.assistant.request) do
    request[name] = value
  end
  if turn.has_asked[turn.assistant] and request.tool_choice ~= "none" then
    request.tool_choice = nil -- a forced call is forced once, or it would never end
  end
  turn.has_asked[turn.assistant] = true
  if #turn.toolset.list > 0 then
    request.tools = turn.toolset.list
  else
    request.tool_choice = nil
  end
  outputs.add_format(turn.assistant, request)
  return request
end


-- What is checked before it counts (agent/outputs.lua, agent/guards.lua) is held until then: nobody sees what does not pass.
local function show_answer(turn, event)
  if event.type == "attempt_discarded" then
    turn.held = turn.held and {}
  end
  if turn.held and not tells_progress[event.type] then
    turn.held[#turn.held + 1] = event
  else
    turn:emit(event)
  end
end


local function release(turn)
  for _, event in ipairs(turn.held or {}) do
    turn:emit(event)
  end
  turn.held = nil
end


-- The model call whose step has begun; returns the answer and the end of its step, which goes into the next batch.
local function ask(turn)
  if not turn.model_seq then
    turn.model_seq = turn:advance({ started = { turn:model_step() } })[1]
  end
  local attempts = take_history(turn)
  turn.asked, turn.steps = turn.asked + 1, turn.steps + 1
  turn.held = (turn.assistant.output or turn.assistant.guardrails.output[1]) and {} or nil
  local request = request_of(turn)
  local stream <close> = turn.model:stream(request)
  turn.stream, turn.sent = stream, request.messages
  for event in stream do
    if passes[event.type] then
      show_answer(turn, event)
    end
    if turn.journal:is_due() then
      turn:advance {}
    end
  end
  local answer = stream:so_far()
  if answer.error then
    error(answer.error, 0)
  end
  turn:add_usage(stream.rows, answer.usage)
  turn.stream = nil
  answer.tool_calls = tool_calls.unwrap(answer.tool_calls, turn.toolset)
  local message = answer:to_message()
  turn.stored[#turn.stored + 1] = message
  table.move(stream.rows, 1, #stream.rows, #attempts + 1, attempts)
  local finished = { seq = turn.model_seq, message = message, attempts = attempts }
  turn.model_seq = nil
  return answer, finished
end


-- Tools

-- One batch stores the answer and says that its tools begin, or wait.
local function plan_calls(turn, answer, finished)
  local calls = answer.tool_calls
  turn.last = answer
  turn.toolset = toolset.of(turn.assistant, turn.job.db, turn.job.thread, turn.has_results)
  local why = limits.reached(turn, #calls)
  if why then
    return why, finished
  end
  local steps = tool_calls.steps(turn, calls)
  local seqs = turn:advance { finished = { finished }, started = steps }
  turn.called = turn.called + #calls
  turn.pending = tool_calls.items(calls, steps, seqs)
end


-- A mistake of the model's is told to it; too many of them, or a tool's own error when the assistant says so, end the run.
local function judge(turn, err)
  if err and (err.code == "arguments" or err.code == "unknown") then
    turn.repairs = turn.repairs + 1
    if turn.repairs > turn.assistant.max_repairs then
      error(err, 0)
    end
  elseif turn:is_fatal(err) then
    error(err, 0)
  end
end


-- The assistant that a call of this batch hands the run over to; the first one counts.
local function next_assistant(turn, pending)
  for _, item in ipairs(pending) do
    local other = turn.toolset.transfers[item.call.name]
    if other and item.state == "done" and not item.err then
      return other
    end
  end
end


-- Hands the run over; with `goes_on` that assistant's model is asked, unless the run has reached a limit.
local function hand_over(turn, other, goes_on)
  team.put_to_work(turn, other)
  turn.history = nil
  goes_on = goes_on and not limits.reached(turn)
  local change = { handed_to = { assistant = other.name, model = turn.model_name }, started = goes_on and { turn:model_step() } or nil }
  turn.model_seq = turn:advance(change)[1]
end


-- Does what the calls at hand allow. True: the run waits for somebody.
local function work_off(turn)
  local pending = turn.pending
  tool_calls.work_off(turn, pending)
  if tool_calls.waiting(pending)[1] then
    return true
  end
  turn.pending = nil
  for _, item in ipairs(pending) do
    if item.message and not item.is_stored then
      turn.stored[#turn.stored + 1] = item.message
    end
    judge(turn, item.err)
  end
  limits.note_round(turn, pending)
  local other = next_assistant(turn, pending)
  if other then
    hand_over(turn, other, true)
  end
end


-- The end of a run that waits. Calls of the caller's own tools are its turn: whoever goes on with their results is the assistant that a
-- call beside them has handed over to. Where a person has to decide too, the run waits for both.
local function wait(turn)
  local waiting = tool_calls.waiting(turn.pending)
  local is_callers = turn.job.hands_back
  for _, item in ipairs(waiting) do
    is_callers = is_callers and item.waits_for == "output"
  end
  if not is_callers then
    return turn:park(waiting)
  end
  local other = next_assistant(turn, turn.pending)
  if other then
    hand_over(turn, other)
  end
  return turn:hand_back(waiting)
end


---Drives a turn to its end, or until it waits for a person.
---@param turn table
---@return perilune.Run
function M.go(turn)
  turn.stored = {}
  prepare(turn)
  while true do
    if turn.pending and work_off(turn) then
      return wait(turn)
    end
    prepare(turn)
    local stop_when = turn.assistant.stop_when
    if turn.last and stop_when and stop_when { answer = turn.last, run = turn.row, steps = turn.steps, usage = turn.usage } then
      return turn:complete("completed", turn.last)
    end
    local why = not turn.model_seq and limits.reached(turn)
    if why then
      return turn:complete("incomplete", turn.last, { why = why })
    end
    local answer, finished = ask(turn)
    if not answer.has_tool_calls then
      local run = M.finish(turn, answer, finished)
      if run then
        return run
      end
    else
      if answer.content ~= "" then
        guards.check_output(turn, answer)
      end
      release(turn)
      why = plan_calls(turn, answer, finished)
      if why then
        return turn:complete("incomplete", answer, { why = why, finished = finished })
      end
    end
  end
end


---The end of a run whose model called no tool; nil when the answer has to be made again.
---@param turn table
---@param answer perilune.Response
---@param finished perilune.StepEnding
---@return perilune.Run?
function M.finish(turn, answer, finished)
  local output, complaint = outputs.read(turn.assistant, answer)
  if complaint then
    turn.output_repairs = turn.output_repairs + 1
    if turn.output_repairs > turn.assistant.max_repairs then
      turn:advance { finished = { finished } }
      error(errors.new { kind = "schema", code = "output", message = complaint, details = { content = answer.content } }, 0)
    end
    finished.reply, turn.held = outputs.reply(complaint), nil
    turn:show { type = "answer_rejected", message = complaint }
    turn.stored[#turn.stored + 1] = finished.reply
    turn.model_seq = turn:advance({ finished = { finished }, started = { turn:model_step() } })[1]
    return nil
  end
  guards.check_output(turn, answer, output)
  release(turn)
  return turn:complete("completed", answer, { finished = finished, output = output })
end


return M
