-- Ollama's own wire format, /api/chat: one JSON object a line, or one for the whole answer, read alike. The last line
-- says `done`; calls come whole, with an object for arguments and mostly without an id, so one is made. What Ollama
-- serves at /v1 is `chat` below.
local body = require "perilune.model.provider.ollama_body"
local calls = require "perilune.model.provider.calls"
local decoder = require "perilune.model.provider.decoder"
local failure = require "perilune.model.provider.failure"
local openai_chat = require "perilune.model.provider.openai_chat"
local usage = require "perilune.model.usage"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = "lines"
M.encode = body.encode
M.known_quirks = body.known_quirks

local stop_reasons = { stop = "stop", length = "length" }

local fail, text = decoder.fail, decoder.text


local function state(self)
  self.call_count = 0
end


-- Ids of calls depend on the answer and its place in the conversation, so that no two are alike in a thread.
local function start(self, events, root)
  local seed = ("%s\0%d"):format(text(root.created_at) or "", #(self.request.messages or {}))
  self.calls = calls.new { seed = seed, tools = self.request.tools }
  self.is_started = true
  events[#events + 1] = { type = "start", model = text(root.model), provider = self.target.name }
end


local function emit_text(self, events, kind, value)
  if text(value) then
    self.has_content = true
    events[#events + 1] = { type = kind, text = value }
  end
end


local function read_message(self, events, message)
  emit_text(self, events, "thinking", message.thinking)
  emit_text(self, events, "text", message.content)
  for _, call in ipairs(type(message.tool_calls) == "table" and message.tool_calls or {}) do
    local called = type(call) == "table" and call["function"]
    if type(called) == "table" then
      self.has_content = true
      self.calls:add(events, self.call_count, call.id, called.name, called.arguments)
      self.call_count = self.call_count + 1
    end
  end
end


local function finish(self, events, root)
  self.calls:finish(events)
  local counted = usage.from_ollama(root)
  if counted then
    events[#events + 1] = { type = "usage", usage = counted }
  end
  local raw = text(root.done_reason)
  local reason = stop_reasons[raw] or "other"
  if reason == "stop" and not self.calls:is_empty() then
    reason = "tool_calls"
  end
  events[#events + 1] = { type = "stop", reason = reason, raw = raw }
  self.is_over = true
  return events
end


local function read(self, events, root)
  if failure.is_error(root) or (self.status or 200) >= 400 then
    fail(self, events, failure.from_body(root, self))
    return
  end
  local message = type(root.message) == "table" and root.message
  if not self.calls and (message or root.done == true) then
    start(self, events, root)
  end
  if message then
    read_message(self, events, message)
  end
  if root.done == true then
    finish(self, events, root)
  end
end


---A decoder for one answer.
M.decoder = decoder.define {
  name = "ollama", state = state, read = read, missing = "the answer is not a message",
  usage = function() end,  -- it comes with the last line, see finish
  ended = function() end,  -- a line with `done` is the only end
  marker = function(_, data)
    return not data:find("%S") and {}
  end,
}


-- Whichever of its APIs the address points at.
local function encode_chat(request, target)
  local view = setmetatable({ base_url = wire.join(body.root(target.base_url), "v1") }, { __index = target })
  return openai_chat.encode(request, view)
end


---The same server by the chat.completions format. It knows no `num_ctx` and cuts long prompts silently.
M.chat = {
  frame = openai_chat.frame, encode = encode_chat, decoder = openai_chat.decoder, known_quirks = openai_chat.known_quirks,
  quirks = { max_tokens_field = "max_tokens" },
}

return M
