-- Pictures and vectors of the built-in model, without a network and always the same. They mean nothing: a picture is a pattern of
-- the prompt's hash, a vector counts the hashes of a text's words, so that texts that share words are near each other.
local media = require "perilune.std.media"
local png = require "perilune.model.provider.offline_png"
local usage = require "perilune.model.usage"

local M = {}

---How long a vector is when nobody says.
M.DIMENSIONS = 64


-- FNV-1a, with its bits mixed once more.
local function hash(text)
  local value = 0xcbf29ce484222325
  for position = 1, #text do
    value = (value ~ text:byte(position)) * 0x100000001b3
  end
  value = (value ~ value >> 33) * 0xff51afd7ed558ccd
  return value ~ value >> 33
end


local function count_words(text)
  return select(2, text:gsub("%S+", ""))
end


local function draw(request)
  local images = {}
  for number = 1, request.n or 1 do
    local seed = hash(number == 1 and request.prompt or ("%s\0%d"):format(request.prompt, number))
    local part = assert(media.part(png.draw(seed)))
    images[number] = { b64_json = part.data, media_type = part.media_type }
  end
  return { data = images, usage = usage.estimate(count_words(request.prompt), 0) }
end


local function embed_text(text, dimensions)
  local vector = {}
  for position = 1, dimensions do
    vector[position] = 0.0
  end
  local words = text:lower():gmatch("[%w\128-\255]+")
  local word = words() or text
  while word do
    local value = hash(word)
    local position = (value >> 1) % dimensions + 1
    vector[position] = vector[position] + (value & 1 == 1 and 1 or -1)
    word = words()
  end
  local sum = 0
  for position = 1, dimensions do
    sum = sum + vector[position] ^ 2
  end
  if sum == 0 then -- the words took each other away
    vector[1], sum = 1.0, 1
  end
  for position = 1, dimensions do
    vector[position] = vector[position] / math.sqrt(sum)
  end
  return vector
end


local function embed(request)
  local vectors, tokens = {}, 0
  for position, text in ipairs(request.input) do
    vectors[position] = embed_text(text, request.dimensions or M.DIMENSIONS)
    tokens = tokens + count_words(text)
  end
  return { vectors = vectors, usage = usage.estimate(tokens, 0) }
end


---@type perilune.ImageFamily
M.images = { answer = draw, models = { "demo" } }

---@type perilune.EmbeddingFamily
M.embeddings = { answer = embed, models = { "demo" } }

return M
