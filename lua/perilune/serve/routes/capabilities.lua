-- GET /v1/capabilities: what models can do, as far as it is published; ?model=NAME: one of them.
local assistant_access = require "perilune.serve.assistant_access"
local capabilities = require "perilune.model.capabilities"
local hooks = require "perilune.agent.hooks"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local resolve = require "perilune.model.resolve"

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


-- The name of the model that is behind an assistant or an alias: its first. A model that is none of a provider has no name.
local function name_behind(exchange, name)
  local assistant = name:match("^assistant/(.+)$")
  if not assistant then
    local meant = hooks.of(exchange.app).aliases[name]
    return meant and meant[1] or name
  end
  local found = assistant_access.look(exchange, assistant)
  if not found then
    return name
  end
  return registry.find(exchange.app, found.ref).model or resolve.default(exchange.app.settings)
end


local function show_one(exchange, name)
  local behind = name_behind(exchange, exchange:model_named(name))
  local known, err = {}, nil
  if type(behind) == "string" and behind ~= "auto" then
    known, err = capabilities.find(behind)
  end
  if not known then
    error(problem.new {
      status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", message = err.message, is_retryable = false,
    }, 0)
  end
  exchange:reply(200, encode(known, behind == name and known.id or name))
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
