-- An image from a text, kept as a file. Without a key the offline model draws: a small pattern, the same for the same text.
local perilune = require "perilune"

local client = perilune.client()
local prompt = arg[1] or "A crater at sunrise"

local images = client:image { prompt = prompt, n = 2, response_format = "b64_json" }
for position, image in ipairs(images.data) do
  local path = image:save(("image-%d.png"):format(position))
  print(("%s: %d bytes, drawn by %s/%s"):format(path, #image:bytes(), images.provider, images.model))
end
