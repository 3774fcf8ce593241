-- The body of a chat completion as a request: /v1/chat/completions, and /v1/completions, whose prompt is a chat of one message.
local extras = require "perilune.serve.extras"
local openai_shape = require "perilune.model.openai_shape"
local problem = require "perilune.serve.problem"
local requests = require "perilune.model.request"

local M = {}


---Reads a body, and checks it. Raises 400 with the field that is wrong.
---@param exchange perilune.Exchange
---@param body table
---@return string name of the model, as the client calls it
---@return perilune.Request request
---@return perilune.OpenAiRequest asked
function M.read(exchange, body)
  local name = exchange:model_named(body.model)
  local asked, err = openai_shape.request(openai_shape.without_extras(body))
  if not asked then
    problem.invalid(err.param, err.message)
  end
  local options = asked.options
  options.provider_specific_params = extras.passed(exchange, options.provider_specific_params)
  options.metadata = nil
  options.stream = asked.is_streamed
  local request
  request, err = requests.new(asked.messages, options)
  if not request then
    problem.invalid(err.param, (err.message:gsub("^request: ", "")))
  end
  return name, request, asked
end


return M
