-- A body of Anthropic's Messages API as a question of ours. Pure. What has no counterpart is an error that names it; fields that nobody
-- here knows, and that change nothing of what is said, are left out.
local json = require "perilune.json"
local media = require "perilune.std.media"
local problem = require "perilune.serve.problem"

local M = {}

local null = json.null


local function present(value)
  if value ~= null then
    return value
  end
end


local function invalid(where, message, code)
  problem.invalid(where, ("%s: %s"):format(where, message), code)
end


-- A field that must be an object or a list, when it is there.
local function table_of(where, value)
  value = present(value)
  if value ~= nil and type(value) ~= "table" then
    invalid(where, ("must be an object or a list, not a %s"):format(type(value)))
  end
  return value
end


local function text_of(where, value)
  return type(value) == "string" and value or invalid(where, "must be a text")
end


local function medium(where, source, kind)
  source = table_of(where .. ".source", source) or invalid(where .. ".source", "Field required")
  local url
  if source.type == "base64" then
    local data = text_of(where .. ".source.data", source.data)
    url = ("data:%s;base64,%s"):format(text_of(where .. ".source.media_type", source.media_type), data)
  elseif source.type == "url" then
    url = text_of(where .. ".source.url", source.url)
    if not media.is_url(url) then
      invalid(where .. ".source.url", "must be an address that begins with http:// or https://")
    end
  elseif source.type == "text" and kind == "file" then
    return { type = "text", text = text_of(where .. ".source.data", source.data) }
  else
    invalid(where .. ".source", ("a source of type '%s' is not known here"):format(tostring(source.type)))
  end
  local part, err = media.part_of_url(url, kind)
  return part or invalid(where, err.message)
end


-- Blocks that become parts of content.
local parts = {}


function parts.text(where, block)
  return { type = "text", text = text_of(where .. ".text", block.text) }
end


function parts.image(where, block)
  return medium(where, block.source, "image")
end


function parts.document(where, block)
  local part = medium(where, block.source, "file")
  part.name = part.type == "file" and present(block.title) or nil
  return part
end


-- A block that has no place there.
local function misplaced(where, block)
  invalid(where, ("a block of type '%s' cannot be here"):format(tostring(block.type)))
end


local function part_of(where, block)
  local read = parts[block.type]
  return read and read(where, block) or misplaced(where, block)
end


-- Goes through a list of blocks: position, where it is, the block.
local function each_block(where, content)
  if type(content) ~= "table" then
    invalid(where, "must be a text or a list of blocks")
  end
  local position = 0
  return function()
    position = position + 1
    local block = content[position]
    if block == nil then
      return nil
    end
    local place = ("%s.%d"):format(where, position - 1)
    return position, place, type(block) == "table" and block or invalid(place, "must be a block")
  end
end


-- Parts; of text alone one text.
local function joined(list)
  local texts = {}
  for position, part in ipairs(list) do
    texts[position] = part.type == "text" and part.text or nil
  end
  return #texts == #list and table.concat(texts, "\n") or list
end


local function content_of(where, content)
  if type(content) == "string" then
    return content
  end
  local list = {}
  for position, place, block in each_block(where, content) do
    list[position] = part_of(place, block)
  end
  return joined(list)
end


local function result_of(where, block)
  local content = present(block.content)
  return {
    role = "tool", tool_call_id = text_of(where .. ".tool_use_id", block.tool_use_id), is_error = block.is_error == true or nil,
    content = content == nil and "" or content_of(where .. ".content", content),
  }
end


-- Results of tools are messages of their own here, before what else the user says.
local function add_user(where, content, messages)
  if type(content) == "string" then
    messages[#messages + 1] = { role = "user", content = content }
    return
  end
  local list, count = {}, 0
  for position, place, block in each_block(where, content) do
    count = position
    if block.type == "tool_result" then
      messages[#messages + 1] = result_of(place, block)
    else
      list[#list + 1] = part_of(place, block)
    end
  end
  if count == 0 then
    invalid(where, "must not be empty")
  elseif list[1] then
    messages[#messages + 1] = { role = "user", content = joined(list) }
  end
end


local function call_of(where, block)
  local input = table_of(where .. ".input", block.input)
  return {
    id = text_of(where .. ".id", block.id), name = text_of(where .. ".name", block.name), arguments = input and json.encode(input) or "{}",
  }
end


-- Anthropic takes back what it has signed, and nothing else.
local function is_signed(block)
  return block.type == "redacted_thinking" or type(block.signature) == "string" and block.signature ~= ""
end


-- What was thought goes back, with all that was said in the same breath, to the model that thought it; to others it does not.
local function add_assistant(where, content, messages, model)
  if type(content) == "string" then
    messages[#messages + 1] = { role = "assistant", content = content }
    return
  end
  local texts, calls, items, has_thought = {}, {}, {}, false
  for _, place, block in each_block(where, content) do
    local is_thought = block.type == "thinking" or block.type == "redacted_thinking"
    if block.type == "text" then
      texts[#texts + 1] = text_of(place .. ".text", block.text)
    elseif block.type == "tool_use" then
      calls[#calls + 1] = call_of(place, block)
    elseif not is_thought then
      misplaced(place, block)
    end
    if not is_thought or is_signed(block) then
      items[#items + 1] = block
      has_thought = has_thought or is_thought
    end
  end
  messages[#messages + 1] = {
    role = "assistant", content = texts[1] and table.concat(texts) or nil, tool_calls = calls[1] and calls or nil,
    provider_items = has_thought and { provider = "anthropic", model = model:match("^[^/]+/(.+)$") or model, items = items } or nil,
  }
end


-- Instructions are text and nothing else.
local function instructions_of(where, content)
  local text = content_of(where, content)
  return type(text) == "string" and { role = "system", content = text } or invalid(where, "must be text")
end


local function messages_of(body)
  local messages = {}
  local system = present(body.system)
  if system ~= nil then
    messages[1] = instructions_of("system", system)
  end
  if type(body.messages) ~= "table" or #body.messages == 0 then
    invalid("messages", "at least one message is required")
  end
  for position, message in ipairs(body.messages) do
    local where = ("messages.%d"):format(position - 1)
    local role = type(message) == "table" and message.role
    if role == "user" then
      add_user(where .. ".content", message.content, messages)
    elseif role == "assistant" then
      add_assistant(where .. ".content", message.content, messages, body.model)
    elseif role == "system" then
      messages[#messages + 1] = instructions_of(where .. ".content", message.content)
    else
      invalid(where .. ".role", "must be user or assistant")
    end
  end
  return messages
end


local function tools_of(tools)
  local list = {}
  for position, tool in ipairs(table_of("tools", tools) or {}) do
    local where = ("tools.%d"):format(position - 1)
    tool = table_of(where, tool) or invalid(where, "must be a tool")
    if present(tool.type) and tool.type ~= "custom" then
      invalid(where .. ".type", ("the tool '%s' is not there; tools of this server belong to its assistants"):format(tostring(tool.type)))
    end
    local description = present(tool.description)
    list[position] = {
      name = text_of(where .. ".name", tool.name), description = description and text_of(where .. ".description", description),
      parameters = table_of(where .. ".input_schema", tool.input_schema),
    }
  end
  return list[1] and list or nil
end


local choices = { auto = "auto", any = "required", none = "none" }


-- Which tool is to be called, and whether several at a time may be.
local function choice_of(body, options)
  local choice = table_of("tool_choice", body.tool_choice)
  if not choice or not options.tools then
    return
  end
  local value = choice.type == "tool" and { name = text_of("tool_choice.name", choice.name) } or choices[choice.type]
  options.tool_choice = value or invalid("tool_choice.type", "must be auto, any, tool or none")
  if choice.disable_parallel_tool_use == true then
    options.parallel_tool_calls = false
  end
end


local efforts = { low = "low", medium = "medium", high = "high", xhigh = "high", max = "high" }


-- How much is to be thought, in the words that every vendor has; others know no budget.
local function effort_of(thinking, output)
  if not thinking then
    return efforts[output.effort]
  elseif thinking.type == "disabled" then
    return nil
  end
  local budget = present(thinking.budget_tokens)
  if type(budget) ~= "number" then
    return efforts[output.effort] or "medium"
  end
  return budget >= 16384 and "high" or budget >= 4096 and "medium" or "low"
end


local function format_of(output)
  local format = table_of("output_config.format", output.format)
  if not format then
    return nil
  elseif format.type ~= "json_schema" or type(format.schema) ~= "table" then
    invalid("output_config.format", "must be { type: \"json_schema\", schema }")
  end
  return { type = "json_schema", json_schema = { name = "answer", schema = format.schema, strict = true } }
end


-- Of Anthropic's own service, and not to be passed over in silence.
local unsupported = { "mcp_servers", "container" }


local function check_fields(body, is_counted)
  if type(body.model) ~= "string" then
    invalid("model", "Field required", "missing_required_parameter")
  elseif not is_counted and math.type(body.max_tokens) ~= "integer" then
    invalid("max_tokens", "must be a whole number", "missing_required_parameter")
  elseif present(body.stream) ~= nil and type(body.stream) ~= "boolean" then
    invalid("stream", "must be true or false")
  end
  for _, name in ipairs(unsupported) do
    local value = present(body[name])
    if value ~= nil and not (type(value) == "table" and next(value) == nil) then
      invalid(name, "is not there", "unsupported_parameter")
    end
  end
end


-- Lists that are empty say nothing.
local function stops_of(stops)
  stops = table_of("stop_sequences", stops)
  for position, one in ipairs(stops or {}) do
    text_of(("stop_sequences.%d"):format(position - 1), one)
  end
  return stops and stops[1] and stops or nil
end


---@class perilune.serve.AnthropicQuestion
---@field model string
---@field messages perilune.Message[]
---@field options table of a request
---@field is_streamed boolean

---Reads a body. Raises 400 with the field that is wrong.
---@param body table
---@param is_counted? boolean its tokens are to be counted: it need not say how many to write
---@return perilune.serve.AnthropicQuestion
function M.read(body, is_counted)
  check_fields(body, is_counted)
  local metadata, output = table_of("metadata", body.metadata) or {}, table_of("output_config", body.output_config) or {}
  local top_k = present(body.top_k)
  local options = {
    max_tokens = present(body.max_tokens), temperature = present(body.temperature), top_p = present(body.top_p),
    stop = stops_of(body.stop_sequences), tools = tools_of(body.tools), user = present(metadata.user_id),
    reasoning_effort = effort_of(table_of("thinking", body.thinking), output), response_format = format_of(output),
    provider_specific_params = top_k ~= nil and { top_k = top_k } or nil,
  }
  choice_of(body, options)
  return { model = body.model, messages = messages_of(body), options = options, is_streamed = body.stream == true }
end


return M
