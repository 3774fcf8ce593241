-- Writes Messages requests. Surprising decisions: every instruction moves to the top-level `system`; tool results go
-- first in the user message that follows; options that the format does not have (penalties, seed, logprobs) are left
-- out, but more than one answer (`n`) is an error. Thinking is adaptive where the model knows it, a budget of tokens
-- elsewhere.
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

M.known_quirks = {}

local VERSION = "2023-06-01"
local MAX_TOKENS_DEFAULT = 4096
local BUDGET_MIN = 1024

local budgets = { minimal = 1024, low = 1024, medium = 4096, high = 16384, xhigh = 32768, max = 32768 }
local BUDGET_DEFAULT = 2048


local function encode_source(part, default_type)
  local media = wire.media(part)
  if media.url then
    return { type = "url", url = media.url }
  end
  return { type = "base64", media_type = media.media_type or default_type, data = media.data or "" }
end


local function encode_part(part, target)
  if part.type == "text" then
    return { type = "text", text = part.text }
  elseif part.type == "image" then
    return { type = "image", source = encode_source(part, "image/png") }
  elseif part.type == "file" then
    return { type = "document", source = encode_source(part, "application/pdf"), title = part.name }
  end
  return wire.media_error(target, "a part of type " .. tostring(part.type))
end


-- Appends the parts of content to a list of blocks.
local function push_parts(blocks, content, target)
  for _, part in ipairs(wire.parts(content)) do
    local block, err = encode_part(part, target)
    if not block then
      return nil, err
    end
    blocks[#blocks + 1] = block
  end
  return blocks
end


-- Ids of other vendors may hold characters that are refused here.
local function call_id(id)
  return id:find("^[%w_-]+$") and id or "toolu_" .. wire.short_id(id)
end


-- The input must be an object. A broken text of the model is shown to it as what it was.
local function encode_input(arguments)
  local raw = arguments:find("^%s*{") and json.raw(arguments)
  if raw then
    return raw
  end
  local is_nothing = not arguments:find("%S") or arguments:find("^%s*null%s*$")
  return is_nothing and {} or { invalid_json = arguments }
end


-- Opaque items hold the whole answer. They are used as long as the message still says the same.
local function items_still_match(items, message)
  local texts, ids = {}, {}
  for _, item in ipairs(items) do
    if item.type == "text" then
      texts[#texts + 1] = type(item.text) == "string" and item.text or nil
    elseif item.type == "tool_use" then
      ids[#ids + 1] = item.id
    end
  end
  local calls = message.tool_calls or {}
  if table.concat(texts) ~= wire.text_of(message.content) or #ids ~= #calls then
    return false
  end
  for position, call in ipairs(calls) do
    if call.id ~= ids[position] then
      return false
    end
  end
  return true
end


local function encode_assistant(message, target)
  local items = wire.items_for(message, target)
  local blocks = {}
  if items and items_still_match(items, message) then
    return table.move(items, 1, #items, 1, blocks)
  end
  for _, item in ipairs(items or {}) do
    if item.type == "thinking" or item.type == "redacted_thinking" then
      blocks[#blocks + 1] = item
    end
  end
  local plain = wire.text_of(message.content)
  if plain == "" then
    plain = message.refusal or ""
  end
  if plain:find("%S") then
    blocks[#blocks + 1] = { type = "text", text = plain }
  end
  for _, call in ipairs(message.tool_calls or {}) do
    blocks[#blocks + 1] =
      { type = "tool_use", id = call_id(call.id), name = call.name, input = encode_input(call.arguments) }
  end
  return blocks
end


local function encode_result(message, target)
  local content, err = push_parts({}, message.content, target)
  if not content then
    return nil, err
  end
  return { {
    type = "tool_result", tool_use_id = call_id(message.tool_call_id), is_error = message.is_error or nil,
    content = #content > 0 and content or nil,
  } }
end


local function encode_message(message, target)
  if message.role == "assistant" then
    return "assistant", encode_assistant(message, target)
  elseif message.role == "tool" then
    local blocks, err = encode_result(message, target)
    return "user", blocks, err
  end
  local blocks, err = push_parts({}, message.content, target)
  return "user", blocks, err
end


-- Tool results lead their message; the order among themselves stays.
local function results_first(blocks)
  local sorted = {}
  for _, wants_results in ipairs { true, false } do
    for _, block in ipairs(blocks) do
      if (block.type == "tool_result") == wants_results then
        sorted[#sorted + 1] = block
      end
    end
  end
  return sorted
end


local function encode_messages(messages, target)
  local list, system = {}, {}
  for _, message in ipairs(messages) do
    if message.role == "system" or message.role == "developer" then
      local plain = wire.text_of(message.content)
      system[#system + 1] = plain ~= "" and plain or nil
    else
      local role, blocks, err = encode_message(message, target)
      if not blocks then
        return nil, nil, err
      end
      local previous = list[#list]
      if previous and previous.role == role then
        table.move(blocks, 1, #blocks, #previous.content + 1, previous.content)
      elseif #blocks > 0 then
        list[#list + 1] = { role = role, content = blocks }
      end
    end
  end
  for _, message in ipairs(list) do
    if message.role == "user" then
      message.content = results_first(message.content)
    end
  end
  local last = list[#list]
  local tail = last and last.role == "assistant" and last.content[#last.content]
  if tail and tail.type == "text" then
    last.content[#last.content] = { type = "text", text = (tail.text:gsub("%s+$", "")) }
  end
  return list, system
end


local function encode_tools(body, request)
  if not request.tools or #request.tools == 0 then
    return
  end
  body.tools = {}
  for position, tool in ipairs(request.tools) do
    body.tools[position] = {
      name = tool.name, description = tool.description, strict = tool.strict or nil,
      input_schema = tool.parameters or { type = "object", properties = {} },
    }
  end
  local choice = request.tool_choice
  if type(choice) == "table" then
    body.tool_choice = { type = "tool", name = choice.name }
  elseif choice then
    body.tool_choice = { type = choice == "required" and "any" or choice }
  end
  if request.parallel_tool_calls == false and choice ~= "none" then
    body.tool_choice = body.tool_choice or { type = "auto" }
    body.tool_choice.disable_parallel_tool_use = true
  end
end


-- Versions as numbers that compare: claude-sonnet-4-5-20250929 -> 405, claude-opus-5 -> 500; names without one -> 0.
local function model_version(name)
  local major, minor = name:match("^claude%-%a+%-(%d%d?)%-(%d%d?)%f[%D]")
  major = major or name:match("^claude%-%a+%-(%d%d?)%f[%D]")
  return major and math.tointeger(major) * 100 + (math.tointeger(minor) or 0) or 0
end


-- A forced tool call and thinking exclude each other; the call was asked for more plainly.
local function wants_thinking(request)
  local choice = request.tool_choice
  if choice == "required" or type(choice) == "table" then
    return false
  end
  return request.enable_thinking or request.enable_thinking == nil and request.reasoning_effort ~= nil
    and request.reasoning_effort ~= "none"
end


-- How many tokens may be thought, and how many there are in all; nothing where the limit of the request leaves no room for both.
local function budget_of(body, request, effort)
  local budget = budgets[effort] or BUDGET_DEFAULT
  local limit = body.max_tokens
  if not (request.max_tokens or request.max_completion_tokens) then
    return budget, limit + budget
  elseif budget >= limit then -- it covers thinking and answer
    budget = limit // 2
  end
  if budget >= BUDGET_MIN then
    return budget, limit
  end
end


local function encode_thinking(body, request, target)
  if not wants_thinking(request) then
    return
  end
  local effort = request.reasoning_effort
  effort = effort ~= "none" and effort or nil
  if model_version(target.model or "") >= 406 then
    body.thinking, body.temperature = { type = "adaptive" }, nil -- it must be the default while thinking
    if effort then
      body.output_config = body.output_config or {}
      body.output_config.effort = effort == "minimal" and "low" or effort
    end
    return
  end
  local budget, limit = budget_of(body, request, effort)
  if budget then
    body.thinking, body.temperature, body.max_tokens = { type = "enabled", budget_tokens = budget }, nil, limit
  end
end


local function encode_format(body, request, system)
  local format = request.response_format
  if type(format) ~= "table" then
    return
  end
  if format.type == "json_schema" and type(format.json_schema) == "table" then
    body.output_config = { format = { type = "json_schema", schema = format.json_schema.schema } }
  elseif format.type == "json_object" then
    system[#system + 1] = "Answer with one JSON object and nothing else."
  end
end


local function encode_body(request, target)
  local messages, system, err = encode_messages(request.messages, target)
  if not messages then
    return nil, err
  end
  local body = {
    model = target.model,
    max_tokens = request.max_completion_tokens or request.max_tokens or MAX_TOKENS_DEFAULT,
    messages = json.array(messages),
    stream = request.stream ~= false,
    stop_sequences = type(request.stop) == "string" and { request.stop } or request.stop,
    metadata = request.user and { user_id = request.user } or nil,
  }
  if model_version(target.model or "") < 407 then -- newer models refuse them
    body.temperature, body.top_p = request.temperature, request.top_p
  end
  encode_tools(body, request)
  encode_format(body, request, system)
  encode_thinking(body, request, target)
  body.system = #system > 0 and table.concat(system, "\n\n") or nil
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
  local path = target.base_url:find("/v1/*$") and "messages" or "v1/messages"
  return wire.post(wire.join(target.base_url, path), body, target, {
    headers = { ["anthropic-version"] = VERSION, ["x-api-key"] = target.api_key }, accept = body.stream and wire.EVENTS,
  })
end


return M
