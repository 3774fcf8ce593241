-- The Responses wire format: OpenAI, and the servers that follow it. A pure translator: what to send is in
-- openai_responses_body, this file reads what comes back. Everything is keyed by `output_index`, because some proxies
-- give an item another id in every event; a text that was never streamed is taken from the event that completes it. What
-- is kept for the way back is decided in openai_responses_items.
local body = require "perilune.model.provider.openai_responses_body"
local calls = require "perilune.model.provider.calls"
local citations = require "perilune.model.provider.citations"
local decoder = require "perilune.model.provider.decoder"
local failure = require "perilune.model.provider.failure"
local items = require "perilune.model.provider.openai_responses_items"
local json = require "perilune.json"
local usage = require "perilune.model.usage"

local M = {}

M.frame = "sse"
M.encode = body.encode
M.known_quirks = body.known_quirks

local null = json.null
local incomplete_reasons = { max_output_tokens = "length", max_tokens = "length", content_filter = "content_filter" }

-- The texts that grow: the event they become, what counts them inside their item, the field that holds them when whole.
local growing = {
  output_text = { event = "text", index = "content_index", field = "text" },
  refusal = { event = "refusal", index = "content_index", field = "refusal" },
  reasoning_text = { event = "thinking", index = "content_index", field = "text" },
  reasoning_summary_text = { event = "thinking", index = "summary_index", field = "text" },
}

local name_of_part = {
  output_text = "output_text", refusal = "refusal", reasoning_text = "reasoning_text", summary_text = "reasoning_summary_text",
}

local fail, list, push_usage, text = decoder.fail, decoder.list, decoder.push_usage, decoder.text


local function state(self)
  self.entries = {}   -- what is known of each item, by output_index
  self.last_index = 0
end


local function start(self, events, response)
  self.is_started, self.model = true, text(response.model)
  local id = text(response.id)
  self.calls = calls.new { seed = ("%s\0%d"):format(id or "", #(self.request.messages or {})), tools = self.request.tools }
  events[#events + 1] = { type = "start", model = self.model, id = id, provider = self.target.name }
end


-- `seen` says which growing texts have begun, by name and index.
local function entry_at(self, index)
  index = math.tointeger(index) or self.last_index
  self.last_index = index
  local entry = self.entries[index]
  if not entry then
    entry = { index = index, seen = { output_text = {}, refusal = {}, reasoning_text = {}, reasoning_summary_text = {} } }
    self.entries[index] = entry
  end
  return entry
end


local function emit_text(self, events, entry, name, index, value)
  if text(value) then
    entry.seen[name][index] = true
    self.has_content = true
    self.is_refused = self.is_refused or name == "refusal"
    events[#events + 1] = { type = growing[name].event, text = value }
  end
end


local function read_delta(self, events, root, name)
  local index = math.tointeger(root[growing[name].index]) or 0
  emit_text(self, events, entry_at(self, root.output_index), name, index, root.delta)
end


local function read_done(self, events, root, name)
  local entry, index = entry_at(self, root.output_index), math.tointeger(root[growing[name].index]) or 0
  if not entry.seen[name][index] then
    emit_text(self, events, entry, name, index, root[growing[name].field])
  end
end


-- The input of a custom tool is plain text; as arguments it is an object with that text in it.
local function custom_fragment(entry, value)
  local escaped = json.encode(value):sub(2, -2)
  local opening = entry.is_custom_open and "" or '{"input":"'
  entry.is_custom_open = true
  return opening .. escaped
end


local function add_arguments(self, events, entry, value)
  if text(value) or type(value) == "table" then
    entry.has_arguments = true
    self.calls:add(events, entry.index, nil, nil, value)
  end
end


local function open_call(self, events, entry, item)
  if not entry.is_call then
    entry.is_call, self.has_content = true, true
    self.calls:add(events, entry.index, text(item.call_id) or text(item.id), item.name)
  end
end


local function close_custom(self, events, entry)
  if entry.is_custom_open then
    entry.is_custom_open = false
    self.calls:add(events, entry.index, nil, nil, '"}')
  end
end


local function read_parts(self, events, entry, parts)
  for position, part in ipairs(list(parts)) do
    local name = type(part) == "table" and name_of_part[part.type]
    if name and not entry.seen[name][position - 1] then
      emit_text(self, events, entry, name, position - 1, part[growing[name].field])
    end
  end
end


-- What a complete item adds to what was streamed of it, by its type.
local complete = {
  message = function(self, events, entry, item)
    read_parts(self, events, entry, item.content)
  end,
  reasoning = function(self, events, entry, item)
    read_parts(self, events, entry, item.summary)
    read_parts(self, events, entry, item.content)
  end,
  function_call = function(self, events, entry, item)
    open_call(self, events, entry, item)
    if not entry.has_arguments then
      add_arguments(self, events, entry, item.arguments)
    end
  end,
  custom_tool_call = function(self, events, entry, item)
    open_call(self, events, entry, item)
    if not entry.has_arguments then
      add_arguments(self, events, entry, custom_fragment(entry, text(item.input) or ""))
    end
    close_custom(self, events, entry)
  end,
  image_generation_call = function(self, events, _, item)
    if text(item.result) then
      self.has_content = true
      local media_type = "image/" .. (text(item.output_format) or "png")
      events[#events + 1] = { type = "image", data = item.result, media_type = media_type }
    end
  end,
}


local function read_item(self, events, entry, item)
  entry.item = item
  if not entry.is_complete then
    entry.is_complete = true
    local handler = complete[item.type]
    if handler then
      handler(self, events, entry, item)
    end
  end
end


-- Where the end repeats an item, it has the last word: its ciphertext is the complete one.
local function sorted_items(self, output)
  local indexes, sorted = {}, {}
  for index, entry in pairs(self.entries) do
    indexes[#indexes + 1] = entry.item and index
  end
  table.sort(indexes)
  for position, index in ipairs(indexes) do
    local item, last = self.entries[index].item, output[index + 1]
    sorted[position] = type(last) == "table" and last.type == item.type and last or item
  end
  return sorted
end


local function push_items(self, events, response)
  local sorted = sorted_items(self, list(response.output))
  citations.new():add_items(events, sorted)
  for _, item in ipairs(items.to_keep(sorted, response.store == true)) do
    events[#events + 1] =
      { type = "item", item = item, provider = items.provider(self.target), model = self.target.model or self.model }
  end
end


local function stop_reason(self, status, incomplete)
  if status == "incomplete" then
    return incomplete_reasons[incomplete] or "other"
  elseif status ~= "completed" then
    return "other"
  elseif not self.calls:is_empty() then
    return "tool_calls"
  end
  return self.is_refused and "refusal" or "stop"
end


-- Everything an answer ends with: calls, opaque items, usage, the reason.
local function finish(self, events, response)
  self.usage = type(response.usage) == "table" and response.usage or self.usage
  self.service_tier = text(response.service_tier)
  local status = text(response.status)
  if self.error or status == "failed" or type(response.error) == "table" then
    self.finish_reason = status
    return fail(self, events, failure.from_body(self.error or response, self))
  end
  if next(self.entries) == nil then
    for position, item in ipairs(list(response.output)) do
      if type(item) == "table" then
        read_item(self, events, entry_at(self, position - 1), item)
      end
    end
  end
  for _, entry in pairs(self.entries) do
    close_custom(self, events, entry)
  end
  self.calls:finish(events)
  push_items(self, events, response)
  push_usage(self, events)
  local incomplete = text(list(response.incomplete_details).reason)
  events[#events + 1] = {
    type = "stop", reason = stop_reason(self, status, incomplete), raw = status,
    details = incomplete and { reason = incomplete } or nil,
  }
  self.is_over = true
  return events
end


local function on_end(self, events, root)
  finish(self, events, list(root.response))
end


-- The events of a stream. What is not listed is ignored: the format grows.
local on = {
  ["response.created"] = function() end, -- whatever comes first starts the answer
  ["response.completed"] = on_end,
  ["response.incomplete"] = on_end,
  ["response.failed"] = on_end,
  ["response.cancelled"] = on_end,
  ["response.output_item.added"] = function(self, events, root)
    local item, entry = list(root.item), entry_at(self, root.output_index)
    if item.type == "function_call" or item.type == "custom_tool_call" then
      open_call(self, events, entry, item)
    end
  end,
  ["response.output_item.done"] = function(self, events, root)
    if type(root.item) == "table" then
      read_item(self, events, entry_at(self, root.output_index), root.item)
    end
  end,
  ["response.function_call_arguments.delta"] = function(self, events, root)
    add_arguments(self, events, entry_at(self, root.output_index), root.delta)
  end,
  ["response.function_call_arguments.done"] = function(self, events, root)
    local entry = entry_at(self, root.output_index)
    if not entry.has_arguments then
      add_arguments(self, events, entry, root.arguments)
    end
  end,
  ["response.custom_tool_call_input.delta"] = function(self, events, root)
    local entry = entry_at(self, root.output_index)
    if text(root.delta) then
      add_arguments(self, events, entry, custom_fragment(entry, root.delta))
    end
  end,
  error = function(self, _, root)
    self.error = root -- `response.failed` follows, with the status and what was used
  end,
}

for name in pairs(growing) do
  on["response." .. name .. ".delta"] = function(self, events, root)
    read_delta(self, events, root, name)
  end
  on["response." .. name .. ".done"] = function(self, events, root)
    read_done(self, events, root, name)
  end
end


local function read(self, events, root, event_name)
  local handler = on[root.type or event_name]
  local is_whole = not handler and (root.object == "response" or type(root.output) == "table")
  if (self.status or 200) >= 400 then
    fail(self, events, failure.from_body(root, self))
    return
  elseif not self.is_started and (is_whole or handler and handler ~= on.error) then
    start(self, events, is_whole and root or list(root.response))
  end
  if handler then
    handler(self, events, root)
  elseif is_whole then
    finish(self, events, root)
  elseif root.error ~= nil and root.error ~= null or failure.is_error(root, event_name) then
    fail(self, events, failure.from_body(root, self))
  end
end


---A decoder for one answer.
M.decoder = decoder.define {
  name = "openai_responses", state = state, read = read, usage = usage.from_responses, missing = "the answer is not a response",
  ended = function(self)
    return self.error and fail(self, {}, failure.from_body(self.error, self))
  end,
  marker = function(_, data)
    return data == "[DONE]" and {} -- some servers send it; the terminal event is what counts
  end,
}


return M
