-- The chunks of a streamed chat completion as bytes. What nearly all of them are, a piece of text, is put together from a text that is the
-- same for the whole answer and the piece as JSON; everything else is openai_shape's chunk, encoded. Both are the same to a reader.
local json = require "perilune.json"
local openai_shape = require "perilune.model.openai_shape"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.chat_chunks", __index = methods }


---@param identity perilune.OpenAiIdentity
---@param include_usage boolean
---@return table chunks
function M.new(identity, include_usage)
  return setmetatable({ chunks = openai_shape.chunks(identity, include_usage) }, metatable)
end


local function frame(chunk)
  return "data: " .. json.encode(chunk) .. "\n\n"
end


-- What stands before and after the text in every chunk of this answer.
local function frame_of_texts(self)
  local MARK = "\1"
  local chunks = self.chunks:feed { type = "text", text = MARK }
  local whole = frame(chunks[#chunks])
  local at, stop = whole:find('"\\u0001"', 1, true)
  self.before, self.after = whole:sub(1, at - 1), whole:sub(stop + 1)
end


-- A chunk for each of these pieces of text.
local function frames_of(self, pieces)
  local encoded = {}
  for position, piece in ipairs(pieces) do
    encoded[position] = json.encode(piece)
  end
  return self.before .. table.concat(encoded, self.after .. self.before) .. self.after
end


---What an event becomes: the bytes of its chunks, framing included; nil when it has none.
---@param event table
---@return string? bytes
function methods:feed(event)
  if event.type == "text" and self.before and not event.choice then
    return event.pieces and frames_of(self, event.pieces) or self.before .. json.encode(event.text) .. self.after
  elseif event.type == "start" then -- an assistant asks several times; to the client it is one answer
    if self.has_started then
      return nil
    end
    self.has_started = true
    event = { type = "start", model = event.model }
  end
  local chunks = self.chunks:feed(event)
  local count = #chunks
  if event.type == "text" and not event.choice and not self.before then
    frame_of_texts(self)
  end
  if count == 0 then
    return nil
  elseif count == 1 then
    return frame(chunks[1])
  end
  local frames = {}
  for position = 1, count do
    frames[position] = frame(chunks[position])
  end
  return table.concat(frames)
end


return M
