-- perilune threads: the conversations in the database.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local messages = require "perilune.store.messages"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local text = require "perilune.std.text"
local threads = require "perilune.store.threads"

local M = {
  usage = "threads list | show KEY | delete KEY",
  summary = "Lists, shows and deletes conversations. KEY is a thread's key or id.",
  options = {
    { names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1, help = "how many (list: 50, show: all)" },
  },
  examples = { "list", "show trip-to-paris", "show trip-to-paris --json", "delete trip-to-paris" },
}

local PAGE = 500

local KEY_BYTES_MAX = 60 -- in the table; --json says all of it


local function must(value, err)
  if value == nil then
    error(err, 0)
  end
  return value
end


local function find(db, key)
  local thread, err = threads.get(db, key)
  if not thread then
    error(err, 0)
  end
  return thread
end


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


local actions = {}


function actions.list(values, _, db)
  local list = newest(db, values.limit or 50)
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "KEY", function(row) return text.truncate(((row.key or row.id):gsub("%c", " ")), KEY_BYTES_MAX) end },
    { "MESSAGES", function(row) return row.next_seq - 1 end },
    { "UPDATED", function(row) return clock.iso(row.updated_at) end },
  })
end


function actions.show(values, key, db)
  local thread = find(db, key)
  local list = all_messages(db, thread, values.limit or math.maxinteger)
  if values.json then
    return output.json { id = thread.id, key = thread.key, messages = json.array(list) }
  end
  for _, stored in ipairs(list) do
    local marks = (stored.status == "partial" and " (partial)" or "") .. (stored.message.is_error and " (error)" or "")
    output.write(("%s%s: %s\n"):format(stored.message.role, marks, text_of(stored.message)))
  end
end


function actions.delete(values, key, db)
  local thread = find(db, key)
  must(threads.delete(db, thread.id))
  if values.json then
    output.json { id = thread.id, deleted = true }
  elseif not values.quiet then
    output.note(("deleted %s"):format(thread.key or thread.id))
  end
end


function M.run(values, words, app)
  local action = actions[words[1] or "list"]
  if not action then
    options.fail("threads: unknown action '%s'; it is list, show or delete", words[1])
  end
  options.at_most("threads", words, words[1] == "list" and 1 or 2)
  if words[1] and words[1] ~= "list" and not words[2] then
    options.fail("threads: which one? (perilune threads %s KEY)", words[1])
  end
  action(values, words[2], app:database())
  return 0
end


return M
