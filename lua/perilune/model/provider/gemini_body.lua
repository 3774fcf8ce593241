-- Writes generateContent requests, for Google AI and for Vertex. Surprising decisions: every instruction moves to
-- `systemInstruction`; schemas are rewritten (gemini_schema) unless a quirk says that JSON Schema is taken as it is; calls that
-- another provider made get the signature that Gemini 3 takes for "none"; call ids are sent only where they are Gemini's own,
-- elsewhere name and order say which result is whose. `generationConfig` in provider_specific_params is merged field by field.
local errors = require "perilune.std.errors"
local gemini_items = require "perilune.model.provider.gemini_items"
local gemini_schema = require "perilune.model.provider.gemini_schema"
local gemini_thinking = require "perilune.model.provider.gemini_thinking"
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

---The flags of a vendor's dialect.
M.known_quirks = {
  bearer = "the key goes as a Bearer token",
  json_schema = "schemas go as JSON Schema, unchanged",
  project = "Vertex: makes the address, together with location",
  location = "Vertex: a region, or \"global\"",
}

local NO_SIGNATURE = "skip_thought_signature_validator"

local default_types = { image = "image/png", audio = "audio/wav", video = "video/mp4", file = "application/pdf" }

local types_by_ending = {
  png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", webp = "image/webp", gif = "image/gif", heic = "image/heic",
  pdf = "application/pdf", mp3 = "audio/mpeg", wav = "audio/wav", ogg = "audio/ogg", flac = "audio/flac",
  mp4 = "video/mp4", webm = "video/webm", mov = "video/quicktime",
}

-- Our options by the names of generationConfig.
local options = {
  temperature = "temperature", top_p = "topP", n = "candidateCount", seed = "seed", frequency_penalty = "frequencyPenalty",
  presence_penalty = "presencePenalty", logprobs = "responseLogprobs", top_logprobs = "logprobs",
}


local function encode_part(part, target)
  if part.type == "text" then
    return { text = part.text }
  elseif not default_types[part.type] then
    return wire.media_error(target, "a part of type " .. tostring(part.type))
  end
  local media = wire.media(part)
  if media.data then
    return { inlineData = { mimeType = media.media_type or default_types[part.type], data = media.data } }
  end
  local ending = media.url:match("%.(%w+)$") or media.url:match("%.(%w+)[?#]")
  return { fileData = { mimeType = media.media_type or types_by_ending[(ending or ""):lower()], fileUri = media.url } }
end


-- Appends the parts of content to a list.
local function push_parts(list, parts, target)
  for _, part in ipairs(parts) do
    local encoded, err = encode_part(part, target)
    if not encoded then
      return nil, err
    end
    list[#list + 1] = encoded
  end
  return list
end


-- `known` remembers the calls by id: their names, and which ids are Gemini's own.
local function encode_assistant(message, target, known)
  local plain, calls = wire.text_of(message.content), message.tool_calls or {}
  for _, call in ipairs(calls) do
    known.names[call.id] = call.name
  end
  local items = wire.items_for(message, target)
  local parts = items and gemini_items.parts_of(items, plain, calls)
  for _, part in ipairs(parts or {}) do
    local made = part.functionCall
    if type(made) == "table" and type(made.id) == "string" then
      known.ids[made.id] = true
    end
  end
  if parts then
    return parts
  end
  parts = {}
  plain = plain ~= "" and plain or message.refusal or ""
  parts[1] = plain ~= "" and { text = plain } or nil
  for position, call in ipairs(calls) do
    parts[#parts + 1] = {
      functionCall = { name = call.name, args = wire.object(call.arguments) },
      thoughtSignature = position == 1 and gemini_thinking.wants_signatures(target.model) and NO_SIGNATURE or nil,
    }
  end
  return parts
end


-- The answer to a call; its media follow the answers of the turn.
local function push_result(results, message, target, known)
  local plain, media = wire.text_of(message.content), {}
  for _, part in ipairs(wire.parts(message.content)) do
    media[#media + 1] = part.type ~= "text" and part or nil
  end
  if plain == "" and #media > 0 then
    plain = "(see the attached media)"
  end
  local id = message.tool_call_id
  results.answers[#results.answers + 1] = { functionResponse = {
    id = known.ids[id] and id or nil, name = message.name or known.names[id] or id,
    response = { [message.is_error and "error" or "output"] = plain },
  } }
  return push_parts(results.media, media, target)
end


local function push_content(contents, role, parts)
  if #parts > 0 then
    contents[#contents + 1] = { role = role, parts = parts }
  end
end


local function flush(contents, results)
  local parts = results.answers
  push_content(contents, "user", table.move(results.media, 1, #results.media, #parts + 1, parts))
  return { answers = {}, media = {} }
end


local function encode_messages(messages, target)
  local contents, system, known, results = {}, {}, { names = {}, ids = {} }, { answers = {}, media = {} }
  for _, message in ipairs(messages) do
    local role, is_done, err = message.role, true, nil
    if role == "tool" then
      is_done, err = push_result(results, message, target, known)
    elseif role == "system" or role == "developer" then
      local plain = wire.text_of(message.content)
      system[#system + 1] = plain ~= "" and plain or nil
    else
      results = flush(contents, results)
      local parts
      if role == "assistant" then
        parts = encode_assistant(message, target, known)
      else
        parts, err = push_parts({}, wire.parts(message.content), target)
      end
      is_done = parts
      push_content(contents, role == "assistant" and "model" or "user", parts or {})
    end
    if not is_done then
      return nil, nil, err
    end
  end
  flush(contents, results)
  return json.array(contents), system
end


-- A function without parameters must not have an empty object of them.
local function encode_function(tool, quirks)
  local declared = { name = tool.name, description = tool.description }
  if quirks.json_schema then
    declared.parametersJsonSchema = tool.parameters
  elseif tool.parameters then
    local schema, err = gemini_schema.convert(tool.parameters)
    if not schema then
      return nil, err
    end
    declared.parameters = (schema.type ~= "OBJECT" or schema.properties) and schema or nil
  end
  return declared
end


local function encode_tools(body, request, quirks)
  if not request.tools or #request.tools == 0 then
    return true
  end
  local declared = {}
  for position, tool in ipairs(request.tools) do
    local err
    declared[position], err = encode_function(tool, quirks)
    if err then
      return nil, err
    end
  end
  body.tools = { { functionDeclarations = declared } }
  local choice = request.tool_choice
  if type(choice) == "table" then
    body.toolConfig = { functionCallingConfig = { mode = "ANY", allowedFunctionNames = { choice.name } } }
  elseif choice then
    body.toolConfig = { functionCallingConfig = { mode = choice == "required" and "ANY" or choice:upper() } }
  end
  return true
end


local function encode_format(config, format, quirks)
  if type(format) ~= "table" or format.type == "text" then
    return true
  end
  config.responseMimeType = "application/json"
  local schema = format.type == "json_schema" and type(format.json_schema) == "table" and format.json_schema.schema
  if schema and quirks.json_schema then
    config.responseJsonSchema = schema
  elseif schema then
    local err
    config.responseSchema, err = gemini_schema.convert(schema)
    return config.responseSchema, err
  end
  return true
end


local function encode_config(request, target, quirks)
  local config = {
    maxOutputTokens = request.max_completion_tokens or request.max_tokens,
    stopSequences = type(request.stop) == "string" and { request.stop } or request.stop,
    thinkingConfig = gemini_thinking.config(request, target.model),
  }
  for ours, theirs in pairs(options) do
    config[theirs] = request[ours]
  end
  local is_done, err = encode_format(config, request.response_format, quirks)
  if not is_done then
    return nil, err
  end
  return config
end


local function merge_params(body, params)
  for name, value in pairs(params or {}) do
    if name == "generationConfig" and type(value) == "table" then
      for field, setting in pairs(value) do
        body.generationConfig[field] = setting
      end
    else
      body[name] = value
    end
  end
  body.generationConfig = next(body.generationConfig) and body.generationConfig or nil
end


local function encode_body(request, target, quirks)
  local contents, system, err = encode_messages(request.messages, target)
  if not contents then
    return nil, err
  end
  local config
  config, err = encode_config(request, target, quirks)
  if not config then
    return nil, err
  end
  local body = { contents = contents, generationConfig = config }
  if #system > 0 then
    body.systemInstruction = { parts = { { text = table.concat(system, "\n\n") } } }
  end
  local is_done
  is_done, err = encode_tools(body, request, quirks)
  if not is_done then
    return nil, err
  end
  merge_params(body, request.provider_specific_params)
  return body
end


-- Vertex has an address for each project and region.
local function base_url(target, quirks)
  if target.base_url then
    return target.base_url
  elseif not quirks.project or not quirks.location then
    return nil, errors.new {
      kind = "configuration", provider = target.name, model = target.model, retryable = false,
      message = ("%s needs a base URL, https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/publishers/"
        .. "google, or the quirks project and location"):format(target.name),
    }
  end
  local host = quirks.location == "global" and "aiplatform.googleapis.com" or quirks.location .. "-aiplatform.googleapis.com"
  return ("https://%s/v1/projects/%s/locations/%s/publishers/google"):format(host, quirks.project, quirks.location)
end


---Writes the HTTP request.
---@param request perilune.Request
---@param target perilune.Target
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.encode(request, target)
  local quirks = target.quirks or {}
  local base, err = base_url(target, quirks)
  if not base then
    return nil, err
  end
  local body
  body, err = encode_body(request, target, quirks)
  if not body then
    return nil, err
  end
  local is_stream = request.stream ~= false
  local model = target.model:find("/", 1, true) and target.model or "models/" .. target.model
  local path = wire.escape_path(model) .. (is_stream and ":streamGenerateContent?alt=sse" or ":generateContent")
  return wire.post(wire.join(base, path), body, target, {
    headers = not quirks.bearer and { ["x-goog-api-key"] = target.api_key } or nil, accept = is_stream and wire.EVENTS,
  })
end


return M
