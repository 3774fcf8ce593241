-- OpenAI's chat.completions shape, as people and clients write it, and our own form of the same: requests come in, answers and
-- chunks go out. Pure, and used by whoever speaks that shape: `client.chat.completions` and the server. What a vendor reads and
-- writes on the wire is model/provider/openai_chat.
--
-- Fields of a body that are no option of ours go to the provider as they are (`provider_specific_params`): vendors have fields of
-- their own, and know best which are wrong. A field of a message, a part or a tool that is not known is an error that names it,
-- because leaving it out would change what was asked. null is the same as absent.
local answer = require "perilune.model.openai_shape.answer"
local fields = require "perilune.model.openai_shape.fields"
local json = require "perilune.json"
local parts = require "perilune.model.openai_shape.parts"
local requests = require "perilune.model.request"
local tables = require "perilune.std.tables"

local M = {}

M.completion = answer.completion
M.chunks = answer.chunks

local message_fields = {
  role = true, content = true, name = true, refusal = true, tool_calls = true, tool_call_id = true, reasoning_content = true,
  reasoning = true, provider_items = true,
  audio = true, images = true, annotations = true, -- what an answer has beside its text: a request says it without
  function_call = true, -- an old name, to be refused
}

local call_fields = { id = true, type = true, index = true, ["function"] = true }
local called_fields = { name = true, arguments = true }
local tool_fields = { type = true, ["function"] = true }
local function_fields = { name = true, description = true, parameters = true, strict = true }

-- Fields that are read here, so that they are no option.
local read_here = tables.set { "messages", "model", "tools", "tool_choice", "stream", "stream_options", "provider_specific_params" }


-- A function that is called, or described, in a table of type "function".
local function inner_function(where, value, known, inner_known)
  local outer, err = fields.object(where, value)
  if not outer then
    return nil, err
  elseif outer.type ~= nil and outer.type ~= "function" then
    return fields.refuse(where, "only the type 'function' can be used with every provider, not '%s'", tostring(outer.type))
  end
  outer, err = fields.object(where, outer, known)
  if not outer then
    return nil, err
  end
  local inner
  inner, err = fields.object(where .. ".function", outer["function"], inner_known)
  return inner, inner and outer or err
end


local function decode_call(where, value)
  local called, outer = inner_function(where, value, call_fields, called_fields)
  if not called then
    return nil, outer
  end
  return { id = outer.id, name = called.name, arguments = called.arguments }
end


local function decode_tool(where, value)
  local tool, err = inner_function(where, value, tool_fields, function_fields)
  if not tool then
    return nil, err
  end
  return { name = tool.name, description = tool.description, parameters = tool.parameters, strict = tool.strict }
end


-- What was said; the sound itself stays with the vendor, who alone knows it by its id.
local function decode_speech(where, audio)
  if type(audio) ~= "table" or type(audio.transcript) ~= "string" then
    return fields.refuse(where, "an answer in sound goes back as its text: 'transcript', or the message's 'content'")
  end
  return audio.transcript
end


local function decode_message(where, value)
  local given, err = fields.object(where, value, message_fields)
  if not given then
    return nil, err
  elseif given.role == "function" then
    return fields.refuse(where .. ".role", "'function' is an old name: use 'tool' with 'tool_call_id'")
  elseif given.function_call ~= nil then
    return fields.refuse(where .. ".function_call", "this is an old name: use 'tool_calls'")
  end
  local message = {
    role = given.role, content = given.content, name = given.name, refusal = given.refusal, tool_call_id = given.tool_call_id,
    reasoning = given.reasoning_content or given.reasoning, provider_items = given.provider_items,
  }
  if type(given.content) == "table" then
    message.content, err = fields.each(where .. ".content", given.content, parts.decode)
    if not message.content then
      return nil, err
    end
  elseif given.content == nil and given.audio ~= nil then
    message.content, err = decode_speech(where .. ".audio", given.audio)
    if not message.content then
      return nil, err
    end
  end
  if given.tool_calls then
    message.tool_calls, err = fields.each(where .. ".tool_calls", given.tool_calls, decode_call)
    if not message.tool_calls then
      return nil, err
    end
  end
  return message
end


local function decode_choice(choice)
  if type(choice) ~= "table" then
    return choice
  end
  local named, err = inner_function("tool_choice", choice, tool_fields, { name = true })
  if not named then
    return nil, err
  end
  return { name = named.name }
end


-- Everything that is read the same here and there, and what only the provider knows.
local function decode_options(body)
  local options, params = {}, {}
  for name, value in pairs(body) do
    if requests.options[name] and not read_here[name] then
      options[name] = value
    elseif not read_here[name] then
      params[name] = value
    end
  end
  for name, value in pairs(type(body.provider_specific_params) == "table" and body.provider_specific_params or {}) do
    params[name] = value
  end
  options.provider_specific_params = next(params) ~= nil and params or nil
  return options
end


-- A copy with the known fields alone.
local function only(value, known)
  local kept = {}
  for name in pairs(known) do
    kept[name] = value[name]
  end
  return kept
end


-- Each table of a list by `f`; anything else stays, to be refused later.
local function each_table(list, f)
  if type(list) ~= "table" then
    return list
  end
  local kept = json.is_array(list) and json.array() or {}
  for position, one in ipairs(list) do
    kept[position] = type(one) == "table" and f(one) or one
  end
  return kept
end


-- A call or a tool, with the function in it.
local function function_without_extras(known, inner_known)
  return function(value)
    local kept = only(value, known)
    if type(kept["function"]) == "table" then
      kept["function"] = only(kept["function"], inner_known)
    end
    return kept
  end
end


local function part_without_extras(part)
  return parts.fields[part.type] and only(part, parts.fields[part.type]) or part
end


local function message_without_extras(message)
  local kept = only(message, message_fields)
  kept.content = each_table(kept.content, part_without_extras)
  kept.tool_calls = each_table(kept.tool_calls, function_without_extras(call_fields, called_fields))
  return kept
end


---A body without fields of messages, parts and tools that nobody here knows: clients add such (cache_control, for one), and a server
---should not refuse them.
---@param body table
---@return table
function M.without_extras(body)
  local kept = {}
  for name, value in pairs(body) do
    kept[name] = value
  end
  kept.messages = each_table(body.messages, message_without_extras)
  kept.tools = each_table(body.tools, function_without_extras(tool_fields, function_fields))
  return kept
end


-- Is a stream wanted, and its usage? In that order; or nil and an error.
local function decode_stream(given)
  local options, err = {}, nil
  if given.stream ~= nil and type(given.stream) ~= "boolean" then
    return fields.refuse("stream", "must be true or false, not a %s", type(given.stream))
  elseif given.stream_options ~= nil then
    options, err = fields.object("stream_options", given.stream_options)
  end
  if not options then
    return nil, err
  elseif options.include_usage ~= nil and type(options.include_usage) ~= "boolean" then
    return fields.refuse("stream_options.include_usage", "must be true or false, not a %s", type(options.include_usage))
  end
  return given.stream == true, options.include_usage == true
end


---@class perilune.OpenAiRequest a chat.completions request in our own form
---@field model? string
---@field messages perilune.Message[]
---@field options table options of a request
---@field is_streamed boolean
---@field include_usage boolean the last chunk of a stream says what was used

---Reads the body of a chat.completions request. The messages are not checked: model/request does that.
---@param body table
---@return perilune.OpenAiRequest?
---@return perilune.Error? err names the field
function M.request(body)
  local given, err = fields.object("the body", body)
  if not given then
    return nil, err
  elseif given.functions or given.function_call then
    return fields.refuse("functions", "this is an old name: use 'tools' and 'tool_choice'")
  elseif given.messages == nil then
    return fields.refuse("messages", "is missing")
  end
  local is_streamed, include_usage = decode_stream(given)
  if is_streamed == nil then
    return nil, include_usage
  end
  local asked = { model = given.model, options = decode_options(given), is_streamed = is_streamed, include_usage = include_usage }
  asked.messages, err = fields.each("messages", given.messages, decode_message)
  if asked.messages and given.tools ~= nil then
    asked.options.tools, err = fields.each("tools", given.tools, decode_tool)
  end
  if not err and given.tool_choice ~= nil then
    asked.options.tool_choice, err = decode_choice(given.tool_choice)
  end
  if err then
    return nil, err
  end
  return asked
end


return M
