-- Texts to vectors: one call over whoever makes them. More texts than a vendor takes at once go in several requests, one after
-- the other; the vectors come back in the order of the texts. A list of tokens may stand for a text where the vendor takes them.
local errors = require "perilune.std.errors"
local exchange = require "perilune.model.exchange"
local family = require "perilune.model.family"
local usages = require "perilune.model.usage"

local M = {}

---Time limit of one request in seconds.
M.TIMEOUT = 60

---The options and their types.
M.options = {
  input = "string|table", model = "string", dimensions = "integer", encoding_format = "string", input_type = "string",
  user = "string", timeout = "number", provider_specific_params = "table",
}

local formats = { float = true, base64 = true }


---@class perilune.Embeddings
---@field vectors number[][] one for each text, in their order
---@field provider string
---@field model string
---@field usage? perilune.Usage


local function refuse(problem, ...)
  return nil, errors.new { kind = "configuration", message = "embed: " .. problem:format(...), retryable = false }
end


-- Tokens are numbers in the vocabulary of the model.
local function is_tokens(value)
  if type(value) ~= "table" or #value == 0 then
    return false
  end
  for _, token in ipairs(value) do
    if math.type(token) ~= "integer" or token < 0 then
      return false
    end
  end
  return true
end


---What is asked for as a list: of texts, and of lists of tokens.
---@param input any a text, tokens, or a list of these
---@return (string|integer[])[]? inputs
---@return integer? position of the first that is neither; 0: there is none at all
function M.inputs(input)
  local inputs = (type(input) == "string" or is_tokens(input)) and { input } or input
  if type(inputs) ~= "table" or #inputs == 0 then
    return nil, 0
  end
  for position, one in ipairs(inputs) do
    if one == "" or type(one) ~= "string" and not is_tokens(one) then
      return nil, position
    end
  end
  return inputs
end


local function check_request(options)
  local inputs, position = M.inputs(options.input)
  if position == 0 then
    return refuse("'input' is missing: a text, or a list of texts")
  elseif not inputs then
    return refuse("'input' is a list of texts that are not empty; number %d is none", position)
  elseif options.dimensions and options.dimensions < 1 then
    return refuse("'dimensions' is at least 1, not %d", options.dimensions)
  elseif options.encoding_format and not formats[options.encoding_format] then
    return refuse("'encoding_format' is \"float\" or \"base64\" (on the wire; vectors are numbers), not '%s'", options.encoding_format)
  end
  return inputs
end


-- The first of the inputs that this maker does not take.
local function check_maker(inputs, maker, target)
  for _, input in ipairs(inputs) do
    if type(input) ~= "string" and not maker.takes_tokens then
      return nil, errors.new {
        kind = "configuration", code = "malformed", param = "input", retryable = false,
        message = ("embed: %s takes texts, and no tokens"):format(target.name),
      }
    end
  end
  return true
end


-- One request for some of the texts.
local function ask(options, texts, target, maker, settings)
  local request = setmetatable({ input = texts }, { __index = options })
  if maker.answer then
    return maker.answer(request)
  end
  local http, err = maker.encode(request, target)
  local result
  result, err = exchange.run(http, err, target, maker.decode, { settings = settings, timeout = options.timeout or M.TIMEOUT })
  if result and #result.vectors ~= #texts then
    return nil, errors.new {
      kind = "bad_response", provider = target.name, model = target.model, retryable = true, maybe_billed = true,
      message = ("%d texts were sent, %d vectors came back"):format(#texts, #result.vectors),
    }
  end
  return result, err
end


---Makes vectors.
---@param options { input: string|integer[]|(string|integer[])[], model: string?, dimensions: integer?, encoding_format: "float"|"base64"|nil }
---@param settings perilune.Settings
---@return perilune.Embeddings?
---@return perilune.Error?
function M.embed(options, settings)
  local texts, err = check_request(options)
  if not texts then
    return nil, err
  end
  local plan
  plan, err = family.plan("embeddings", options.model, settings)
  if not plan then
    return nil, err
  end
  local candidate = plan:order()[1]
  local target, maker = candidate.target, candidate.model
  local fits
  fits, err = check_maker(texts, maker, target)
  if not fits then
    return nil, err
  end
  local all = { vectors = {}, provider = target.name, model = target.model }
  local step = maker.inputs_max or #texts
  for first = 1, #texts, step do
    local some = table.move(texts, first, math.min(first + step - 1, #texts), 1, {})
    local result
    result, err = ask(options, some, target, maker, settings)
    if not result then
      return nil, err
    end
    table.move(result.vectors, 1, #result.vectors, #all.vectors + 1, all.vectors)
    all.usage = usages.add(all.usage, result.usage)
  end
  exchange.priced(all.usage, target, settings.prices)
  return all
end


return M
