-- The items of a Responses answer that go back with the conversation. An answer is opaque when one of them says more than
-- every provider understands (ciphertext, a server tool, a citation); then all of them are kept, in order, because a
-- reasoning item must be followed by what it led to.

local M = {}


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


local function list(value)
  return type(value) == "table" and value or {}
end


---The name that items are kept under: they mean nothing to the vendor's other wire formats.
---@param target { name: string? }
---@return string
function M.provider(target)
  return (target.name or "openai") .. "/responses"
end


-- A reasoning item may go back only with what the vendor needs to read it again.
local function is_returnable(item, is_stored)
  return item.type ~= "reasoning" or is_stored or text(item.encrypted_content) ~= nil or #list(item.content) > 0
end


local function is_own(item)
  if item.type == "function_call" then
    return false
  elseif item.type ~= "message" then
    return true
  end
  for _, part in ipairs(list(item.content)) do
    if type(part) == "table" and #list(part.annotations) > 0 then
      return true
    end
  end
  return text(item.phase) ~= nil
end


-- Without its reasoning item an item must not be known by its id. Some servers refuse the status of a call.
local function strip(item, has_lost)
  if item.type == "function_call" then
    item.status = nil
  end
  if has_lost and (item.type == "function_call" or item.type == "message") then
    item.id = nil
  end
end


---The items that must be kept: none where the text and the calls say it all.
---@param items table[] in order; those that are kept are changed
---@param is_stored boolean the vendor keeps the answer
---@return table[]
function M.to_keep(items, is_stored)
  local kept, is_opaque, has_lost = {}, false, false
  for _, item in ipairs(items) do
    if is_returnable(item, is_stored) then
      kept[#kept + 1] = item
      is_opaque = is_opaque or is_own(item)
    else
      has_lost = true
    end
  end
  if not is_opaque then
    return {}
  end
  for _, item in ipairs(kept) do
    strip(item, has_lost)
  end
  return kept
end


-- The text and the ids of the calls that a list of items stands for.
local function read(items)
  local texts, ids = {}, {}
  for _, item in ipairs(items) do
    for _, part in ipairs(item.type == "message" and list(item.content) or {}) do
      texts[#texts + 1] = type(part) == "table" and text(part.text) or nil
    end
    if item.type == "function_call" or item.type == "custom_tool_call" then
      ids[#ids + 1] = item.call_id
    end
  end
  return table.concat(texts), ids
end


---Do the items say the same as the text and the calls of their message? Somebody may have changed it.
---@param items table[]
---@param plain string
---@param calls { id: string }[]
---@return boolean
function M.still_match(items, plain, calls)
  local said, ids = read(items)
  if said ~= plain or #ids ~= #calls then
    return false
  end
  for position, call in ipairs(calls) do
    if call.id ~= ids[position] then
      return false
    end
  end
  return true
end


return M
