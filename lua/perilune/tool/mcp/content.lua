-- What MCP servers answer with, as text for a model and as parts of our messages. Pure functions.
local json = require "perilune.json"

local M = {}


local function bytes_of(data)
  return type(data) == "string" and #data * 3 // 4 - #data:match("=*$") or 0
end


-- What stands for data that a model cannot read as text.
local function placeholder(what, media_type, data)
  return ("[%s: %s, %d bytes, not shown]"):format(what, type(media_type) == "string" and media_type or "unknown type", bytes_of(data))
end


local texts = {}


function texts.text(block)
  return type(block.text) == "string" and block.text or ""
end


function texts.image(block)
  return placeholder("image", block.mimeType, block.data)
end


function texts.audio(block)
  return placeholder("audio", block.mimeType, block.data)
end


function texts.resource_link(block)
  local description = type(block.description) == "string" and ": " .. block.description or ""
  return ("[resource %s (%s)%s]"):format(tostring(block.uri), tostring(block.name), description)
end


function texts.resource(block)
  local resource = type(block.resource) == "table" and block.resource or {}
  local head = "resource " .. tostring(resource.uri)
  if type(resource.text) == "string" then
    return ("[%s]\n%s"):format(head, resource.text)
  end
  return placeholder(head, resource.mimeType, resource.blob)
end


local function text_of(block)
  local make = type(block) == "table" and texts[block.type]
  return make and make(block) or "[content of an unknown kind]"
end


---The result of a tool as text for a model: its blocks, one after the other, else what it has as structured content.
---@param result table
---@return string? nil: it has nothing to say
function M.text(result)
  local list = {}
  for position, block in ipairs(type(result.content) == "table" and result.content or {}) do
    list[position] = text_of(block)
  end
  if #list > 0 then
    return table.concat(list, "\n")
  end
  return type(result.structuredContent) == "table" and json.encode(result.structuredContent) or nil
end


-- The tables of a list, whatever it really is.
local function tables_of(list)
  local tables = {}
  for _, one in ipairs(type(list) == "table" and list or {}) do
    tables[#tables + 1] = type(one) == "table" and one or nil
  end
  return tables
end


-- A block as a part of a message: docs/model.md.
local function part(block)
  if type(block) == "table" and (block.type == "image" or block.type == "audio") then
    return { type = block.type, data = block.data, media_type = block.mimeType }
  end
  return { type = "text", text = text_of(block) }
end


---The messages of a prompt.
---@param list any
---@return perilune.Message[]
function M.messages(list)
  local messages = {}
  for _, message in ipairs(tables_of(list)) do
    local content = part(message.content)
    messages[#messages + 1] = { role = message.role, content = content.type == "text" and content.text or { content } }
  end
  return messages
end


---The contents of a resource.
---@param list any
---@return { uri: string, media_type: string?, text: string?, data: string? }[] data in base64
function M.resources(list)
  local contents = {}
  for _, one in ipairs(tables_of(list)) do
    contents[#contents + 1] = { uri = one.uri, media_type = one.mimeType, text = one.text, data = one.blob }
  end
  return contents
end


return M
