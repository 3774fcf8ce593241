-- GET /v1/capabilities: what models can do, as far as it is published; ?model=NAME: one of them.
local capabilities = require "perilune.model.capabilities"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local fields = { "vision", "audio", "video", "documents", "tools", "reasoning", "structured_output", "context_tokens", "output_tokens" }


-- What nobody published is null.
local function encode(known, id)
  local encoded = { id = id, object = "capability", kind = known.kind or json.null, source = known.source or json.null,
    date = known.date or json.null }
  for _, name in ipairs(fields) do
    local value = known[name]
    encoded[name] = value == nil and json.null or value
  end
  local price = known.price
  encoded.price = price and {
    input = price.input, output = price.output, cached = price.cached, unit = "nano-dollars for a million tokens",
  } or json.null
  return encoded
end


-- An assistant takes what its model takes, and calls tools in any case.
local function show_one(exchange, name)
  exchange:model_named(name)
  local known, err = capabilities.find(name)
  if not known then
    error(problem.new {
      status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", message = err.message, is_retryable = false,
    }, 0)
  end
  exchange:reply(200, encode(known, known.id))
end


local function show(exchange)
  local name = exchange:query("model")
  if name then
    return show_one(exchange, name)
  end
  local data = json.array()
  for _, model in ipairs(exchange.server.model_list:list(exchange)) do
    if model.kind ~= "assistant" and model.owner ~= "alias" then
      local provider, rest = model.id:match("^([^/]+)/(.+)$")
      data[#data + 1] = encode(capabilities.get(provider, rest, { kind = model.kind }), model.id)
    end
  end
  exchange:reply(200, { object = "list", data = data })
end


return {
  { "GET", "/v1/capabilities", show, family = "models" },
}
