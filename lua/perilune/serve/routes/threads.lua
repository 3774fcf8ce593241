-- /v1/threads: conversations.
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local objects = require "perilune.serve.shape.assistants.objects"
local pages = require "perilune.store.pages"
local run_object = require "perilune.agent.run"
local thread_runs = require "perilune.serve.thread_runs"
local threads = require "perilune.store.threads"

local must = errors.must


local function create(exchange)
  local body = exchange:body(true)
  local row = must(threads.create(exchange.server.db, {
    metadata = fields.metadata(body), messages = fields.messages(body, "messages"), account = exchange.key.account,
  }))
  exchange:reply(200, objects.thread(row))
end


local function retrieve(exchange)
  exchange:reply(200, objects.thread(thread_runs.thread(exchange)))
end


local function modify(exchange)
  local row, metadata = thread_runs.thread(exchange), fields.metadata(exchange:body(true))
  if metadata then
    row = must(threads.update(exchange.server.db, row, { metadata = metadata }))
  end
  exchange:reply(200, objects.thread(row))
end


-- A run that is under way ends first.
local function delete(exchange)
  local db, row = exchange.server.db, thread_runs.thread(exchange)
  local newest = must(pages.runs(db, row, { limit = 1, order = "desc" }))[1]
  if newest and not newest.finished_at then
    run_object.get(exchange.app, newest.id):cancel()
  end
  must(threads.delete(db, row.id))
  exchange:reply(200, objects.deleted("thread", row.id))
end


return {
  { "POST", "/v1/threads", create, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}", retrieve, family = "assistants" },
  { "POST", "/v1/threads/{thread_id}", modify, family = "assistants" },
  { "DELETE", "/v1/threads/{thread_id}", delete, family = "assistants" },
}
