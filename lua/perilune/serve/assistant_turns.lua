-- An assistant behind an endpoint whose client keeps the conversation: its whole tool loop runs on a thread that is made for the
-- request, and the client sees one answer. Calls of the client's own tools are handed back to it; those of the assistant's are not shown.
local assistant_access = require "perilune.serve.assistant_access"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local limits = require "perilune.agent.limits"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local run_jobs = require "perilune.serve.run_jobs"
local stream = require "perilune.model.stream"
local threads = require "perilune.store.threads"
local toolset = require "perilune.agent.toolset"

local M = {}

-- Options of a request that say how much is said, and how: they stand against the assistant's own.
local taken = { "max_tokens", "max_completion_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed",
  "response_format", "reasoning_effort", "parallel_tool_calls", "tool_choice", "user", "enable_thinking", "provider_specific_params" }

local TOOL_NAME_BYTES_MAX = 64

-- Events that tell of calls.
local of_calls = { tool_call_start = true, tool_call_delta = true, tool_call = true }


-- A tool of the client's is to be one of an assistant's. A schema that is wrong says so itself.
local function check_tool(assistant, one, position)
  local param, parameters = ("tools[%d].function"):format(position - 1), one.parameters
  if not one.name:find("^[%w_-]+$") or #one.name > TOOL_NAME_BYTES_MAX then
    problem.invalid(param .. ".name", ("The name of a tool must be 1 to %d letters, digits, _ and -."):format(TOOL_NAME_BYTES_MAX))
  elseif toolset.has(assistant, one.name) then
    problem.invalid(param .. ".name", ("The assistant has a tool of its own called '%s'."):format(one.name))
  elseif parameters ~= nil and (type(parameters) ~= "table" or next(parameters) ~= nil and parameters.type ~= "object") then
    problem.invalid(param .. ".parameters", "The parameters of a tool must be a JSON Schema of type object.")
  end
end


-- What an assistant, which asks its model several times, does not have.
local function check_options(options)
  if (options.n or 1) ~= 1 then
    problem.invalid("n", "An assistant gives one answer.")
  elseif options.logprobs then
    problem.invalid("logprobs", "An assistant gives no log probabilities.")
  end
end


---What is asked of the assistant of that name, with the client's tools and options.
---@param exchange perilune.Exchange
---@param name string
---@param options table of a request
---@return perilune.serve.Asked
function M.asked(exchange, name, options)
  local found = assistant_access.look(exchange, name)
  if not found then
    error(problem.new {
      status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", is_retryable = false,
      message = ("The model `assistant/%s` does not exist."):format(name),
    }, 0)
  end
  check_options(options)
  local assistant, overrides = registry.find(exchange.app, found.ref), {}
  for _, option in ipairs(taken) do
    overrides[option] = options[option]
  end
  for position, one in ipairs(options.tools or {}) do
    check_tool(assistant, one, position)
  end
  return {
    api = "chat", model = "assistant/" .. name, assistant = found.ref, overrides = overrides, tools = options.tools or {},
    hands_back = true,
  }
end


-- The client sees the calls of its own tools, numbered from 0.
local function renumbered(places, names, event)
  if event.type == "tool_call_start" or event.type == "tool_call" and not places[event.index] then
    places[event.index] = names[event.name] and places.count or nil
    places.count = places.count + (names[event.name] and 1 or 0)
  end
  local place = places[event.index]
  if not place then
    return nil
  end
  local shown = {}
  for field, value in pairs(event) do
    shown[field] = value
  end
  shown.index = place
  return shown
end


-- An answer that is not there: somebody has to decide first, and the request does not wait for it.
local function waits(run_id)
  return { type = "error", error = problem.new {
    status = 409, type = "invalid_request_error", code = "waiting_approval", is_retryable = false,
    message = ("The run %s waits for a decision, and this request does not: POST /v1/runs/{id}/approve or /reject makes it, "
      .. "/v1/runs/{id}/events shows what comes of it."):format(run_id),
  } }
end


-- Events without those of the assistant's own calls.
local function filter(inner, names, run_id)
  local places = { count = 0 }
  return function()
    while true do
      local event = inner:pull()
      if not event then
        return nil
      elseif event.type == "start" then
        places = { count = places.count }
      elseif event.type == "waiting" then
        return waits(run_id)
      elseif event.type == "stop" and limits.words[event.raw] then
        return { type = "stop", reason = "length", raw = event.raw }
      end
      local shown = event
      if of_calls[event.type] then
        shown = renumbered(places, names, event)
      end
      if shown then
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
  local asked, names, run_id = M.asked(exchange, name, options), {}, exchange:run_id()
  for _, one in ipairs(asked.tools) do
    names[one.name] = true
  end
  local db, account = exchange.server.db, exchange.key.account
  local thread = errors.must(threads.create(db, { metadata = { request_id = exchange.id }, account = account }))
  local inner = jobs.stream(run_jobs.job(exchange.app, thread, asked, {
    messages = messages, account = account, run_id = run_id,
    wrap = function(model, model_name)
      return exchange:bill(model, model_name)
    end,
  }))
  return stream.new(filter(inner, names, run_id), function()
    inner:close()
  end)
end


return M
