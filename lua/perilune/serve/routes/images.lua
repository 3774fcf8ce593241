-- POST /v1/images/generations.
local billing_once = require "perilune.serve.billing_once"
local images = require "perilune.model.images"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local taken = { "n", "size", "response_format", "quality", "style", "background", "output_format", "user" }

-- What an image may come to where images have tokens: OpenAI's largest, at the best quality, has 6,240.
local IMAGE_TOKENS_MAX = 8192


local function options_of(exchange, body)
  local options = { prompt = body.prompt }
  if type(body.prompt) ~= "string" then
    problem.invalid("prompt", "'prompt' must be a text.", "missing_required_parameter")
  elseif body.stream == true then
    problem.invalid("stream", "Images are not streamed here.", "unsupported_parameter")
  end
  for _, name in ipairs(taken) do
    local value = body[name]
    if value ~= nil and value ~= json.null then
      local expected = images.options[name]
      if expected == "integer" and math.type(value) ~= "integer" or expected == "string" and type(value) ~= "string" then
        problem.invalid(name, ("'%s' must be of the type %s."):format(name, expected))
      end
      options[name] = value
    end
  end
  local is_right, err = images.check(options)
  if not is_right then
    problem.invalid(err.message:match("'([%w_]+)'"), (err.message:gsub("^image: ", "")))
  end
  local model = body.model
  options.model = exchange:model_named((model == nil or model == json.null) and "auto" or model, "images")
  return options
end


local function encode_usage(usage)
  return usage and {
    input_tokens = usage.prompt_tokens, output_tokens = usage.completion_tokens, total_tokens = usage.total_tokens,
    input_tokens_details = { text_tokens = usage.prompt_tokens, image_tokens = 0 },
  } or nil
end


local function generate(exchange)
  local options = options_of(exchange, exchange:body())
  exchange.app:discover()
  local count = options.n or 1
  local result = billing_once.run(exchange, {
    family = "images", name = options.model, requests = count, prompt_tokens = #options.prompt // 3 + 32,
    completion_tokens = count * IMAGE_TOKENS_MAX,
  }, function()
    return images.generate(options, exchange.app.settings)
  end)
  local data = {}
  for position, image in ipairs(result.data) do
    data[position] = { url = image.url, b64_json = image.b64_json, revised_prompt = image.revised_prompt }
  end
  exchange:reply(200, { created = result.created, data = data, usage = encode_usage(result.usage) })
end


return {
  { "POST", "/v1/images/generations", generate, family = "images" },
}
