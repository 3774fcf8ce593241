-- perilune.threads: conversations as a collection. The functions raise; the threads they return are those of perilune.thread.
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local objects = require "perilune.agent.thread"
local search = require "perilune.store.search"
local store = require "perilune.store.threads"

local M = {}

local must = errors.must

local create_types = { key = "string", title = "string", metadata = "table" }
local list_types = { limit = "integer", after = "string" }


local function check_page(where, options)
  options = check.options(where, options, list_types, 3)
  if options.limit and options.limit < 1 then
    check.fail(where .. ": 'limit' must be at least 1", 3)
  end
  return options
end


local function objects_of(app, list)
  for position, row in ipairs(list) do
    list[position] = objects.of(app, row)
  end
  return list
end


---Makes a thread; a key that is taken is a conflict.
---@param app perilune.App
---@param options? { key: string?, title: string?, metadata: table? }
---@return perilune.Thread
function M.create(app, options)
  options = check.options("perilune.threads.create", options, create_types)
  if options.key then
    objects.check_key("perilune.threads.create", options.key)
  end
  return objects.of(app, must(store.create(app:database(), options)))
end


---@param app perilune.App
---@param ref string its key or id
---@return perilune.Thread
function M.get(app, ref)
  check.string("perilune.threads.get: key", ref)
  return objects.of(app, must(store.get(app:database(), ref)))
end


---The newest first.
---@param app perilune.App
---@param options? { limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.Thread[]
function M.list(app, options)
  options = check_page("perilune.threads.list", options)
  return objects_of(app, must(store.list(app:database(), options)))
end


---Threads whose key, title, metadata or messages hold the text, the newest first; `thread.match` says where.
---@param app perilune.App
---@param text string
---@param options? { limit: integer?, after: string? }
---@return perilune.Thread[]
function M.search(app, text, options)
  check.string("perilune.threads.search: text", text)
  if text == "" or not utf8.len(text) then
    check.fail("perilune.threads.search: what to look for is a text that is not empty")
  end
  options = check_page("perilune.threads.search", options)
  return objects_of(app, must(search.threads(app:database(), text, options)))
end


---Deletes the thread with everything in it.
---@param app perilune.App
---@param ref string its key or id
function M.delete(app, ref)
  check.string("perilune.threads.delete: key", ref)
  local db = app:database()
  must(store.delete(db, must(store.get(db, ref)).id))
end


return M
