-- Cohere's chat, version 2. A pure translator: what to send is in cohere_body, this file reads what comes back. The plan
-- before tool calls and the citations are neither text nor thinking: they are `item` events, and so is the thinking of
-- an answer with calls, because it has to go back.
local body = require "perilune.model.provider.cohere_body"
local calls = require "perilune.model.provider.calls"
local citations = require "perilune.model.provider.citations"
local errors = require "perilune.std.errors"
local decoder = require "perilune.model.provider.decoder"
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local usage = require "perilune.model.usage"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

---An answer with more citations than this keeps the first ones.
M.CITATIONS_MAX = 1024

local stop_reasons = {
  COMPLETE = "stop", STOP_SEQUENCE = "stop", MAX_TOKENS = "length", ERROR_LIMIT = "length", TOOL_CALL = "tool_calls",
  ERROR_TOXIC = "content_filter",
}

-- Words that mean "it failed".
local failed_reasons = { ERROR = "server", TIMEOUT = "timeout" }

local fail, push_usage, text = decoder.fail, decoder.push_usage, decoder.text


local function state(self)
  self.calls = calls.new { seed = "cohere\0" .. #(self.request.messages or {}), tools = self.request.tools }
  self.plan, self.thoughts = {}, {} -- fragments of the tool plan and of the thinking
  self.citations = {}
end


local function start(self, events, root)
  if not self.is_started then
    self.is_started = true
    events[#events + 1] = { type = "start", id = text(root.id), provider = self.target.name }
  end
end


local function push_item(self, events, item)
  events[#events + 1] = {
    type = "item", item = item, provider = self.target.name or "cohere", model = self.target.model,
  }
end


local function push_items(self, events)
  if #self.plan > 0 then
    push_item(self, events, { type = "tool_plan", tool_plan = table.concat(self.plan) })
  end
  if #self.thoughts > 0 and not self.calls:is_empty() then
    push_item(self, events, { type = "thinking", thinking = table.concat(self.thoughts) })
  end
  local cited = citations.new()
  for _, citation in ipairs(self.citations) do
    cited:add_sources(events, citation)
    push_item(self, events, { type = "citation", citation = citation })
  end
end


-- Everything an answer ends with.
local function finish(self, events)
  local raw = self.finish_reason
  local kind = failed_reasons[raw]
  if kind then
    return fail(self, events, errors.new {
      kind = kind, message = self.failed_message or "the model stopped with " .. raw, code = raw,
      retryable = true, maybe_billed = true, details = { finish_reason = raw },
    })
  end
  push_items(self, events)
  self.calls:finish(events)
  push_usage(self, events)
  events[#events + 1] = { type = "stop", reason = stop_reasons[raw] or "other", raw = raw }
  self.is_over = true
  return events
end


local function read_content(self, events, content)
  if text(content.thinking) then
    self.has_content = true
    self.thoughts[#self.thoughts + 1] = content.thinking
    events[#events + 1] = { type = "thinking", text = content.thinking }
  elseif text(content.text) then
    self.has_content = true
    events[#events + 1] = { type = "text", text = content.text }
  end
end


local function read_call(self, events, index, call)
  local called = call["function"]
  if type(called) == "table" then
    self.has_content = true
    self.calls:add(events, index, call.id, called.name, called.arguments)
  end
end


local function read_citation(self, citation)
  if type(citation) == "table" and #self.citations < M.CITATIONS_MAX then
    self.citations[#self.citations + 1] = citation
  end
end


local function read_end(self, from)
  self.finish_reason = text(from.finish_reason) or self.finish_reason
  self.failed_message = text(from.error)
  self.usage = type(from.usage) == "table" and from.usage or self.usage
end


-- The list under `key`; some fields hold one of what they are the plural of.
local function each(message, key)
  local value = message[key]
  if type(value) ~= "table" then
    return {}
  end
  return json.is_array(value) and value or { value }
end


-- One message, whole or a delta of it: the fields are the same.
local function read_message(self, events, message, index)
  start(self, events, {}) -- for a stream that lost its beginning
  self.plan[#self.plan + 1] = text(message.tool_plan)
  if text(message.content) then
    read_content(self, events, { text = message.content })
  end
  for _, content in ipairs(each(message, "content")) do
    if type(content) == "table" then
      read_content(self, events, content)
    end
  end
  for position, call in ipairs(each(message, "tool_calls")) do
    if type(call) == "table" then
      read_call(self, events, index or position - 1, call)
    end
  end
  for _, citation in ipairs(each(message, "citations")) do
    read_citation(self, citation)
  end
end


local function read_delta(self, events, root)
  local delta = type(root.delta) == "table" and root.delta or {}
  if type(delta.message) == "table" then
    read_message(self, events, delta.message, math.tointeger(root.index) or 0)
  end
  return delta
end


-- The events of a stream; all other types are ignored.
local on = {
  ["message-start"] = start,
  ["content-start"] = read_delta,
  ["content-delta"] = read_delta,
  ["tool-plan-delta"] = read_delta,
  ["tool-call-start"] = read_delta,
  ["tool-call-delta"] = read_delta,
  ["citation-start"] = read_delta,
  ["message-end"] = function(self, events, root)
    read_end(self, read_delta(self, events, root))
    finish(self, events)
  end,
}


local function read_whole(self, events, root)
  start(self, events, root)
  read_message(self, events, root.message)
  read_end(self, root)
  return finish(self, events)
end


local function read(self, events, root, event_name)
  local handler = on[root.type]
  if (self.status or 200) >= 400 or text(root.message) or failure.is_error(root, event_name) then
    fail(self, events, failure.from_body(root, self))
  elseif handler then
    handler(self, events, root)
  elseif root.type == nil and type(root.message) == "table" then
    read_whole(self, events, root)
  end
end


---A decoder for one answer.
M.decoder = decoder.define {
  name = "cohere", state = state, read = read, usage = usage.from_cohere, missing = "the answer is not a message",
  ended = function() end, -- message-end is the only end
  marker = function(self, data)
    return data:find("^%s*%[DONE%]%s*$") and self:finish()
  end,
}


return M
