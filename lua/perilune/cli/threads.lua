-- perilune threads: the conversations in the database.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local export = require "perilune.agent.export"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local search = require "perilune.store.search"
local text = require "perilune.std.text"
local threads = require "perilune.store.threads"

local M = {
  usage = "threads list | show KEY | search TEXT | fork KEY [NEW-KEY] | export KEY | delete KEY",
  summary = [[
Lists, shows, searches, copies, exports and deletes conversations. KEY is a thread's key or id. A fork has the messages of the
thread up to one of them; it is a thread of its own.]],
  options = {
    {
      names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1,
      of = { "list", "search", "show" }, help = "how many (50, 20, all)",
    },
    { names = { "--at" }, key = "at", value = "N", type = "integer", min = 0, of = { "fork" }, help = "up to this message (all)" },
    { names = { "--format", "-f" }, key = "format", value = "FORMAT", of = { "export" }, help = "markdown (default) or json" },
    { names = { "--output", "-o" }, key = "output", value = "FILE", of = { "export" }, help = "into this file" },
  },
  examples = {
    "list", "show trip-to-paris", "show trip-to-paris --json", "search Louvre", "fork trip-to-paris trip-to-rome --at 4",
    "export trip-to-paris -o trip.md", "delete trip-to-paris",
  },
}

local PAGE = 500

local KEY_BYTES_MAX = 60 -- in the table; --json says all of it


local must = errors.must


-- Everything the thread holds, page by page.
local function all_messages(db, thread, limit)
  local list, after = {}, 0
  repeat
    local page = must(messages.list(db, thread, { limit = math.min(PAGE, limit - #list), after = after }))
    table.move(page, 1, #page, #list + 1, list)
    after = page[#page] and page[#page].seq
  until #page < PAGE or #list >= limit
  return list
end


local function text_of(message)
  local parts = {}
  if type(message.content) == "string" then
    parts[1] = message.content
  end
  for _, part in ipairs(type(message.content) == "table" and message.content or {}) do
    parts[#parts + 1] = part.text or ("[%s]"):format(part.type)
  end
  for _, call in ipairs(message.tool_calls or {}) do
    parts[#parts + 1] = ("-> %s(%s)"):format(call.name, call.arguments)
  end
  if message.refusal then
    parts[#parts + 1] = "[refused] " .. message.refusal
  end
  return table.concat(parts, "\n")
end


-- The newest threads, page by page.
local function newest(db, limit)
  local list = {}
  repeat
    local page = must(threads.list(db, { limit = math.min(PAGE, limit - #list), after = list[1] and list[#list].id }))
    table.move(page, 1, #page, #list + 1, list)
  until #page < PAGE or #list >= limit
  return list
end


-- In a table.
local function name_of(thread)
  return text.truncate(((thread.key or thread.id):gsub("%c", " ")), KEY_BYTES_MAX)
end


local actions = {}


function actions.list(values, _, db)
  local list = newest(db, values.limit or 50)
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "KEY", name_of },
    { "MESSAGES", function(row) return row.next_seq - 1 end },
    { "UPDATED", function(row) return clock.iso(row.updated_at) end },
  })
end


function actions.show(values, key, db)
  local thread = must(threads.get(db, key))
  local list = all_messages(db, thread, values.limit or math.maxinteger)
  if values.json then
    return output.json { id = thread.id, key = thread.key, messages = json.array(list) }
  end
  for _, stored in ipairs(list) do
    local marks = (stored.status == "partial" and " (partial)" or "") .. (stored.message.is_error and " (error)" or "")
    output.write(("%s%s: %s\n"):format(stored.message.role, marks, text_of(stored.message)))
  end
end


function actions.search(values, wanted, db)
  if wanted == "" or not utf8.len(wanted) then
    options.fail("threads: what to look for is a text that is not empty")
  end
  local list = must(search.threads(db, wanted, { limit = values.limit }))
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "KEY", name_of }, { "IN", function(row) return row.match.seq and "message " .. row.match.seq or row.match.field end },
    { "TEXT", function(row) return (row.match.text:gsub("%c", " ")) end },
  })
end


function actions.fork(values, key, db, new_key)
  local forked = must(threads.fork(db, must(threads.get(db, key)), values.at, { key = new_key }))
  if values.json then
    return output.json(forked)
  end
  output.write((forked.key or forked.id) .. "\n")
end


function actions.export(values, key, db)
  local format = values.format or values.json and "json" or "markdown"
  if format ~= "json" and format ~= "markdown" then
    options.fail("threads: --format is markdown or json, not '%s'", format)
  end
  local thread = must(threads.get(db, key))
  if not values.output then
    return export.write(db, thread, format, output.write)
  end
  must(fs.write(values.output, export.text(db, thread, format)))
  if not values.quiet then
    output.note("written to " .. values.output)
  end
end


function actions.delete(values, key, db)
  local thread = must(threads.get(db, key))
  must(threads.delete(db, thread.id))
  if values.json then
    output.json { id = thread.id, deleted = true }
  elseif not values.quiet then
    output.note(("deleted %s"):format(thread.key or thread.id))
  end
end


local action_names = "list, show, search, fork, export or delete"


function M.run(values, words, app)
  local name = words[1] or "list"
  local action = actions[name]
  if not action then
    options.fail("threads: unknown action '%s'; it is %s", name, action_names)
  end
  options.only("threads", M.options, values, name)
  options.at_most("threads", words, name == "list" and 1 or name == "fork" and 3 or 2)
  if name == "search" and not words[2] then
    options.fail("threads: search for what? (perilune threads search TEXT)")
  elseif name ~= "list" and not words[2] then
    options.fail("threads: which one? (perilune threads %s KEY)", name)
  end
  action(values, words[2], app:database(), words[3])
  return 0
end


return M
