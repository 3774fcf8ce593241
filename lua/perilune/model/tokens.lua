-- How many tokens a request will have, roughly, before anybody counts them: a guess by characters that fits every tokenizer about
-- as well. Plain text has about four characters a token; other scripts have more tokens, by the bytes they take.
local json = require "perilune.json"

local M = {}

-- What surrounds a message, and a tool call, on its way.
local MESSAGE_TOKENS = 4
local CALL_TOKENS = 8

-- What is not text, whatever its size: vendors count pixels, seconds and pages, which nobody here has looked at.
local media_tokens = { image = 1500, audio = 2000, video = 8000, file = 5000 }


---@param text string
---@return integer
function M.of_text(text)
  local bytes = #text
  return (3 * bytes - (utf8.len(text) or 0) + 7) // 8 -- a quarter for each character, three eighths for each byte after its first
end


---An answer of which only the length is known.
---@param bytes integer
---@return integer
function M.of_bytes(bytes)
  return (bytes + 3) // 4
end


local function of_content(content)
  if type(content) ~= "table" then
    return content and M.of_text(content) or 0
  end
  local sum = 0
  for _, part in ipairs(content) do
    sum = sum + (media_tokens[part.type] or M.of_text(part.text or ""))
  end
  return sum
end


-- The texts in what a provider wants back.
local function of_items(value)
  if type(value) == "string" then
    return M.of_text(value)
  elseif type(value) ~= "table" then
    return 0
  end
  local sum = 0
  for _, one in pairs(value) do
    sum = sum + of_items(one)
  end
  return sum
end


---A message as it is sent; what a model thought is not sent again, unless its provider wants it back.
---@param message perilune.Message
---@return integer
function M.of_message(message)
  local sum = MESSAGE_TOKENS + of_content(message.content) + M.of_text(message.refusal or "")
  for _, call in ipairs(message.tool_calls or {}) do
    sum = sum + CALL_TOKENS + M.of_text(call.name) + M.of_text(call.arguments)
  end
  if message.provider_items then
    sum = sum + of_items(message.provider_items.items)
  end
  return sum
end


---The tools of a request.
---@param tools perilune.Tool[]
---@return integer
function M.of_tools(tools)
  local sum = 0
  for _, tool in ipairs(tools) do
    local parameters = json.encode(tool.parameters) or ""
    sum = sum + CALL_TOKENS + M.of_text(tool.name) + M.of_text(tool.description or "") + M.of_text(parameters)
  end
  return sum
end


---The usage of an answer that nobody has counted.
---@param messages perilune.Message[] of the request
---@param bytes integer of the answer
---@return perilune.Usage
function M.estimated(messages, bytes)
  local prompt, completion = 0, M.of_bytes(bytes)
  for _, message in ipairs(messages) do
    prompt = prompt + M.of_message(message)
  end
  return { prompt_tokens = prompt, completion_tokens = completion, total_tokens = prompt + completion, estimated = true }
end


return M
