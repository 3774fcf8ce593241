-- The Conversations family: threads whose messages are shown as items. Threads of the Assistants family and conversations are the same rows.
local errors = require "perilune.std.errors"
local ids = require "perilune.serve.ids"
local input = require "perilune.serve.shape.responses.input"
local item_pages = require "perilune.serve.item_pages"
local items = require "perilune.serve.shape.responses.items"
local json = require "perilune.json"
local lists = require "perilune.serve.lists"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local problem = require "perilune.serve.problem"
local run_ends = require "perilune.serve.run_ends"
local shape = require "perilune.serve.shape.responses.request"
local stored = require "perilune.serve.stored_responses"
local threads = require "perilune.store.threads"

local must = errors.must

local ITEMS_MAX = 20


local function encode(row)
  return {
    id = ids.conversation_of(row.id), object = "conversation", created_at = math.floor(row.created_at), metadata = row.metadata or {},
  }
end


local function find(exchange)
  return stored.conversation(exchange, exchange.params.conversation_id)
end


-- The messages of `items` in a body.
local function read_items(exchange, list)
  if list == nil or list == json.null then
    return {}
  elseif type(list) ~= "table" or #list > ITEMS_MAX then
    problem.invalid("items", ("'items' must be a list of at most %d items."):format(ITEMS_MAX))
  end
  return input.messages("items", list, function(_, id)
    return stored.item(exchange, id)
  end)
end


-- Adds messages; returns their numbers.
local function add(exchange, thread, list)
  local first, last
  for _, message in ipairs(list) do
    local seq, err = messages.append(exchange.server.db, thread, message, { is_idle = true })
    if not seq and err.code == "active_run" then
      problem.invalid("conversation_id", ("A response is being made in the conversation '%s': nothing can be added meanwhile."):format(
        ids.conversation_of(thread.id)), "conversation_locked")
    end
    last = must(seq, err)
    first = first or last
  end
  return first, last
end


-- POST /v1/conversations
local function create(exchange)
  local body = exchange:body(true)
  local list = read_items(exchange, body.items)
  local row = must(threads.create(exchange.server.db, { metadata = shape.metadata(body.metadata), account = exchange.key.account }))
  add(exchange, row, list)
  exchange:reply(200, encode(row))
end


-- GET /v1/conversations/{conversation_id}
local function retrieve(exchange)
  exchange:reply(200, encode(find(exchange)))
end


-- POST /v1/conversations/{conversation_id}
local function update(exchange)
  local row, body = find(exchange), exchange:body()
  if body.metadata == nil then
    problem.invalid("metadata", "'metadata' is missing.", "missing_required_parameter")
  end
  local metadata = shape.metadata(body.metadata) or json.null
  exchange:reply(200, encode(must(threads.update(exchange.server.db, row, { metadata = metadata }))))
end


-- DELETE /v1/conversations/{conversation_id}
local function delete(exchange)
  local row = find(exchange)
  run_ends.end_on_thread(exchange, row)
  must(threads.delete(exchange.server.db, row.id))
  exchange:reply(200, { id = ids.conversation_of(row.id), object = "conversation.deleted", deleted = true })
end


-- POST /v1/conversations/{conversation_id}/items
local function create_items(exchange)
  local row, db = find(exchange), exchange.server.db
  local list = read_items(exchange, exchange:body().items)
  if not list[1] then
    problem.invalid("items", "'items' is missing, or has no item that can be added.", "missing_required_parameter")
  end
  local first, last = add(exchange, row, list)
  local data = {}
  for _, one in ipairs(must(messages.list(db, row, { after = first - 1, limit = last - first + 1, is_whole = true }))) do
    for _, found in ipairs(items.of_message(row.id, one)) do
      data[#data + 1] = found.item
    end
  end
  exchange:reply(200, lists.body(data, false))
end


-- GET /v1/conversations/{conversation_id}/items
local function list_items(exchange)
  local row = find(exchange)
  exchange:reply(200, item_pages.list(exchange.server.db, row.id, lists.page(exchange)))
end


-- GET /v1/conversations/{conversation_id}/items/{item_id}
local function retrieve_item(exchange)
  local row = find(exchange)
  exchange:reply(200, item_pages.get(exchange.server.db, row.id, exchange.params.item_id).item)
end


-- DELETE /v1/conversations/{conversation_id}/items/{item_id}
local function delete_item(exchange)
  local row, db = find(exchange), exchange.server.db
  local found, seq = item_pages.get(db, row.id, exchange.params.item_id)
  must(notes.delete_part(db, row, seq, found.part))
  exchange:reply(200, encode(row))
end


return {
  { "POST", "/v1/conversations", create, family = "conversations" },
  { "GET", "/v1/conversations/{conversation_id}", retrieve, family = "conversations" },
  { "POST", "/v1/conversations/{conversation_id}", update, family = "conversations" },
  { "DELETE", "/v1/conversations/{conversation_id}", delete, family = "conversations" },
  { "POST", "/v1/conversations/{conversation_id}/items", create_items, family = "conversations" },
  { "GET", "/v1/conversations/{conversation_id}/items", list_items, family = "conversations" },
  { "GET", "/v1/conversations/{conversation_id}/items/{item_id}", retrieve_item, family = "conversations" },
  { "DELETE", "/v1/conversations/{conversation_id}/items/{item_id}", delete_item, family = "conversations" },
}
