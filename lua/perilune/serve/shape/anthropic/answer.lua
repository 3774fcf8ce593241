-- An answer of ours in the shape of Anthropic's Messages API: whole, as a stream of events, and errors. Pure.
local json = require "perilune.json"
local tokens = require "perilune.model.tokens"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.anthropic.stream", __index = methods }

local null = json.null

local reasons = { stop = "end_turn", length = "max_tokens", tool_calls = "tool_use", content_filter = "refusal", refusal = "refusal",
  other = "end_turn" }

local types = { [400] = "invalid_request_error", [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error",
  [413] = "request_too_large", [429] = "rate_limit_error", [503] = "overloaded_error", [529] = "overloaded_error" }


---An error as Anthropic writes it.
---@param answer perilune.serve.Answer
---@param exchange perilune.Exchange
---@return table
function M.error(answer, exchange)
  local kind = types[answer.status] or (answer.status < 500 and "invalid_request_error" or "api_error")
  return { type = "error", error = { type = kind, message = answer.message }, request_id = exchange and exchange.id or null }
end


local function encode_usage(usage)
  local details = usage.prompt_tokens_details or {}
  local read, written = details.cached_tokens or 0, details.cache_write_tokens or 0
  return {
    input_tokens = math.max(0, usage.prompt_tokens - read - written), output_tokens = usage.completion_tokens,
    cache_read_input_tokens = read, cache_creation_input_tokens = written,
  }
end


-- What was used, as the model said it; of one that says nothing, as it is counted here.
local function usage_of(usage, identity, bytes)
  return encode_usage(usage or { prompt_tokens = identity.input_tokens, completion_tokens = tokens.of_bytes(bytes) })
end


local function reason_of(event_reason, stop_sequence, has_calls)
  if stop_sequence then
    return "stop_sequence"
  end
  return has_calls and event_reason == "stop" and "tool_use" or reasons[event_reason] or "end_turn"
end


-- The arguments of a call as an object.
local function input_of(arguments)
  local value = json.decode(arguments == "" and "{}" or arguments, { ordered = true })
  return type(value) == "table" and not json.is_array(value) and value or {}
end


-- Thinking with its signature, where the model's own items have it.
local function thinking_blocks(response)
  local blocks, items = {}, response.provider_items
  for _, item in ipairs(items and items.provider == "anthropic" and items.items or {}) do
    if item.type == "thinking" or item.type == "redacted_thinking" then
      blocks[#blocks + 1] = item
    end
  end
  if not blocks[1] and response.reasoning then
    blocks[1] = { type = "thinking", thinking = response.reasoning, signature = "" }
  end
  return blocks
end


local function bytes_of(response)
  local bytes = #(response.content or "") + #(response.reasoning or "") + #(response.refusal or "")
  for _, call in ipairs(response.tool_calls) do
    bytes = bytes + #call.arguments
  end
  return bytes
end


---A whole answer as a message.
---@param response perilune.Response
---@param identity { id: string, model: string, input_tokens: integer } input_tokens: estimated, for a model that does not say it
---@return table
function M.message(response, identity)
  local content = json.array(thinking_blocks(response))
  local said = response.content ~= "" and response.content or response.refusal
  if said then
    content[#content + 1] = { type = "text", text = said }
  end
  for _, call in ipairs(response.tool_calls) do
    content[#content + 1] = { type = "tool_use", id = call.id, name = call.name, input = input_of(call.arguments) }
  end
  return {
    id = identity.id, type = "message", role = "assistant", model = identity.model, content = content,
    stop_reason = reason_of(response.finish_reason, response.stop_sequence, response.has_tool_calls),
    stop_sequence = response.stop_sequence or null, usage = usage_of(response.usage, identity, bytes_of(response)),
  }
end


---Makes events of Anthropic's stream out of ours. Its blocks come one after the other, and each has one end: while the block of a call is
---open, what belongs into another one waits.
---@param identity { id: string, model: string, input_tokens: integer } input_tokens: estimated, until the model says it
---@return table stream
function M.stream(identity)
  return setmetatable({ identity = identity, count = 0, bytes = 0, waiting = {}, has_begun = false, has_calls = false }, metatable)
end


local function emit(self, event)
  self.out[#self.out + 1] = event
end


local function begin(self)
  if self.has_begun then
    return
  end
  self.has_begun = true
  local identity = self.identity
  emit(self, { type = "message_start", message = {
    id = identity.id, type = "message", role = "assistant", model = identity.model, content = json.array(), stop_reason = null,
    stop_sequence = null, usage = encode_usage { prompt_tokens = identity.input_tokens, completion_tokens = 0 },
  } })
  emit(self, { type = "ping" })
end


local function close(self)
  if self.open then
    emit(self, { type = "content_block_stop", index = self.open.index })
    self.open = nil
  end
end


local function open(self, block)
  close(self)
  self.open = { type = block.type, index = self.count }
  self.count = self.count + 1
  emit(self, { type = "content_block_start", index = self.open.index, content_block = block })
end


local function is_open(self, kind)
  return self.open ~= nil and self.open.type == kind
end


local function delta(self, value)
  self.bytes = self.bytes + #(value.text or value.thinking or value.partial_json or "")
  emit(self, { type = "content_block_delta", index = self.open.index, delta = value })
end


-- What goes into blocks.
local on = {}


function on.text(self, event)
  if not is_open(self, "text") then
    open(self, { type = "text", text = "" })
  end
  delta(self, { type = "text_delta", text = event.text })
end


on.refusal = on.text


function on.thinking(self, event)
  if not is_open(self, "thinking") then
    open(self, { type = "thinking", thinking = "", signature = "" })
  end
  delta(self, { type = "thinking_delta", thinking = event.text })
end


-- Of Anthropic's own blocks those that its clients give back: the end of what was thought, and what was thought in secret.
function on.item(self, event)
  local item = event.item
  if type(item) ~= "table" then
    return
  elseif item.type == "thinking" then
    if not is_open(self, "thinking") then
      open(self, { type = "thinking", thinking = "", signature = "" })
    end
    delta(self, { type = "signature_delta", signature = item.signature })
    close(self)
  elseif item.type == "redacted_thinking" then
    open(self, item)
    close(self)
  end
end


function on.tool_call_start(self, event)
  open(self, { type = "tool_use", id = event.id, name = event.name, input = {} })
  self.open.call, self.has_calls = event.index, true
end


local function is_its_call(self, event)
  return is_open(self, "tool_use") and self.open.call == event.index
end


function on.tool_call_delta(self, event)
  if is_its_call(self, event) then
    self.open.has_pieces = true
    delta(self, { type = "input_json_delta", partial_json = event.arguments })
  end
end


function on.tool_call(self, event)
  if not is_its_call(self, event) then
    on.tool_call_start(self, event)
  end
  if not self.open.has_pieces then
    delta(self, { type = "input_json_delta", partial_json = event.arguments })
  end
  close(self)
end


local place


-- Puts what has waited for the end of a call where it belongs; some of it may have to wait for the next one.
local function release(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, event in ipairs(waiting) do
    place(self, event)
  end
end


function place(self, event)
  local call = self.open and self.open.call
  if call and event.index ~= call then
    self.waiting[#self.waiting + 1] = event
    return
  end
  on[event.type](self, event)
  if call and not self.open then
    release(self)
  end
end


-- The end, also of calls that were cut.
local function stop(self, event)
  close(self)
  while self.waiting[1] do
    release(self)
    close(self)
  end
  emit(self, {
    type = "message_delta", usage = usage_of(self.usage, self.identity, self.bytes),
    delta = { stop_reason = reason_of(event.reason, event.stop_sequence, self.has_calls), stop_sequence = event.stop_sequence or null },
  })
  emit(self, { type = "message_stop" })
end


---The events that one of ours becomes.
---@param event table
---@return table[] events whose `type` is also their name
function methods:feed(event)
  self.out = {}
  if event.type == "usage" then
    self.usage = event.usage
  elseif event.type == "start" or event.type == "stop" or on[event.type] and not event.choice then
    begin(self)
    if event.type == "stop" then
      stop(self, event)
    elseif on[event.type] then
      place(self, event)
    end
  end
  return self.out
end


return M
