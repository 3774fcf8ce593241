-- What a chat.completions answer may hold beside text and calls: reasoning details, images, audio, citations, log
-- probabilities. Every function takes what the wire said, of whatever type, and appends events; nothing here is on the
-- way of an ordinary chunk.
local citations = require "perilune.model.provider.citations"
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

local null = json.null

-- The names of audio formats, as a request asks for them.
local audio_types = {
  wav = "audio/wav", mp3 = "audio/mpeg", flac = "audio/flac", opus = "audio/opus", aac = "audio/aac", pcm16 = "audio/pcm",
}

-- The fields of a reasoning detail that grow from fragment to fragment.
local growing = { "text", "summary", "data" }


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


local function table_or_empty(value)
  return type(value) == "table" and value or {}
end


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


---Reasoning details come in fragments; consecutive ones of the same kind and index are one item.
---@param state table of the choice
---@param details any
function M.keep_details(state, details)
  state.details = state.details or {}
  for _, detail in ipairs(table_or_empty(details)) do
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


---The kept details, as items.
---@param events table[]
---@param state table
---@param provider string
---@param model string?
function M.push_details(events, state, provider, model)
  for _, kept in ipairs(state.details or {}) do
    for key, pieces in pairs(kept.pieces) do
      kept.item[key] = table.concat(pieces)
    end
    events[#events + 1] = { type = "item", item = kept.item, choice = state.shown, provider = provider, model = model }
  end
end


---Images that the model made.
---@param events table[]
---@param state table
---@param images any
function M.read_images(events, state, images)
  for _, image in ipairs(table_or_empty(images)) do
    local url = type(image) == "table" and type(image.image_url) == "table" and text(image.image_url.url)
    if url then
      local media = wire.media { url = url }
      events[#events + 1] =
        { type = "image", url = media.url, data = media.data, media_type = media.media_type, choice = state.shown }
    end
  end
end


---Speech, whole or a fragment of it. What is said is the text of the answer.
---@param events table[]
---@param state table
---@param audio any
---@param request table names the format that was asked for
function M.read_audio(events, state, audio, request)
  if type(audio) ~= "table" then
    return
  end
  local id, data, expires_at = text(audio.id), text(audio.data), math.tointeger(audio.expires_at)
  if text(audio.transcript) then
    events[#events + 1] = { type = "text", text = audio.transcript, choice = state.shown }
  end
  if id or data or expires_at then
    local asked = table_or_empty(table_or_empty(request.provider_specific_params).audio)
    events[#events + 1] = {
      type = "audio", id = id, data = data, media_type = audio_types[asked.format], expires_at = expires_at, choice = state.shown,
    }
  end
end


local function cited(state)
  state.citations = state.citations or citations.new(state.shown)
  return state.citations
end


---@param events table[]
---@param state table
---@param annotations any
function M.read_annotations(events, state, annotations)
  for _, annotation in ipairs(table_or_empty(annotations)) do
    if type(annotation) == "table" then
      cited(state):add(events, citations.from_annotation(annotation))
    end
  end
end


---The sources of an answer as a whole, which Perplexity repeats in every chunk.
---@param events table[]
---@param state table
---@param sources any
function M.push_sources(events, state, sources)
  for _, source in ipairs(table_or_empty(sources)) do
    if type(source) == "table" or text(source) then
      cited(state):add(events, citations.from_source(source))
    end
  end
end


local function tables_of(value)
  local found = {}
  for _, entry in ipairs(table_or_empty(value)) do
    found[#found + 1] = type(entry) == "table" and entry or nil
  end
  return found[1] and found
end


-- The older form: two lists side by side.
local function zip_tokens(logprobs)
  local found, values = {}, table_or_empty(logprobs.token_logprobs)
  for position, token in ipairs(table_or_empty(logprobs.tokens)) do
    if type(token) == "string" and type(values[position]) == "number" then
      found[#found + 1] = { token = token, logprob = values[position], top_logprobs = json.array {} }
    end
  end
  return found[1] and found
end


---@param events table[]
---@param state table
---@param logprobs table
function M.read_logprobs(events, state, logprobs)
  local content, refusal = tables_of(logprobs.content) or zip_tokens(logprobs), tables_of(logprobs.refusal)
  if content or refusal then
    events[#events + 1] = { type = "logprobs", content = content, refusal = refusal, choice = state.shown }
  end
end


return M
