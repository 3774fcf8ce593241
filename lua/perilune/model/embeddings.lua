-- Texts to vectors: one call over whoever makes them. More texts than a vendor takes at once go in several requests, one after
-- the other; the vectors come back in the order of the texts.
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


-- The texts as a list.
local function texts_of(input)
  local texts = type(input) == "string" and { input } or input
  if type(texts) ~= "table" or #texts == 0 then
    return refuse("'input' is missing: a text, or a list of texts")
  end
  for position, text in ipairs(texts) do
    if type(text) ~= "string" or text == "" then
      return refuse("'input' is a list of texts that are not empty; number %d is none", position)
    end
  end
  return texts
end


local function check_request(options)
  local texts, err = texts_of(options.input)
  if not texts then
    return nil, err
  elseif options.dimensions and options.dimensions < 1 then
    return refuse("'dimensions' is at least 1, not %d", options.dimensions)
  elseif options.encoding_format and not formats[options.encoding_format] then
    return refuse("'encoding_format' is \"float\" or \"base64\" (on the wire; vectors are numbers), not '%s'", options.encoding_format)
  end
  return texts
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
---@param options { input: string|string[], model: string?, dimensions: integer?, encoding_format: "float"|"base64"|nil }
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
