-- The chat.completions wire format and its many dialects: OpenAI, and everybody who says "compatible". A pure
-- translator: what to send is in openai_chat_body, this file reads what comes back. The answer never ends at
-- `finish_reason`: usage, and errors, come after it; it ends at [DONE] or at the end of the body. One decoder reads
-- streamed and whole answers.
local body = require "perilune.model.provider.openai_chat_body"
local calls = require "perilune.model.provider.calls"
local errors = require "perilune.std.errors"
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local usage = require "perilune.model.usage"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

local null = json.null
local REPAIR = { repair = true } -- lone surrogates and duplicate keys are the wire's business, not a reason to fail

-- The providers' words for why a model stopped.
local stop_reasons = {
  stop = "stop", eos = "stop", end_turn = "stop", stop_sequence = "stop", length = "length", max_tokens = "length",
  model_length = "length", tool_calls = "tool_calls", function_call = "tool_calls", tool_use = "tool_calls",
  content_filter = "content_filter", refusal = "refusal",
}

-- Words that mean "it failed", although no error object came.
local failed_reasons = { error = "server", insufficient_system_resource = "overloaded" }

local methods = {}
local metatable = { __name = "perilune.model.provider.openai_chat.decoder", __index = methods }


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


---A decoder for one answer.
---@param options? { status: integer?, request: table?, target: table? }
---@return perilune.Decoder
function M.decoder(options)
  options = options or {}
  return setmetatable({
    status = options.status,
    request = options.request or {},
    target = options.target or {},
    choices = {},       -- state per choice, by its index
    frames = 0,         -- frames that were JSON
    is_started = false, -- `start` was produced
    has_content = false,
    is_whole = false,   -- the answer came as one document
    is_over = false,
  }, metatable)
end


local function choice_state(self, index)
  local state = self.choices[index]
  if not state then
    local shown = index > 0 and index or nil
    local seed = ("%s\0%d\0%d"):format(self.id or "", #(self.request.messages or {}), index)
    state = { shown = shown, calls = calls.new { seed = seed, tools = self.request.tools, choice = shown } }
    self.choices[index] = state
  end
  return state
end


local function emit_text(self, events, kind, value, state)
  self.has_content = true
  events[#events + 1] = { type = kind, text = value, choice = state.shown }
end


-- Content parts: Mistral's thinking, and whatever carries a text.
local function read_parts(self, events, parts, state)
  for _, part in ipairs(parts) do
    if type(part) == "table" then
      local thought = part.thinking
      if type(thought) == "table" then
        for _, inner in ipairs(thought) do
          if type(inner) == "table" and text(inner.text) then
            emit_text(self, events, "thinking", inner.text, state)
          end
        end
      elseif text(thought) then
        emit_text(self, events, "thinking", thought, state)
      elseif text(part.refusal) then
        emit_text(self, events, "refusal", part.refusal, state)
      elseif text(part.text) then
        emit_text(self, events, "text", part.text, state)
      end
    end
  end
end


-- The fields of a reasoning detail that grow from fragment to fragment.
local growing = { "text", "summary", "data" }


local function new_detail(detail)
  local pieces = {}
  for _, key in ipairs(growing) do
    pieces[key] = text(detail[key]) and { detail[key] }
  end
  return { item = detail, pieces = pieces }
end


local function grow_detail(kept, detail)
  for key, value in pairs(detail) do
    local pieces = kept.pieces[key]
    if pieces and text(value) then
      pieces[#pieces + 1] = value
    elseif value ~= null and not pieces then
      kept.item[key] = value
    end
  end
end


-- Reasoning details come in fragments; consecutive ones of the same kind and index are one item.
local function keep_details(state, details)
  state.details = state.details or {}
  for _, detail in ipairs(details) do
    if type(detail) == "table" then
      local last = state.details[#state.details]
      local item = last and last.item
      if item and item.type == detail.type and item.index == detail.index then
        grow_detail(last, detail)
      else
        state.details[#state.details + 1] = new_detail(detail)
      end
    end
  end
end


local function push_details(self, events, state)
  for _, kept in ipairs(state.details or {}) do
    for key, pieces in pairs(kept.pieces) do
      kept.item[key] = table.concat(pieces)
    end
    events[#events + 1] = {
      type = "item", item = kept.item, choice = state.shown,
      provider = self.target.name or "openai", model = self.target.model or self.model,
    }
  end
end


local function read_images(self, events, images, state)
  for _, image in ipairs(images) do
    local url = type(image) == "table" and type(image.image_url) == "table" and text(image.image_url.url)
    if url then
      local media = wire.media { url = url }
      self.has_content = true
      events[#events + 1] =
        { type = "image", url = media.url, data = media.data, media_type = media.media_type, choice = state.shown }
    end
  end
end


local function read_calls(self, events, fragments, state)
  for _, fragment in ipairs(fragments) do
    if type(fragment) == "table" then
      local called = type(fragment["function"]) == "table" and fragment["function"] or fragment
      state.calls:add(events, fragment.index, fragment.id, called.name, called.arguments)
      self.has_content = true
    end
  end
end


-- The rare fields of a delta, out of the way of the common ones.
local function read_rest(self, events, delta, state)
  if type(delta.reasoning_details) == "table" then
    keep_details(state, delta.reasoning_details)
  end
  if type(delta.tool_calls) == "table" then
    read_calls(self, events, delta.tool_calls, state)
  end
  if type(delta.function_call) == "table" then
    state.calls:add(events, 0, nil, delta.function_call.name, delta.function_call.arguments)
    self.has_content = true
  end
  if type(delta.images) == "table" then
    read_images(self, events, delta.images, state)
  end
end


local function read_choice(self, events, choice)
  local state = choice_state(self, math.tointeger(choice.index) or 0)
  local delta = choice.delta
  if type(delta) ~= "table" and type(choice.message) == "table" then
    delta, self.is_whole = choice.message, true
  end
  if type(delta) == "table" then
    local thought = text(delta.reasoning_content) or text(delta.reasoning)
    if thought then
      emit_text(self, events, "thinking", thought, state)
    end
    local content = delta.content
    if type(content) == "string" then
      if content ~= "" then
        emit_text(self, events, "text", content, state)
      end
    elseif type(content) == "table" then
      read_parts(self, events, content, state)
    end
    if text(delta.refusal) then
      emit_text(self, events, "refusal", delta.refusal, state)
      state.is_refused = true
    end
    read_rest(self, events, delta, state)
  end
  state.finish_reason = text(choice.finish_reason) or state.finish_reason
  if type(choice.usage) == "table" then
    self.usage = choice.usage
  end
end


local function start(self, events, root, choices)
  self.id, self.model = self.id or text(root.id), self.model or text(root.model)
  if not self.is_started and (self.model or #choices > 0) then
    self.is_started = true
    events[#events + 1] = { type = "start", model = self.model, id = self.id, provider = self.target.name }
  end
end


local function read_usage(self, root)
  if type(root.usage) == "table" then
    self.usage = root.usage
  elseif type(root.x_groq) == "table" and type(root.x_groq.usage) == "table" then
    self.usage = root.x_groq.usage
  end
end


local function push_usage(self, events)
  local counted = usage.from_openai(self.usage)
  if counted then
    events[#events + 1] = { type = "usage", usage = counted }
  end
end


local function fail(self, events, err)
  push_usage(self, events)
  events[#events + 1] = { type = "error", error = err }
  self.is_over = true
  return events
end


local function stop_reason(state)
  local raw = state.finish_reason
  local reason = stop_reasons[raw] or "other"
  if reason == "stop" and not state.calls:is_empty() then
    return "tool_calls"
  end
  return reason == "stop" and state.is_refused and "refusal" or reason
end


-- Everything an answer ends with: opaque items, complete calls, usage, the reason.
local function finish(self)
  local events = {}
  local first = choice_state(self, 0)
  local failed = failed_reasons[first.finish_reason]
  if failed then
    return fail(self, events, errors.new {
      kind = failed, message = "the model stopped with " .. first.finish_reason, code = first.finish_reason,
      retryable = true, maybe_billed = true, details = { finish_reason = first.finish_reason },
    })
  end
  local indexes, others = {}, nil
  for index in pairs(self.choices) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    local state = self.choices[index]
    push_details(self, events, state)
    state.calls:finish(events)
    if index > 0 then
      others = others or {}
      others[#others + 1] = { index = index, reason = stop_reason(state), raw = state.finish_reason }
    end
  end
  push_usage(self, events)
  events[#events + 1] = { type = "stop", reason = stop_reason(first), raw = first.finish_reason, choices = others }
  self.is_over = true
  return events
end


-- A frame that is not JSON. The last frame of a stream may be cut; whether it is the last shows later.
local function malformed(self, data)
  if not self.broken and data:find("^%s*%[DONE%]%s*$") then
    return finish(self)
  end
  if self.frames > 0 and not self.broken then
    self.broken = data
    return {}
  end
  local reason = self.frames > 0 and "a part of the stream is not JSON" or "the answer is not JSON"
  return fail(self, {}, failure.from_bytes(self.broken or data, reason, self))
end


local function is_error(self, root, event_name)
  local inner = root.error
  if inner ~= nil and inner ~= null or event_name == "error" or root.choices == nil then
    return failure.is_error(root, event_name) or (self.status or 200) >= 400
  end
  return false
end


---Takes one frame.
---@param data string
---@param event_name? string
---@return table[] events
function methods:feed(data, event_name)
  if self.is_over then
    return {}
  end
  if data == "[DONE]" and not self.broken then
    return finish(self)
  end
  local root = not self.broken and json.decode(data, REPAIR)
  if type(root) ~= "table" then
    return malformed(self, data)
  end
  self.frames = self.frames + 1
  if root.choices == nil and type(root[1]) == "table" then
    root = root[1] -- some gateways wrap an error in a list
  end
  local events = {}
  read_usage(self, root)
  local choices = type(root.choices) == "table" and root.choices or {}
  if is_error(self, root, event_name) then
    start(self, events, root, {})
    local first = self.choices[0]
    self.finish_reason = first and first.finish_reason
    return fail(self, events, failure.from_body(root, self))
  end
  start(self, events, root, choices)
  for _, choice in ipairs(choices) do
    if type(choice) == "table" then
      read_choice(self, events, choice)
    end
  end
  return events
end


---Says that the body has ended.
---@return table[] events
function methods:finish()
  if self.is_over then
    return {}
  end
  local first = self.choices[0]
  if first and (first.finish_reason or self.is_whole) then
    return finish(self)
  end
  if self.frames == 0 and (self.status or 200) >= 400 then
    return fail(self, {}, failure.from_bytes(nil, "an empty answer", self))
  end
  if self.frames == 1 and not self.broken and next(self.choices) == nil then
    return fail(self, {}, failure.from_bytes(nil, "the answer has no choices", self))
  end
  return fail(self, {}, failure.interrupted(first and first.finish_reason))
end


return M
