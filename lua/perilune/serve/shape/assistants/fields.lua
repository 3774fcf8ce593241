-- Fields of the bodies of the Assistants family, checked: each function answers the value, nil where it is absent or null, or raises what
-- is wrong with it.
local json = require "perilune.json"
local media = require "perilune.std.media"
local problem = require "perilune.serve.problem"
local schema = require "perilune.std.schema"
local tables = require "perilune.std.tables"

local M = {}

local METADATA_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 16, 64, 512
local TOOLS_MAX = 128
local NAME_BYTES_MAX = 64
local CONTENT_PARTS_MAX = 1000

local invalid = problem.invalid


-- The value of a field; nil for null.
local function get(body, name)
  local value = body[name]
  if value ~= json.null then
    return value
  end
end


local function is_object(value)
  return type(value) == "table" and not json.is_array(value)
end


-- A list, which JSON also writes when it is empty.
local function is_list(value)
  return type(value) == "table" and (json.is_array(value) or #value > 0)
end


---@param body table
---@param name string
---@param length_max? integer characters
---@param param? string what it is called in the error, where it lies deeper
---@return string?
function M.text(body, name, length_max, param)
  local value = get(body, name)
  if value == nil then
    return nil
  end
  param = param or name
  local length = type(value) == "string" and utf8.len(value)
  if not length then
    invalid(param, ("'%s' must be a string."):format(param))
  elseif length_max and length > length_max then
    invalid(param, ("'%s' is longer than %d characters."):format(param, length_max))
  end
  return value
end


---@param body table
---@param name string
---@param min number
---@param max number
---@return number?
function M.number(body, name, min, max)
  local value = get(body, name)
  if value ~= nil and not (type(value) == "number" and value >= min and value <= max) then
    invalid(name, ("'%s' must be a number from %s to %s."):format(name, min, max))
  end
  return value
end


---@param body table
---@param name string
---@param min integer
---@param param? string
---@return integer?
function M.integer(body, name, min, param)
  local value = get(body, name)
  if value ~= nil and not (math.type(value) == "integer" and value >= min) then
    invalid(param or name, ("'%s' must be a whole number of at least %d."):format(param or name, min))
  end
  return value
end


---@param body table
---@param name string
---@return boolean?
function M.boolean(body, name)
  local value = get(body, name)
  if value ~= nil and type(value) ~= "boolean" then
    invalid(name, ("'%s' must be true or false."):format(name))
  end
  return value
end


---A model. An assistant is none: it is asked as "assistant/NAME" where a model is asked for, and cannot be what answers for another.
---@param body table
---@return string?
function M.model(body)
  local model = M.text(body, "model")
  if model and model:find("^assistant/") then
    invalid("model", "'model' must be a model, not an assistant.")
  end
  return model
end


---@param body table
---@param name string
---@param choices string[]
---@return string?
function M.choice(body, name, choices)
  local value = get(body, name)
  if value ~= nil and not tables.set(choices)[value] then
    invalid(name, ("'%s' must be one of: %s."):format(name, table.concat(choices, ", ")))
  end
  return value
end


---An object; also a nested one.
---@param body table
---@param name string
---@param param? string
---@return table?
function M.object(body, name, param)
  local value = get(body, name)
  if value ~= nil and not is_object(value) then
    invalid(param or name, ("'%s' must be an object."):format(param or name))
  end
  return value
end


---@param body table
---@param name string
---@param count_max integer
---@param param? string
---@return table[]? of objects
function M.list(body, name, count_max, param)
  local value = get(body, name)
  param = param or name
  if value == nil then
    return nil
  elseif not is_list(value) or #value > count_max then
    invalid(param, ("'%s' must be a list of at most %d."):format(param, count_max))
  end
  for position, one in ipairs(value) do
    if not is_object(one) then
      invalid(("%s[%d]"):format(param, position - 1), ("'%s[%d]' must be an object."):format(param, position - 1))
    end
  end
  return value
end


---Up to 16 pairs of texts. null is an empty one: it takes away what was there.
---@param body table
---@param param? string
---@return table<string, string>? nil: nothing was said
function M.metadata(body, param)
  param = param or "metadata"
  local value = body.metadata
  if value == nil then
    return nil
  elseif value == json.null then
    return {}
  elseif not is_object(value) then
    invalid(param, ("'%s' must be an object."):format(param))
  end
  local count = 0
  for key, text in pairs(value) do
    count = count + 1
    if type(text) ~= "string" or (utf8.len(text) or math.huge) > METADATA_VALUE_MAX or (utf8.len(key) or math.huge) > METADATA_KEY_MAX then
      invalid(("%s.%s"):format(param, key), ("'%s' has strings of at most %d characters, and keys of at most %d."):format(
        param, METADATA_VALUE_MAX, METADATA_KEY_MAX))
    end
  end
  if count > METADATA_MAX then
    invalid(param, ("'%s' has at most %d keys."):format(param, METADATA_MAX))
  end
  return value
end


-- Tools

local function parameters_of(described, param)
  local parameters = M.object(described, "parameters")
  if not parameters or next(parameters) == nil then
    return nil
  elseif parameters.type ~= "object" then
    invalid(param .. ".parameters", ("'%s.parameters' must be a JSON Schema of type object."):format(param))
  end
  schema.compile(parameters, param .. ".parameters")
  return parameters
end


local function function_of(one, param)
  if one.type ~= "function" then
    invalid(param .. ".type", ("Tools of the type '%s' are not here; '%s.type' must be \"function\"."):format(tostring(one.type), param),
      "unsupported_parameter")
  end
  local described = M.object(one, "function")
  param = param .. ".function"
  if not described then
    invalid(param, ("'%s' is missing."):format(param), "missing_required_parameter")
  end
  local name = described.name
  if type(name) ~= "string" or not name:find("^[%w_-]+$") or #name > NAME_BYTES_MAX then
    invalid(param .. ".name", ("'%s.name' must be 1 to %d letters, digits, _ and -."):format(param, NAME_BYTES_MAX))
  end
  return {
    name = name, description = M.text(described, "description", nil, param .. ".description"), parameters = parameters_of(described, param),
    strict = M.boolean(described, "strict"),
  }
end


---Tools that whoever asks answers itself.
---@param body table
---@return { name: string, description: string?, parameters: table?, strict: boolean? }[]?
function M.tools(body)
  local list = M.list(body, "tools", TOOLS_MAX)
  if not list then
    return nil
  end
  local tools, names = json.array {}, {}
  for position, one in ipairs(list) do
    local param = ("tools[%d]"):format(position - 1)
    tools[position] = function_of(one, param)
    local name = tools[position].name
    if names[name] then
      invalid(param .. ".function.name", ("Two tools are called '%s'."):format(name))
    end
    names[name] = true
  end
  return tools
end


---Which tool must be called.
---@param body table
---@param has_tool fun(name: string): boolean
---@return string|{ name: string }|nil
function M.tool_choice(body, has_tool)
  local choice = get(body, "tool_choice")
  if choice == nil or choice == "auto" or choice == "none" or choice == "required" then
    return choice
  end
  local named = is_object(choice) and choice.type == "function" and M.object(choice, "function")
  if not named or type(named.name) ~= "string" then
    invalid("tool_choice", "'tool_choice' must be \"auto\", \"none\", \"required\" or the name of a function.")
  elseif not has_tool(named.name) then
    invalid("tool_choice", ("'tool_choice' names '%s', which is not among the tools."):format(named.name))
  end
  return { name = named.name }
end


---What the answer looks like; "auto" is the same as nothing.
---@param body table
---@return table?
function M.response_format(body)
  local format = get(body, "response_format")
  if format == nil or format == "auto" then
    return nil
  end
  local kind = is_object(format) and format.type
  local described = kind == "json_schema" and M.object(format, "json_schema")
  if kind ~= "text" and kind ~= "json_object" and not (described and type(described.name) == "string") then
    invalid("response_format", "'response_format' must be \"auto\" or an object of the type text, json_object or json_schema.")
  end
  return format
end


---How many messages go along at most; nil: as many as fit.
---@param body table
---@return integer?
function M.last_messages(body)
  local strategy = M.object(body, "truncation_strategy")
  if not strategy or strategy.type == "auto" then
    return nil
  elseif strategy.type ~= "last_messages" then
    invalid("truncation_strategy.type", "'truncation_strategy.type' must be \"auto\" or \"last_messages\".")
  end
  local count = M.integer(strategy, "last_messages", 1, "truncation_strategy.last_messages")
  if not count then
    invalid("truncation_strategy.last_messages", "'truncation_strategy.last_messages' is missing.", "missing_required_parameter")
  end
  return count
end


---Raises when files are named that tools shall use: there are none. Lists of them may be there, and empty.
---@param body table
---@param param string where the body's tool_resources lie
function M.refuse_files(body, param)
  for tool, resources in pairs(M.object(body, "tool_resources", param) or {}) do
    for name, list in pairs(type(resources) == "table" and resources or {}) do
      if type(list) == "table" and next(list) ~= nil then
        invalid(("%s.%s.%s"):format(param, tool, name), "There are no files here.", "unsupported_parameter")
      end
    end
  end
end


-- Messages

local part_readers = {}


function part_readers.text(part, param)
  local text = M.text(part, "text", nil, param .. ".text")
  if not text then
    invalid(param .. ".text", ("'%s.text' is missing."):format(param), "missing_required_parameter")
  end
  return { type = "text", text = text }
end


function part_readers.image_url(part, param)
  local image = M.object(part, "image_url")
  local url = image and M.text(image, "url", nil, param .. ".image_url.url")
  if not url then
    invalid(param .. ".image_url.url", ("'%s.image_url.url' is missing."):format(param), "missing_required_parameter")
  end
  local found, err = media.part_of_url(url, "image")
  if not found then
    invalid(param .. ".image_url.url", err.message)
  end
  found.detail = M.choice(image, "detail", { "auto", "low", "high" })
  return found
end


local function content_of(body, param)
  local content = get(body, "content")
  param = param .. "content"
  if type(content) == "string" then
    M.text(body, "content", nil, param)
    if content == "" then
      invalid(param, ("'%s' is empty."):format(param))
    end
    return content
  elseif not is_list(content) or #content == 0 or #content > CONTENT_PARTS_MAX then
    invalid(param, ("'%s' must be a text, or a list of parts."):format(param))
  end
  local parts = {}
  for position, part in ipairs(content) do
    local place = ("%s[%d]"):format(param, position - 1)
    local read = is_object(part) and part_readers[part.type]
    if not read then
      invalid(place, ("'%s' must be a part of the type text or image_url: there are no files here."):format(place), "unsupported_parameter")
    end
    parts[position] = read(part, place)
  end
  return parts
end


---A message to be added.
---@param body table
---@param param string in front of its fields: "messages[0]."
---@return { message: perilune.Message, metadata: table? }
function M.message(body, param)
  local role = get(body, "role")
  if role ~= "user" and role ~= "assistant" then
    invalid(param .. "role", ("'%srole' must be \"user\" or \"assistant\"."):format(param))
  end
  local attachments = get(body, "attachments")
  if attachments ~= nil and not (is_list(attachments) and #attachments == 0) then
    invalid(param .. "attachments", "There are no files here.", "unsupported_parameter")
  end
  return { message = { role = role, content = content_of(body, param) }, metadata = M.metadata(body, param .. "metadata") }
end


---Messages to be added.
---@param body table
---@param name string
---@param param? string
---@return { message: perilune.Message, metadata: table? }[]
function M.messages(body, name, param)
  local read = {}
  for position, one in ipairs(M.list(body, name, 1000, param) or {}) do
    read[position] = M.message(one, ("%s[%d]."):format(param or name, position - 1))
  end
  return read
end


return M
