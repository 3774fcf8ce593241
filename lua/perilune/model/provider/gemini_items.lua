-- The parts of a Gemini answer that go back with the conversation. An answer is opaque when a part says more than every
-- provider understands (a thought signature, a server tool, an image, grounding); then all its parts are kept, in order and
-- as they came, because a signature belongs to its part. Unsigned thoughts do not go back.

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.provider.gemini_items", __index = methods }

-- What a candidate says about its whole text. It is kept, and never sent.
local metadata = { "groundingMetadata", "urlContextMetadata", "citationMetadata" }


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


---A collection for one candidate.
---@return table
function M.new()
  return setmetatable({ parts = {}, about = {}, is_opaque = false }, metatable)
end


-- Pieces of unsigned text are one part; a signature keeps its part alone.
function methods:add_text(part)
  local last = self.parts[#self.parts]
  if last and last.pieces then
    last.pieces[#last.pieces + 1] = part.text
  else
    self.parts[#self.parts + 1] = { part = part, pieces = { part.text } }
  end
end


---Takes one part of the answer.
---@param part table
function methods:add(part)
  local is_signed = text(part.thoughtSignature) ~= nil
  if not is_signed and (part.thought == true or part.text == "") then
    return
  end
  local is_plain = type(part.text) == "string" or part.functionCall ~= nil
  self.is_opaque = self.is_opaque or is_signed or not is_plain
  if type(part.text) == "string" and not is_signed then
    self:add_text(part)
  else
    self.parts[#self.parts + 1] = { part = part }
  end
end


---Takes what a candidate says beside its parts. Of what grows from frame to frame the last one is complete.
---@param candidate table
function methods:add_metadata(candidate)
  for _, name in ipairs(metadata) do
    local value = candidate[name]
    if type(value) == "table" and next(value) ~= nil then
      self.about[name], self.is_opaque = value, true
    end
  end
end


---The parts that must be kept: none where the text and the calls say it all.
---@return table[]
function methods:to_keep()
  local kept = {}
  if not self.is_opaque then
    return kept
  end
  for position, entry in ipairs(self.parts) do
    if entry.pieces then
      entry.part.text = table.concat(entry.pieces)
    end
    kept[position] = entry.part
  end
  for _, name in ipairs(metadata) do
    kept[#kept + 1] = self.about[name] and { [name] = self.about[name] }
  end
  return kept
end


local function is_about(item)
  for _, name in ipairs(metadata) do
    if item[name] then
      return true
    end
  end
  return false
end


---The parts among the kept items, if they still say the same as the text and the calls of their message: somebody may have
---changed it.
---@param items table[]
---@param plain string
---@param calls { id: string, name: string }[]
---@return table[]? parts
function M.parts_of(items, plain, calls)
  local parts, texts, count = {}, {}, 0
  for _, item in ipairs(items) do
    if not is_about(item) then
      parts[#parts + 1] = item
    end
    texts[#texts + 1] = item.thought ~= true and text(item.text) or nil
    if type(item.functionCall) == "table" then
      count = count + 1
      local call, made = calls[count] or {}, item.functionCall
      if made.name ~= call.name or text(made.id) and made.id ~= call.id then
        return nil
      end
    end
  end
  return #parts > 0 and table.concat(texts) == plain and count == #calls and parts or nil
end


return M
