-- GET /v1/models, /v1/models/NAME: what can be asked for. With the header anthropic-version in Anthropic's shape.
local anthropic = require "perilune.serve.shape.anthropic.answer"
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"


local function encode(model)
  return { id = model.id, object = "model", created = model.created, owned_by = model.owner }
end


local function encode_for_anthropic(model)
  return { type = "model", id = model.id, display_name = model.id, created_at = clock.iso(model.created) }
end


local function is_for_anthropic(exchange)
  return exchange:header("anthropic-version") ~= nil
end


local function encode_error(answer, exchange)
  return is_for_anthropic(exchange) and anthropic.error(answer, exchange) or problem.body(answer)
end


local function list(exchange)
  local models = exchange.server.model_list:list(exchange)
  local is_anthropic = is_for_anthropic(exchange)
  local data = json.array()
  for position, model in ipairs(models) do
    data[position] = is_anthropic and encode_for_anthropic(model) or encode(model)
  end
  if is_anthropic then
    local first, last = data[1], data[#data]
    exchange:reply(200, {
      data = data, has_more = false, first_id = first and first.id or json.null, last_id = last and last.id or json.null,
    })
  else
    exchange:reply(200, { object = "list", data = data })
  end
end


local function show(exchange)
  local name = exchange.params.model
  for _, model in ipairs(exchange.server.model_list:list(exchange)) do
    if model.id == name then
      return exchange:reply(200, is_for_anthropic(exchange) and encode_for_anthropic(model) or encode(model))
    end
  end
  error(problem.new {
    status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", is_retryable = false,
    message = ("The model '%s' does not exist"):format(name),
  }, 0)
end


return {
  { "GET", "/v1/models", list, family = "models", encode_error = encode_error },
  { "GET", "/v1/models/{model...}", show, family = "models", encode_error = encode_error },
}
