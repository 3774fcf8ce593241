-- Pages of lists: in both orders, after one thing, before another one, or between the two.
local assistants = require "perilune.store.assistants"
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local runs = require "perilune.store.runs"

local M = {}

-- Messages that are read at once, for each one that is wanted.
local MESSAGES_READ = 3


---@class perilune.PageOptions
---@field limit integer
---@field order "asc"|"desc"
---@field after? any the last thing of the page before, in this order
---@field before? any the first thing of the page that follows

local function reversed(list)
  local result, count = {}, #list
  for position = 1, count do
    result[position] = list[count + 1 - position]
  end
  return result
end


---One page of what `read` reads. With `before` alone it is the page that ends there, so it is read backwards.
---@param page perilune.PageOptions
---@param read fun(is_up: boolean, lower: any, upper: any, limit: integer): table[]|nil, perilune.Error?
---@return table[]|nil list
---@return boolean|perilune.Error has_more
function M.read(page, read)
  local is_up = page.order == "asc"
  local lower, upper = page.after, page.before
  if not is_up then
    lower, upper = upper, lower
  end
  local is_backwards = page.before ~= nil and page.after == nil
  local list, err = read(is_up ~= is_backwards, lower, upper, page.limit + 1)
  if not list then
    return nil, err
  end
  local has_more = #list > page.limit
  list[page.limit + 1] = nil
  return is_backwards and reversed(list) or list, has_more
end


---Runs of a thread, with the metadata that was given to them last.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param page perilune.PageOptions after, before: ids of runs
---@return perilune.RunRow[]|nil
---@return boolean|perilune.Error has_more
function M.runs(db, thread, page)
  return M.read(page, function(is_up, lower, upper, limit)
    local list, err = db:read(is_up and "run_page_up" or "run_page_down", {
      thread_id = rows.id(thread), lower = lower, upper = upper, limit = limit,
    })
    return rows.each(list, err, runs.decode)
  end)
end


---Assistants between two ids, the oldest first or the newest first.
---@param db perilune.Database
---@param account string? nil: of all
---@param is_up boolean
---@param lower string?
---@param upper string?
---@param limit integer
---@return perilune.AssistantRow[]|nil
---@return perilune.Error?
function M.assistants_between(db, account, is_up, lower, upper, limit)
  local list, err = db:read(is_up and "assistant_page_up" or "assistant_page_down", {
    account = account, lower = lower, upper = upper, limit = limit,
  })
  return rows.each(list, err, assistants.decode)
end


-- Messages between two numbers that are wanted, up to a limit.
local function wanted_between(db, thread, is_wanted, is_up, bounds, limit)
  local found, at, stop, size = {}, bounds.lower or 0, bounds.upper or math.huge, MESSAGES_READ * limit
  if not is_up then
    at, stop = bounds.upper, bounds.lower or 0
  end
  while true do
    local list, err = messages.list(db, thread, { order = is_up and "asc" or "desc", after = at, limit = size })
    if not list then
      return nil, err
    end
    for _, stored in ipairs(list) do
      local is_beyond = is_up and stored.seq >= stop or not is_up and stored.seq <= stop
      if is_beyond or #found == limit then
        return found
      end
      found[#found + 1] = is_wanted(stored) and stored or nil
      at = stored.seq
    end
    if #list < size then
      return found
    end
  end
end


---Messages of a thread that are wanted.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param page perilune.PageOptions after, before: their numbers
---@param is_wanted fun(stored: perilune.StoredMessage): boolean
---@return perilune.StoredMessage[]|nil
---@return boolean|perilune.Error has_more
function M.messages(db, thread, page, is_wanted)
  return M.read(page, function(is_up, lower, upper, limit)
    return wanted_between(db, thread, is_wanted, is_up, { lower = lower, upper = upper }, limit)
  end)
end


---What lies between two things of a list that is there already; `id` names what is in it.
---@param list table[] in ascending order
---@param is_up boolean
---@param lower string?
---@param upper string?
---@param limit integer
---@return table[]
function M.between(list, is_up, lower, upper, limit)
  local first, last = 1, #list
  for position, one in ipairs(list) do
    first = one.id == lower and position + 1 or first
    last = one.id == upper and position - 1 or last
  end
  local found = {}
  for position = is_up and first or last, is_up and last or first, is_up and 1 or -1 do
    found[#found + 1] = #found < limit and list[position] or nil
  end
  return found
end


---A page of such a list.
---@param list table[] in ascending order
---@param page perilune.PageOptions
---@return table[] list
---@return boolean has_more
function M.of_list(list, page)
  return M.read(page, function(...)
    return M.between(list, ...)
  end)
end


return M
