-- Responses that are kept: a response is a run of the engine on a thread, and all that is shown of it is made of the run's row, its events
-- and the messages of the thread. Which thread a new one belongs to is decided here too.
local errors = require "perilune.std.errors"
local events = require "perilune.store.events"
local ids = require "perilune.serve.ids"
local encoders = require "perilune.serve.shape.responses.encoder"
local item_pages = require "perilune.serve.item_pages"
local messages = require "perilune.store.messages"
local notes = require "perilune.store.notes"
local problem = require "perilune.serve.problem"
local runs = require "perilune.store.runs"
local threads = require "perilune.store.threads"

local M = {}

local must = errors.must

local API = "responses"

local PAGE = 100

-- Threads that somebody is about to go on with: whoever comes second gets a copy.
local claimed = {}


---@class perilune.serve.AskedResponse what runs.asked holds of a response, beside perilune.serve.Asked
---@field api "responses"
---@field model string as it was asked for
---@field created_at integer
---@field echo table
---@field conversation? string
---@field inputs integer how many messages its input is
---@field first_seq integer the number that the next message of its thread got

---What a response is called and shows again.
---@param id string of the run
---@param asked perilune.serve.AskedResponse
---@return perilune.serve.ResponseIdentity
function M.identity(id, asked)
  local client_tools = {}
  for _, one in ipairs(asked.tools) do
    client_tools[one.name] = true
  end
  return {
    id = ids.response_of(id), created_at = asked.created_at, model = asked.model, echo = asked.echo, conversation = asked.conversation,
    client_tools = client_tools,
  }
end


-- The run of a response; nil when there is none that the caller may see.
local function find(exchange, id)
  local db, run_id, row, err = exchange.server.db, ids.run_of(id)
  if run_id then
    row, err = runs.get(db, run_id)
  end
  if err and err.kind ~= "not_found" then
    error(err, 0)
  end
  local account = exchange.key.account
  local is_visible = row and row.asked and row.asked.api == API and row.asked.echo.store and (not account or row.account == account)
  if is_visible and not must(notes.run(db, row.id)).deleted_at then
    return row
  end
end


---The run of a response. Raises 404.
---@param exchange perilune.Exchange
---@param id string "resp_..."
---@return perilune.RunRow
function M.get(exchange, id)
  return find(exchange, id) or problem.not_found("response", id)
end


---Feeds an event to an encoder. With the last one comes what only the row knows: when it ended, and what it used although it failed.
---@param db perilune.Database
---@param run_id string
---@param encoder perilune.serve.ResponseEncoder
---@param event table
---@return table[] events
function M.feed(db, run_id, encoder, event)
  if event.type ~= "stop" and event.type ~= "error" then
    return encoder:feed(event)
  end
  local row, err = runs.get(db, run_id)
  if not row and err.kind ~= "not_found" then
    error(err, 0)
  elseif row and row.usage then
    encoder:feed { type = "usage", usage = row.usage }
  end
  return encoder:feed(event, row and row.finished_at and math.floor(row.finished_at))
end


---The last events of a run that another process has ended: it had no time to say so.
---@param db perilune.Database
---@param row perilune.RunRow as it is now
---@param encoder perilune.serve.ResponseEncoder
---@return table[] events
function M.conclude(db, row, encoder)
  if encoder.is_over or not row.finished_at then
    return {}
  end
  local err = row.error or { kind = "server", message = ("the run is %s"):format(row.status) }
  if row.status == "cancelled" then
    err = { kind = "cancelled" }
  end
  return M.feed(db, row.id, encoder, { type = "error", error = err })
end


---The resource, made of what is stored.
---@param db perilune.Database
---@param row perilune.RunRow
---@return table
function M.resource(db, row)
  local encoder, after = encoders.new(M.identity(row.id, row.asked)), 0
  encoder:start()
  repeat
    local list = must(events.list(db, row, after))
    for _, event in ipairs(list) do
      M.feed(db, row.id, encoder, event)
      after = event.seq
    end
  until not list[1]
  M.conclude(db, row, encoder)
  return encoder:response()
end


-- Threads

-- The last message of a run, or, of one that has none, the last one before it.
local function last_seq(db, row)
  local first = row.input_seq or row.asked.first_seq
  local after, last = first - 1, first - 1
  while true do
    local list = must(messages.list(db, row.thread_id, { after = after, limit = PAGE, is_whole = true }))
    for _, stored in ipairs(list) do
      if stored.run_id == row.id then
        last = stored.seq
      elseif last >= first then
        return last
      end
      after = stored.seq
    end
    if #list < PAGE then
      return last
    end
  end
end


-- May a new run follow this one on its own thread? Nothing came after it.
local function may_continue(db, row, last, thread)
  local newest = must(runs.list(db, { thread = row.thread_id, limit = 1 }))[1]
  return not row.asked.conversation and newest.id == row.id and thread.next_seq == last + 1
end


local place_methods = {}
local place_metatable = { __name = "perilune.serve.response_place", __index = place_methods }


function place_metatable:__close()
  if self.claim then
    claimed[self.claim] = nil
  end
end


-- Nobody else goes on with the thread until the place is closed; false: somebody does.
local function try_claim(self, thread_id)
  if claimed[thread_id] then
    return false
  end
  claimed[thread_id], self.claim = true, thread_id
  return true
end


-- The thread that goes on after a response: its own, or a copy up to there.
local function thread_after(self, exchange, id, is_kept)
  local db, row = exchange.server.db, find(exchange, id)
  if not row then
    problem.invalid("previous_response_id", ("Previous response with id '%s' not found."):format(id), "previous_response_not_found")
  elseif not row.finished_at then
    problem.invalid("previous_response_id", ("The response '%s' has not ended."):format(id), "previous_response_not_ended")
  end
  local may_claim = is_kept and try_claim(self, row.thread_id)
  local thread, last = must(threads.get(db, row.thread_id)), last_seq(db, row)
  if may_claim and may_continue(db, row, last, thread) then
    return thread
  end
  return must(threads.fork(db, thread, last))
end


---The thread of a conversation. Raises 404.
---@param exchange perilune.Exchange
---@param id string "conv_..."
---@return perilune.ThreadRow
function M.conversation(exchange, id)
  local thread_id, row, err = ids.thread_of(id)
  if thread_id then
    row, err = threads.get(exchange.server.db, thread_id)
  end
  if not row and not err or row and row.id ~= thread_id then -- a key is no id
    problem.not_found("conversation", id)
  end
  return exchange:found("conversation", id, row, err)
end


---A place for a new response: where it belongs among the threads. Own it with `<close>` until the response has ended.
---@return table place
function M.place()
  return setmetatable({}, place_metatable)
end


---The thread that a new response belongs to.
---@param exchange perilune.Exchange
---@param question perilune.serve.ResponsesQuestion
---@param is_kept boolean the response stays there
---@return perilune.ThreadRow
function place_methods:thread(exchange, question, is_kept)
  if question.conversation then
    return M.conversation(exchange, question.conversation)
  elseif question.previous then
    return thread_after(self, exchange, question.previous, is_kept)
  end
  return must(threads.create(exchange.server.db, { account = exchange.key.account }))
end


---The run that a new response follows; nil: there is none.
---@param exchange perilune.Exchange
---@param question perilune.serve.ResponsesQuestion
---@param thread { id: string } of a conversation
---@return perilune.RunRow?
function M.before(exchange, question, thread)
  if question.previous then
    return M.get(exchange, question.previous)
  end
  return must(runs.list(exchange.server.db, { thread = thread, limit = 1 }))[1]
end


---The messages that go before those of a question: of a conversation, or up to a response.
---@param exchange perilune.Exchange
---@param question perilune.serve.ResponsesQuestion
---@return perilune.Message[]
function M.history(exchange, question)
  local db, last, thread_id = exchange.server.db, math.maxinteger
  if question.conversation then
    thread_id = M.conversation(exchange, question.conversation).id
  elseif question.previous then
    local row = M.get(exchange, question.previous)
    thread_id, last = row.thread_id, last_seq(db, row)
  else
    return {}
  end
  local list, after = {}, 0
  repeat
    local found = must(messages.list(db, thread_id, { after = after, limit = PAGE }))
    for _, stored in ipairs(found) do
      after = stored.seq
      list[#list + 1] = after <= last and stored.message or nil
    end
  until #found < PAGE or after >= last
  return list
end


-- Items

---A page of the input of a response.
---@param db perilune.Database
---@param row perilune.RunRow
---@param page perilune.serve.Page
---@return table list
function M.inputs(db, row, page)
  local first = row.input_seq or 1
  return item_pages.list(db, row.thread_id, page, first, first + row.asked.inputs - 1)
end


---The item that a reference means: one of a response's output, or of a conversation. Raises 404.
---@param exchange perilune.Exchange
---@param id any
---@return table item
function M.item(exchange, id)
  if type(id) ~= "string" then
    problem.invalid("input", "An item_reference needs 'id'.")
  end
  local db = exchange.server.db
  local of_response, of_thread = id:match("^%a+_([^_]+)_%d+$"), id:match("^%a+_([^_]+)_%d+_%d+$")
  local row = of_response and find(exchange, "resp_" .. of_response)
  for _, item in ipairs(row and M.resource(db, row).output or {}) do
    if item.id == id then
      return item
    end
  end
  if of_thread then
    local thread = M.conversation(exchange, "conv_" .. of_thread)
    return item_pages.get(db, thread.id, id).item
  end
  problem.not_found("item", id)
end


-- Deleting

---Deletes a response that has ended: with its thread, when nothing else is on it; else it is shown no more.
---@param db perilune.Database
---@param row perilune.RunRow
function M.delete(db, row)
  local on_thread = must(runs.list(db, { thread = row.thread_id, limit = 2 }))
  if row.asked.conversation or #on_thread > 1 then
    must(notes.set_run(db, row.id, { deleted = true }))
  else
    must(threads.delete(db, row.thread_id))
  end
end


return M
