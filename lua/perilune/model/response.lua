-- A collected stream: events go in, one Response comes out. Its one surprise: an answer that ended in an error is a
-- Response too, with what had arrived and `error` set; raising it is the caller's choice.
local token = require "perilune.sys.token"

local M = {}

local collector_methods = {}
local collector_metatable = { __name = "perilune.model.response.collector", __index = collector_methods }

local methods = {}
local metatable = { __name = "perilune.Response", __index = methods }


---A collector for one answer.
---@return table collector `:add(event)`, `:response()`
function M.collector()
  return setmetatable({ choices = {}, attempts = {}, items = {} }, collector_metatable)
end


local function choice_of(self, index)
  local choice = self.choices[index]
  if not choice then
    choice = { text = {}, thinking = {}, refusal = {}, calls = {}, images = {}, citations = {} }
    self.choices[index] = choice
  end
  return choice
end


local function add_text(self, event)
  local parts = choice_of(self, event.choice or 0)[event.type]
  parts[#parts + 1] = event.text
end


local function append(list, values)
  if values then
    list = list or {}
    table.move(values, 1, #values, #list + 1, list)
  end
  return list
end


local on = {
  text = add_text,
  thinking = add_text,
  refusal = add_text,
  start = function(self, event)
    self.id, self.model, self.provider = event.id, event.model, event.provider
    self.request_id = event.request_id or self.request_id
    self.rate_limits = event.rate_limits
  end,
  attempt = function(self, event)
    self.attempts[#self.attempts + 1] = event
  end,
  attempt_discarded = function(self) -- the answer begins again
    self.choices, self.items, self.usage = {}, {}, nil
  end,
  tool_call = function(self, event)
    local calls = choice_of(self, event.choice or 0).calls
    calls[#calls + 1] = { id = event.id, name = event.name, arguments = event.arguments }
  end,
  item = function(self, event)
    if (event.choice or 0) == 0 then
      self.items[#self.items + 1] = event.item
      self.item_provider, self.item_model = event.provider, event.model
    end
  end,
  image = function(self, event)
    local images = choice_of(self, event.choice or 0).images
    images[#images + 1] = { data = event.data, url = event.url, media_type = event.media_type }
  end,
  audio = function(self, event)
    local choice = choice_of(self, event.choice or 0)
    local audio = choice.audio or { pieces = {} }
    choice.audio = audio
    audio.pieces[#audio.pieces + 1] = event.data
    for _, name in ipairs { "id", "media_type", "expires_at" } do
      audio[name] = event[name] or audio[name]
    end
  end,
  citation = function(self, event)
    local citations = choice_of(self, event.choice or 0).citations
    citations[#citations + 1] = event.citation
  end,
  logprobs = function(self, event)
    local choice = choice_of(self, event.choice or 0)
    local known = choice.logprobs or {}
    choice.logprobs = { content = append(known.content, event.content), refusal = append(known.refusal, event.refusal) }
  end,
  usage = function(self, event)
    self.usage = event.usage
  end,
  stop = function(self, event)
    self.stop = event
  end,
  error = function(self, event)
    self.error = event.error
    self.rate_limits = event.rate_limits or self.rate_limits
  end,
}


---Takes one event; types that do not belong to an answer are ignored.
---@param event table
function collector_methods:add(event)
  local handler = on[event.type]
  if handler then
    handler(self, event)
  end
end


local function text_or_nil(parts)
  local text = table.concat(parts)
  return text ~= "" and text or nil
end


local function list_or_nil(list)
  return #list > 0 and list or nil
end


-- Pieces of base64 as one text. Pieces that were encoded each for itself may end in padding; those are decoded first.
local function join_base64(pieces)
  local joined = table.concat(pieces)
  if not joined:find("=[^=]") then
    return joined
  end
  local bytes = {}
  for position, piece in ipairs(pieces) do
    bytes[position] = token.unbase64(piece)
    if not bytes[position] then
      return joined -- no base64 at all: left as it came
    end
  end
  return token.base64(table.concat(bytes))
end


local function make_audio(audio)
  if not audio then
    return nil
  end
  local data = join_base64(audio.pieces)
  return { id = audio.id, data = data ~= "" and data or nil, media_type = audio.media_type, expires_at = audio.expires_at }
end


local function make_choice(index, choice, reason, raw)
  return {
    index = index,
    content = table.concat(choice.text),
    reasoning = text_or_nil(choice.thinking),
    refusal = text_or_nil(choice.refusal),
    tool_calls = choice.calls,
    images = list_or_nil(choice.images),
    audio = make_audio(choice.audio),
    citations = list_or_nil(choice.citations),
    logprobs = choice.logprobs,
    finish_reason = reason,
    finish_reason_raw = raw,
  }
end


local function make_choices(self)
  local stop = self.stop or {}
  local details = self.error and type(self.error.details) == "table" and self.error.details or {}
  choice_of(self, 0)
  local reasons, indexes, list = { [0] = { reason = stop.reason, raw = stop.raw or details.finish_reason } }, {}, {}
  for _, other in ipairs(stop.choices or {}) do
    reasons[other.index] = other
  end
  for index in pairs(self.choices) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for position, index in ipairs(indexes) do
    local ended = reasons[index] or {}
    list[position] = make_choice(index, self.choices[index], ended.reason, ended.raw)
  end
  return list
end


---What has been collected so far.
---@return perilune.Response
function collector_methods:response()
  local choices = make_choices(self)
  local first, stop = choices[1], self.stop or {}
  local items
  if #self.items > 0 then
    items = { provider = self.item_provider, model = self.item_model or self.model, items = self.items }
  end
  return setmetatable({
    id = self.id,
    content = first.content,
    reasoning = first.reasoning,
    refusal = first.refusal,
    model = self.model,
    provider = self.provider,
    finish_reason = first.finish_reason,
    finish_reason_raw = first.finish_reason_raw,
    stop_sequence = stop.stop_sequence,
    stop_details = stop.details,
    has_tool_calls = #first.tool_calls > 0,
    tool_calls = first.tool_calls,
    images = first.images,
    audio = first.audio,
    citations = first.citations,
    usage = self.usage,
    choices = choices,
    attempts = self.attempts,
    request_id = self.request_id,
    rate_limits = self.rate_limits,
    provider_items = items,
    raw = { finish_reason = first.finish_reason_raw, usage = self.usage and self.usage.raw },
    error = self.error,
  }, metatable)
end


---Collects a list of events.
---@param events table[]
---@return perilune.Response
function M.collect(events)
  local collector = M.collector()
  for _, event in ipairs(events) do
    collector:add(event)
  end
  return collector:response()
end


---The answer that a stored message was, as far as the message tells.
---@param message perilune.Message
---@return perilune.Response
function M.of_message(message)
  local calls = message.tool_calls or {}
  return setmetatable({
    content = message.content or "", reasoning = message.reasoning, refusal = message.refusal, provider_items = message.provider_items,
    has_tool_calls = #calls > 0, tool_calls = calls, finish_reason = #calls > 0 and "tool_calls" or "stop", choices = {}, attempts = {},
    raw = {},
  }, metatable)
end


---The assistant message that continues the conversation.
---@return perilune.Message
function methods:to_message()
  return {
    role = "assistant",
    content = self.content ~= "" and self.content or nil,
    reasoning = self.reasoning,
    refusal = self.refusal,
    tool_calls = self.has_tool_calls and self.tool_calls or nil,
    provider_items = self.provider_items,
  }
end


---@class perilune.Response
---@field id? string the provider's id of the answer
---@field content string
---@field reasoning? string
---@field refusal? string
---@field model? string
---@field provider? string
---@field finish_reason? "stop"|"length"|"tool_calls"|"content_filter"|"refusal"|"other"
---@field finish_reason_raw? string the provider's own word
---@field stop_sequence? string the one that ended the answer
---@field stop_details? table why it ended, where the provider says more than a word
---@field has_tool_calls boolean
---@field tool_calls { id: string, name: string, arguments: string }[]
---@field images? { data: string?, url: string?, media_type: string? }[] made by the model
---@field audio? { id: string?, data: string?, media_type: string?, expires_at: integer? } what is said is in `content`
---@field citations? perilune.Citation[]
---@field usage? perilune.Usage
---@field choices table[] one per answer, the first is the Response itself; log probabilities are here, in `logprobs`
---@field rate_limits? table<string, perilune.RateLimit> what the provider's headers said
---@field request_id? string
---@field stats? table set by the meter
---@field attempts table[] targets that were tried and given up
---@field provider_items? table
---@field error? perilune.Error
---@field raw table

return M
