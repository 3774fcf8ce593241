-- POST /v1/embeddings.
local billing_once = require "perilune.serve.billing_once"
local embeddings = require "perilune.model.embeddings"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"
local token = require "perilune.sys.token"
local tokens = require "perilune.model.tokens"


local function present(value)
  if value ~= json.null then
    return value
  end
end


local function inputs_of(input)
  local inputs, position = embeddings.inputs(input)
  if position == 0 then
    problem.invalid("input", "'input' must be a text, or a list of texts, that is not empty.")
  elseif not inputs then
    problem.invalid("input", ("'input' must hold texts or lists of tokens that are not empty: at %d is neither."):format(position - 1))
  end
  return inputs
end


-- Little-endian 32-bit floats, which is what the clients decode.
local function packed(vector)
  local pieces = {}
  for position, value in ipairs(vector) do
    pieces[position] = string.pack("<f", value)
  end
  return token.base64(table.concat(pieces))
end


-- Tokens, from above.
local function estimated(inputs)
  local sum = 0
  for _, input in ipairs(inputs) do
    sum = sum + (type(input) == "table" and #input or math.max(tokens.of_text(input), #input // 3)) + 8
  end
  return sum
end


local function embed(exchange)
  local body = exchange:body()
  local name, inputs = exchange:model_named(body.model, "embeddings"), inputs_of(body.input)
  local format, dimensions, user = present(body.encoding_format) or "float", present(body.dimensions), present(body.user)
  if format ~= "float" and format ~= "base64" then
    problem.invalid("encoding_format", "'encoding_format' must be \"float\" or \"base64\".")
  elseif dimensions ~= nil and math.type(dimensions) ~= "integer" or dimensions and dimensions < 1 then
    problem.invalid("dimensions", "'dimensions' must be a whole number of at least 1.")
  elseif user ~= nil and type(user) ~= "string" then
    problem.invalid("user", "'user' must be a text.")
  end
  local estimate = estimated(inputs)
  exchange.app:discover()
  local result = billing_once.run(exchange, { family = "embeddings", name = name, prompt_tokens = estimate }, function()
    return embeddings.embed({ input = inputs, model = name, dimensions = dimensions, user = user }, exchange.app.settings)
  end)
  local data = {}
  for position, vector in ipairs(result.vectors) do
    data[position] = { object = "embedding", index = position - 1, embedding = format == "base64" and packed(vector) or vector }
  end
  local used = result.usage and result.usage.prompt_tokens or estimate
  exchange:reply(200, { object = "list", model = result.model, data = data, usage = { prompt_tokens = used, total_tokens = used } })
end


return {
  { "POST", "/v1/embeddings", embed, family = "embeddings" },
}
