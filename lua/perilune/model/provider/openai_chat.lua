-- The chat.completions wire format and its many dialects: OpenAI, and everybody who says "compatible". A pure
-- translator: what to send is in openai_chat_body, this file reads what comes back, openai_chat_extras the rarer parts of
-- it. The answer never ends at `finish_reason`: usage, and errors, come after it; it ends at [DONE] or at the end of the
-- body. One decoder reads streamed and whole answers.
local body = require "perilune.model.provider.openai_chat_body"
local calls = require "perilune.model.provider.calls"
local errors = require "perilune.std.errors"
local extras = require "perilune.model.provider.openai_chat_extras"
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local usage = require "perilune.model.usage"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

local null = json.null
local REPAIR = wire.REPAIR

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


-- Calls of a whole message are complete: each is one of its own, whatever its id.
local function read_calls(self, events, fragments, state, is_message)
  for position, fragment in ipairs(fragments) do
    if type(fragment) == "table" then
      local called = type(fragment["function"]) == "table" and fragment["function"] or fragment
      state.calls:add(events, is_message and position - 1 or fragment.index, fragment.id, called.name, called.arguments)
      self.has_content = true
    end
  end
end


-- The rare fields of a delta, out of the way of the common ones.
local function read_rest(self, events, delta, state, is_message)
  if type(delta.reasoning_details) == "table" then
    extras.keep_details(state, delta.reasoning_details)
  end
  if type(delta.tool_calls) == "table" then
    read_calls(self, events, delta.tool_calls, state, is_message)
  end
  if type(delta.function_call) == "table" then
    state.calls:add(events, 0, nil, delta.function_call.name, delta.function_call.arguments)
    self.has_content = true
  end
  if delta.images or delta.audio or delta.annotations then
    local before = #events
    extras.read_images(events, state, delta.images)
    extras.read_audio(events, state, delta.audio, self.request)
    extras.read_annotations(events, state, delta.annotations)
    self.has_content = self.has_content or #events > before
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
    read_rest(self, events, delta, state, delta == choice.message)
  end
  if type(choice.logprobs) == "table" then
    extras.read_logprobs(events, state, choice.logprobs)
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


-- What is said of the answer as a whole; the last word counts.
local function read_root(self, root)
  if type(root.usage) == "table" then
    self.usage = root.usage
  elseif type(root.x_groq) == "table" and type(root.x_groq.usage) == "table" then
    self.usage = root.x_groq.usage
  end
  self.service_tier = text(root.service_tier) or self.service_tier
  self.citations, self.search_results = root.citations or self.citations, root.search_results or self.search_results
end


local function push_usage(self, events)
  local counted = usage.from_openai(self.usage)
  if counted then
    counted.service_tier = self.service_tier
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


local function is_list(value)
  return type(value) == "table" and #value > 0
end


-- Everything an answer ends with: sources, opaque items, complete calls, usage, the reason.
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
  extras.push_sources(events, first, is_list(self.search_results) and self.search_results or self.citations)
  local indexes, others = {}, nil
  for index in pairs(self.choices) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    local state = self.choices[index]
    extras.push_details(events, state, self.target.name or "openai", self.target.model or self.model)
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


-- The chunks of an answer differ in their text alone. What stands around it is remembered of one that is nothing but a piece of text:
-- one that begins and ends the same is the same with another text, and need not be decoded.
local function remember_frame(self, data, events)
  local event = events[1]
  if #events ~= 1 or event.type ~= "text" or event.choice or self.usage then
    return
  end
  local at, stop = data:find('"content"%s*:%s*"')
  local text_stop = stop and stop + #event.text
  if not stop or data:sub(stop + 1, text_stop) ~= event.text or data:sub(text_stop + 1, text_stop + 1) ~= '"'
    or data:find('"content"', at + 1, true) or data:find("logprobs%S*%s*{") then
    return
  end
  self.before, self.after = data:sub(1, stop), data:sub(text_stop + 1)
end


---What stands around the text of frames that are nothing but a piece of it; nil when that is not known.
---@return string? before
---@return string? after
function methods:alike()
  if not self.broken and not self.is_over then
    return self.before, self.after
  end
end


---Takes frames that are alike.
---@param found string their texts, joined
---@param count integer how many they are
---@param pieces? string[] the texts
---@return table[] events
function methods:feed_text(found, count, pieces)
  self.frames, self.has_content = self.frames + count, true
  return { { type = "text", text = found, pieces = pieces, choice = choice_state(self, 0).shown } }
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
  read_root(self, root)
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
  if not self.before and not event_name then
    remember_frame(self, data, events)
  end
  return events
end


-- Has every choice said why it ended? One that has not was cut off.
local function all_finished(self)
  for _, state in pairs(self.choices) do
    if not state.finish_reason then
      return false
    end
  end
  return true
end


---Says that the body has ended.
---@return table[] events
function methods:finish()
  if self.is_over then
    return {}
  end
  local first = self.choices[0]
  if first and (self.is_whole or all_finished(self)) then
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
