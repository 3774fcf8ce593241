-- The Messages wire format of Anthropic (and of Ollama's /v1/messages). A pure translator: what to send is in
-- anthropic_body, this file reads what comes back. Blocks of the provider's own (signed thinking, server tools) make
-- the whole answer opaque: every block is then kept, in order, as an `item`, because order and bytes matter on the
-- way back.
local body = require "perilune.model.provider.anthropic_body"
local calls = require "perilune.model.provider.calls"
local citations = require "perilune.model.provider.citations"
local decoder = require "perilune.model.provider.decoder"
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local usage = require "perilune.model.usage"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

local null = json.null

local stop_reasons = {
  end_turn = "stop", stop_sequence = "stop", max_tokens = "length", tool_use = "tool_calls", refusal = "refusal",
  model_context_window_exceeded = "length",
}

-- Blocks that mean the same to every provider; all others are the provider's own.
local is_plain = { text = true, tool_use = true, thinking = true }

local fail, push_usage, text = decoder.fail, decoder.push_usage, decoder.text


local function state(self)
  self.open = {}       -- blocks being written, by the provider's index
  self.blocks = {}     -- finished blocks, in order
  self.given = 0       -- so many of them were items
  self.citations = citations.new()
  self.call_count = 0
end


-- The first event of an answer, also of one that lost its beginning.
local function begin(self, events)
  if not self.is_started then
    self.is_started = true
    events[#events + 1] = { type = "start", model = self.model, id = self.id, provider = self.target.name }
  end
end


local function start(self, events, message)
  self.model, self.id = text(message.model) or self.model, text(message.id) or self.id
  self.usage = usage.overlay(self.usage, message.usage)
  self.open = {} -- a second start means the provider began again: unfinished blocks are void
  begin(self, events)
end


local function emit_text(self, events, kind, value)
  if text(value) then
    self.has_content = true
    events[#events + 1] = { type = kind, text = value }
  end
end


local function emit_citation(self, events, citation)
  if type(citation) == "table" then
    self.citations:add(events, citations.from_anthropic(citation))
  end
end


-- `fragments` collects what the deltas of a block add to its one growing field.
local function open_block(self, events, index, content)
  local block = { content = content, fragments = {} }
  self.open[index] = block
  begin(self, events)
  local kind = content.type
  if kind == "text" then
    emit_text(self, events, "text", content.text)
    block.fragments[1] = text(content.text)
    for _, citation in ipairs(type(content.citations) == "table" and content.citations or {}) do
      emit_citation(self, events, citation)
    end
  elseif kind == "thinking" then
    emit_text(self, events, "thinking", content.thinking)
    block.fragments[1] = text(content.thinking)
  elseif kind == "tool_use" then
    self.has_content = true
    block.call_index = self.call_count
    self.call_count = self.call_count + 1
    content.name = text(content.name) or calls.UNNAMED
    content.id = text(content.id) or "toolu_" .. wire.short_id((self.id or "") .. "\0" .. block.call_index)
    events[#events + 1] = { type = "tool_call_start", index = block.call_index, id = content.id, name = content.name }
  end
  return block
end


-- The type of block a delta belongs to, for streams that lost the start of it.
local block_of_delta = { text_delta = "text", thinking_delta = "thinking", compaction_delta = "compaction" }


local function append(block, fragment)
  if text(fragment) then
    block.fragments[#block.fragments + 1] = fragment
  end
end


local function read_delta(self, events, index, delta)
  local kind = delta.type
  local block = self.open[index]
  if not block then
    if not block_of_delta[kind] then
      return
    end
    block = open_block(self, events, index, { type = block_of_delta[kind] })
  end
  if kind == "text_delta" then
    emit_text(self, events, "text", delta.text)
    append(block, delta.text)
  elseif kind == "thinking_delta" then
    emit_text(self, events, "thinking", delta.thinking)
    append(block, delta.thinking)
  elseif kind == "input_json_delta" then
    append(block, delta.partial_json)
    if block.call_index and text(delta.partial_json) then
      events[#events + 1] = { type = "tool_call_delta", index = block.call_index, arguments = delta.partial_json }
    end
  elseif kind == "signature_delta" then
    block.content.signature = (text(block.content.signature) or "") .. (text(delta.signature) or "")
  elseif kind == "compaction_delta" then
    append(block, delta.content)
  elseif kind == "citations_delta" and type(delta.citation) == "table" then
    local cited = block.content.citations
    cited = type(cited) == "table" and cited or json.array {}
    block.content.citations = cited
    cited[#cited + 1] = delta.citation
    emit_citation(self, events, delta.citation)
  end
end


-- The text of a call's input: what was streamed, else the object of the start, else an empty one.
local function input_text(block)
  local streamed = table.concat(block.fragments)
  if streamed:find("%S") then
    return streamed
  end
  local input = block.content.input
  return type(input) == "table" and json.encode(input) or "{}"
end


-- A block may go back only when it is complete: a text with words, thinking with its signature, a call with an object.
local function is_returnable(block)
  if block.type == "text" then
    return text(block.text) ~= nil
  elseif block.type == "thinking" then
    return text(block.signature) ~= nil
  end
  return block.type ~= "tool_use" or block.input ~= nil
end


-- What has ended of an answer that is opaque, as items.
local function push_items(self, events)
  for position = self.given + 1, self.is_opaque and #self.blocks or 0 do
    local block = self.blocks[position]
    if is_returnable(block) then
      events[#events + 1] = {
        type = "item", item = block, provider = self.target.name or "anthropic", model = self.target.model or self.model,
      }
    end
    self.given = position
  end
end


local function close_block(self, events, index)
  local block = self.open[index]
  if not block then
    return
  end
  self.open[index] = nil
  local content = block.content
  local kind = content.type
  if kind == "text" or kind == "thinking" then
    content[kind] = table.concat(block.fragments)
  elseif kind == "compaction" then
    content.content = #block.fragments > 0 and table.concat(block.fragments) or content.content
  elseif block.call_index then
    local arguments = input_text(block)
    content.input = json.raw(arguments)
    self.has_calls = true
    events[#events + 1] = {
      type = "tool_call", index = block.call_index, id = content.id, name = content.name, arguments = arguments,
    }
  elseif #block.fragments > 0 then -- a server tool: its input was streamed
    content.input = json.raw(table.concat(block.fragments)) or content.input
  end
  self.is_opaque = self.is_opaque or not is_plain[kind] or text(content.signature) ~= nil
  self.blocks[#self.blocks + 1] = content
  push_items(self, events)
end


local function close_all(self, events)
  local indexes = {}
  for index in pairs(self.open) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    close_block(self, events, index)
  end
end


-- Everything an answer ends with.
local function finish(self, events)
  close_all(self, events)
  push_usage(self, events)
  local raw = self.stop_reason
  events[#events + 1] = {
    type = "stop", reason = stop_reasons[raw] or "other", raw = raw,
    stop_sequence = self.stop_sequence, details = self.stop_details,
  }
  self.is_over = true
  return events
end


local function read_stop(self, from)
  self.stop_reason = text(from.stop_reason) or self.stop_reason
  self.stop_sequence = text(from.stop_sequence) or self.stop_sequence
  self.stop_details = type(from.stop_details) == "table" and from.stop_details or self.stop_details
end


local function read_whole(self, events, message)
  start(self, events, message)
  for position, content in ipairs(type(message.content) == "table" and message.content or {}) do
    if type(content) == "table" then
      open_block(self, events, position, content)
      close_block(self, events, position)
    end
  end
  read_stop(self, message)
  self.is_whole = true
  return events
end


-- The events of a stream. What is not listed is ignored: the format grows.
local on = {
  message_start = function(self, events, root)
    if type(root.message) == "table" then
      start(self, events, root.message)
    end
  end,
  content_block_start = function(self, events, root)
    if type(root.content_block) == "table" then
      open_block(self, events, math.tointeger(root.index) or 0, root.content_block)
    end
  end,
  content_block_delta = function(self, events, root)
    if type(root.delta) == "table" then
      read_delta(self, events, math.tointeger(root.index) or 0, root.delta)
    end
  end,
  content_block_stop = function(self, events, root)
    close_block(self, events, math.tointeger(root.index) or 0)
  end,
  message_delta = function(self, _, root)
    self.usage = usage.overlay(self.usage, root.usage)
    if type(root.delta) == "table" then
      read_stop(self, root.delta)
    end
  end,
  message_stop = function(self, events)
    finish(self, events)
  end,
  message = function(self, events, root)
    read_whole(self, events, root)
  end,
}


local function read(self, events, root, event_name)
  local handler = on[root.type]
  local is_error = event_name == "error" or (self.status or 200) >= 400
  if is_error or not handler and (root.error ~= nil and root.error ~= null or failure.is_error(root)) then
    self.finish_reason = self.stop_reason
    fail(self, events, failure.from_body(root, self))
  elseif handler then
    handler(self, events, root)
  end
end


---A decoder for one answer.
M.decoder = decoder.define {
  name = "anthropic", state = state, read = read, usage = usage.from_anthropic, missing = "the answer is not a message",
  ended = function(self)
    return (self.stop_reason or self.is_whole) and finish(self, {})
  end,
}


return M
