-- An assistant behind an endpoint whose client keeps the conversation: its whole tool loop runs on a thread that is made for the
-- request, and the client sees one answer. Calls of the client's own tools are handed back to it; those of the assistant's are not shown.
local assistant_access = require "perilune.serve.assistant_access"
local definition = require "perilune.agent.definition"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local stream = require "perilune.model.stream"
local threads = require "perilune.store.threads"

local M = {}

-- Options of a request that an assistant's own do not stand against: they say how much, not what.
local taken = { "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "response_format", "reasoning_effort",
  "parallel_tool_calls", "tool_choice", "user", "enable_thinking" }

local TOOL_NAME_BYTES_MAX = 64

-- Events that tell of calls.
local of_calls = { tool_call_start = true, tool_call_delta = true, tool_call = true }


-- A tool of the client's is to be one of an assistant's. A schema that is wrong says so itself.
local function check_tool(one, position)
  local param, parameters = ("tools[%d].function"):format(position - 1), one.parameters
  if not one.name:find("^[%w_-]+$") or #one.name > TOOL_NAME_BYTES_MAX then
    problem.invalid(param .. ".name", ("The name of a tool must be 1 to %d letters, digits, _ and -."):format(TOOL_NAME_BYTES_MAX))
  elseif parameters ~= nil and (type(parameters) ~= "table" or next(parameters) ~= nil and parameters.type ~= "object") then
    problem.invalid(param .. ".parameters", "The parameters of a tool must be a JSON Schema of type object.")
  end
end


---The assistant of that name, with the client's tools and options.
---@param exchange perilune.Exchange
---@param name string
---@param options table of a request
---@return perilune.Assistant
---@return table<string, true> client_tools their names
function M.assistant(exchange, name, options)
  local found = assistant_access.look(exchange, name)
  if not found then
    error(problem.new {
      status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", is_retryable = false,
      message = ("The model `assistant/%s` does not exist."):format(name),
    }, 0)
  end
  local assistant = registry.find(exchange.app, found.ref)
  local changes, names, more = {}, {}, {}
  for _, option in ipairs(taken) do
    changes[option] = options[option]
  end
  for position, one in ipairs(options.tools or {}) do
    check_tool(one, position)
    if not assistant.tools[one.name] then
      more[#more + 1] = one
      names[one.name] = true
    else
      problem.invalid(("tools[%d]"):format(position - 1), ("The assistant has a tool of its own called '%s'."):format(one.name))
    end
  end
  changes.more_tools = definition.outside_tools(more)
  if next(changes) == nil and not more[1] then
    return assistant, names
  end
  return assistant:with(changes), names
end


-- Events without those of the assistant's own calls; calls of the client are numbered from 0.
local function filter(inner, names)
  local places, count = {}, 0
  return function()
    while true do
      local event = inner:pull()
      if event and event.type == "start" then
        places = {}
      end
      if not event or not of_calls[event.type] then
        return event
      end
      if event.type == "tool_call_start" or event.type == "tool_call" and not places[event.index] then
        if names[event.name] then
          places[event.index] = count
          count = count + 1
        else
          places[event.index] = nil
        end
      end
      local place = places[event.index]
      if place then
        local shown = {}
        for field, value in pairs(event) do
          shown[field] = value
        end
        shown.index = place
        return shown
      end
    end
  end
end


---The events of the answer.
---@param exchange perilune.Exchange
---@param name string of the assistant
---@param messages perilune.Message[]
---@param options table of the request
---@return perilune.Stream
function M.stream(exchange, name, messages, options)
  local assistant, names = M.assistant(exchange, name, options)
  local db, account = exchange.server.db, exchange.key.account
  local thread = errors.must(threads.create(db, { metadata = { request_id = exchange.id }, account = account }))
  local job = jobs.new(exchange.app, thread, assistant, nil, {
    messages = messages, hands_back = true, account = account, asked = { api = "chat", assistant = name, model = "assistant/" .. name },
    wrap = function(model, model_name)
      return exchange:bill(model, model_name)
    end,
  })
  local inner = jobs.stream(job)
  return stream.new(filter(inner, names), function()
    inner:close()
  end)
end


return M
