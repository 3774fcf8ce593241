-- /v1/threads/{thread_id}/runs and what is done with a run; /v1/threads/runs makes the thread with it.
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local lists = require "perilune.serve.lists"
local notes = require "perilune.store.notes"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"
local run_answers = require "perilune.serve.run_answers"
local run_object = require "perilune.agent.run"
local run_requests = require "perilune.serve.run_requests"
local runs = require "perilune.store.runs"
local states = require "perilune.serve.states"
local thread_runs = require "perilune.serve.thread_runs"
local threads = require "perilune.store.threads"

local must = errors.must

local POLL_MILLISECONDS = "500"


local function create(exchange)
  local thread = thread_runs.thread(exchange)
  local request = run_requests.read(exchange)
  request.asked.first_seq = thread.next_seq
  local job = run_answers.new_job(exchange, thread, request)
  run_answers.answer(exchange, job, { request = request }, request.is_streamed)
end


-- The thread is made last: what is wrong with the run leaves nothing behind.
local function create_with_thread(exchange)
  local request = run_requests.read(exchange)
  local given = fields.object(exchange:body(), "thread") or {}
  fields.refuse_files(exchange:body(), "tool_resources")
  fields.refuse_files(given, "thread.tool_resources")
  local messages, metadata = fields.messages(given, "messages", "thread.messages"), fields.metadata(given, "thread.metadata")
  request.asked.first_seq = #messages + 1
  local thread = {}
  local job = run_answers.new_job(exchange, thread, request)
  local row = must(threads.create(exchange.server.db, { metadata = metadata, messages = messages, account = exchange.key.account }))
  thread.id = row.id
  run_answers.answer(exchange, job, { request = request, thread = row }, request.is_streamed)
end


local function list(exchange)
  local db, thread, page = exchange.server.db, thread_runs.thread(exchange), lists.page(exchange)
  lists.check_bounds(page, "a run of this thread", function(id)
    local row, err = runs.get(db, id)
    return not errors.is(err, "not_found") and must(row, err).thread_id == thread.id
  end)
  local rows, has_more = pages.runs(db, thread, page)
  local data = {}
  for position, row in ipairs(must(rows, has_more)) do
    data[position] = thread_runs.show(db, row)
  end
  exchange:reply(200, lists.body(data, has_more))
end


local function retrieve(exchange)
  local row = thread_runs.run(exchange)
  exchange:reply(200, thread_runs.show(exchange.server.db, row), { ["openai-poll-after-ms"] = POLL_MILLISECONDS })
end


local function modify(exchange)
  local db, row = exchange.server.db, thread_runs.run(exchange)
  local metadata = fields.metadata(exchange:body(true))
  if metadata then
    must(notes.set_run(db, row.id, { metadata = metadata }))
    row.metadata = metadata
  end
  exchange:reply(200, thread_runs.show(db, row))
end


local function cancel(exchange)
  local row = thread_runs.run(exchange)
  local state = states.of(row)
  if state.is_terminal then
    problem.invalid(nil, ("Cannot cancel a run with status '%s'."):format(state.run))
  end
  run_object.get(exchange.app, row.id):cancel()
  exchange:reply(200, thread_runs.show(exchange.server.db, thread_runs.run(exchange)))
end


-- Tool outputs

local function quoted(names)
  table.sort(names)
  return "[" .. table.concat(names, ", ") .. "]"
end


-- The decisions that these outputs are: one for each call that waits for one.
local function decisions_of(waiting, outputs)
  local decisions, wanted, is_wanted, given = {}, {}, {}, {}
  for _, call in ipairs(waiting) do
    if call.waits_for ~= "approval" then
      decisions[#decisions + 1] = { seq = call.seq, decision = { kind = "output", output = outputs[call.id] } }
      wanted[#wanted + 1], is_wanted[call.id] = call.id, true
    end
  end
  if not wanted[1] then
    problem.invalid("tool_outputs", "The calls of this run wait for an approval: POST /v1/runs/{run_id}/approve or /reject.")
  end
  local is_exact = true
  for id in pairs(outputs) do
    given[#given + 1] = id
    is_exact = is_exact and is_wanted[id] == true
  end
  for _, id in ipairs(wanted) do
    is_exact = is_exact and outputs[id] ~= nil
  end
  if not is_exact then
    problem.invalid("tool_outputs", ("Expected tool outputs for the calls %s, got %s."):format(quoted(wanted), quoted(given)))
  end
  return decisions
end


local function submit(exchange)
  local db, row, body = exchange.server.db, thread_runs.run(exchange), exchange:body()
  local outputs, state = run_requests.read_outputs(body), states.of(row)
  if state.run ~= "requires_action" then
    problem.invalid(nil, ("Runs in status '%s' do not accept tool outputs."):format(state.run))
  end
  local decisions = decisions_of(thread_runs.waiting(db, row), outputs)
  run_answers.go_on(exchange, row, decisions, fields.boolean(body, "stream") == true)
end


return {
  { "POST", "/v1/threads/runs", create_with_thread, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}/runs", list, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/runs", create, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}/runs/{run_id}", retrieve, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/runs/{run_id}", modify, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/runs/{run_id}/cancel", cancel, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", submit, family = "assistants" },
}
