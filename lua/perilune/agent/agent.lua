-- Agents: an assistant with a conversation of its own, in memory. It is for scripts that want to talk and keep nothing; what must
-- survive the process is a thread.
local app_module = require "perilune.app"
local assistants = require "perilune.agent.assistant"
local attachments = require "perilune.model.attachments"
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local message_shape = require "perilune.model.message"
local messages = require "perilune.store.messages"
local statistics = require "perilune.client.stats"
local threads = require "perilune.store.threads"

local M = {}

local must = errors.must

local methods = {}
local metatable = { __name = "perilune.Agent", __index = methods }

local call_types = { add_to_history = "boolean", on_event = "function", person = "function", cancel = "table" }
for name, spec in pairs(attachments.option_types) do
  call_types[name] = spec
end


-- Agents of a process share one database in memory, which has the settings of the application but not its file.
local function memory_of(app)
  if not app.memory then
    app.memory = app_module.new(setmetatable({ db = ":memory:" }, { __index = app.settings }))
    app.memory.discovery = app.discovery
  end
  return app.memory
end


---Makes an agent. The options are those of perilune.assistant; `system` is another word for `instructions`.
---@param app perilune.App
---@param options table
---@return perilune.Agent
function M.new(app, options)
  check.value("perilune.agent: the options", options, "table")
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  given.name = given.name or "agent"
  given.instructions, given.system = given.instructions or given.system, nil
  local self = setmetatable({ app = memory_of(app), options = given, stats_of = statistics.new() }, metatable)
  self.assistant = assistants.new(given)
  self.thread = must(threads.open(self.app:database()))
  return self
end


-- The definition again, after one of its parts has changed.
local function redefine(self)
  self.assistant = assistants.new(self.options)
end


-- The input of a question with its pictures, and the thread it is asked on: this conversation, or a copy that is thrown away.
local function prepare(self, where, text, options)
  options = check.options(where, options, call_types, 3)
  if type(text) ~= "string" and type(text) ~= "table" then
    check.fail(("%s: the question is a text or a list of parts, got a %s"):format(where, type(text)), 3)
  end
  local with_media = must(attachments.attach(text, options))
  local thread = self.thread
  if options.add_to_history == false then
    thread = must(threads.open(self.app:database()))
    for _, stored in ipairs(self:history()) do
      must(messages.append(self.app:database(), thread, stored))
    end
  end
  local input = with_media
  if type(with_media) == "table" and with_media[1] and with_media[1].role then
    input = with_media[#with_media].content
  end
  return jobs.new(self.app, thread, self.assistant, input, {
    on_event = options.on_event, person = options.person, cancel = options.cancel,
  })
end


-- Repetitions and changes of target among the requests of a run.
local function count_attempts(run)
  local retries, failovers, before = 0, 0, nil
  for _, row in ipairs(run:attempts()) do
    if before and before.step_seq == row.step_seq then
      local is_same = before.provider == row.provider and before.model == row.model
      retries, failovers = retries + (is_same and 1 or 0), failovers + (is_same and 0 or 1)
    end
    before = row
  end
  return retries, failovers, before and before.first_event_ms
end


-- Counts a question that has ended.
local function count(self, started, run, outcome)
  local usage = run and run.usage or { prompt_tokens = 0, completion_tokens = 0 }
  local ended = {
    outcome = outcome, seconds = clock.mono() - started, retries = 0, failovers = 0, prompt_tokens = usage.prompt_tokens,
    completion_tokens = usage.completion_tokens, cost = run and run.cost,
  }
  if run then
    local first_ms
    ended.retries, ended.failovers, first_ms = count_attempts(run)
    ended.first_content = first_ms and first_ms / 1000
  end
  self.stats_of:add(ended)
end


---Asks; returns the run, whose `content` is the answer. Raises what made it fail.
---@param text string|table[]
---@param options? { images: any, videos: any, files: any, add_to_history: boolean?, on_event: fun(event: table)?, cancel: perilune.CancelToken? }
---@return perilune.Run
function methods:chat(text, options)
  local job, started, run = prepare(self, "agent:chat", text, options), clock.mono(), nil
  local counting <close> = setmetatable({}, { __close = function(_, err) -- luacheck: ignore 211
    count(self, started, run, run and "ok" or errors.is(err, "cancelled") and "cancelled" or "failed")
  end })
  run = jobs.run(job)
  return run
end


---The same as a stream of events. Closing it cancels the answer.
---@param text string|table[]
---@param options? table
---@return perilune.Stream
function methods:chat_stream(text, options)
  local job, started = prepare(self, "agent:chat_stream", text, options), clock.mono()
  function job.on_end(run, err)
    count(self, started, run, run and "ok" or errors.is(err, "cancelled") and "cancelled" or "failed")
  end
  return jobs.stream(job)
end


---What its questions came to; see client:stats.
---@return perilune.ClientStats
function methods:stats()
  return self.stats_of:summary()
end


function methods:reset_stats()
  self.stats_of:reset()
end


---Adds a tool: one of perilune.tool, or its definition and the function that does it.
---@param definition perilune.Tool|table
---@param handler? fun(arguments: table, context: table): any
function methods:register_tool(definition, handler)
  local tool = require "perilune.tool"
  local made = definition
  if not tool.is(definition) then
    made = { run = handler }
    for name, value in pairs(check.value("agent:register_tool: the tool", definition, "table")) do
      made[name] = value
    end
    made = tool.define(made)
  end
  local list = table.move(self.options.tools or {}, 1, #(self.options.tools or {}), 1, {})
  list[#list + 1] = made
  self.options.tools = list
  redefine(self)
end


---Forgets its tools.
function methods:clear_tools()
  self.options.tools = nil
  redefine(self)
end


---@param text string?
function methods:set_system_prompt(text)
  self.options.instructions = text
  redefine(self)
end


---Adds a message to the conversation.
---@param message perilune.Message
function methods:add_message(message)
  local is_right, err = message_shape.check(check.value("agent:add_message: the message", message, "table"), "agent:add_message")
  if not is_right then
    check.fail(err.message)
  end
  must(messages.append(self.app:database(), self.thread, message))
end


---The conversation up to now.
---@return perilune.Message[]
function methods:history()
  local list = {}
  for position, stored in ipairs(must(messages.list(self.app:database(), self.thread, { limit = 10000 }))) do
    list[position] = stored.message
  end
  return list
end


---Forgets the conversation; the messages of the system that were added to it stay with `keep_system`.
---@param keep_system? boolean
function methods:clear_history(keep_system)
  local kept = keep_system and self:history() or {}
  self.thread = must(threads.open(self.app:database()))
  for _, message in ipairs(kept) do
    if message.role == "system" or message.role == "developer" then
      must(messages.append(self.app:database(), self.thread, message))
    end
  end
end


return M
