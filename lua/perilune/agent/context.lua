-- What goes into the next request. The one place that promises: every tool call has exactly one result, right after the
-- message that made it, and every result has its call, whatever was cut, lost or interrupted in the history.

local M = {}

local LOST = "Error: the outcome of this call is unknown; it was interrupted before its result was stored"


-- The messages of one exchange after an assistant message with calls: the results in call order.
local function results_of(calls, messages, position)
  local by_id, stop = {}, position
  while messages[stop] and messages[stop].role == "tool" do
    local id = messages[stop].tool_call_id
    by_id[id] = by_id[id] or {}
    table.insert(by_id[id], messages[stop])
    stop = stop + 1
  end
  local results = {}
  for index, call in ipairs(calls) do
    local stored = by_id[call.id]
    results[index] = stored and table.remove(stored, 1)
      or { role = "tool", tool_call_id = call.id, name = call.name, content = LOST, is_error = true }
  end
  return results, stop
end


local function is_empty(message)
  return message.role == "assistant" and not message.tool_calls and (message.content == nil or message.content == "")
    and not message.provider_items
end


-- A window may begin in the middle of an exchange: it is cut at the first message that can begin one.
local function first_whole(messages)
  for position, message in ipairs(messages) do
    if message.role ~= "tool" and message.role ~= "assistant" then
      return position
    end
  end
  return #messages + 1
end


---Builds the messages of a request out of stored ones.
---@param stored perilune.Message[] oldest first; may begin anywhere
---@param instructions? string goes first, as the system message
---@return perilune.Message[]
function M.build(stored, instructions)
  local messages = {}
  if instructions and instructions ~= "" then
    messages[1] = { role = "system", content = instructions }
  end
  local position = first_whole(stored)
  while stored[position] do
    local message = stored[position]
    position = position + 1
    -- A result whose call is gone, and an answer of which nothing is left, are left out.
    local is_kept = message.role ~= "tool" and not is_empty(message)
    if is_kept then
      messages[#messages + 1] = message
    end
    if is_kept and message.tool_calls then
      local results
      results, position = results_of(message.tool_calls, stored, position)
      table.move(results, 1, #results, #messages + 1, messages)
    end
  end
  return messages
end


return M
