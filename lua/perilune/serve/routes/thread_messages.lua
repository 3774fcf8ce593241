-- /v1/threads/{thread_id}/messages: what was said. Results of tools, and answers that only call some, are steps of runs.
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local ids = require "perilune.serve.ids"
local lists = require "perilune.serve.lists"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local objects = require "perilune.serve.shape.assistants.objects"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"
local runs = require "perilune.store.runs"
local thread_runs = require "perilune.serve.thread_runs"

local must = errors.must


-- The object of a message; `known` has the runs that were read already.
local function show(exchange, thread, stored, known)
  local db, id = exchange.server.db, stored.role == "assistant" and stored.run_id
  local run = id and (known[id] or must(runs.get(db, id)))
  if not run or not thread_runs.is_answer(run, stored) then
    return objects.message(thread.id, stored)
  end
  known[id] = run
  return objects.message(thread.id, stored, run, thread_runs.is_cut(db, run, stored))
end


-- A message of this thread that can be seen; 404 when there is none.
local function get(exchange, thread, id)
  local seq = ids.message_seq(id, thread.id)
  local list = seq and must(messages.list(exchange.server.db, thread, { after = seq - 1, limit = 1 })) or {}
  local stored = list[1]
  if not stored or stored.seq ~= seq or not objects.is_said(stored.message) then
    problem.not_found("message", id)
  end
  return stored
end


local function of_path(exchange)
  local thread = thread_runs.thread(exchange)
  return thread, get(exchange, thread, exchange.params.message_id)
end


local function create(exchange)
  local thread, given = thread_runs.thread(exchange), fields.message(exchange:body(), "")
  local seq = must(messages.append(exchange.server.db, thread, given.message, { is_idle = true, metadata = given.metadata }))
  exchange:reply(200, show(exchange, thread, get(exchange, thread, ids.message(thread.id, seq)), {}))
end


-- The run whose answers are asked for; nil when there is none.
local function run_of(db, id)
  local row, err = runs.get(db, id)
  return not errors.is(err, "not_found") and must(row, err) or nil
end


local function list(exchange)
  local thread, page, run_id = thread_runs.thread(exchange), lists.page(exchange), exchange:query("run_id")
  local function seq_of(id)
    local seq = id and ids.message_seq(id, thread.id)
    return seq and seq < thread.next_seq and seq or nil
  end
  lists.check_bounds(page, "a message of this thread", seq_of)
  page.after, page.before = seq_of(page.after), seq_of(page.before)
  local db, run = exchange.server.db, run_id and run_of(exchange.server.db, run_id)
  local stored, has_more = pages.messages(db, thread, page, function(one)
    return objects.is_said(one.message) and (not run_id or run and thread_runs.is_answer(run, one))
  end)
  local data, known = {}, {}
  for position, one in ipairs(must(stored, has_more)) do
    data[position] = show(exchange, thread, one, known)
  end
  exchange:reply(200, lists.body(data, has_more))
end


local function retrieve(exchange)
  local thread, stored = of_path(exchange)
  exchange:reply(200, show(exchange, thread, stored, {}))
end


local function modify(exchange)
  local thread, stored = of_path(exchange)
  local metadata = fields.metadata(exchange:body(true))
  if metadata then
    must(notes.set_metadata(exchange.server.db, thread, stored.seq, metadata))
    stored.metadata = metadata
  end
  exchange:reply(200, show(exchange, thread, stored, {}))
end


local function delete(exchange)
  local thread, stored = of_path(exchange)
  must(notes.delete_part(exchange.server.db, thread, stored.seq, notes.WHOLE))
  exchange:reply(200, objects.deleted("thread.message", exchange.params.message_id))
end


return {
  { "GET", "/v1/threads/{thread_id}/messages", list, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/messages", create, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}/messages/{message_id}", retrieve, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}/messages/{message_id}", modify, family = "assistants" },
  { "DELETE", "/v1/threads/{thread_id}/messages/{message_id}", delete, family = "assistants" },
}
