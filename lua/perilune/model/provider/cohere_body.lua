-- Writes requests to Cohere's chat, version 2. Surprising decisions: a named tool choice shows that tool alone and
-- requires a call, because a name cannot be said; the plan and the thinking of an answer go back with its tool calls,
-- as the model left them; `strict` is a flag of the whole request.
local json = require "perilune.json"
local narrow = require "perilune.model.provider.narrow"
local wire = require "perilune.model.provider.wire"

local M = {}

M.known_quirks = {}

local known_choices = { auto = true, none = true, required = true }

local choice_words = { none = "NONE", required = "REQUIRED" } -- "auto" is what happens when nothing is said

-- Our options and Cohere's names for them.
local options = {
  temperature = "temperature", top_p = "p", seed = "seed", frequency_penalty = "frequency_penalty",
  presence_penalty = "presence_penalty", logprobs = "logprobs",
}


local function encode_user(message, target)
  local plain, has_media = wire.text_of(message.content)
  if not has_media then
    return { role = "user", content = plain }
  end
  local list = {}
  for position, part in ipairs(wire.parts(message.content)) do
    if part.type == "text" then
      list[position] = { type = "text", text = part.text }
    elseif part.type == "image" then
      local url = wire.media_url(part, "image/png")
      list[position] = { type = "image_url", image_url = { url = url, detail = part.detail } }
    else
      return wire.media_error(target, "a part of type " .. tostring(part.type))
    end
  end
  return { role = "user", content = list }
end


-- What the model planned and thought before it called tools.
local function kept_of(message, target)
  local plan, thoughts = nil, {}
  for _, item in ipairs(wire.items_for(message, target) or {}) do
    if item.type == "tool_plan" then
      plan = item.tool_plan
    elseif item.type == "thinking" then
      thoughts[#thoughts + 1] = item
    end
  end
  return plan, thoughts
end


-- nil for a message that says nothing: it would be refused.
local function encode_assistant(message, target)
  local plain = (wire.text_of(message.content))
  plain = plain ~= "" and plain or message.refusal or ""
  local tool_calls = message.tool_calls or {}
  if #tool_calls == 0 then
    return plain ~= "" and { role = "assistant", content = plain } or nil
  end
  local plan, content = kept_of(message, target)
  content[#content + 1] = plain ~= "" and { type = "text", text = plain } or nil
  local encoded = { role = "assistant", tool_plan = plan, tool_calls = {}, content = #content > 0 and content or nil }
  for position, call in ipairs(tool_calls) do
    local arguments = call.arguments:find("%S") and call.arguments or "{}"
    encoded.tool_calls[position] =
      { id = call.id, type = "function", ["function"] = { name = call.name, arguments = arguments } }
  end
  return encoded
end


local function encode_messages(messages, target)
  local list = {}
  for _, message in ipairs(narrow.messages(messages)) do
    if message.role == "assistant" then
      list[#list + 1] = encode_assistant(message, target)
    elseif message.role == "tool" then
      list[#list + 1] =
        { role = "tool", tool_call_id = message.tool_call_id, content = (wire.text_of(message.content)) }
    elseif message.role == "system" then
      list[#list + 1] = message
    else
      local encoded, err = encode_user(message, target)
      if not encoded then
        return nil, err
      end
      list[#list + 1] = encoded
    end
  end
  return list
end


local function encode_tools(body, request)
  local tools, choice = narrow.tools(request, known_choices)
  if #tools == 0 then
    return
  end
  body.tools, body.tool_choice = {}, choice_words[choice]
  for position, tool in ipairs(tools) do
    body.strict_tools = body.strict_tools or tool.strict or nil
    body.tools[position] = {
      type = "function",
      ["function"] = {
        name = tool.name, description = tool.description,
        parameters = tool.parameters or { type = "object", properties = {} },
      },
    }
  end
end


local function encode_format(format)
  if type(format) ~= "table" then
    return nil
  elseif format.type == "json_schema" and type(format.json_schema) == "table" then
    return { type = "json_object", json_schema = format.json_schema.schema }
  end
  return { type = format.type }
end


local function encode_thinking(request)
  local effort = request.reasoning_effort
  local is_wanted = request.enable_thinking
  if is_wanted == nil and effort then
    is_wanted = effort ~= "none"
  end
  if is_wanted ~= nil then
    return { type = is_wanted and "enabled" or "disabled" }
  end
end


local function encode_body(request, target)
  local messages, err = encode_messages(request.messages, target)
  if not messages then
    return nil, err
  end
  local body = {
    model = target.model,
    messages = json.array(messages),
    stream = request.stream ~= false,
    max_tokens = request.max_completion_tokens or request.max_tokens,
    stop_sequences = narrow.stop_list(request.stop),
    response_format = encode_format(request.response_format),
    thinking = encode_thinking(request),
  }
  for option, name in pairs(options) do
    body[name] = request[option]
  end
  encode_tools(body, request)
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
  return wire.post(wire.join(target.base_url, "chat"), body, target, { accept = body.stream and wire.EVENTS })
end


return M
