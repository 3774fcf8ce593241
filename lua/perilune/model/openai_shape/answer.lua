-- Answers in OpenAI's shape: a collected one as a chat.completion, events as chat.completion.chunk. What OpenAI has no field for
-- goes where other vendors put it: reasoning into `reasoning_content`, images into `images`.
local json = require "perilune.json"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.openai_shape.chunks", __index = methods }

local counts = {
  prompt_tokens_details = { "cached_tokens", "audio_tokens" },
  completion_tokens_details = {
    "reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens",
  },
}


---@class perilune.OpenAiIdentity what every answer, and every chunk of it, says of itself
---@field id string
---@field created integer
---@field model? string when the answer does not say its own
---@field null? any what stands for null: nil, or json.null where the fields of the shape must all be there


-- Our reasons are OpenAI's, but for two: it has no other, and a refusal ends like an answer.
local function finish_reason(reason, has_refusal)
  if reason == "refusal" then
    return has_refusal and "stop" or "content_filter"
  end
  return reason == "other" and "stop" or reason or "stop"
end


local function encode_usage(usage)
  local encoded = {
    prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens, total_tokens = usage.total_tokens,
  }
  for group, names in pairs(counts) do
    encoded[group] = {}
    for _, name in ipairs(names) do
      encoded[group][name] = (usage[group] or {})[name] or 0
    end
  end
  return encoded
end


local function encode_call(call, index)
  return { index = index, id = call.id, type = "function", ["function"] = { name = call.name, arguments = call.arguments } }
end


local function encode_image(image)
  local url = image.url or ("data:%s;base64,%s"):format(image.media_type or "image/png", image.data or "")
  return { type = "image_url", image_url = { url = url } }
end


local function encode_citation(citation)
  return {
    type = "url_citation", url_citation = {
      url = citation.url or "", title = citation.title or "", start_index = citation.start_index or 0,
      end_index = citation.end_index or 0,
    },
  }
end


-- A list by `encode`; nil when there is nothing in it.
local function map(list, encode)
  if not list or #list == 0 then
    return nil
  end
  local encoded = {}
  for position, one in ipairs(list) do
    encoded[position] = encode(one)
  end
  return encoded
end


local function encode_logprobs(logprobs, null)
  return { content = logprobs.content or null, refusal = logprobs.refusal or null }
end


local function encode_message(choice, null)
  local audio = choice.audio
  return {
    role = "assistant",
    content = choice.content ~= "" and choice.content or null,
    refusal = choice.refusal or null,
    reasoning_content = choice.reasoning,
    tool_calls = map(choice.tool_calls, encode_call),
    annotations = map(choice.citations, encode_citation),
    images = map(choice.images, encode_image),
    audio = audio and { id = audio.id, data = audio.data, expires_at = audio.expires_at, transcript = choice.content },
  }
end


---A whole answer as a chat.completion. `provider_items` of its message, where there are any, belong to the next request.
---@param response perilune.Response
---@param identity perilune.OpenAiIdentity
---@return table
function M.completion(response, identity)
  local null, choices = identity.null, {}
  for position, choice in ipairs(response.choices) do
    choices[position] = {
      index = choice.index, message = encode_message(choice, null),
      finish_reason = finish_reason(choice.finish_reason, choice.refusal),
      logprobs = choice.logprobs and encode_logprobs(choice.logprobs, null) or null,
    }
  end
  choices[1].message.provider_items = response.provider_items
  return {
    id = response.id or identity.id, object = "chat.completion", created = identity.created,
    model = response.model or identity.model, choices = choices,
    usage = response.usage and encode_usage(response.usage), service_tier = (response.usage or {}).service_tier,
  }
end


---Makes chunks out of the events of a stream, all but `error` and `attempt_discarded`: those end it, because there is no chunk that
---takes back what was said.
---@param identity perilune.OpenAiIdentity
---@param include_usage? boolean a last chunk says what was used
---@return table chunks `:feed(event)` gives a list of chunks, often an empty one
function M.chunks(identity, include_usage)
  return setmetatable({
    id = identity.id, created = identity.created, model = identity.model, null = identity.null,
    include_usage = include_usage or false, begun = {}, refused = {}, told = {},
  }, metatable)
end


local function push(self, chunks, choices, usage)
  chunks[#chunks + 1] = {
    id = self.id, object = "chat.completion.chunk", created = self.created, model = self.model, choices = choices,
    usage = usage or self.include_usage and self.null or nil,
  }
end


-- One chunk of one choice; its first one says the role.
local function push_delta(self, chunks, index, delta, reason)
  local null = self.null
  if not self.begun[index] then
    self.begun[index] = true
    push(self, chunks, {
      { index = index, delta = { role = "assistant", content = "" }, logprobs = null, finish_reason = null },
    })
  end
  if delta then
    push(self, chunks, { { index = index, delta = delta, logprobs = null, finish_reason = reason or null } })
  end
end


-- A call among those of all choices.
local function told_key(event)
  return (event.choice or 0) .. ":" .. event.index
end


local function push_arguments(self, chunks, event)
  self.told[told_key(event)] = true
  push_delta(self, chunks, event.choice or 0, {
    tool_calls = { { index = event.index, ["function"] = { arguments = event.arguments } } },
  })
end


-- What becomes of each type of event; other types have no chunk.
local on = {}


function on.start(self, chunks, event)
  self.id, self.model = event.id or self.id, event.model or self.model
  push_delta(self, chunks, 0)
end


function on.text(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, { content = event.text })
end


function on.thinking(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, { reasoning_content = event.text })
end


function on.refusal(self, chunks, event)
  self.refused[event.choice or 0] = true
  push_delta(self, chunks, event.choice or 0, { refusal = event.text })
end


function on.tool_call_start(self, chunks, event)
  local call = encode_call({ id = event.id, name = event.name, arguments = "" }, event.index)
  push_delta(self, chunks, event.choice or 0, { tool_calls = { call } })
end


on.tool_call_delta = push_arguments


-- The arguments as a whole, where they did not come in pieces.
function on.tool_call(self, chunks, event)
  if not self.told[told_key(event)] then
    push_arguments(self, chunks, event)
  end
end


function on.image(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, { images = { encode_image(event) } })
end


function on.audio(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, { audio = { id = event.id, data = event.data, expires_at = event.expires_at } })
end


function on.citation(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, { annotations = { encode_citation(event.citation) } })
end


function on.logprobs(self, chunks, event)
  push_delta(self, chunks, event.choice or 0, {})
  chunks[#chunks].choices[1].logprobs = encode_logprobs(event, self.null)
end


function on.usage(self, _, event)
  self.usage = event.usage
end


function on.stop(self, chunks, event)
  push_delta(self, chunks, 0, {}, finish_reason(event.reason, self.refused[0]))
  for _, other in ipairs(event.choices or {}) do
    push_delta(self, chunks, other.index, {}, finish_reason(other.reason, self.refused[other.index]))
  end
  if self.include_usage and self.usage then
    push(self, chunks, json.array {}, encode_usage(self.usage))
  end
end


---The chunks that one event becomes.
---@param event table
---@return table[] chunks
function methods:feed(event)
  local chunks = {}
  local handler = on[event.type]
  if handler then
    handler(self, chunks, event)
  end
  return chunks
end


return M
