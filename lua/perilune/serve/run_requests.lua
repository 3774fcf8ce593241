-- What a request of the Assistants family asks a run to do: read once, and kept with the run (runs.asked), so that whoever goes on with
-- it does the same, and whoever looks at it sees it.
local assistant_access = require "perilune.serve.assistant_access"
local fields = require "perilune.serve.shape.assistants.fields"
local objects = require "perilune.serve.shape.assistants.objects"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local toolset = require "perilune.agent.toolset"

local M = {}

local INSTRUCTIONS_MAX = 256000

local EFFORTS = { "none", "minimal", "low", "medium", "high", "xhigh" }


---@class perilune.serve.RunRequest
---@field asked perilune.serve.Asked
---@field messages { message: perilune.Message, metadata: table? }[] to be added
---@field metadata? table
---@field is_streamed boolean

-- Raises unless the key may use the model that will answer: the one that is named, the row's, or what a script has made of it.
local function checked_model(exchange, found, model)
  local own = found.row and found.row.definition.model
  return exchange:model_named(model or type(own) == "string" and own or "assistant/" .. (found.row and found.row.name or found.ref))
end


local function instructions_of(body)
  local instructions = fields.text(body, "instructions", INSTRUCTIONS_MAX)
  local more = fields.text(body, "additional_instructions", INSTRUCTIONS_MAX)
  more = more ~= "" and more or nil
  if instructions and more then
    return instructions .. "\n\n" .. more
  end
  return instructions, more
end


local function history_of(body)
  local limits = { messages = fields.last_messages(body), tokens = fields.integer(body, "max_prompt_tokens", 256) }
  return next(limits) and limits or nil
end


local function overrides_of(body, has_tool)
  return {
    model = fields.model(body), temperature = fields.number(body, "temperature", 0, 2), top_p = fields.number(body, "top_p", 0, 1),
    max_completion_tokens = fields.integer(body, "max_completion_tokens", 1), history = history_of(body),
    response_format = fields.response_format(body), parallel_tool_calls = fields.boolean(body, "parallel_tool_calls"),
    reasoning_effort = fields.choice(body, "reasoning_effort", EFFORTS), tool_choice = fields.tool_choice(body, has_tool),
  }
end


-- What the object of the run says of it.
local function shown_of(assistant, asked, model)
  local overrides, own = asked.overrides, assistant.options
  local instructions = overrides.instructions or type(own.instructions) == "string" and own.instructions or ""
  if asked.instructions_after then
    instructions = instructions ~= "" and instructions .. "\n\n" .. asked.instructions_after or asked.instructions_after
  end
  local choice, history = overrides.tool_choice or own.tool_choice, overrides.history or {}
  if type(choice) == "table" then
    choice = { type = "function", ["function"] = choice }
  end
  local function either(name)
    return overrides[name] == nil and own[name] or overrides[name]
  end
  return {
    model = model, instructions = instructions, tools = objects.tools(asked.has_own_tools and asked.tools or assistant.tool_list),
    temperature = either "temperature", top_p = either "top_p", max_prompt_tokens = history.tokens,
    max_completion_tokens = overrides.max_completion_tokens, tool_choice = choice, parallel_tool_calls = either "parallel_tool_calls",
    response_format = either "response_format",
    truncation_strategy = history.messages and { type = "last_messages", last_messages = history.messages } or nil,
  }
end


local function assistant_of(exchange, body)
  local id = fields.text(body, "assistant_id")
  if not id or id == "" then
    problem.invalid("assistant_id", "'assistant_id' is missing.", "missing_required_parameter")
  end
  local found = assistant_access.find(exchange, id)
  return found, registry.find(exchange.app, found.ref)
end


---Reads the body of a request for a run.
---@param exchange perilune.Exchange
---@return perilune.serve.RunRequest
function M.read(exchange)
  local body = exchange:body()
  local found, assistant = assistant_of(exchange, body)
  local tools, names = fields.tools(body), {}
  for position, one in ipairs(tools or assistant.tool_list) do
    if tools and not assistant.tools[one.name] and toolset.is_hosts(assistant, one.name) then
      problem.invalid(("tools[%d].function.name"):format(position - 1), ("'%s' is a tool of the server's."):format(one.name))
    end
    names[one.name] = true
  end
  local overrides = overrides_of(body, function(name)
    return names[name] == true
  end)
  local own_choice = assistant.options.tool_choice
  if not overrides.tool_choice and type(own_choice) == "table" and not names[own_choice.name] then
    overrides.tool_choice = "auto" -- the assistant's own names a tool that this run has not
  end
  local model = checked_model(exchange, found, overrides.model)
  local messages = fields.messages(body, "additional_messages")
  local asked = {
    api = "assistants", model = model, assistant = found.ref, assistant_id = found.id, overrides = overrides, tools = tools,
    has_own_tools = tools ~= nil or nil, inputs = #messages, row = found.row,
  }
  overrides.instructions, asked.instructions_after = instructions_of(body)
  asked.shown = shown_of(assistant, asked, overrides.model or type(assistant.model) == "string" and assistant.model or nil)
  return {
    asked = asked, messages = messages, metadata = fields.metadata(body), is_streamed = fields.boolean(body, "stream") == true,
  }
end


---The outputs of calls: { [id] = text }.
---@param body table
---@return table<string, string>
function M.read_outputs(body)
  local list = fields.list(body, "tool_outputs", 1000)
  if not list then
    problem.invalid("tool_outputs", "'tool_outputs' is missing.", "missing_required_parameter")
  end
  local outputs = {}
  for position, one in ipairs(list) do
    local param = ("tool_outputs[%d]"):format(position - 1)
    local id = fields.text(one, "tool_call_id", nil, param .. ".tool_call_id")
    if not id then
      problem.invalid(param .. ".tool_call_id", ("'%s.tool_call_id' is missing."):format(param), "missing_required_parameter")
    elseif outputs[id] then
      problem.invalid(param .. ".tool_call_id", ("Two outputs are given for the call '%s'."):format(id))
    end
    outputs[id] = fields.text(one, "output", nil, param .. ".output") or ""
  end
  return outputs
end


return M
