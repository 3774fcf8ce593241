-- A body of Anthropic's Messages API as a question of ours. Pure. What has no counterpart is an error that names it; fields nobody knows
-- are left out.
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


local function invalid(where, message)
  problem.invalid(where, ("%s: %s"):format(where, message))
end


local function medium(where, source, kind)
  local url
  if type(source) ~= "table" then
    invalid(where, "'source' is missing")
  elseif source.type == "base64" then
    url = ("data:%s;base64,%s"):format(tostring(source.media_type), tostring(source.data))
  elseif source.type == "url" then
    url = source.url
  elseif source.type == "text" and kind == "file" then
    return { type = "text", text = source.data }
  else
    invalid(where, ("a source of type '%s' is not known here"):format(tostring(source.type)))
  end
  local part, err = media.part_of_url(tostring(url), kind)
  return part or invalid(where, err.message)
end


-- Blocks that become parts of content.
local parts = {}


function parts.text(where, block)
  return type(block.text) == "string" and { type = "text", text = block.text } or invalid(where, "'text' is missing")
end


function parts.image(where, block)
  return medium(where, block.source, "image")
end


function parts.document(where, block)
  local part = medium(where, block.source, "file")
  part.name = present(block.title)
  return part
end


-- Parts of a list of blocks; of text alone one text.
local function content_of(where, content)
  if type(content) == "string" then
    return content
  elseif type(content) ~= "table" then
    invalid(where, "must be a text or a list of blocks")
  end
  local list, texts = {}, {}
  for position, block in ipairs(content) do
    local place = ("%s.%d"):format(where, position - 1)
    local read = type(block) == "table" and parts[block.type]
    if not read then
      invalid(place, ("a block of type '%s' cannot be here"):format(tostring(type(block) == "table" and block.type or block)))
    end
    list[position] = read(place, block)
    texts[position] = list[position].type == "text" and list[position].text or nil
  end
  return #texts == #list and table.concat(texts, "\n") or list
end


local function add_user(where, content, messages)
  local rest = {}
  for position, block in ipairs(type(content) == "table" and content or {}) do
    if type(block) == "table" and block.type == "tool_result" then
      local place = ("%s.%d"):format(where, position - 1)
      if type(block.tool_use_id) ~= "string" then
        invalid(place, "'tool_use_id' is missing")
      end
      messages[#messages + 1] = {
        role = "tool", tool_call_id = block.tool_use_id, is_error = block.is_error == true or nil,
        content = present(block.content) == nil and "" or content_of(place .. ".content", block.content),
      }
    else
      rest[#rest + 1] = block
    end
  end
  if type(content) == "string" or #rest > 0 then
    messages[#messages + 1] = { role = "user", content = content_of(where, type(content) == "string" and content or rest) }
  end
end


local thought = { thinking = true, redacted_thinking = true }


local function add_assistant(where, content, messages, model)
  if type(content) == "string" then
    messages[#messages + 1] = { role = "assistant", content = content }
    return
  end
  local texts, calls, has_thought = {}, {}, false
  for position, block in ipairs(type(content) == "table" and content or invalid(where, "must be a text or a list of blocks")) do
    local kind = type(block) == "table" and block.type
    if kind == "text" then
      texts[#texts + 1] = block.text
    elseif kind == "tool_use" then
      calls[#calls + 1] = { id = block.id, name = block.name, arguments = json.encode(present(block.input) or {}) }
    elseif thought[kind] then
      has_thought = true
    else
      invalid(("%s.%d"):format(where, position - 1), ("a block of type '%s' cannot be here"):format(tostring(kind)))
    end
  end
  messages[#messages + 1] = {
    role = "assistant", content = texts[1] and table.concat(texts) or nil, tool_calls = calls[1] and calls or nil,
    provider_items = has_thought and { provider = "anthropic", model = model:gsub("^anthropic/", ""), items = content } or nil,
  }
end


local function messages_of(body)
  local messages = {}
  local system = present(body.system)
  if system ~= nil then
    messages[1] = { role = "system", content = content_of("system", system) }
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
      messages[#messages + 1] = { role = "system", content = content_of(where .. ".content", message.content) }
    else
      invalid(where .. ".role", "must be user or assistant")
    end
  end
  return messages
end


local function tools_of(tools)
  local list = {}
  for position, tool in ipairs(tools) do
    local where = ("tools.%d"):format(position - 1)
    if type(tool) ~= "table" or type(tool.name) ~= "string" then
      invalid(where, "'name' is missing")
    elseif present(tool.type) and tool.type ~= "custom" then
      invalid(where .. ".type", ("the tool '%s' is not there; tools of this server belong to its assistants"):format(tostring(tool.type)))
    end
    list[position] = { name = tool.name, description = present(tool.description), parameters = present(tool.input_schema) }
  end
  return list[1] and list or nil
end


local choices = { auto = "auto", any = "required", none = "none" }


-- Anthropic's own thinking as an effort: other vendors know no budget.
local function effort_of(thinking)
  if type(thinking) ~= "table" or thinking.type == "disabled" then
    return nil
  end
  local budget = thinking.budget_tokens
  if type(budget) ~= "number" then
    return "medium"
  end
  return budget >= 16384 and "high" or budget >= 4096 and "medium" or "low"
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
  if type(body.model) ~= "string" then
    problem.invalid("model", "model: Field required", "missing_required_parameter")
  elseif not is_counted and math.type(body.max_tokens) ~= "integer" then
    problem.invalid("max_tokens", "max_tokens: Field required", "missing_required_parameter")
  end
  local choice, metadata, params = present(body.tool_choice), present(body.metadata), {}
  params.top_k = present(body.top_k)
  local options = {
    max_tokens = body.max_tokens, temperature = present(body.temperature), top_p = present(body.top_p), stop = present(body.stop_sequences),
    tools = tools_of(present(body.tools) or {}), user = type(metadata) == "table" and present(metadata.user_id) or nil,
    reasoning_effort = effort_of(present(body.thinking)), provider_specific_params = next(params) and params or nil,
  }
  if options.stop and #options.stop == 0 then
    options.stop = nil
  end
  if type(choice) == "table" and options.tools then
    options.tool_choice = choice.type == "tool" and { name = choice.name } or choices[choice.type]
    options.parallel_tool_calls = choice.disable_parallel_tool_use == true and false or nil
  end
  return { model = body.model, messages = messages_of(body), options = options, is_streamed = body.stream == true }
end


return M
