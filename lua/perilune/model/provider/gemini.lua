-- The Gemini wire format (generateContent and streamGenerateContent, at Google AI and at Vertex). A pure translator: what to
-- send is in gemini_body, this file reads what comes back. Every frame is a small answer of its own; the last one does not
-- say so, the answer ends with the body. A stream that is an array, not events, is read too. Calls come whole, or, at Vertex
-- when asked for, field by field. What is kept for the way back is decided in gemini_items.
local arguments = require "perilune.model.provider.gemini_arguments"
local body = require "perilune.model.provider.gemini_body"
local calls = require "perilune.model.provider.calls"
local citations = require "perilune.model.provider.citations"
local decoder = require "perilune.model.provider.decoder"
local errors = require "perilune.std.errors"
local failure = require "perilune.model.provider.failure"
local gemini_items = require "perilune.model.provider.gemini_items"
local usage = require "perilune.model.usage"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

-- The words, and the numbers that some clients ask for instead of them.
local stop_reasons = {
  STOP = "stop", [1] = "stop", MAX_TOKENS = "length", [2] = "length", SAFETY = "content_filter", [3] = "content_filter",
  RECITATION = "content_filter", [4] = "content_filter", BLOCKLIST = "content_filter", [7] = "content_filter",
  PROHIBITED_CONTENT = "content_filter", [8] = "content_filter", SPII = "content_filter", [9] = "content_filter",
  IMAGE_SAFETY = "content_filter", [11] = "content_filter", IMAGE_PROHIBITED_CONTENT = "content_filter",
  IMAGE_RECITATION = "content_filter", MODEL_ARMOR = "content_filter",
}

-- Words that mean "it failed", although no error object came.
local failed_reasons = { MALFORMED_FUNCTION_CALL = true, [10] = true, MALFORMED_RESPONSE = true, TOO_MANY_TOOL_CALLS = true }

local fail, list, push_usage, text = decoder.fail, decoder.list, decoder.push_usage, decoder.text


-- A word, or its number; nil for the one that says nothing.
local function word(value)
  if math.type(value) == "integer" then
    return value ~= 0 and value or nil
  end
  return text(value) and not value:find("_UNSPECIFIED$") and value or nil
end


local function prepare(self)
  self.choices = {} -- state per candidate, by its index
end


local function choice_state(self, index)
  local state = self.choices[index]
  if not state then
    local shown = index > 0 and index or nil
    local seed = ("%s\0%d\0%d"):format(self.id or "", #(self.request.messages or {}), index)
    state = {
      shown = shown, calls = calls.new { seed = seed, tools = self.request.tools, choice = shown }, call_count = 0,
      items = gemini_items.new(),
    }
    self.choices[index] = state
  end
  return state
end


local function start(self, events, root)
  self.model, self.id = self.model or text(root.modelVersion), self.id or text(root.responseId)
  if not self.is_started and (self.model or type(root.candidates) == "table") then
    self.is_started = true
    events[#events + 1] = { type = "start", model = self.model, id = self.id, provider = self.target.name }
  end
end


-- A call whose arguments came field by field is complete.
local function close_call(state, events)
  local open = state.open_call
  if open then
    state.open_call = nil
    open.part.functionCall.args = open.arguments.value
    state.items:add(open.part)
    state.calls:add(events, open.index, nil, nil, open.arguments.value)
  end
end


local function read_call(state, events, part)
  local call = part.functionCall
  local name = text(call.name)
  if name then
    close_call(state, events)
    local index = state.call_count
    state.call_count = index + 1
    local is_open = call.willContinue == true or type(call.partialArgs) == "table"
    state.calls:add(events, index, call.id, name, not is_open and list(call.args) or nil)
    if not is_open then
      state.items:add(part)
      return
    end
    local kept = { functionCall = { name = name, id = text(call.id) }, thoughtSignature = text(part.thoughtSignature) }
    state.open_call = { index = index, part = kept, arguments = arguments.new() }
  end
  if not state.open_call then
    return
  elseif type(call.partialArgs) == "table" then
    state.open_call.arguments:add(call.partialArgs)
  elseif not name then
    close_call(state, events) -- an empty call ends it; it may be missing
  end
end


local function read_image(state, events, blob)
  local media_type = text(blob.mimeType)
  if media_type and media_type:find("^image/") and text(blob.data) then
    events[#events + 1] = { type = "image", data = blob.data, media_type = media_type, choice = state.shown }
  end
end


local function read_part(self, events, part, state)
  if text(part.text) then
    self.has_content = true
    events[#events + 1] =
      { type = part.thought == true and "thinking" or "text", text = part.text, choice = state.shown }
  end
  if type(part.functionCall) == "table" then
    self.has_content = true
    return read_call(state, events, part)
  elseif type(part.inlineData) == "table" and part.thought ~= true then
    self.has_content = true
    read_image(state, events, part.inlineData)
  end
  state.items:add(part)
end


local function read_candidate(self, events, candidate)
  local state = choice_state(self, math.tointeger(candidate.index) or 0)
  for _, part in ipairs(list(list(candidate.content).parts)) do
    if type(part) == "table" then
      read_part(self, events, part, state)
    end
  end
  state.items:add_metadata(candidate)
  state.finish_reason = word(candidate.finishReason) or state.finish_reason
  state.finish_message = text(candidate.finishMessage) or state.finish_message
end


local function stop_reason(state)
  local reason = stop_reasons[state.finish_reason] or "other"
  if not state.calls:is_empty() and (reason == "stop" or reason == "other") then
    return "tool_calls"
  end
  return reason
end


local function push_items(self, events, state)
  citations.new(state.shown):add_grounding(events, state.items.about.groundingMetadata)
  for _, item in ipairs(state.items:to_keep()) do
    events[#events + 1] = {
      type = "item", item = item, choice = state.shown,
      provider = self.target.name or "gemini", model = self.target.model or self.model,
    }
  end
end


-- Everything an answer ends with: complete calls, opaque parts, usage, the reason.
local function finish(self, events)
  local first = choice_state(self, 0)
  if failed_reasons[first.finish_reason] then
    return fail(self, events, errors.new {
      kind = "bad_response", message = first.finish_message or "the model stopped with " .. first.finish_reason,
      code = first.finish_reason, retryable = true, maybe_billed = true, details = { finish_reason = first.finish_reason },
    })
  end
  local indexes, others = {}, nil
  for index in pairs(self.choices) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    local state = self.choices[index]
    close_call(state, events)
    state.calls:finish(events)
    push_items(self, events, state)
    if index > 0 then
      others = others or {}
      others[#others + 1] = { index = index, reason = stop_reason(state), raw = state.finish_reason }
    end
  end
  push_usage(self, events)
  events[#events + 1] = {
    type = "stop", reason = stop_reason(first), raw = first.finish_reason, choices = others,
    details = first.finish_message and { message = first.finish_message } or nil,
  }
  self.is_over = true
  return events
end


local function blocked(root, reason)
  return errors.new {
    kind = "content_filter", message = text(root.promptFeedback.blockReasonMessage) or "the prompt was blocked: " .. reason,
    code = reason, retryable = false, maybe_billed = true, details = { body = root },
  }
end


-- One answer of the stream, or the whole one.
local function read(self, events, root, event_name)
  if usage.from_gemini(root.usageMetadata) then
    self.usage = root.usageMetadata
  end
  if (self.status or 200) >= 400 or failure.is_error(root, event_name) then
    local first = self.choices[0]
    self.finish_reason = first and first.finish_reason
    return fail(self, events, failure.from_body(root, self))
  end
  start(self, events, root)
  local reason = word(list(root.promptFeedback).blockReason)
  if reason then
    return fail(self, events, blocked(root, reason))
  end
  for _, candidate in ipairs(list(root.candidates)) do
    if type(candidate) == "table" then
      read_candidate(self, events, candidate)
    end
  end
end


-- A frame is one answer, or a list of them.
local function read_frame(self, events, root, event_name)
  for _, one in ipairs(type(root[1]) == "table" and root or { root }) do
    if type(one) == "table" and not self.is_over then
      read(self, events, one, event_name)
    end
  end
end


local function ended(self)
  local first = self.choices[0]
  self.is_started = first ~= nil
  self.stop_reason = first and first.finish_reason
  local is_whole = first and self.request.stream == false and not self.broken
  return (self.stop_reason or is_whole) and finish(self, {})
end


---A decoder for one answer.
M.decoder = decoder.define {
  name = "gemini", state = prepare, read = read_frame, ended = ended, usage = usage.from_gemini,
  missing = "the answer has no candidates",
  marker = function(_, data)
    return data == "[DONE]" and {}
  end,
}


return M
