-- Items that a client sends, as messages of ours. Several items may be one message: what a model thought, what it said and what it
-- called belong together.
local json = require "perilune.json"
local media = require "perilune.std.media"
local problem = require "perilune.serve.problem"

local M = {}

local null = json.null

local roles = { user = true, assistant = true, system = true, developer = true }

local ITEMS_MAX = 10000


local function invalid(where, message, code)
  problem.invalid(where, ("%s: %s"):format(where, message), code)
end


local function text_of(where, part, field)
  local text = part[field]
  if type(text) ~= "string" then
    invalid(where, ("'%s' must be a text."):format(field))
  end
  return text
end


-- A value that is there; null is not.
local function present(value)
  if value ~= null then
    return value
  end
end


local function medium(where, url, kind)
  local part, err = media.part_of_url(url, kind)
  return part or invalid(where, err.message, "invalid_media")
end


-- What becomes of each type of part.
local parts = {}


function parts.input_text(where, part)
  return { type = "text", text = text_of(where, part, "text") }
end


parts.output_text, parts.text, parts.summary_text, parts.reasoning_text =
  parts.input_text, parts.input_text, parts.input_text, parts.input_text


function parts.refusal(where, part)
  return { type = "text", text = text_of(where, part, "refusal") }
end


function parts.input_image(where, part)
  if type(part.image_url) ~= "string" then
    invalid(where, "needs 'image_url', an address or a data: URL; files are not kept here.", "unsupported_parameter")
  end
  local image = medium(where, part.image_url, "image")
  image.detail = present(part.detail)
  return image
end


function parts.input_file(where, part)
  local given = present(part.file_data) or present(part.file_url)
  if type(given) ~= "string" then
    invalid(where, "needs 'file_data' or 'file_url'; files are not kept here.", "unsupported_parameter")
  end
  local file = medium(where, media.is_url(given) and given or "data:application/pdf;base64," .. given, "file")
  file.name = present(part.filename)
  return file
end


function parts.input_audio(where, part)
  local audio = part.input_audio
  if type(audio) ~= "table" or type(audio.data) ~= "string" then
    invalid(where, "needs 'input_audio' with 'data', base64, and 'format'.")
  end
  return medium(where, ("data:audio/%s;base64,%s"):format(present(audio.format) or "wav", audio.data), "audio")
end


-- Content of a message, or the output of a call: a text where that is all there is.
local function content_of(where, content)
  if type(content) == "string" then
    return content
  elseif type(content) ~= "table" then
    invalid(where, "must be a text or a list of parts.")
  end
  local list, texts = {}, {}
  for position, part in ipairs(content) do
    local place = ("%s[%d]"):format(where, position - 1)
    local read = type(part) == "table" and parts[part.type]
    if not read then
      invalid(place, ("a part of the type '%s' is not known."):format(type(part) == "table" and tostring(part.type) or type(part)))
    end
    list[position] = read(place, part)
    texts[#texts + 1] = list[position].text
  end
  return #texts == #list and table.concat(texts, "\n") or list
end


-- The assistant's message that an item belongs to: the last one, if it may still grow.
local function assistant_message(state, is_begun_by_words)
  local last = state.messages[#state.messages]
  if not last or last.role ~= "assistant" or is_begun_by_words and (last.content or last.tool_calls) then
    last = { role = "assistant", reasoning = state.thought }
    state.thought = nil
    state.messages[#state.messages + 1] = last
  end
  return last
end


-- What each type of item adds.
local items = {}


function items.message(where, item, state)
  if not roles[item.role] then
    invalid(where .. ".role", "must be user, assistant, system or developer.")
  end
  local content = content_of(where .. ".content", item.content)
  if item.role ~= "assistant" then
    state.messages[#state.messages + 1] = { role = item.role, content = content }
  elseif content ~= "" then
    assistant_message(state, true).content = content
  end
end


function items.function_call(where, item, state)
  local arguments = present(item.arguments) or ""
  if type(item.name) ~= "string" or type(item.call_id) ~= "string" or type(arguments) ~= "string" then
    invalid(where, "needs 'name', 'call_id' and 'arguments', texts.")
  end
  local message = assistant_message(state)
  message.tool_calls = message.tool_calls or {}
  message.tool_calls[#message.tool_calls + 1] = { id = item.call_id, name = item.name, arguments = arguments }
end


function items.function_call_output(where, item, state)
  if type(item.call_id) ~= "string" then
    invalid(where, "needs 'call_id', the id of the call.")
  end
  state.messages[#state.messages + 1] = {
    role = "tool", tool_call_id = item.call_id, content = content_of(where .. ".output", item.output),
  }
end


-- It is kept for people; no model is sent it again.
function items.reasoning(where, item, state)
  local texts = {}
  for _, field in ipairs { "summary", "content" } do
    local list = present(item[field])
    if list ~= nil and type(list) ~= "table" then
      invalid(("%s.%s"):format(where, field), "must be a list.")
    end
    for position, part in ipairs(list or {}) do
      texts[#texts + 1] = text_of(("%s.%s[%d]"):format(where, field, position - 1), type(part) == "table" and part or {}, "text")
    end
  end
  state.thought = texts[1] and table.concat(texts, "\n\n") or nil
end


-- What the server did itself in an earlier response: its answer was made with it, and it is not sent again.
function items.mcp_call() end


items.mcp_list_tools, items.image_generation_call = items.mcp_call, items.mcp_call


local function kind_of(item)
  local kind = present(item.type)
  if kind == nil then
    return item.role and "message" or item.id and "item_reference"
  end
  return kind
end


---Messages out of items.
---@param where string the field, for errors
---@param list any a text, or a list of items
---@param resolve? fun(where: string, id: string): table the item that a reference means
---@return perilune.Message[]
function M.messages(where, list, resolve)
  if type(list) == "string" then
    return { { role = "user", content = list } }
  elseif type(list) ~= "table" or not json.is_array(list) then
    invalid(where, "must be a text or a list of items.")
  elseif #list > ITEMS_MAX then
    invalid(where, ("has more than %d items."):format(ITEMS_MAX))
  end
  local state = { messages = {} }
  for position, item in ipairs(list) do
    local place = ("%s[%d]"):format(where, position - 1)
    if type(item) ~= "table" then
      invalid(place, "must be an item.")
    elseif kind_of(item) == "item_reference" and resolve then
      item = resolve(place, item.id)
    end
    local kind = kind_of(item)
    local read = items[kind]
    if not read then
      invalid(place .. ".type", ("an item of the type '%s' is not known here."):format(tostring(kind)), "unsupported_parameter")
    end
    read(place, item, state)
  end
  return state.messages
end


return M
