-- How much of a thread goes into a request: read from its end, page by page, no further than the limit, so that a turn costs the same
-- however long the thread is. It is cut at user messages only, and what the user said last always goes, with all that followed.
local capabilities = require "perilune.model.capabilities"
local context = require "perilune.agent.context"
local messages = require "perilune.store.messages"
local summaries = require "perilune.store.summaries"
local tokens = require "perilune.model.tokens"

local M = {}

-- Messages of the first read; each further one takes twice as many, up to a limit.
local FIRST_PAGE = 50
local PAGE_MAX = 1600

---Where only tokens are limited.
M.MESSAGES_MAX = 10000

-- How much more than the limit is looked at where a summary will be made of it.
local COMPACTED_FACTOR = 2

---@class perilune.HistoryLimit
---@field messages integer up to the user's last one; what the current turn adds to it goes along
---@field tokens number of messages and summary, estimated; math.huge where no limit is known

---@class perilune.History a part of a thread, without gaps but for what was deleted
---@field messages perilune.Message[] oldest first
---@field sizes integer[] estimated tokens of the messages that were counted
---@field seqs integer[] the numbers of those that were read; what the current turn has added comes after them
---@field tokens integer of those, and of the summary
---@field first_seq? integer nil: there are no messages
---@field last_seq? integer
---@field summary? { upto_seq: integer, text: string } of what came before
---@field limit perilune.HistoryLimit
---@field has_failed? boolean no summary could be made: in this run older messages are left out

---@class perilune.HistoryOptions what else is in the request
---@field model_name? string "provider/model": what it can read is the limit where the assistant sets none
---@field instructions? string
---@field tools? perilune.Tool[]


-- What the smallest of the assistant's models can read, beside what it is to write; nil where that is not known.
local function room(assistant, options)
  local request, smallest = assistant.request, nil
  for _, name in ipairs { options.model_name or false, table.unpack(assistant.fallbacks) } do
    local known = type(name) == "string" and capabilities.find(name)
    local readable = known and known.context_tokens
    if readable then
      local written = request.max_completion_tokens or request.max_tokens or known.output_tokens or 0
      smallest = math.min(smallest or readable, math.max(readable - written, readable // 4))
    end
  end
  if smallest then
    local taken = tokens.of_text(options.instructions or "") + tokens.of_tools(options.tools or {})
    return math.max(smallest - taken, smallest // 4)
  end
end


local function limit_of(assistant, options)
  local history = assistant.history
  return {
    messages = history.messages or M.MESSAGES_MAX,
    tokens = history.tokens or room(assistant, options) or math.huge,
  }
end


local function summary_tokens(summary)
  return summary and tokens.of_message(context.summary_message(summary)) or 0
end


-- Where the user spoke last.
local function last_user(list)
  for position = #list, 1, -1 do
    if list[position].role == "user" then
      return position
    end
  end
end


---Is there more than the limit? Messages that were added since are counted first.
---@param loaded perilune.History
---@param limit? perilune.HistoryLimit another than its own
---@return boolean
function M.is_over(loaded, limit)
  limit = limit or loaded.limit
  local list, sizes = loaded.messages, loaded.sizes
  for position = #sizes + 1, #list do
    sizes[position] = tokens.of_message(list[position])
    loaded.tokens = loaded.tokens + sizes[position]
  end
  return loaded.tokens > limit.tokens or (last_user(list) or #list) > limit.messages
end


---The oldest user message from which on everything is within the limit, or within the last `turns` user messages; the user's last one
---when nothing is. Nil: no user has spoken.
---@param loaded perilune.History counted
---@param limit perilune.HistoryLimit
---@param turns? integer
---@return integer? position
function M.cut(loaded, limit, turns)
  local list, sizes, last = loaded.messages, loaded.sizes, last_user(loaded.messages)
  local sum = summary_tokens(loaded.summary)
  local best, found = last, 0
  for position = #list, 1, -1 do
    sum = sum + sizes[position]
    if sum > limit.tokens or last and last - position + 1 > limit.messages or found == turns then
      break
    elseif list[position].role == "user" then
      best, found = position, found + 1
    end
  end
  return best
end


---The part from there on.
---@param loaded perilune.History counted
---@param position integer
---@param summary? { upto_seq: integer, text: string } of what came before
---@return perilune.History
function M.from(loaded, position, summary)
  local seqs = table.move(loaded.seqs, position, #loaded.seqs, 1, {})
  local rest = {
    messages = table.move(loaded.messages, position, #loaded.messages, 1, {}),
    sizes = table.move(loaded.sizes, position, #loaded.sizes, 1, {}),
    seqs = seqs, first_seq = seqs[1], last_seq = loaded.last_seq,
    tokens = summary_tokens(summary), summary = summary, limit = loaded.limit,
  }
  for _, size in ipairs(rest.sizes) do
    rest.tokens = rest.tokens + size
  end
  return rest
end


---What fits of it, and in any case the user's last message with all that followed.
---@param loaded perilune.History
---@return perilune.History
function M.window(loaded)
  local position = M.is_over(loaded) and M.cut(loaded, loaded.limit) or 1
  return position > 1 and M.from(loaded, position, loaded.summary) or loaded
end


local back = {}
local back_metatable = { __index = back }


-- Messages up to the user's last one.
function back:count()
  return self.last_user and #self.messages - self.last_user + 1 or 0
end


-- Does it hold all that the limit allows, or one message more?
function back:is_full(limit)
  return self.last_user ~= nil and (self.tokens > limit.tokens or self:count() >= limit.messages)
end


function back:add(stored)
  local message = context.message_of(stored)
  local count = #self.messages + 1
  self.messages[count], self.sizes[count] = message, tokens.of_message(message)
  self.tokens = self.tokens + self.sizes[count]
  self.seqs[count], self.first_seq, self.last_seq = stored.seq, stored.seq, self.last_seq or stored.seq
  self.last_user = self.last_user or message.role == "user" and count or nil
end


-- The messages after `after_seq`, newest first, until it is full, or until it is the whole of them.
local function read_back(db, thread, after_seq, limit, tokens_before)
  local self, page_size = setmetatable({ messages = {}, sizes = {}, seqs = {}, tokens = tokens_before }, back_metatable), FIRST_PAGE
  while not self:is_full(limit) do
    local wanted = math.min(page_size, limit.messages - self:count())
    page_size = math.min(2 * page_size, PAGE_MAX)
    local page, err = messages.list(db, thread, { order = "desc", after = self.first_seq, limit = wanted })
    if not page then
      return nil, err
    end
    for _, stored in ipairs(page) do
      if stored.seq <= after_seq or self:is_full(limit) then
        self.is_whole = stored.seq <= after_seq
        return self
      end
      self:add(stored)
    end
    if #page < wanted then
      self.is_whole = true
      return self
    end
  end
  self.is_whole = self.first_seq == after_seq + 1
  return self
end


local function reverse(list)
  local reversed, count = {}, #list
  for position = 1, count do
    reversed[position] = list[count + 1 - position]
  end
  return reversed
end


---What of the thread goes into a request. Where older messages are to be summarised it may be more than the limit, up to twice as much:
---see agent/compaction.lua.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param assistant perilune.Assistant
---@param options? perilune.HistoryOptions
---@return perilune.History|nil
---@return perilune.Error?
function M.load(db, thread, assistant, options)
  local limit, summary = limit_of(assistant, options or {}), nil
  local bound, after_seq = limit, 0
  if assistant.history.compaction ~= "window" then
    local row, err = summaries.latest(db, thread)
    if err then
      return nil, err
    elseif row then
      summary, after_seq = { upto_seq = row.upto_seq, text = row.body }, row.upto_seq
    end
    bound = { messages = COMPACTED_FACTOR * limit.messages, tokens = COMPACTED_FACTOR * limit.tokens }
  end
  local read, err = read_back(db, thread, after_seq, bound, summary_tokens(summary))
  if not read then
    return nil, err
  end
  local loaded = {
    messages = reverse(read.messages), sizes = reverse(read.sizes), seqs = reverse(read.seqs), tokens = read.tokens,
    first_seq = read.first_seq, last_seq = read.last_seq, summary = summary, limit = limit,
  }
  if read.is_whole and not M.is_over(loaded, bound) then
    return loaded
  end
  return M.from(loaded, M.cut(loaded, bound) or 1, summary)
end


return M
