-- Assistants: definitions. A model or several, instructions, tools and limits; no state of a conversation.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local request = require "perilune.model.request"
local tool = require "perilune.tool"

local M = {}

local metatable = { __name = "perilune.Assistant" }

local option_types = {
  name = "string", model = "string|table", fallbacks = "table", instructions = "string|function", tools = "table",
  tool_choice = "string|table", max_steps = "integer", max_repairs = "integer", tool_concurrency = "integer",
  history = "table", on_tool_error = "string", metadata = "table",
}

-- Options that go into every request as they are.
local request_options = {}
for name in pairs(request.options) do
  if not option_types[name] and name ~= "messages" and name ~= "stream" then
    option_types[name] = request.options[name]
    request_options[#request_options + 1] = name
  end
end

local history_types = { messages = "integer" }

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
---@field history { messages: integer } how much of the thread goes into a request
---@field on_tool_error "report"|"raise"
---@field request table options of every request

-- A model is named, or is an object that streams.
local function check_model(where, model)
  if type(model) == "table" and type(model.stream) ~= "function" then
    check.fail(where .. " must be a name or a model, and this table has no function 'stream'", 3)
  end
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
---@return perilune.Assistant
function M.new(options)
  check.value("assistant: the definition", options, "table")
  check.options("assistant", options, option_types)
  check.list("assistant: fallbacks", options.fallbacks or {}, "string|table")
  check_model("assistant: model", options.model)
  for position, model in ipairs(options.fallbacks or {}) do
    check_model(("assistant: fallbacks[%d]"):format(position), model)
  end
  check.options("assistant: history", options.history or {}, history_types)
  if options.on_tool_error and not on_tool_errors[options.on_tool_error] then
    check.fail("assistant: on_tool_error is \"report\" or \"raise\"")
  end
  local self = {
    name = options.name or "assistant", model = options.model, fallbacks = options.fallbacks or {},
    instructions = options.instructions, tool_list = options.tools or {}, tools = take_tools(options.tools or {}),
    max_steps = limit(options, "max_steps", 20), max_repairs = options.max_repairs or 2,
    tool_concurrency = limit(options, "tool_concurrency", 8), on_tool_error = options.on_tool_error or "report",
    history = { messages = limit(options.history or {}, "messages", 200) }, metadata = options.metadata,
    request = { tool_choice = options.tool_choice },
  }
  for _, name in ipairs(request_options) do
    self.request[name] = options[name]
  end
  check_request(self)
  return setmetatable(self, metatable)
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
