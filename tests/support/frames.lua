-- Cuts a recorded body into frames for specs that run without the host: the WHATWG rules for event streams in a few
-- lines. A body that starts with `{`, `[` or `<` after white space is one frame, and so is its rest from a line on that
-- begins with `{` where an event could begin, as the host's own framer hands them over.
local M = {}


-- Every line is a frame.
local function split_lines(body)
  local frames = {}
  for line in body:gmatch("[^\r\n]+") do
    frames[#frames + 1] = { data = line }
  end
  return frames
end


---Cuts a body.
---@param body string
---@param kind? "sse"|"lines" default "sse"
---@return { data: string, event: string? }[]
function M.split(body, kind)
  if kind == "lines" then
    return split_lines(body)
  end
  if body:find("^%s*[{%[<]") then
    return { { data = body } }
  end
  local frames, data, event, is_document = {}, {}, nil, false
  local function dispatch()
    if #data > 0 then
      frames[#frames + 1] = { data = table.concat(data, "\n"), event = event }
    end
    data, event = {}, nil
  end
  local text = body:gsub("\r\n?", "\n")
  for line in (text:find("\n$") and text or text .. "\n"):gmatch("([^\n]*)\n") do
    local field, value = line:match("^([^:]*):? ?(.*)$")
    is_document = is_document or line:find("^{") ~= nil and #data == 0 and not event
    if is_document then
      data[#data + 1] = line
    elseif line == "" then
      dispatch()
    elseif field == "data" then
      data[#data + 1] = value
    elseif field == "event" then
      event = value
    end
  end
  dispatch()
  return frames
end


---Feeds frames to a decoder and says that the body has ended.
---@param decoder perilune.Decoder
---@param frames { data: string, event: string? }[]
---@param count? integer only so many of them
---@return table[] events
function M.feed(decoder, frames, count)
  local events = {}
  for position = 1, count or #frames do
    local found = decoder:feed(frames[position].data, frames[position].event)
    table.move(found, 1, #found, #events + 1, events)
  end
  local found = decoder:finish()
  return table.move(found, 1, #found, #events + 1, events)
end


---Reads a file; nil when there is none.
---@param path string
---@return string?
function M.read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local bytes = file:read("a")
  file:close()
  return bytes
end


return M
