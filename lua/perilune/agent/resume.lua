-- A run goes on where its rows end: finished steps are reused, a model call whose answer is lost is made again, tool calls that had
-- begun are made again when they are idempotent, with the same key; else nobody knows whether they had their effect, and a person
-- decides. Doing this twice, or being killed in the middle of it, changes nothing.
local errors = require "perilune.std.errors"
local messages = require "perilune.store.messages"
local response = require "perilune.model.response"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local tool_calls = require "perilune.agent.tool_calls"
local turns = require "perilune.agent.turn"
local usage = require "perilune.store.usage"

local M = {}

local must = errors.must


-- What the run has used up to now: its own attempts, and the runs whose calls as tools are done; those of others add theirs when they are
-- made again.
local function add_up(turn, list)
  local called = must(runs.list_called(turn.job.db, turn.row))
  for _, step in ipairs(next(called) and list or {}) do
    local run = step.kind == "tool" and step.status == "finished" and called[tool_calls.thread_key(tool_calls.key(turn.row.id, step.seq))]
    if run then
      turn:add_usage({ { cost_nano = run.cost_nano, outcome = "ok" } }, run.usage)
    end
  end
  for _, row in ipairs(must(usage.attempts(turn.job.db, turn.row))) do
    local counted = row.prompt_tokens and {
      prompt_tokens = row.prompt_tokens, completion_tokens = row.completion_tokens or 0,
      total_tokens = row.prompt_tokens + (row.completion_tokens or 0), estimated = row.estimated or nil,
    } or nil
    turn:add_usage({ row }, counted)
  end
end


local function split_name(name)
  local provider, model = (name or ""):match("^([^/]+)/(.+)$")
  return provider or "unknown", model or name or "unknown"
end


-- A model call was under way: its answer is lost, what it cost is not known, and it is made again.
local function lose(turn, step)
  local provider, model = split_name(step.name)
  turn:show {
    type = "attempt_discarded", provider = provider, model = model,
    error = errors.new { kind = "internal", code = "interrupted", message = "the process ended in the middle of this answer" },
  }
  turn.model_seq = turn:advance {
    lost = { { seq = step.seq, attempt = { provider = provider, model = model, outcome = "unknown", started_at = step.started_at } } },
    started = { turn:model_step() },
  }[1]
end


-- The last answer of this run that calls tools, deleted or not: its calls are zipped with their steps.
local function last_message(turn)
  local list = must(messages.list(turn.job.db, turn.job.thread, { order = "desc", limit = 1000, is_whole = true }))
  for _, stored in ipairs(list) do
    if stored.run_id == turn.row.id and stored.message.tool_calls then
      return stored.message
    end
  end
end


-- One call and its step, as an item of agent/tool_calls.lua; `held` collects those of which nobody knows anything.
local function item_of(call, step, position, held)
  local item = {
    call = call, position = position, seq = step.seq, idempotent = step.idempotent, waits_for = step.waits_for,
    decision = step.decision,
  }
  if step.status == "finished" then
    local result = step.result or {}
    item.state, item.is_stored = "done", true
    item.message = { content = "" }
    item.err = result.is_error and errors.new { kind = "tool", code = result.code, message = "the call failed" } or nil
  elseif step.status == "waiting" then
    item.state = "waiting"
  elseif step.idempotent then
    item.state, item.is_again = "ready", true
  else
    item.state, item.waits_for, item.decision = "waiting", "outcome", nil -- that it may begin was decided, not that it may again
    held[#held + 1] = step.seq
  end
  return item
end


-- The tools of the last answer: what is done, what can be done, what waits.
local function restore_calls(turn, list, first)
  local message, items, held, again = last_message(turn), {}, {}, {}
  local calls = message and message.tool_calls or {}
  turn.last = message and response.of_message(message)
  for position = first, #list do
    local call = calls[position - first + 1]
    if not call then
      break
    end
    local item = item_of(call, list[position], position - first + 1, held)
    items[#items + 1] = item
    again[#again + 1] = item.is_again and item.seq or nil
  end
  if held[1] or again[1] then
    turn:advance { held = held, begun = again }
  end
  turn.pending = items[1] and items or nil
end


local function count(turn, list)
  local asked_here = 0
  for _, step in ipairs(list) do
    local result = step.status == "finished" and step.result or {}
    if step.kind == "model" and step.status == "finished" then
      turn.asked, asked_here = turn.asked + 1, asked_here + 1
    elseif step.kind == "tool" then
      turn.called = turn.called + 1
    end
    turn.steps = turn.steps + (step.status == "finished" and 1 or 0)
    asked_here = result.transfer and 0 or asked_here
    turn.has_results = turn.has_results or result.has_whole
    if result.code == "arguments" or result.code == "unknown" then
      turn.repairs = turn.repairs + 1
    end
  end
  turn.has_asked[turn.job.assistant] = turn.asked > 0
  turn.has_asked[turn.assistant] = asked_here > 0 or turn.assistant == turn.job.assistant and turn.asked > 0
end


-- The repairs of the batch at hand are counted when it is judged.
local function discount(turn)
  for _, item in ipairs(turn.pending or {}) do
    if item.err and (item.err.code == "arguments" or item.err.code == "unknown") then
      turn.repairs = turn.repairs - 1
    end
  end
end


local function restore(turn)
  local list = must(steps.list(turn.job.db, turn.row))
  count(turn, list)
  add_up(turn, list)
  local last
  for position, step in ipairs(list) do
    last = step.kind == "model" and step.status ~= "unknown" and position or last
  end
  if last and list[last].status == "started" then
    lose(turn, list[last])
  elseif last and list[last + 1] then
    restore_calls(turn, list, last + 1)
    discount(turn)
  end
end


---The turn of a run that this process has just claimed.
---@param job perilune.Job
---@param row perilune.RunRow
---@return table turn
function M.turn(job, row)
  local turn = turns.new(job, row)
  local guard <close> = setmetatable({}, { __close = function(_, err) -- luacheck: ignore 211
    if err then
      getmetatable(turn).__close(turn, err)
    end
  end })
  restore(turn)
  return turn
end


return M
