-- Messages of a thread as items: those of a conversation, and the input of a response. One message may be several items, which are told
-- apart by their place in it, so that an item is called the same whatever was deleted beside it. Pure.
local ids = require "perilune.serve.ids"
local json = require "perilune.json"

local M = {}

-- Places in a message: what was thought, what was said, and the calls after these.
local THOUGHT, SAID, FIRST_CALL = 1, 2, 3


---@class perilune.serve.Item
---@field item table as clients see it
---@field part string of the message, as store/notes.lua calls it

local function media_url(part, default_type)
  return part.url or ("data:%s;base64,%s"):format(part.media_type or default_type, part.data)
end


local function image_of(part)
  return { type = "input_image", image_url = media_url(part, "image/png"), detail = part.detail or "auto" }
end


-- Sound and films are files here: the document has no other place for them.
local function file_of(part)
  if part.url then
    return { type = "input_file", filename = part.name, file_url = part.url }
  end
  return { type = "input_file", filename = part.name, file_data = media_url(part, "application/pdf") }
end


local function content_of(content)
  if type(content) ~= "table" then
    return json.array { { type = "input_text", text = content or "" } }
  end
  local list = json.array()
  for position, part in ipairs(content) do
    if part.type == "text" then
      list[position] = { type = "input_text", text = part.text }
    else
      list[position] = part.type == "image" and image_of(part) or file_of(part)
    end
  end
  return list
end


local function answer_of(message)
  local list = json.array()
  for _, part in ipairs(content_of(message.content)) do
    if part.text and part.text ~= "" then
      list[#list + 1] = { type = "output_text", text = part.text, annotations = json.array(), logprobs = json.array() }
    end
  end
  if message.refusal then
    list[#list + 1] = { type = "refusal", refusal = message.refusal }
  end
  return list
end


local function push(list, stored, thread_id, kind, place, part, item)
  item.id = ids.item(kind, thread_id, stored.seq, place)
  list[#list + 1] = { item = item, part = part }
end


local function push_assistant(list, stored, thread_id, status)
  local message = stored.message
  if message.reasoning then
    push(list, stored, thread_id, "rs", THOUGHT, "reasoning", {
      type = "reasoning", summary = json.array { { type = "summary_text", text = message.reasoning } },
    })
  end
  local answer = answer_of(message)
  if answer[1] then
    push(list, stored, thread_id, "msg", SAID, "content", { type = "message", role = "assistant", status = status, content = answer })
  end
  for position, call in ipairs(message.tool_calls or {}) do
    push(list, stored, thread_id, "fc", FIRST_CALL + position - 1, "call:" .. call.id, {
      type = "function_call", call_id = call.id, name = call.name, arguments = call.arguments ~= "" and call.arguments or "{}",
      status = status,
    })
  end
end


local function has(list, value)
  for _, one in ipairs(list) do
    if one == value then
      return true
    end
  end
  return false
end


---The items of a message, without those that were deleted.
---@param thread_id string
---@param stored perilune.StoredMessage read with what was deleted (`is_whole`)
---@return perilune.serve.Item[]
function M.of_message(thread_id, stored)
  local message, list, left = stored.message, {}, {}
  local status = stored.status == "partial" and "incomplete" or "completed"
  if message.role == "assistant" then
    push_assistant(list, stored, thread_id, status)
  elseif message.role == "tool" then
    local output = type(message.content) == "table" and content_of(message.content) or message.content or ""
    push(list, stored, thread_id, "fco", SAID, "message", {
      type = "function_call_output", call_id = message.tool_call_id, output = output, status = status,
    })
  else
    push(list, stored, thread_id, "msg", SAID, "message", {
      type = "message", role = message.role, status = status, content = content_of(message.content),
    })
  end
  local deleted = stored.deleted or {}
  for _, one in ipairs(list) do
    if not has(deleted, one.part) and not has(deleted, "message") then
      left[#left + 1] = one
    end
  end
  return left
end


return M
