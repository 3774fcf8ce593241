-- Items of a thread, page by page: those of a conversation, and the input of a response.
local ids = require "perilune.serve.ids"
local errors = require "perilune.std.errors"
local items = require "perilune.serve.shape.responses.items"
local lists = require "perilune.serve.lists"
local messages = require "perilune.store.messages"
local problem = require "perilune.serve.problem"

local M = {}

local must = errors.must


local function place_of(thread_id, id)
  local place = ids.parse_item(id, thread_id)
  if not place then
    problem.invalid("after", ("There is no item '%s' here."):format(id))
  end
  return place
end


-- Is the item behind that place?
local function is_behind(place, seq, item, thread_id, is_ascending)
  if not place or seq ~= place.seq then
    return true
  end
  local n = ids.parse_item(item.id, thread_id).n
  if is_ascending then
    return n > place.n
  end
  return n < place.n
end


-- The items of a message, in the order of the list.
local function ordered(thread_id, stored, is_ascending)
  local found = items.of_message(thread_id, stored)
  if is_ascending then
    return found
  end
  local reversed = {}
  for position = #found, 1, -1 do
    reversed[#reversed + 1] = found[position]
  end
  return reversed
end


---A page of the items of a thread.
---@param db perilune.Database
---@param thread_id string
---@param page perilune.serve.Page
---@param first_seq? integer the first and the last message that count
---@param last_seq? integer
---@return table list
function M.list(db, thread_id, page, first_seq, last_seq)
  local is_ascending, place = page.order == "asc", page.after and place_of(thread_id, page.after)
  first_seq, last_seq = first_seq or 1, last_seq or math.maxinteger - 1
  local cursor
  if is_ascending then
    cursor = math.max(place and place.seq or 0, first_seq) - 1
  else
    cursor = math.min(place and place.seq or math.maxinteger - 1, last_seq) + 1
  end
  local data = {}
  while true do
    local found = must(messages.list(db, thread_id, { order = page.order, after = cursor, limit = page.limit + 1, is_whole = true }))
    for _, stored in ipairs(found) do
      cursor = stored.seq
      if cursor < first_seq or cursor > last_seq then
        return lists.cut(data, page)
      end
      for _, one in ipairs(ordered(thread_id, stored, is_ascending)) do
        data[#data + 1] = is_behind(place, cursor, one.item, thread_id, is_ascending) and one.item or nil
      end
    end
    if #data > page.limit or #found <= page.limit then
      return lists.cut(data, page)
    end
  end
end


---One item; raises 404 when there is none, or it was deleted.
---@param db perilune.Database
---@param thread_id string
---@param id string
---@return perilune.serve.Item
---@return integer seq of its message
function M.get(db, thread_id, id)
  local place = ids.parse_item(id, thread_id)
  local found = place and must(messages.list(db, thread_id, { after = place.seq - 1, limit = 1, is_whole = true }))
  local stored = found and found[1]
  if stored and stored.seq == place.seq then
    for _, one in ipairs(items.of_message(thread_id, stored)) do
      if one.item.id == id then
        return one, stored.seq
      end
    end
  end
  problem.not_found("item", id)
end


return M
