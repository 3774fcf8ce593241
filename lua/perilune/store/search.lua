-- Searching threads: the database finds rows that hold the text, and what is shown is looked up in them, since a row is JSON and also
-- holds names that nobody wrote. Without regard to the case of ASCII letters.
local json = require "perilune.json"
local notes = require "perilune.store.notes"
local rows = require "perilune.store.rows"
local text = require "perilune.std.text"
local threads = require "perilune.store.threads"

local M = {}

local LIMIT_MAX = 1000
local MESSAGES_A_READ = 100
local EXCERPT_BYTES = 120


-- The text as a LIKE pattern that means it literally.
local function pattern(part)
  return "%" .. part:gsub("[\\%%_]", "\\%0") .. "%"
end


-- What surrounds the text in what somebody wrote, on one line; nil when it is not there.
local function excerpt(said, wanted)
  local from, to = said:lower():find(wanted, 1, true)
  if not from then
    return nil
  end
  local start = math.max(1, from - math.max(0, EXCERPT_BYTES - (to - from)) // 2)
  while start > 1 and (said:byte(start) & 0xC0) == 0x80 do
    start = start - 1
  end
  local shown = text.truncate((start > 1 and "…" or "") .. said:sub(start), EXCERPT_BYTES)
  return (shown:gsub("%s+", " "))
end


-- Calls `f` with every text that people, models and tools wrote into a message, until it returns something.
local function each_text(message, f)
  local content = message.content
  local found = type(content) == "string" and f(content) or nil
  for _, part in ipairs(type(content) == "table" and content or {}) do
    found = found or part.text and f(part.text) or part.name and f(part.name)
  end
  for _, call in ipairs(message.tool_calls or {}) do
    found = found or f(call.name) or f(call.arguments)
  end
  return found or message.reasoning and f(message.reasoning) or message.refusal and f(message.refusal) or nil
end


-- The first message of the thread that holds the text.
local function find_message(db, thread, json_pattern, wanted)
  local after = 0
  repeat
    local list, err = db:read("thread_search_messages", {
      thread_id = thread.id, json_text = json_pattern, after = after, limit = MESSAGES_A_READ,
    })
    if not list then
      return nil, err
    end
    for _, row in ipairs(list) do
      local kept
      kept, err = rows.decode(row, { "body", "deleted" }, {})
      if not kept then
        return nil, err
      end
      local found = each_text(kept.deleted and notes.without(kept.body, kept.deleted) or kept.body, function(said)
        return excerpt(said, wanted)
      end)
      if found then
        return { field = "message", seq = row.seq, text = found }
      end
      after = row.seq
    end
  until #list < MESSAGES_A_READ
end


-- The first value in metadata that holds the text.
local function find_value(value, wanted)
  if type(value) == "table" then
    for _, inside in pairs(value) do
      local found = find_value(inside, wanted)
      if found then
        return found
      end
    end
  elseif value ~= nil and value ~= json.null then
    return excerpt(tostring(value), wanted)
  end
end


-- Where the thread holds the text.
local function match_of(db, thread, json_pattern, wanted)
  for _, field in ipairs { "key", "title", "metadata" } do
    local found = find_value(thread[field], wanted)
    if found then
      return { field = field, text = found }
    end
  end
  return find_message(db, thread, json_pattern, wanted)
end


---@class perilune.FoundThread : perilune.ThreadRow
---@field match { field: "key"|"title"|"metadata"|"message", seq: integer?, text: string }

---Threads whose key, title, metadata or messages hold the text; the newest first.
---@param db perilune.Database
---@param wanted string
---@param options? { limit: integer?, after: string? } after: the id of the last one of the previous page
---@return perilune.FoundThread[]|nil
---@return perilune.Error?
function M.threads(db, wanted, options)
  options = options or {}
  local limit, after, found = math.min(options.limit or 20, LIMIT_MAX), options.after, {}
  local as_json, problem = json.encode(wanted)
  if not as_json then
    return nil, problem
  end
  local json_pattern = pattern(as_json:sub(2, -2))
  repeat
    local asked = limit - #found
    local list, err = db:read("thread_search", { text = pattern(wanted), json_text = json_pattern, after = after, limit = asked })
    list, err = rows.each(list, err, threads.decode)
    if not list then
      return nil, err
    end
    for _, thread in ipairs(list) do
      thread.match, err = match_of(db, thread, json_pattern, wanted:lower())
      if err then
        return nil, err
      end
      found[#found + 1] = thread.match and thread
      after = thread.id
    end
  until #list < asked or #found == limit
  return found
end


return M
