-- The parts of a message's content in OpenAI's shape, as parts of ours.
local fields = require "perilune.model.openai_shape.fields"
local media = require "perilune.std.media"

local M = {}

---The fields of each type.
M.fields = {
  text = { type = true, text = true }, refusal = { type = true, refusal = true },
  image_url = { type = true, image_url = true }, video_url = { type = true, video_url = true },
  input_audio = { type = true, input_audio = true }, file = { type = true, file = true },
}


-- A part of media, or what is wrong with them.
local function part_of(where, url, kind)
  local part, err = media.part_of_url(url, kind)
  if not part then
    return fields.refuse(where, "%s", err.message)
  end
  return part
end


local function medium(where, holder, kind)
  local value, err = fields.object(where, holder)
  if not value then
    return nil, err
  elseif type(value.url) ~= "string" then
    return fields.refuse(where, "needs 'url'")
  end
  local part
  part, err = part_of(where .. ".url", value.url, kind)
  if part then
    part.detail = value.detail
  end
  return part, err
end


-- How each type of part is read.
local parts = {}


function parts.text(_, part)
  return { type = "text", text = part.text }
end


function parts.refusal(_, part)
  return { type = "text", text = part.refusal }
end


function parts.image_url(where, part)
  return medium(where .. ".image_url", part.image_url, "image")
end


function parts.video_url(where, part)
  return medium(where .. ".video_url", part.video_url, "video")
end


function parts.input_audio(where, part)
  local audio, err = fields.object(where .. ".input_audio", part.input_audio, { data = true, format = true })
  if not audio then
    return nil, err
  elseif type(audio.data) ~= "string" then
    return fields.refuse(where .. ".input_audio", "needs 'data', base64")
  end
  return part_of(where .. ".input_audio", ("data:audio/%s;base64,%s"):format(audio.format or "wav", audio.data), "audio")
end


function parts.file(where, part)
  local file, err = fields.object(where .. ".file", part.file, { file_data = true, filename = true })
  if not file then
    return nil, err
  elseif type(file.file_data) ~= "string" then
    return fields.refuse(where .. ".file", "needs 'file_data'")
  end
  local url = file.file_data
  local found
  found, err = part_of(where .. ".file", url:find("^data:") and url or "data:application/pdf;base64," .. url, "file")
  if found then
    found.name = file.filename
  end
  return found, err
end


---Reads a part.
---@param where string
---@param part any
---@return table?
---@return perilune.Error?
function M.decode(where, part)
  local given, err = fields.object(where, part)
  if not given then
    return nil, err
  end
  local known = M.fields[given.type]
  if not known then
    return fields.refuse(where, "the type '%s' is not known; it is text, image_url, input_audio, video_url or file", tostring(given.type))
  end
  given, err = fields.object(where, given, known)
  if not given then
    return nil, err
  end
  return parts[given.type](where, given)
end


return M
