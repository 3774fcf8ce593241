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


local function texts_of(input)
  if type(input) == "string" then
    input = { input }
  end
  if type(input) ~= "table" or #input == 0 then
    problem.invalid("input", "'input' must be a text, or a list of texts, that is not empty.")
  end
  for position, text in ipairs(input) do
    if type(text) ~= "string" or text == "" then
      problem.invalid("input", ("'input' must hold texts that are not empty, not a %s at %d; tokens are not taken here."):format(
        type(text) == "table" and "list" or type(text), position - 1))
    end
  end
  return input
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
local function estimated(texts)
  local sum = 0
  for _, text in ipairs(texts) do
    sum = sum + math.max(tokens.of_text(text), #text // 3) + 8
  end
  return sum
end


local function embed(exchange)
  local body = exchange:body()
  local name, texts = exchange:model_named(body.model, "embeddings"), texts_of(body.input)
  local format, dimensions, user = present(body.encoding_format) or "float", present(body.dimensions), present(body.user)
  if format ~= "float" and format ~= "base64" then
    problem.invalid("encoding_format", "'encoding_format' must be \"float\" or \"base64\".")
  elseif dimensions ~= nil and math.type(dimensions) ~= "integer" or dimensions and dimensions < 1 then
    problem.invalid("dimensions", "'dimensions' must be a whole number of at least 1.")
  elseif user ~= nil and type(user) ~= "string" then
    problem.invalid("user", "'user' must be a text.")
  end
  local estimate = estimated(texts)
  exchange.app:discover()
  local result = billing_once.run(exchange, { family = "embeddings", name = name, prompt_tokens = estimate }, function()
    return embeddings.embed({ input = texts, model = name, dimensions = dimensions, user = user }, exchange.app.settings)
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
