-- Messages: their shape, checked once where they enter (docs/model.md). It does not read files or fetch links: a part
-- already holds an address or base64 data.
local shape = require "perilune.model.shape"

local M = {}

local roles = { system = true, developer = true, user = true, assistant = true, tool = true }

local fields = {
  role = true, content = true, reasoning = true, refusal = true, tool_calls = true, provider_items = true,
  tool_call_id = true, name = true, is_error = true,
}

local media_types = { image = true, audio = true, video = true, file = true }

local part_fields = { type = true, text = true, url = true, data = true, media_type = true, name = true, detail = true }

-- What is a text wherever it is said.
local message_texts = { "reasoning", "refusal", "tool_call_id", "name" }
local part_texts = { "url", "data", "media_type", "name", "detail" }
local item_texts = { "provider", "model" }


local function check_text(where, text)
  local length, bad = utf8.len(text)
  if not length then
    return shape.refuse(where, "the text is not UTF-8 (byte %d)", bad)
  end
  return true
end


-- Those of `names` that are there.
local function check_texts(where, value, names)
  for _, name in ipairs(names) do
    local text = value[name]
    if text ~= nil and type(text) ~= "string" then
      return shape.refuse(where, "'%s' must be a text, not a %s", name, type(text))
    end
  end
  return true
end


local function check_part(where, part)
  if type(part) ~= "table" then
    return shape.refuse(where, "a part is a table, not a %s", type(part))
  end
  local is_right, err = shape.check_known(where, "field", part, part_fields)
  if not is_right then
    return nil, err
  end
  if part.type == "text" then
    if type(part.text) ~= "string" then
      return shape.refuse(where, "a text part needs 'text'")
    end
    return check_text(where, part.text)
  elseif not media_types[part.type] then
    local known = "it is text, image, audio, video or file"
    return shape.refuse(where, "unknown type of part '%s'; %s", tostring(part.type), known)
  elseif (type(part.url) == "string") == (type(part.data) == "string") then
    return shape.refuse(where, "a part of type %s needs either 'url' or 'data' (base64)", part.type)
  end
  return check_texts(where, part, part_texts)
end


local function check_content(where, content)
  if content == nil then
    return true
  elseif type(content) == "string" then
    return check_text(where, content)
  elseif type(content) ~= "table" then
    return shape.refuse(where, "content is a text or a list of parts, not a %s", type(content))
  end
  for position, part in ipairs(content) do
    local is_right, err = check_part(("%s, part %d"):format(where, position), part)
    if not is_right then
      return nil, err
    end
  end
  return true
end


local function check_calls(where, calls)
  if type(calls) ~= "table" then
    return shape.refuse(where, "tool_calls is a list, not a %s", type(calls))
  end
  for position, call in ipairs(calls) do
    if type(call) ~= "table" then
      return shape.refuse(where, "tool call %d is not a table", position)
    end
    for _, field in ipairs { "id", "name", "arguments" } do
      if type(call[field]) ~= "string" then
        return shape.refuse(where, "tool call %d needs '%s', a text", position, field)
      end
    end
  end
  return true
end


-- What is in the items is for the provider that made them to say.
local function check_items(where, kept)
  if type(kept) ~= "table" then
    return shape.refuse(where, "provider_items is a table, not a %s", type(kept))
  end
  local is_list = type(kept.items) == "table"
  for _, item in ipairs(is_list and kept.items or {}) do
    is_list = is_list and type(item) == "table"
  end
  if not is_list then
    return shape.refuse(where, "provider_items needs 'items', a list of tables")
  end
  return check_texts(where, kept, item_texts)
end


---Checks a message.
---@param message any
---@param where? string named in the error, e.g. "message 3"
---@return perilune.Message?
---@return perilune.Error?
function M.check(message, where)
  where = where or "message"
  if type(message) ~= "table" then
    return shape.refuse(where, "must be a table, not a %s", type(message))
  end
  local is_right, err = shape.check_known(where, "field", message, fields)
  if is_right and not roles[message.role] then
    local known = "it is system, developer, user, assistant or tool"
    return shape.refuse(where, "unknown role '%s'; %s", tostring(message.role), known)
  end
  if is_right then
    is_right, err = check_texts(where, message, message_texts)
  end
  if is_right then
    is_right, err = check_content(where, message.content)
  end
  if is_right and message.tool_calls ~= nil then
    if message.role ~= "assistant" then
      return shape.refuse(where, "only an assistant message has tool_calls")
    end
    is_right, err = check_calls(where, message.tool_calls)
  end
  if is_right and message.provider_items ~= nil then
    is_right, err = check_items(where, message.provider_items)
  end
  if is_right and message.role == "tool" and type(message.tool_call_id) ~= "string" then
    return shape.refuse(where, "a tool message needs 'tool_call_id'")
  end
  if not is_right then
    return nil, err
  end
  return message
end


---The text of a message, parts joined with a blank line; media are left out.
---@param message perilune.Message
---@return string
function M.text(message)
  local content = message.content
  if type(content) ~= "table" then
    return content or ""
  end
  local texts = {}
  for _, part in ipairs(content) do
    if part.type == "text" and part.text ~= "" then
      texts[#texts + 1] = part.text
    end
  end
  return table.concat(texts, "\n\n")
end


---@class perilune.Message
---@field role "system"|"developer"|"user"|"assistant"|"tool"
---@field content? string|table[]
---@field reasoning? string
---@field refusal? string
---@field tool_calls? { id: string, name: string, arguments: string }[]
---@field provider_items? { provider: string, model: string, items: table[] }
---@field tool_call_id? string
---@field name? string
---@field is_error? boolean

return M
