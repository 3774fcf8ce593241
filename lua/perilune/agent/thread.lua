-- Threads as scripts use them: a persistent conversation, opened by key, on which assistants run.
local assistants = require "perilune.agent.assistant"
local channel = require "perilune.std.channel"
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local loop = require "perilune.agent.loop"
local message_shape = require "perilune.model.message"
local messages = require "perilune.store.messages"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Thread", __index = methods }

-- Events that wait to be read; above it the run waits, and with it the provider.
local EVENTS_WAITING_MAX = 16

local run_options = { on_event = "function" }

local orders = { "asc", "desc" }

local KEY_BYTES_MAX = 1024

local list_options = { limit = "integer", after = "integer", order = "string" }


local function must(value, err)
  if not value then
    error(err, 0)
  end
  return value
end


local function check_message(where, message, level)
  local content = message.content
  if content == nil or content == "" or type(content) == "table" and #content == 0 then
    check.fail(where .. ": the message is empty", level)
  end
  local is_right, err = message_shape.check(message, where)
  if not is_right then
    check.fail(err.message, level)
  end
end


---@class perilune.Thread
---@field id string
---@field key? string
---@field db table

---Opens the thread of that key, or creates it.
---@param app perilune.App
---@param key string
---@return perilune.Thread
function M.open(app, key)
  check.string("perilune.thread: key", key)
  if key == "" or #key > KEY_BYTES_MAX or not utf8.len(key) then
    check.fail(("perilune.thread: a key is 1 to %d bytes of text"):format(KEY_BYTES_MAX))
  end
  local row = must(threads.open(app:database(), key))
  row.app = app
  return setmetatable(row, metatable)
end


-- What a script passed in is checked before anything is written: a thread that holds nonsense could never be used again.
local function check_input(where, assistant, input)
  if not assistants.is(assistant) then
    check.fail(where .. ": the first argument is an assistant, made with perilune.assistant{...}", 3)
  elseif input ~= nil then
    check_message(where, { role = "user", content = input }, 4)
  end
end


local function job_of(self, assistant, input, emit)
  local model, name = self.app:model_of(assistant)
  return {
    db = self.app:database(), thread = self, assistant = assistant, input = input, model = model, model_name = name, emit = emit,
  }
end


local function ignore() end


---Runs the assistant on what the user says; waits for the whole answer and raises what made it fail.
---@param assistant perilune.Assistant
---@param input string|table[]
---@param options? { on_event: fun(event: table)? }
---@return perilune.Run
function methods:run(assistant, input, options)
  options = check.options("thread:run", options, run_options)
  check_input("thread:run", assistant, input)
  return loop.run(job_of(self, assistant, input, options.on_event or ignore))
end


-- The task of a streamed run. It is one of the places where an error ends: as the last event of the stream.
local function produce(events, job)
  local ok, err = pcall(loop.run, job)
  if not ok then
    task.shield(10, events.put, events, { type = "error", error = errors.wrap(err) })
  end
  events:close()
end


---The same as a stream of events: `for event in thread:stream(...) do`. Closing it cancels the run.
---@param assistant perilune.Assistant
---@param input string|table[]
---@return perilune.Stream
function methods:stream(assistant, input)
  check_input("thread:stream", assistant, input)
  local events = channel.new(EVENTS_WAITING_MAX)
  local job = job_of(self, assistant, input, function(event)
    events:put(event)
  end)
  local producer = task.spawn(produce, events, job)
  return stream.new(function()
    return events:get()
  end, function()
    producer:cancel()
    while events:get() do end -- until the run has written its last row
  end)
end


---Adds a message without running anything.
---@param role string
---@param content string|table[]
function methods:add(role, content)
  local message = { role = role, content = content }
  check_message("thread:add", message, 3)
  must(messages.append(self.app:database(), self, message))
end


---The messages of the thread, oldest first unless `order = "desc"`.
---@param options? { limit: integer?, after: integer?, order: string? }
---@return { seq: integer, status: string, run_id: string?, message: perilune.Message }[]
function methods:messages(options)
  options = check.options("thread:messages", options, list_options)
  if options.order then
    check.choice("thread:messages: order", options.order, orders)
  elseif options.limit and options.limit < 1 then
    check.fail("thread:messages: 'limit' must be at least 1")
  end
  return must(messages.list(self.app:database(), self, options))
end


---Deletes the thread with everything in it.
function methods:delete()
  must(threads.delete(self.app:database(), self.id))
end


return M
