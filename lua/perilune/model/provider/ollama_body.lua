-- Writes requests to Ollama's own /api/chat. Surprising decisions: a prompt that does not fit is an error of the server
-- (`truncate = false`) instead of a conversation that silently loses its beginning; the context is sized explicitly;
-- there is no tool_choice, so it decides which tools are shown; a level of thinking exists for gpt-oss alone.
local json = require "perilune.json"
local narrow = require "perilune.model.provider.narrow"
local wire = require "perilune.model.provider.wire"

local M = {}

---The flags of a target.
M.known_quirks = {
  num_ctx = "tokens of context; 0 leaves the size to the server",
  keep_alive = "how long the model stays loaded: seconds or a text like \"10m\"",
  truncate = "true: the server may cut off the beginning of a prompt that is too long",
}

local no_choices = { auto = true }

-- Our options that have the same name among Ollama's.
local options = { "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty" }

local levels = { minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "high", max = "high" }


local function encode_user(message, target)
  local images = {}
  for _, part in ipairs(wire.parts(message.content)) do
    if part.type == "image" then
      local data = wire.media(part).data
      if not data then
        return wire.media_error(target, "an image by its address; send its data")
      end
      images[#images + 1] = data
    elseif part.type ~= "text" then
      return wire.media_error(target, "a part of type " .. tostring(part.type))
    end
  end
  return { role = "user", content = (wire.text_of(message.content)), images = #images > 0 and images or nil }
end


local function encode_assistant(message, is_same_turn)
  local content = (wire.text_of(message.content))
  local encoded = { role = "assistant", content = content ~= "" and content or message.refusal or "" }
  encoded.thinking = is_same_turn and message.reasoning or nil
  for position, call in ipairs(message.tool_calls or {}) do
    encoded.tool_calls = encoded.tool_calls or {}
    encoded.tool_calls[position] =
      { id = call.id, ["function"] = { name = call.name, arguments = wire.object(call.arguments) } }
  end
  return encoded
end


local function encode_messages(messages, target)
  local list, turn, names = {}, narrow.same_turn(messages), {}
  for position, message in ipairs(narrow.messages(messages)) do
    local encoded, err
    if message.role == "assistant" then
      encoded = encode_assistant(message, turn[message])
      for _, call in ipairs(message.tool_calls or {}) do
        names[call.id] = call.name
      end
    elseif message.role == "tool" then
      local id = message.tool_call_id
      local content = (wire.text_of(message.content))
      encoded = { role = "tool", tool_name = message.name or names[id], tool_call_id = id, content = content }
    elseif message.role == "system" then
      encoded = message
    else
      encoded, err = encode_user(message, target)
    end
    if not encoded then
      return nil, err
    end
    list[position] = encoded
  end
  return list
end


local function encode_tools(request)
  local tools
  for position, tool in ipairs((narrow.tools(request, no_choices))) do
    tools = tools or {}
    tools[position] = {
      type = "function",
      ["function"] = {
        name = tool.name, description = tool.description,
        parameters = tool.parameters or { type = "object", properties = {} },
      },
    }
  end
  return tools
end


local function encode_options(request, quirks)
  local encoded = {}
  for _, name in ipairs(options) do
    encoded[name] = request[name]
  end
  encoded.num_predict = request.max_completion_tokens or request.max_tokens
  encoded.stop = narrow.stop_list(request.stop)
  encoded.num_ctx = quirks.num_ctx ~= 0 and quirks.num_ctx or nil
  return encoded
end


local function encode_think(request, target)
  local effort = request.reasoning_effort
  if request.enable_thinking == false or effort == "none" then
    return false
  elseif effort and (target.model or ""):find("gpt-oss", 1, true) then
    return levels[effort] or effort
  end
  return (request.enable_thinking or effort ~= nil) or nil
end


local function encode_format(format)
  if type(format) ~= "table" then
    return nil
  elseif format.type == "json_schema" and type(format.json_schema) == "table" then
    return format.json_schema.schema
  end
  return format.type == "json_object" and "json" or nil
end


-- The body takes the vendor's parameters verbatim; only `options` is laid over ours, name by name.
local function merge(body, parameters)
  for name, value in pairs(parameters) do
    if name == "options" and type(value) == "table" then
      for option, chosen in pairs(value) do
        body.options[option] = chosen
      end
    else
      body[name] = value
    end
  end
end


local function encode_body(request, target)
  local quirks = target.quirks or {}
  local messages, err = encode_messages(request.messages, target)
  if not messages then
    return nil, err
  end
  local body = {
    model = target.model,
    messages = json.array(messages),
    stream = request.stream ~= false,
    tools = encode_tools(request),
    options = encode_options(request, quirks),
    think = encode_think(request, target),
    format = encode_format(request.response_format),
    keep_alive = quirks.keep_alive,
    truncate = quirks.truncate or false,
    shift = quirks.truncate or false,
  }
  merge(body, request.provider_specific_params or {})
  return body
end


---The server's address, whichever of its APIs the given one points at.
---@param base_url string
---@return string
function M.root(base_url)
  return (base_url:gsub("/+$", ""):gsub("/v1$", ""):gsub("/api$", ""))
end


---Writes the HTTP request.
---@param request perilune.Request
---@param target perilune.Target
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.encode(request, target)
  local ok, err = wire.one_answer(request, target)
  if not ok then
    return nil, err
  end
  local body
  body, err = encode_body(request, target)
  if not body then
    return nil, err
  end
  local url = wire.join(M.root(target.base_url), "api/chat")
  return wire.post(url, body, target, { accept = body.stream and "application/x-ndjson" })
end


return M
