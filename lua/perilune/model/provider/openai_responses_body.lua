-- Writes Responses requests. Surprising decisions: nothing is stored at the vendor (`store = false`), so what a model
-- thought comes back as ciphertext and is sent along; tools are not strict unless they say so, because here silence means
-- strict; options that the format does not have (penalties, stop, seed, logprobs) are left out, but more than one answer
-- (`n`) is an error.
local items = require "perilune.model.provider.openai_responses_items"
local json = require "perilune.json"
local openai_chat_body = require "perilune.model.provider.openai_chat_body"
local wire = require "perilune.model.provider.wire"

local M = {}

---The flags of a vendor's dialect.
M.known_quirks = {
  system_role = "how developer messages are called: \"system\" or \"developer\"",
  openai_models = "true: the models are OpenAI's own, with its reasoning families",
  encrypted_reasoning = "every model gives its reasoning as ciphertext when asked",
  drop = "list of fields that the vendor refuses",
}


local function encode_part(part, target)
  local kind = part.type
  if kind == "text" then
    return { type = "input_text", text = part.text }
  elseif kind == "image" then
    return { type = "input_image", image_url = wire.media_url(part, "image/png"), detail = part.detail or "auto" }
  elseif kind == "file" then
    local media = wire.media(part)
    if media.url then
      return { type = "input_file", file_url = media.url }
    end
    local data = wire.media_url(part, "application/pdf")
    return { type = "input_file", filename = part.name or "file.pdf", file_data = data }
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


-- `custom` collects the ids of calls whose results have a type of their own.
local function push_assistant(list, message, target, custom)
  local plain = wire.text_of(message.content)
  local kept = wire.items_for(message, { name = items.provider(target), model = target.model })
  if kept and items.still_match(kept, plain, message.tool_calls or {}) then
    for _, item in ipairs(kept) do
      list[#list + 1] = item
      custom[item.call_id or ""] = item.type == "custom_tool_call"
    end
    return true
  end
  if plain == "" then
    plain = message.refusal or ""
  end
  if plain ~= "" then
    list[#list + 1] = { role = "assistant", content = plain }
  end
  for _, call in ipairs(message.tool_calls or {}) do
    local arguments = call.arguments ~= "" and call.arguments or "{}"
    list[#list + 1] = { type = "function_call", call_id = call.id, name = call.name, arguments = arguments }
  end
  return true
end


local function push_result(list, message, target, custom)
  local output, err = encode_content(message.content, target)
  if not output then
    return nil, err
  end
  local kind = custom[message.tool_call_id] and "custom_tool_call_output" or "function_call_output"
  list[#list + 1] = { type = kind, call_id = message.tool_call_id, output = output }
  return true
end


-- Consecutive system messages at the front become one: many chat templates take only one.
local function push_instructions(list, message, target)
  local role = message.role
  if role == "developer" and (target.quirks or {}).system_role ~= "developer" then
    role = "system"
  end
  local plain, previous = wire.text_of(message.content), list[#list]
  if plain ~= "" and previous and #list == 1 and previous.role == role then
    previous.content = previous.content .. "\n\n" .. plain
  elseif plain ~= "" then
    list[#list + 1] = { role = role, content = plain }
  end
  return true
end


local function push_user(list, message, target)
  local content, err = encode_content(message.content, target)
  list[#list + 1] = content and { role = "user", content = content }
  return content ~= nil, err
end


local push = {
  system = push_instructions, developer = push_instructions, user = push_user, assistant = push_assistant, tool = push_result,
}


local function encode_messages(messages, target)
  local list, custom = {}, {}
  for _, message in ipairs(messages) do
    local is_done, err = push[message.role](list, message, target, custom)
    if not is_done then
      return nil, err
    end
  end
  return json.array(list)
end


local function encode_tools(body, request)
  if not request.tools or #request.tools == 0 then
    return
  end
  body.tools = {}
  for position, tool in ipairs(request.tools) do
    body.tools[position] = {
      type = "function", name = tool.name, description = tool.description, strict = tool.strict or false,
      parameters = tool.parameters or { type = "object", properties = {} },
    }
  end
  local choice = request.tool_choice
  body.tool_choice = type(choice) == "table" and { type = "function", name = choice.name } or choice
  body.parallel_tool_calls = request.parallel_tool_calls
end


local function encode_format(body, format)
  if type(format) ~= "table" then
    return
  elseif format.type == "json_schema" and type(format.json_schema) == "table" then
    local spec = format.json_schema
    body.text = { format = {
      type = "json_schema", name = spec.name or "answer", schema = spec.schema, strict = spec.strict, description = spec.description,
    } }
  else
    body.text = { format = { type = format.type } }
  end
end


-- A summary is asked for only by `enable_thinking`: OpenAI refuses it to organisations that it has not verified.
local function encode_reasoning(body, request, target)
  local effort, is_wanted = request.reasoning_effort, request.enable_thinking == true
  if effort or is_wanted then
    body.reasoning = { effort = effort, summary = is_wanted and "auto" or nil }
  end
  local is_reasoning = openai_chat_body.is_reasoning_model(target)
  if is_reasoning or is_wanted or effort and effort ~= "none" or (target.quirks or {}).encrypted_reasoning then
    body.include = { "reasoning.encrypted_content" }
  end
  if not is_reasoning or effort == "none" then
    body.temperature, body.top_p = request.temperature, request.top_p
  end
end


local function encode_body(request, target)
  local input, err = encode_messages(request.messages, target)
  if not input then
    return nil, err
  end
  local body = {
    model = target.model, input = input, stream = request.stream ~= false, store = false,
    max_output_tokens = request.max_completion_tokens or request.max_tokens, user = request.user, metadata = request.metadata,
  }
  encode_reasoning(body, request, target)
  encode_tools(body, request)
  encode_format(body, request.response_format)
  for _, name in ipairs((target.quirks or {}).drop or {}) do
    body[name] = nil
  end
  return wire.merge_specific(body, request)
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
  return wire.post(wire.join(target.base_url, "responses"), body, target, { accept = body.stream and wire.EVENTS })
end


return M
