-- Threads as scripts use them: a persistent conversation, opened by key, on which assistants run.
local assistants = require "perilune.agent.assistant"
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local export = require "perilune.agent.export"
local jobs = require "perilune.agent.job"
local message_shape = require "perilune.model.message"
local messages = require "perilune.store.messages"
local threads = require "perilune.store.threads"
require "perilune.agent.resumption" -- run:resume

local M = {}

local must = errors.must

local methods = {}
local metatable = { __name = "perilune.Thread", __index = methods }

local run_options = { on_event = "function", person = "function", cancel = "table", metadata = "table" }

local orders = { "asc", "desc" }

local KEY_BYTES_MAX = 1024

local list_options = { limit = "integer", after = "integer", order = "string" }


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

---A thread as scripts use it, of its row.
---@param app perilune.App
---@param row perilune.ThreadRow
---@return perilune.Thread
function M.of(app, row)
  row.app = app
  return setmetatable(row, metatable)
end


---Raises unless it can be the key of a thread; blames the caller of the function that checks.
---@param where string
---@param key string
function M.check_key(where, key)
  if key == "" or #key > KEY_BYTES_MAX or not utf8.len(key) then
    check.fail(("%s: a key is 1 to %d bytes of text"):format(where, KEY_BYTES_MAX), 3)
  end
end


---Opens the thread of that key, or creates it.
---@param app perilune.App
---@param key string
---@return perilune.Thread
function M.open(app, key)
  check.string("perilune.thread: key", key)
  M.check_key("perilune.thread", key)
  return M.of(app, must(threads.open(app:database(), key)))
end


-- What a script passed in is checked before anything is written: a thread that holds nonsense could never be used again.
local function check_input(where, assistant, input)
  if not assistants.is(assistant) then
    check.fail(where .. ": the first argument is an assistant, made with perilune.assistant{...}", 3)
  elseif input ~= nil then
    check_message(where, { role = "user", content = input }, 4)
  end
end


---Runs the assistant on what the user says; waits for the whole answer and raises what made it fail. A run that waits for a person
---(`run.status` is "waiting_approval" or "waiting_tool") is returned as it is; `run:approve()` and `run:resume()` go on with it.
---@param assistant perilune.Assistant
---@param input string|table[]
---@param options? perilune.RunOptions
---@return perilune.Run
function methods:run(assistant, input, options)
  options = check.options("thread:run", options, run_options)
  check_input("thread:run", assistant, input)
  return jobs.run(jobs.new(self.app, self, assistant, input, options))
end


---The same as a stream of events: `for event in thread:stream(...) do`. Closing it cancels the run.
---@param assistant perilune.Assistant
---@param input string|table[]
---@param options? perilune.RunOptions
---@return perilune.Stream
function methods:stream(assistant, input, options)
  options = check.options("thread:stream", options, run_options)
  check_input("thread:stream", assistant, input)
  return jobs.stream(jobs.new(self.app, self, assistant, input, options))
end


---The same in the background: returns once the run's first rows are stored. `run:wait()`, `run:events()` and `run:cancel()` are for
---what becomes of it.
---@param assistant perilune.Assistant
---@param input string|table[]
---@param options? perilune.RunOptions
---@return perilune.Run
function methods:start(assistant, input, options)
  options = check.options("thread:start", options, run_options)
  check_input("thread:start", assistant, input)
  return jobs.start(jobs.new(self.app, self, assistant, input, options))
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


---A new thread with the messages of this one up to a number (all of them without one). Its runs stay here.
---@param at? integer
---@param options? { key: string?, title: string?, metadata: table? }
---@return perilune.Thread
function methods:fork(at, options)
  options = check.options("thread:fork", options, { key = "string", title = "string", metadata = "table" })
  if options.key then
    M.check_key("thread:fork", options.key)
  end
  return M.of(self.app, must(threads.fork(self.app:database(), self, at, options)))
end


---The whole thread as text: complete as JSON, readable as Markdown.
---@param format? "json"|"markdown" default "markdown"
---@return string
function methods:export(format)
  return export.text(self.app:database(), self, format or "markdown")
end


---Changes title and metadata; perilune.json.null removes one.
---@param changes { title: string?, metadata: table? }
---@return perilune.Thread self
function methods:update(changes)
  changes = check.options("thread:update", changes, { title = "string|userdata", metadata = "table|userdata" })
  local row = must(threads.update(self.app:database(), self, changes))
  self.title, self.metadata, self.updated_at = row.title, row.metadata, row.updated_at
  return self
end


---Deletes the thread with everything in it.
function methods:delete()
  must(threads.delete(self.app:database(), self.id))
end


return M
