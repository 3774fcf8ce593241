-- What goes into the next request. The one place that promises: every tool call has exactly one result, right after the message that
-- made it, every result has its call, no two calls share an id, a conversation begins with the user, and nobody said nothing;
-- whatever was cut, lost or interrupted in the history. It is a function of the stored messages only.

local M = {}

local LOST = "Error: the outcome of this call is unknown; it was interrupted before its result was stored"

local ABOUT = "(Summary of the conversation so far. It was written by a program; the messages themselves are not repeated here.)\n\n"

local builder = {}
local metatable = { __index = builder }


-- A copy with other fields.
local function with(original, changes)
  local copy = {}
  for name, value in pairs(original) do
    copy[name] = value
  end
  for name, value in pairs(changes) do
    copy[name] = value
  end
  return copy
end


local function has_calls(message)
  return message.tool_calls ~= nil and #message.tool_calls > 0
end


local function says_nothing(message)
  local content = message.content
  if type(content) == "string" and content:find("%S") or type(content) == "table" and #content > 0 then
    return false
  end
  return not has_calls(message) and not message.provider_items and (message.refusal or "") == ""
end


---A stored message as part of a conversation. Of an answer that was interrupted only the text counts: its calls were never made.
---@param stored perilune.StoredMessage
---@return perilune.Message
function M.message_of(stored)
  local message = stored.message
  if stored.status == "partial" and (message.tool_calls or message.provider_items) then
    message = with(message, {})
    message.tool_calls, message.provider_items = nil, nil
  end
  return message
end


---What stands for messages that are not sent. It is the user's: some providers know no other role that could begin a conversation, and
---what a model has made of other people's words must not speak as an instruction.
---@param summary { text: string }
---@return perilune.Message
function M.summary_message(summary)
  return { role = "user", content = ABOUT .. summary.text }
end


function builder:push(message)
  self.messages[#self.messages + 1] = message
end


-- An id that no call of this request has. Models that number their calls begin anew in each answer.
function builder:issue(id)
  local base = id ~= "" and id or "call"
  local issued, n = base, self.copies[base] or 1
  while self.used[issued] do
    n = n + 1
    issued = ("%s_%d"):format(base, n)
  end
  self.used[issued], self.copies[base] = true, n
  return issued
end


-- Pushes an answer with its calls. Each call has a result from the beginning, which says that it is lost; `places` remembers, by the id
-- that the model gave, where the real one goes. An older call of the same id gets none any more.
function builder:push_calls(message)
  local calls, places, is_changed = {}, {}, false
  self:push(message)
  local at = #self.messages
  for position, call in ipairs(message.tool_calls) do
    local id = self:issue(call.id)
    is_changed = is_changed or id ~= call.id
    calls[position] = id == call.id and call or with(call, { id = id })
    self:push { role = "tool", tool_call_id = id, name = call.name, content = LOST, is_error = true }
    local its_places = places[call.id] or { taken = 0 }
    its_places[#its_places + 1] = #self.messages
    places[call.id], self.places[call.id] = its_places, its_places
  end
  if is_changed then
    self.messages[at] = with(message, { tool_calls = calls })
  end
end


-- Puts a result in its place; one whose call is gone, or has its result already, is left out.
function builder:place_result(message)
  local places = self.places[message.tool_call_id]
  if not places or places.taken == #places then
    return
  end
  places.taken = places.taken + 1
  local at = places[places.taken]
  local id = self.messages[at].tool_call_id
  self.messages[at] = id == message.tool_call_id and message or with(message, { tool_call_id = id })
end


local take = {}


function take.user(self, message)
  self.has_begun = true
  self:push(message)
end


take.system = builder.push
take.developer = builder.push
take.tool = builder.place_result


function take.assistant(self, message)
  if not self.has_begun or says_nothing(message) then
    return
  elseif has_calls(message) then
    self:push_calls(message)
  else
    self:push(message)
  end
end


---Builds the messages of a request out of stored ones, none of which is changed.
---@param stored perilune.Message[] oldest first; may begin and end anywhere
---@param instructions? string goes first, as the system message
---@param summary? { text: string } of what came before
---@return perilune.Message[]
function M.build(stored, instructions, summary)
  local self = setmetatable({ messages = {}, used = {}, copies = {}, places = {}, has_begun = false }, metatable)
  if instructions and instructions ~= "" then
    self:push { role = "system", content = instructions }
  end
  if summary then
    take.user(self, M.summary_message(summary))
  end
  for _, message in ipairs(stored) do
    local take_it = take[message.role]
    if take_it then
      take_it(self, message)
    end
  end
  return self.messages
end


return M
