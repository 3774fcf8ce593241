-- Media as parts of a message (docs/model.md): what bytes are, whether they may be sent, base64. The first bytes decide; the
-- name does only for types whose files do not all begin alike. It reads no files and fetches nothing.
local errors = require "perilune.std.errors"
local token = require "perilune.sys.token"

local M = {}

local MIB = 1 << 20

---The most bytes of one medium, by kind.
M.limits = {
  image = 20 * MIB, -- the largest that a vendor takes
  audio = 25 * MIB, -- OpenAI
  file = 32 * MIB, -- Anthropic, for a whole request
  video = 45 * MIB, -- base64 makes four bytes of three, and one request is a JSON document of at most 64 MiB
}

-- Where the word for a kind is not the kind itself.
local words = { audio = "an audio file", file = "a document", image = "an image", video = "a video" }

-- Extension, kind, type; `varied` where files of that type do not all begin alike.
local types = {
  { "png", "image", "image/png" }, { "jpg", "image", "image/jpeg" }, { "jpeg", "image", "image/jpeg" },
  { "webp", "image", "image/webp" }, { "gif", "image", "image/gif" },
  { "mp4", "video", "video/mp4", varied = true }, { "m4v", "video", "video/mp4", varied = true },
  { "webm", "video", "video/webm" }, { "avi", "video", "video/x-msvideo" },
  { "mov", "video", "video/quicktime", varied = true },
  { "ogv", "video", "video/ogg" }, { "ogg", "video", "video/ogg" }, { "oga", "audio", "audio/ogg" },
  { "wav", "audio", "audio/wav" }, { "mp3", "audio", "audio/mpeg", varied = true },
  { "pdf", "file", "application/pdf", varied = true },
}

local KNOWN = "png, jpeg, webp, gif, mp4, webm, ogg, mov, avi, wav, mp3, pdf"

local by_extension, by_type = {}, {}
for _, row in ipairs(types) do
  by_extension[row[1]] = row
  by_type[row[3]] = by_type[row[3]] or row
end

-- Other names of the same types.
local synonyms = {
  ["image/jpg"] = "image/jpeg", ["audio/x-wav"] = "audio/wav", ["audio/wave"] = "audio/wav", ["audio/mp3"] = "audio/mpeg",
  ["video/avi"] = "video/x-msvideo", ["video/mov"] = "video/quicktime",
}

-- How the bytes of a type begin; all of it within the first HEAD_BYTES.
local HEAD_BYTES = 64
local signatures = {
  { "^\x89PNG\r\n\x1a\n", "image/png" },
  { "^\xff\xd8\xff", "image/jpeg" },
  { "^GIF8[79]a", "image/gif" },
  { "^RIFF....WEBP", "image/webp" },
  { "^RIFF....WAVE", "audio/wav" },
  { "^RIFF....AVI ", "video/x-msvideo" },
  { "^%%PDF%-", "application/pdf" },
  { "^....ftypqt  ", "video/quicktime" },
  { "^....ftypiso", "video/mp4" }, { "^....ftypmp4", "video/mp4" }, { "^....ftypM4V", "video/mp4" },
  { "^....ftypavc1", "video/mp4" }, { "^....ftypdash", "video/mp4" },
  { "^\x1aE\xdf\xa3.*webm", "video/webm" },
  { "^OggS.*OpusHead", "audio/ogg" }, { "^OggS.*\1vorbis", "audio/ogg" }, { "^OggS", "video/ogg" },
  { "^ID3", "audio/mpeg" }, { "^\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "audio/mpeg" },
}


---The media type of bytes by how they begin; nil when it is none that is known.
---@param bytes string
---@return string? media_type
function M.sniff(bytes)
  local head = bytes:sub(1, HEAD_BYTES)
  for _, signature in ipairs(signatures) do
    if head:find(signature[1]) then
      return signature[2]
    end
  end
end


---The bytes of base64 data.
---@param data string
---@return string? bytes
---@return perilune.Error?
function M.bytes(data)
  return token.unbase64(data)
end


---The media type that base64 data begins like.
---@param data string
---@return string? media_type
function M.sniff_base64(data)
  local head = token.unbase64(data:sub(1, HEAD_BYTES))
  return head and M.sniff(head)
end


-- The row of the type that a name or an address promises.
local function row_of_name(name)
  local path = name:match("^%a+://[^?#]*") or name
  local extension = path:match("%.(%w+)$")
  return extension and by_extension[extension:lower()]
end


---The kind that a name or an address promises: image, audio, video or file.
---@param name string
---@return string? kind
function M.kind_of_name(name)
  local row = row_of_name(name)
  return row and row[2]
end


---`nil, err` of kind media. The details name the limit and the size where there are any.
---@param message string
---@param details? table
---@return nil
---@return perilune.Error
function M.refuse(message, details)
  return nil, errors.new { kind = "media", message = message, details = details, retryable = false }
end


local function readable(bytes)
  return ("%d bytes (%.1f MB)"):format(bytes, bytes / MIB)
end


---Refuses a medium that is too large, by name.
---@param name string
---@param kind string
---@param size integer bytes
---@return true?
---@return perilune.Error?
function M.check_size(name, kind, size)
  local limit = M.limits[kind]
  if size <= limit then
    return true
  end
  local problem = ("%s is too large: %s may have %s, it has %s"):format(name, words[kind], readable(limit), readable(size))
  return M.refuse(problem, { file = name, limit = limit, size = size })
end


local function check_kind(name, kind, wanted)
  if wanted and wanted ~= "file" and kind ~= wanted then
    return M.refuse(("%s is %s, not %s"):format(name, words[kind], words[wanted]), { file = name })
  end
  return true
end


-- The row of the type of these bytes, or what is wrong with them.
local function row_of(bytes, name, promised)
  local media_type = M.sniff(bytes)
  if media_type then
    return by_type[media_type]
  elseif #bytes == 0 then
    return M.refuse(name .. " is empty", { file = name, size = 0 })
  elseif promised and promised.varied then
    return promised
  end
  local problem = promised and "does not begin like a " .. promised[1] or "is of an unknown type"
  return M.refuse(("%s %s; known are %s"):format(name, problem, KNOWN), { file = name, size = #bytes })
end


---A part out of bytes.
---@param bytes string
---@param options? { name: string?, kind: string?, media_type: string? } `kind` is what it must be; "file" may be any
---@return table? part
---@return perilune.Error?
function M.part(bytes, options)
  options = options or {}
  local name = options.name or "the data"
  local said = options.media_type
  local row, err = row_of(bytes, name, row_of_name(name) or said and by_type[synonyms[said] or said])
  if not row then
    return nil, err
  end
  local is_right
  is_right, err = check_kind(name, row[2], options.kind)
  if is_right then
    is_right, err = M.check_size(name, row[2], #bytes)
  end
  if not is_right then
    return nil, err
  end
  local short = options.name and options.name:match("([^/]*)$")
  return { type = row[2], data = token.base64(bytes), media_type = row[3], name = short }
end


---Is this text an address that a provider can read?
---@param text string
---@return boolean
function M.is_url(text)
  return text:find("^[hH][tT][tT][pP][sS]?://") ~= nil or text:find("^data:") ~= nil
end


local function part_of_data_url(url, wanted)
  local media_type, data = url:match("^data:([^;,]*)[^,]*;base64,(.*)$")
  if not data then
    return M.refuse("a data URL must be data:TYPE;base64,DATA")
  end
  local bytes, err = token.unbase64(data)
  if not bytes then
    return M.refuse("a data URL is " .. err.message)
  end
  return M.part(bytes, { kind = wanted, media_type = media_type })
end


---A part out of an address. A link is sent as it is, the provider reads it; a data URL becomes data.
---@param url string
---@param wanted? string the kind it must be; "file" may be any
---@return table? part
---@return perilune.Error?
function M.part_of_url(url, wanted)
  if url:find("^data:") then
    return part_of_data_url(url, wanted)
  end
  local row = row_of_name(url)
  local kind = row and row[2] or wanted
  if not kind then
    return M.refuse(("%s does not say what it is: give the part a type"):format(url), { file = url })
  end
  local is_right, err = check_kind(url, kind, wanted)
  if not is_right then
    return nil, err
  end
  return { type = kind, url = url, media_type = row and row[3] }
end


return M
