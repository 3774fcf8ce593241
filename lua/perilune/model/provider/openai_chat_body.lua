-- Writes chat.completions requests. Surprising decisions: reasoning families of OpenAI get `max_completion_tokens`
-- and lose the sampling options they refuse; images in tool results follow in a user message, because a tool message
-- may only hold text; what a model thought goes back only where the vendor asks for it.
local json = require "perilune.json"
local narrow = require "perilune.model.provider.narrow"
local wire = require "perilune.model.provider.wire"

local M = {}

local null = json.null

---The flags of a vendor's dialect.
M.known_quirks = {
  max_tokens_field = "name of the field that limits the answer",
  no_stream_options = "usage comes without asking, and asking is refused",
  system_role = "how developer messages are called: \"system\" or \"developer\"",
  tool_choice_required = "the vendor's word for tool_choice = \"required\"",
  short_tool_call_ids = "tool call ids must be nine letters and digits",
  send_back_reasoning = "field in which reasoning of the same tool turn must go back",
  reasoning_items = "field in which opaque reasoning items go back",
  enable_thinking = "\"field\", \"thinking\" or \"chat_template_kwargs\": how thinking is switched",
  openai_models = "true: the models are OpenAI's own, with its reasoning families",
  tool_choices = "set of the choices the vendor takes: auto, none, required, named; without it all of them",
  no_strict_tools = "true: the flag `strict` of a tool is refused",
  no_names = "true: only tools have names, who speaks has none",
  rename = "table: our option -> the vendor's",
  drop = "list of options that the vendor refuses",
}

local options = {
  "temperature", "top_p", "frequency_penalty", "presence_penalty", "n", "stop", "logprobs", "top_logprobs", "seed",
  "user", "reasoning_effort", "response_format", "metadata",
}

local refused_while_reasoning = {
  temperature = true, top_p = true, frequency_penalty = true, presence_penalty = true, logprobs = true,
  top_logprobs = true,
}


---OpenAI's own reasoning models: o1, o3, o4-mini, gpt-5 and later, but not their chat variants.
---@param target perilune.Target
---@return boolean
function M.is_reasoning_model(target)
  local name = target.model or ""
  local is_openai = target.name == "openai" or (target.quirks or {}).openai_models
  if not is_openai or name:find("-chat", 1, true) then
    return false
  end
  return name:find("^o%d") ~= nil or (math.tointeger(name:match("^gpt%-(%d+)")) or 0) >= 5
end


local function encode_part(part, target)
  local kind = part.type
  if kind == "text" then
    return { type = "text", text = part.text }
  elseif kind == "image" then
    return { type = "image_url", image_url = { url = wire.media_url(part, "image/png"), detail = part.detail } }
  elseif kind == "video" then
    return { type = "video_url", video_url = { url = wire.media_url(part, "video/mp4") } }
  elseif kind == "audio" then
    local media = wire.media(part)
    local format = wire.audio_format(media.media_type)
    if not media.data or not format then
      return wire.media_error(target, "this audio: it must be wav or mp3 data, not a link")
    end
    return { type = "input_audio", input_audio = { data = media.data, format = format } }
  elseif kind == "file" then
    if not wire.media(part).data then
      return wire.media_error(target, "a file by its address; send its data")
    end
    local url = wire.media_url(part, "application/pdf")
    return { type = "file", file = { filename = part.name or "file.pdf", file_data = url } }
  end
  return wire.media_error(target, "a part of type " .. tostring(kind))
end


-- Content as the wire wants it: plain text where that is enough, else a list of parts.
local function encode_content(content, target)
  local plain, has_media = wire.text_of(content)
  if not has_media then
    return plain
  end
  local list = {}
  for position, part in ipairs(wire.parts(content)) do
    local encoded, err = encode_part(part, target)
    if not encoded then
      return nil, err
    end
    list[position] = encoded
  end
  return list
end


local function call_id(id, target)
  if not target.quirks or not target.quirks.short_tool_call_ids or id:find("^%w%w%w%w%w%w%w%w%w$") then
    return id
  end
  return wire.short_id(id)
end


-- Who of several users, or several assistants, speaks.
local function name_of(message, target)
  return not (target.quirks or {}).no_names and message.name or nil
end


local function encode_assistant(message, target, is_same_turn)
  local quirks = target.quirks or {}
  local content = (wire.text_of(message.content))
  if content == "" then
    content = message.refusal or ""
  end
  local encoded = { role = "assistant", content = content, name = name_of(message, target) }
  if message.tool_calls and #message.tool_calls > 0 then
    encoded.tool_calls = {}
    for position, call in ipairs(message.tool_calls) do
      local arguments = call.arguments ~= "" and call.arguments or "{}"
      encoded.tool_calls[position] = {
        id = call_id(call.id, target), type = "function", ["function"] = { name = call.name, arguments = arguments },
      }
    end
    if content == "" then
      encoded.content = null
    end
  end
  if quirks.send_back_reasoning and is_same_turn and message.reasoning then
    encoded[quirks.send_back_reasoning] = message.reasoning
  end
  if quirks.reasoning_items then
    encoded[quirks.reasoning_items] = wire.items_for(message, target)
  end
  return encoded
end


-- The text of a tool result; its media wait for the user message that follows the results.
local function encode_result(message, target, waiting)
  local plain, has_media = wire.text_of(message.content)
  if has_media then
    for _, part in ipairs(wire.parts(message.content)) do
      if part.type ~= "text" then
        waiting[#waiting + 1] = part
      end
    end
    plain = plain ~= "" and plain or "(see the attached media)"
  end
  return { role = "tool", tool_call_id = call_id(message.tool_call_id, target), content = plain }
end


local function flush_media(waiting, list, target)
  if #waiting == 0 then
    return true
  end
  local content, err = encode_content(waiting, target)
  if not content then
    return nil, err
  end
  list[#list + 1] = { role = "user", content = content }
  for position in pairs(waiting) do
    waiting[position] = nil
  end
  return true
end


local function last_user_message(messages)
  for position = #messages, 1, -1 do
    if messages[position].role == "user" then
      return position
    end
  end
  return 0
end


-- Consecutive system messages at the front become one: many chat templates take only one.
local function push_instructions(list, message, target)
  local role = message.role
  if role == "developer" and (target.quirks or {}).system_role ~= "developer" then
    role = "system"
  end
  local plain, name = wire.text_of(message.content), name_of(message, target)
  local previous = list[#list]
  if plain == "" then
    return
  elseif previous and #list == 1 and previous.role == role and previous.name == name then
    previous.content = previous.content .. "\n\n" .. plain
  else
    list[#list + 1] = { role = role, content = plain, name = name }
  end
end


-- Appends one message; `nil, err` when it cannot be said in this format.
local function push_message(list, message, target, waiting, is_same_turn)
  local role = message.role
  if role == "tool" then
    list[#list + 1] = encode_result(message, target, waiting)
    return true
  end
  local is_done, err = flush_media(waiting, list, target)
  if not is_done then
    return nil, err
  end
  if role == "system" or role == "developer" then
    push_instructions(list, message, target)
  elseif role == "assistant" then
    list[#list + 1] = encode_assistant(message, target, is_same_turn)
  else
    local content
    content, err = encode_content(message.content, target)
    list[#list + 1] = content and { role = "user", content = content, name = name_of(message, target) }
    return content ~= nil, err
  end
  return true
end


local function encode_messages(messages, target)
  local list, waiting, turn = {}, {}, last_user_message(messages)
  for position, message in ipairs(messages) do
    local is_done, err = push_message(list, message, target, waiting, position > turn)
    if not is_done then
      return nil, err
    end
  end
  local is_done, err = flush_media(waiting, list, target)
  if not is_done then
    return nil, err
  end
  return list
end


local function encode_tools(body, request, quirks)
  local tools, choice = narrow.tools(request, quirks.tool_choices)
  if #tools == 0 then
    return
  end
  body.tools = {}
  for position, tool in ipairs(tools) do
    local strict = tool.strict
    if quirks.no_strict_tools then
      strict = nil
    end
    body.tools[position] = {
      type = "function",
      ["function"] = {
        name = tool.name, description = tool.description, strict = strict,
        parameters = tool.parameters or { type = "object", properties = {} },
      },
    }
  end
  if type(choice) == "table" then
    choice = { type = "function", ["function"] = { name = choice.name } }
  elseif choice == "required" then
    choice = quirks.tool_choice_required or choice
  end
  body.tool_choice = choice
  body.parallel_tool_calls = request.parallel_tool_calls
end


local function encode_options(body, request, target, quirks)
  local dropped = {}
  for _, name in ipairs(quirks.drop or {}) do
    dropped[name] = true
  end
  local is_reasoning = M.is_reasoning_model(target)
  for _, name in ipairs(options) do
    local is_refused = is_reasoning and refused_while_reasoning[name] and request.reasoning_effort ~= "none"
    if request[name] ~= nil and not dropped[name] and not is_refused then
      body[quirks.rename and quirks.rename[name] or name] = request[name]
    end
  end
  local field = quirks.max_tokens_field
  if not field then
    field = (is_reasoning or request.max_completion_tokens) and "max_completion_tokens" or "max_tokens"
  end
  body[field] = request.max_completion_tokens or request.max_tokens
  if quirks.enable_thinking == "field" then
    body.enable_thinking = request.enable_thinking
  elseif quirks.enable_thinking == "thinking" and request.enable_thinking ~= nil then
    body.thinking = { type = request.enable_thinking and "enabled" or "disabled" }
  elseif quirks.enable_thinking and request.enable_thinking ~= nil then
    body.chat_template_kwargs = { enable_thinking = request.enable_thinking }
  end
end


---Writes the HTTP request.
---@param request perilune.Request
---@param target perilune.Target
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.encode(request, target)
  local quirks = target.quirks or {}
  local messages, err = encode_messages(request.messages, target)
  if not messages then
    return nil, err
  end
  local is_stream = request.stream ~= false
  local body = { model = target.model, messages = json.array(messages), stream = is_stream }
  if is_stream and not quirks.no_stream_options then
    body.stream_options = { include_usage = true }
  end
  encode_options(body, request, target, quirks)
  encode_tools(body, request, quirks)
  wire.merge_specific(body, request)
  return wire.post(wire.join(target.base_url, "chat/completions"), body, target, { accept = is_stream and wire.EVENTS })
end


return M
