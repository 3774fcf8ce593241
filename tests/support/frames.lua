-- Cuts a recorded body into frames for specs that run without the host: the WHATWG rules for event streams in a few
-- lines. A body that starts with `{`, `[` or `<` after white space is one frame, as the host's own framer hands it
-- over.
local M = {}


---Cuts a body.
---@param body string
---@return { data: string, event: string? }[]
function M.split(body)
  if body:find("^%s*[{%[<]") then
    return { { data = body } }
  end
  local frames, data, event = {}, {}, nil
  local function dispatch()
    if #data > 0 then
      frames[#frames + 1] = { data = table.concat(data, "\n"), event = event }
    end
    data, event = {}, nil
  end
  for line in (body:gsub("\r\n?", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    local field, value = line:match("^([^:]*):? ?(.*)$")
    if line == "" then
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
