-- Small pure helpers that the wire formats share: addresses, media, short ids. No format of its own.
local errors = require "perilune.std.errors"
local json = require "perilune.json"

local M = {}

local DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local SHORT_ID_LENGTH = 9

---How frames are decoded. Lone surrogates and duplicate keys are the wire's business, not a reason to fail; what is nested
---more deeply than this could not be written inside a table of ours.
M.REPAIR = { repair = true, depth = 100 }

---What a stream of events is asked for with.
M.EVENTS = "text/event-stream"

local audio_formats = {
  ["audio/wav"] = "wav", ["audio/x-wav"] = "wav", ["audio/wave"] = "wav", ["audio/mpeg"] = "mp3", ["audio/mp3"] = "mp3",
}


---Nine letters and digits that depend on `text` alone (FNV-1a, written in base 62).
---@param text string
---@return string
function M.short_id(text)
  local hash = 0xcbf29ce484222325
  for position = 1, #text do
    hash = (hash ~ text:byte(position)) * 0x100000001b3
  end
  local digits = {}
  local rest = (hash ~ hash >> 32) & 0x7fffffffffffffff
  for position = 1, SHORT_ID_LENGTH do
    local digit = rest % 62 + 1
    digits[position] = DIGITS:sub(digit, digit)
    rest = rest // 62
  end
  return table.concat(digits)
end


---Joins a base address and a path with exactly one slash.
---@param base string
---@param path string
---@return string
function M.join(base, path)
  return (base:gsub("/+$", "")) .. "/" .. path
end


---A text as one segment of an address.
---@param text string
---@return string
function M.escape(text)
  return (text:gsub("[^%w._~-]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end


---A text as the segments of an address that its slashes part.
---@param text string
---@return string
function M.escape_path(text)
  return (text:gsub("[^/]+", M.escape))
end


---Headers of a request: the given ones, then the target's own, which win; names in lower case.
---@param headers table<string, string>
---@param target table
---@return table<string, string>
function M.headers(headers, target)
  for name, value in pairs(target.headers or {}) do
    headers[name:lower()] = value
  end
  return headers
end


---Refuses n > 1 for a format that gives one answer to a request.
---@param request perilune.Request
---@param target perilune.Target
---@return true?
---@return perilune.Error?
function M.one_answer(request, target)
  if (request.n or 1) == 1 then
    return true
  end
  return nil, errors.new {
    kind = "configuration", code = "unsupported", param = "n", retryable = false, provider = target.name, model = target.model,
    message = "this provider gives one answer to a request, not n = " .. request.n,
  }
end


---Lays the parameters that go to the provider verbatim over a body.
---@param body table
---@param request perilune.Request
---@return table body
function M.merge_specific(body, request)
  for name, value in pairs(request.provider_specific_params or {}) do
    body[name] = value
  end
  return body
end


---The HTTP request that posts `body` as JSON. `headers` are the format's own; without them the key goes as a bearer token.
---@param url string
---@param body table
---@param target perilune.Target
---@param options? { headers: table<string, string>?, accept: string? } accept: of a stream
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.post(url, body, target, options)
  local bytes, err = json.encode(body)
  if not bytes then
    return nil, err
  end
  options = options or {}
  local headers = { ["content-type"] = "application/json", accept = options.accept or "application/json" }
  for name, value in pairs(options.headers or { authorization = target.api_key and "Bearer " .. target.api_key }) do
    headers[name] = value
  end
  return { method = "POST", url = url, headers = M.headers(headers, target), body = bytes }
end


---Did an answer of model `answered` come from what was asked for as `asked`? Vendors add a date to the name.
---@param answered string?
---@param asked string?
---@return boolean
function M.is_same_model(answered, asked)
  if not answered or not asked then
    return false
  end
  if answered == asked then
    return true
  end
  local rest = answered:sub(1, #asked) == asked and answered:sub(#asked + 1) or ""
  return rest:find("^%-%d%d%d%d%-?%d%d%-?%d%d$") ~= nil
end


---The opaque items of a message, if they may go back to this target.
---@param message table
---@param target table
---@return table[]?
function M.items_for(message, target)
  local kept = message.provider_items
  if type(kept) ~= "table" or type(kept.items) ~= "table" or #kept.items == 0 then
    return nil
  end
  if kept.provider == target.name and M.is_same_model(kept.model, target.model) then
    return kept.items
  end
end


---Takes a data URL apart.
---@param url string
---@return string? media_type
---@return string? data base64
function M.split_data_url(url)
  return url:match("^data:([^;,]+)[^,]*;base64,(.*)$")
end


---The media of a part: a link, or base64 data with its type.
---@param part table
---@return { url: string?, data: string?, media_type: string? }
function M.media(part)
  if part.data then
    return { data = part.data, media_type = part.media_type }
  end
  local media_type, data = M.split_data_url(part.url or "")
  if data then
    return { data = data, media_type = part.media_type or media_type }
  end
  return { url = part.url, media_type = part.media_type }
end


---One address for the media of a part: its link, or a data URL.
---@param part table
---@param default_type string
---@return string
function M.media_url(part, default_type)
  local media = M.media(part)
  return media.url or ("data:" .. (media.media_type or default_type) .. ";base64," .. (media.data or ""))
end


---The short name of an audio format, or nil when it is none that models take.
---@param media_type string?
---@return string?
function M.audio_format(media_type)
  return audio_formats[media_type]
end


---The arguments of a call for formats that want an object. What is none is shown to the model as what it was.
---@param arguments string the text the model wrote
---@return any value for json.encode
function M.object(arguments)
  local raw = arguments:find("^%s*{") and json.raw(arguments)
  if raw then
    return raw
  end
  local is_nothing = not arguments:find("%S") or arguments:find("^%s*null%s*$")
  return is_nothing and {} or { invalid_json = arguments }
end


---`nil, err` for a part that a wire format cannot carry.
---@param target table
---@param what string
---@return nil
---@return perilune.Error
function M.media_error(target, what)
  return nil, errors.new {
    kind = "media",
    message = ("%s cannot take %s"):format(target.name or "this provider", what),
    provider = target.name,
    model = target.model,
    retryable = false,
  }
end


---Content as a list of parts, without empty texts.
---@param content string|table[]|nil
---@return table[]
function M.parts(content)
  if type(content) == "string" then
    return content ~= "" and { { type = "text", text = content } } or {}
  end
  local parts = {}
  for _, part in ipairs(content or {}) do
    if part.type ~= "text" or (part.text or "") ~= "" then
      parts[#parts + 1] = part
    end
  end
  return parts
end


---The text of content, parts joined with a blank line, and whether there was anything but text.
---@param content string|table[]|nil
---@return string text
---@return boolean has_media
function M.text_of(content)
  if type(content) == "string" then
    return content, false
  end
  local texts, has_media = {}, false
  for _, part in ipairs(M.parts(content)) do
    if part.type == "text" then
      texts[#texts + 1] = part.text
    else
      has_media = true
    end
  end
  return table.concat(texts, "\n\n"), has_media
end


return M
