-- Images of Fireworks: the model is part of the address, one image a request, the answer a text or list of base64.
local media = require "perilune.std.media"
local size = require "perilune.model.provider.media_size"
local whole = require "perilune.model.provider.whole"
local wire = require "perilune.model.provider.wire"

local M = {}


local function encode_images(request, target)
  local body = { prompt = request.prompt, aspect_ratio = size.ratio(request.size), seed = request.seed }
  local url = wire.join(target.base_url, ("workflows/%s/text_to_image"):format(wire.escape_path(target.model)))
  return whole.post(url, whole.bearer(target), target, body, request.provider_specific_params)
end


local function decode_images(status, body)
  local root, err = whole.read(status, body)
  if not root then
    return nil, err
  end
  local images = {}
  for _, item in ipairs(type(root.base64) == "string" and { root.base64 } or whole.list(root.base64)) do
    if whole.text(item) then
      local media_type, data = wire.split_data_url(item)
      data = data or item
      images[#images + 1] = { b64_json = data, media_type = media.sniff_base64(data) or media_type }
    end
  end
  if #images == 0 then
    return whole.missing("image", root)
  end
  return { data = images }
end


---@type perilune.ImageFamily
M.images = {
  encode = encode_images, decode = decode_images, quirks = { one_each = true }, known_quirks = { one_each = "one image a request" },
  models = { "accounts/fireworks/models/flux-1-schnell-fp8", "accounts/fireworks/models/flux-1-dev-fp8" },
}

return M
