-- GET /v1/models, /v1/models/NAME: what can be asked for. With the header anthropic-version in Anthropic's shape.
local anthropic = require "perilune.serve.shape.anthropic.answer"
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local LIMIT_MAX = 1000


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


local function encode_all(models, encode_one)
  local data = json.array()
  for position, model in ipairs(models) do
    data[position] = encode_one(model)
  end
  return data
end


-- Where a model is in the list.
local function place_of(models, name, id)
  for position, model in ipairs(models) do
    if model.id == id then
      return position
    end
  end
  problem.invalid(name, ("'%s' must be the id of a model of this list."):format(name))
end


-- Anthropic's lists have pages. Who does not say how much is wanted gets as much as a page may have.
local function list_for_anthropic(exchange, models)
  local after, before = exchange:query("after_id"), exchange:query("before_id")
  local limit = exchange:query_integer("limit", LIMIT_MAX, 1, LIMIT_MAX)
  local first = after and place_of(models, "after_id", after) + 1 or 1
  local last = before and place_of(models, "before_id", before) - 1 or #models
  local is_cut = last - first + 1 > limit
  if is_cut and before then
    first = last - limit + 1
  elseif is_cut then
    last = first + limit - 1
  end
  local data = encode_all(table.move(models, first, last, 1, {}), encode_for_anthropic)
  exchange:reply(200, {
    data = data, has_more = is_cut, first_id = data[1] and data[1].id or json.null, last_id = data[1] and data[#data].id or json.null,
  })
end


local function list(exchange)
  local models = exchange.server.model_list:list(exchange)
  if is_for_anthropic(exchange) then
    list_for_anthropic(exchange, models)
  else
    exchange:reply(200, { object = "list", data = encode_all(models, encode) })
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
