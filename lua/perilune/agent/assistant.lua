-- Assistants: definitions. A model or several, instructions, tools and limits; no state of a conversation.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local parameters = require "perilune.tool.parameters"
local request = require "perilune.model.request"
local schema = require "perilune.std.schema"
local tool = require "perilune.tool"
local transfers = require "perilune.agent.transfers"

local M = {}

---What assistants can do; agent/delegate.lua adds `as_tool`.
M.methods = {}

local metatable = { __name = "perilune.Assistant", __index = M.methods }

local option_types = {
  name = "string", model = "string|table", fallbacks = "table", instructions = "string|function", tools = "table",
  tool_choice = "string|table", max_steps = "integer", max_repairs = "integer", tool_concurrency = "integer",
  history = "table", on_tool_error = "string", metadata = "table", description = "string", budget = "table", output = "table",
  guardrails = "table", approval = "string|table|function", handoffs = "table", stop_when = "function",
}

-- Options that go into every request as they are.
local request_options = {}
for name in pairs(request.options) do
  if not option_types[name] and name ~= "messages" and name ~= "stream" then
    option_types[name] = request.options[name]
    request_options[#request_options + 1] = name
  end
end

local history_types = {
  messages = "integer", tokens = "integer", compaction = "string|function", keep = "integer", model = "string|table",
}

local HISTORY_MESSAGES = 200

local budget_types = { tokens = "integer", cost = "number", seconds = "number", tool_calls = "integer" }

local guardrail_types = { input = "table", output = "table", tools = "table" }

local on_tool_errors = { report = true, raise = true }


---@class perilune.Assistant
---@field name string
---@field model? string|perilune.testing.Model "provider/model", or anything with :stream; absent: the configured default
---@field fallbacks (string|perilune.testing.Model)[]
---@field instructions? string|fun(context: table): string
---@field tools table<string, perilune.Tool> by name
---@field tool_list perilune.Tool[]
---@field max_steps integer model calls in one run
---@field max_repairs integer times a model may be told that its tool arguments are wrong
---@field tool_concurrency integer tools that run at the same time
---@field history perilune.HistoryRules how much of the thread goes into a request
---@field on_tool_error "report"|"raise"
---@field description? string what it is good for, for those that hand over to it
---@field budget { tokens: integer?, cost: number?, seconds: number?, tool_calls: integer? } of one run; cost in dollars
---@field output? { name: string, schema: table, validator: perilune.Validator } the answer is JSON that fits
---@field guardrails { input: function[], output: function[], tools: function[] } return why they refuse, or nothing
---@field approval? "never"|"always"|table<string, string|boolean|function>|function which tool calls a person must agree to
---@field handoffs perilune.Assistant[]
---@field stop_when? fun(state: table): boolean looked at after each step
---@field request table options of every request
---@field options table what it was made of

---@class perilune.HistoryRules docs/history.md
---@field messages? integer up to the user's last one; nil: only tokens count
---@field tokens? integer nil: what the model can read
---@field compaction "window"|"summary"|fun(messages: perilune.Message[], context: table): string|perilune.Message[] what becomes of the rest
---@field keep integer user turns that are never summarised
---@field model? string|perilune.testing.Model that writes summaries; nil: the assistant's own

-- A model is named, or is an object that streams.
local function check_model(where, model)
  if type(model) == "table" and type(model.stream) ~= "function" then
    check.fail(where .. " must be a name or a model, and this table has no function 'stream'", 3)
  end
end


-- A server of tools (perilune.mcp) in the list stands for all of its tools.
local function expand(list)
  local all = {}
  for _, one in ipairs(list) do
    local is_server = type(one) == "table" and type(one.tools) == "function"
    for _, found in ipairs(is_server and one:tools() or { one }) do
      all[#all + 1] = found
    end
  end
  return all
end


local function take_tools(list)
  local by_name = {}
  for position, one in ipairs(list) do
    if not tool.is(one) then
      check.fail(("assistant: tools[%d] is no tool; make one with perilune.tool{...}"):format(position), 3)
    elseif by_name[one.name] then
      check.fail(("assistant: two tools are called '%s'"):format(one.name), 3)
    end
    by_name[one.name] = one
  end
  return by_name
end


local function limit(options, name, default)
  local value = options[name] or default
  if value < 1 then
    check.fail(("assistant: option '%s' must be at least 1"):format(name), 3)
  end
  return value
end


local function take_history(options)
  check.options("assistant: history", options, history_types, 3)
  local compaction = options.compaction or "window"
  if compaction ~= "window" and compaction ~= "summary" and type(compaction) ~= "function" then
    check.fail('assistant: history.compaction is "window", "summary" or a function', 3)
  elseif options.model and compaction ~= "summary" then
    check.fail('assistant: history.model writes summaries, and needs compaction = "summary"', 3)
  end
  for _, name in ipairs { "messages", "tokens", "keep" } do
    if options[name] and options[name] < 1 then
      check.fail(("assistant: history.%s must be at least 1"):format(name), 3)
    end
  end
  return {
    messages = options.messages or not options.tokens and HISTORY_MESSAGES or nil, tokens = options.tokens, compaction = compaction,
    keep = options.keep or 2, model = options.model,
  }
end


-- The options that are tables of their own, checked.
local function take_budget(budget)
  check.options("assistant: budget", budget, budget_types, 3)
  for name, value in pairs(budget) do
    if value <= 0 or value ~= value then
      check.fail(("assistant: budget.%s must be more than 0"):format(name), 3)
    end
  end
  return budget
end


local function take_guardrails(given)
  check.options("assistant: guardrails", given, guardrail_types, 3)
  local guardrails = {}
  for name in pairs(guardrail_types) do
    guardrails[name] = given[name] or {}
    check.list("assistant: guardrails." .. name, guardrails[name], "function", 3)
  end
  return guardrails
end


local function take_output(output, name)
  if not output then
    return nil
  end
  local wanted = parameters.schema("assistant: output", output)
  return { name = (name or "output"):gsub("[^%w_-]", "_"):sub(1, 64), schema = wanted, validator = schema.compile(wanted) }
end


-- The tools of hand-overs have the names of assistants, as far as a name can have them.
local function take_handoffs(list, tools)
  local taken = {}
  for position, other in ipairs(list) do
    if not M.is(other) then
      check.fail(("assistant: handoffs[%d] is no assistant; make one with perilune.assistant{...}"):format(position), 3)
    end
    local name = transfers.name(other)
    if tools[name] or taken[name] then
      check.fail(("assistant: handoffs[%d]: there is a tool called '%s' already; give '%s' another name"):format(
        position, name, other.name), 3)
    end
    taken[name] = true
  end
  return list
end


local function check_approval(approval)
  if type(approval) == "string" and approval ~= "never" and approval ~= "always" then
    check.fail(("assistant: approval is \"never\", \"always\", a table by tool or a function, not '%s'"):format(approval), 3)
  end
  return approval
end


-- What every request of this assistant will say must make sense.
local function check_request(self)
  local sample = { messages = { { role = "user", content = "" } }, tools = self.tool_list }
  for name, value in pairs(self.request) do
    sample[name] = value
  end
  local is_right, err = request.check(sample)
  if not is_right then
    check.fail(("assistant '%s': %s"):format(self.name, err.message:gsub("^request: ", "")), 3)
  end
end


---Defines an assistant.
---@param options table see perilune.Assistant, and the options of a request (temperature, max_tokens, ...)
---@param on_named? fun(assistant: perilune.Assistant) gets it when it has a name
---@return perilune.Assistant
function M.new(options, on_named)
  check.value("assistant: the definition", options, "table")
  check.options("assistant", options, option_types)
  check.list("assistant: fallbacks", options.fallbacks or {}, "string|table")
  check_model("assistant: model", options.model)
  check_model("assistant: history.model", (options.history or {}).model)
  for position, model in ipairs(options.fallbacks or {}) do
    check_model(("assistant: fallbacks[%d]"):format(position), model)
  end
  if options.on_tool_error and not on_tool_errors[options.on_tool_error] then
    check.fail("assistant: on_tool_error is \"report\" or \"raise\"")
  end
  local tools = expand(options.tools or {})
  local by_name = take_tools(tools)
  local self = {
    name = options.name or "assistant", model = options.model, fallbacks = options.fallbacks or {},
    instructions = options.instructions, tool_list = tools, tools = by_name,
    max_steps = limit(options, "max_steps", 20), max_repairs = options.max_repairs or 2,
    tool_concurrency = limit(options, "tool_concurrency", 8), on_tool_error = options.on_tool_error or "report",
    history = take_history(options.history or {}), metadata = options.metadata,
    description = options.description, budget = take_budget(options.budget or {}), output = take_output(options.output, options.name),
    guardrails = take_guardrails(options.guardrails or {}), approval = check_approval(options.approval),
    handoffs = take_handoffs(options.handoffs or {}, by_name), stop_when = options.stop_when,
    request = { tool_choice = options.tool_choice }, options = options,
  }
  for _, name in ipairs(request_options) do
    self.request[name] = options[name]
  end
  check_request(self)
  setmetatable(self, metatable)
  if on_named and options.name then
    on_named(self)
  end
  return self
end


---A copy with other options; the copy is known by no name.
---@param changes table the options that are different; `more_tools` are added to its tools
---@return perilune.Assistant
function M.methods:with(changes)
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  options.tools, options.handoffs = self.tool_list, self.handoffs
  for name, value in pairs(changes) do
    options[name] = value
  end
  local more = options.more_tools or {}
  options.more_tools = nil
  options.tools = table.move(options.tools, 1, #options.tools, 1, {})
  table.move(more, 1, #more, #options.tools + 1, options.tools)
  return M.new(options)
end


---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == metatable
end


---The instructions for one run.
---@param self perilune.Assistant
---@param context table what a function gets: thread, run, assistant
---@return string?
function M.instructions(self, context)
  if type(self.instructions) == "function" then
    local text = self.instructions(context)
    if text ~= nil and type(text) ~= "string" then
      error(errors.new {
        kind = "configuration",
        message = ("assistant '%s': instructions(context) must return a string, not a %s"):format(self.name, type(text)),
      }, 0)
    end
    return text
  end
  return self.instructions
end


return M
