-- /v1/threads: conversations.
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local objects = require "perilune.serve.shape.assistants.objects"
local run_ends = require "perilune.serve.run_ends"
local thread_runs = require "perilune.serve.thread_runs"
local threads = require "perilune.store.threads"

local must = errors.must


local function create(exchange)
  local body = exchange:body(true)
  fields.refuse_files(body, "tool_resources")
  local row = must(threads.create(exchange.server.db, {
    metadata = fields.metadata(body), messages = fields.messages(body, "messages"), account = exchange.key.account,
  }))
  exchange:reply(200, objects.thread(row))
end


local function retrieve(exchange)
  exchange:reply(200, objects.thread(thread_runs.thread(exchange)))
end


local function modify(exchange)
  local row, body = thread_runs.thread(exchange), exchange:body(true)
  local metadata = fields.metadata(body)
  fields.refuse_files(body, "tool_resources")
  if metadata then
    row = must(threads.update(exchange.server.db, row, { metadata = metadata }))
  end
  exchange:reply(200, objects.thread(row))
end


local function delete(exchange)
  local row = thread_runs.thread(exchange)
  run_ends.end_on_thread(exchange, row)
  must(threads.delete(exchange.server.db, row.id))
  exchange:reply(200, objects.deleted("thread", row.id))
end


return {
  { "POST", "/v1/threads", create, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}", retrieve, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}", modify, family = "assistants" },
  { "DELETE", "/v1/threads/{thread_id}", delete, family = "assistants" },
}
