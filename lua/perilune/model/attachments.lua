-- What people attach to a question: paths, addresses and bytes become parts of a message. The only place that reads media
-- from disk; what a medium is and how large it may be is in std/media.
local fs = require "perilune.sys.fs"
local media = require "perilune.std.media"

local M = {}

---The shorthand options, and the kind that each of them takes; "file" takes every kind.
M.options = { images = "image", videos = "video", files = "file" }

---Their types, for checks of options.
M.option_types = { images = "string|table", videos = "string|table", files = "string|table" }

local order = { "images", "videos", "files" }

-- The fields that say where a medium is.
local sources = { "path", "bytes", "url", "data" }

-- A kind that nobody promised: nothing is larger.
local LARGEST = math.max(media.limits.image, media.limits.audio, media.limits.file, media.limits.video)


-- The file's bytes; too large ones are refused before they are read.
local function read(path, kind)
  local stat, err = fs.stat(path)
  if not stat then
    return media.refuse(err.message, { file = path })
  elseif stat.type ~= "file" then
    return media.refuse(path .. " is no file", { file = path })
  end
  local promised = media.kind_of_name(path) or kind ~= "file" and kind or nil
  local is_right
  is_right, err = media.check_size(path, promised or "video", stat.size)
  if not is_right then
    return nil, err
  end
  local bytes
  bytes, err = fs.read(path, { bytes = LARGEST })
  if not bytes then
    return media.refuse(err.message, { file = path })
  end
  return bytes
end


local function part_of_path(path, kind)
  local bytes, err = read(path, kind)
  if not bytes then
    return nil, err
  end
  return media.part(bytes, { name = path, kind = kind })
end


-- A text is an address, else bytes if it could be no path, else a path.
local function part_of_text(text, kind)
  if media.is_url(text) then
    return media.part_of_url(text, kind)
  elseif text:find("\0", 1, true) or media.sniff(text) then
    return media.part(text, { kind = kind })
  end
  return part_of_path(text, kind)
end


local function part_of_table(given, kind)
  local part, err
  if type(given.path) == "string" then
    part, err = part_of_path(given.path, kind)
  elseif type(given.bytes) == "string" then
    part, err = media.part(given.bytes, { name = given.name, kind = kind, media_type = given.media_type })
  elseif type(given.url) == "string" then
    part, err = media.part_of_url(given.url, kind)
  elseif type(given.data) == "string" then
    part, err = media.part_of_url(("data:%s;base64,%s"):format(given.media_type or "", given.data), kind)
  else
    return media.refuse("an attachment is a path, an address or bytes, or { path= }, { url= }, { bytes= } or { data= } (base64)")
  end
  if part then
    part.name, part.detail = given.name or part.name, given.detail
  end
  return part, err
end


---One attachment as a part of a message.
---@param given string|table a path, an address or bytes; or { path= | url= | bytes= | data=, name=?, media_type=?, detail=? }
---@param kind? string image, video, audio, or file for any
---@return table? part
---@return perilune.Error?
function M.part(given, kind)
  if type(given) == "string" then
    return part_of_text(given, kind)
  elseif type(given) == "table" then
    return part_of_table(given, kind)
  end
  return media.refuse("an attachment is a text or a table, not a " .. type(given))
end


-- Is it one attachment, or a list of them?
local function is_list(given)
  if type(given) ~= "table" then
    return false
  end
  for _, field in ipairs(sources) do
    if given[field] ~= nil then
      return false
    end
  end
  return true
end


-- A content whose parts with a path or bytes are read; the same content where there are none.
local function read_parts(content)
  local parts = {}
  for position, part in ipairs(content) do
    parts[position] = part
    if type(part) == "table" and (part.path or part.bytes) and part.type ~= "text" then
      local err
      parts[position], err = M.part(part, part.type)
      if not parts[position] then
        return nil, err
      end
    end
  end
  return parts
end


-- The messages of an input; those whose parts name files are copied with what the files hold.
local function messages_of(input)
  if type(input) ~= "table" then
    return { { role = "user", content = input } }
  end
  local messages = {}
  for position, message in ipairs(input) do
    messages[position] = message
    if type(message) == "table" and type(message.content) == "table" then
      local content, err = read_parts(message.content)
      if not content then
        return nil, err
      end
      local copy = {}
      for field, value in pairs(message) do
        copy[field] = value
      end
      copy.content = content
      messages[position] = copy
    end
  end
  return messages
end


-- The attachments of the shorthand options, in their order.
local function attached(options)
  local parts = {}
  for _, option in ipairs(order) do
    local given = options[option]
    for _, one in ipairs(is_list(given) and given or { given }) do
      local part, err = M.part(one, M.options[option])
      if not part then
        return nil, err
      end
      parts[#parts + 1] = part
    end
  end
  return parts
end


-- The last message with the parts behind its text; a new message of the user where the last one is not his.
local function add_parts(messages, parts)
  local last = messages[#messages]
  local content, copy = {}, { role = "user" }
  if type(last) == "table" and last.role == "user" then
    for field, value in pairs(last) do
      copy[field] = value
    end
    if type(last.content) == "table" then
      table.move(last.content, 1, #last.content, 1, content)
    elseif last.content and last.content ~= "" then
      content[1] = { type = "text", text = last.content }
    end
    messages[#messages] = nil
  end
  table.move(parts, 1, #parts, #content + 1, content)
  copy.content = content
  messages[#messages + 1] = copy
end


---An input with its media: what `images`, `videos` and `files` name goes behind the text of the last question, and parts of
---messages that have a `path` or `bytes` are read. Nothing that was passed in is changed.
---@param input string|perilune.Message[]
---@param options table
---@return string|perilune.Message[]|nil input
---@return perilune.Error?
function M.attach(input, options)
  local parts, err = attached(options)
  if not parts then
    return nil, err
  elseif type(input) ~= "table" and #parts == 0 then
    return input
  end
  local messages
  messages, err = messages_of(input)
  if not messages then
    return nil, err
  end
  if #parts > 0 then
    add_parts(messages, parts)
  end
  return messages
end


return M
