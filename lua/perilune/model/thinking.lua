-- Takes reasoning out of the text of models that write it there, between <think> and </think> or <thinking> and
-- </thinking>. A stage: it goes around any model and works only for requests with `enable_thinking = true`.
--
-- A tag counts where the answer begins, or right after a thought has ended; white space may come before it. Everywhere
-- else it is text, so that an answer about such tags stays whole. A thought that never ends is all reasoning. Reasoning
-- and text are trimmed on both sides; what depends on the next bytes is held back, never more than a tag or white space.
local stream = require "perilune.model.stream"

local M = {}

---Thinking counts against the limit of the answer; lower limits are raised to this one.
M.TOKENS_MIN = 3000

local methods = {}
local metatable = { __name = "perilune.model.thinking", __index = methods }

local tags = {
  { open = "<think>", close = "</think>" },
  { open = "<thinking>", close = "</thinking>" },
}

local is_terminal = { stop = true, error = true }


---@param model table the model to wrap
---@return table model
function M.new(model)
  return setmetatable({ model = model }, metatable)
end


-- Trims a text that comes in pieces: white space waits for something to follow it. `lead` goes before the first word.
local function new_trimmer(lead)
  return { lead = lead, held = "", is_started = false }
end


local function trim(trimmer, piece)
  local whole = trimmer.held .. piece
  if not trimmer.is_started then
    whole = whole:match("^%s*(.*)$")
  end
  local last = whole:match("^.*()%S")
  if not last then
    trimmer.held = whole
    return nil
  end
  local word = whole:sub(1, last)
  if not trimmer.is_started then
    trimmer.is_started, word = true, trimmer.lead .. word
  end
  trimmer.held = whole:sub(last + 1)
  return word
end


-- What is known of one choice: the mode is "start", "thought" or "text"; `pending` may become a tag.
local function new_state(choice)
  return { choice = choice, mode = "start", pending = "", thinking = new_trimmer "", text = new_trimmer "" }
end


local function push(state, events, kind, piece)
  local trimmed = trim(state[kind], piece)
  if trimmed then
    events[#events + 1] = { type = kind, text = trimmed, choice = state.choice }
  end
end


-- Where a tag may open: returns what is left to read.
local function read_start(state, piece)
  local body = piece:match("^%s*(.*)$")
  for _, tag in ipairs(tags) do
    if body:sub(1, #tag.open) == tag.open then
      state.mode, state.close = "thought", tag.close
      return body:sub(#tag.open + 1)
    elseif body == tag.open:sub(1, #body) then
      state.pending = body
      return ""
    end
  end
  state.mode = "text"
  return body
end


-- The length of the longest end of `piece` that `tag` could begin with.
local function overlap(piece, tag)
  for length = math.min(#tag - 1, #piece), 1, -1 do
    if piece:sub(-length) == tag:sub(1, length) then
      return length
    end
  end
  return 0
end


local function read_thought(state, events, piece)
  local first, last = piece:find(state.close, 1, true)
  if first then
    push(state, events, "thinking", piece:sub(1, first - 1))
    state.mode = "start"
    state.thinking = new_trimmer(state.thinking.is_started and "\n\n" or "")
    return piece:sub(last + 1)
  end
  local length = overlap(piece, state.close)
  state.pending = piece:sub(#piece - length + 1)
  push(state, events, "thinking", piece:sub(1, #piece - length))
  return ""
end


local function read(state, events, piece)
  piece, state.pending = state.pending .. piece, ""
  while piece ~= "" do
    if state.mode == "start" then
      piece = read_start(state, piece)
    elseif state.mode == "thought" then
      piece = read_thought(state, events, piece)
    else
      push(state, events, "text", piece)
      piece = ""
    end
  end
end


-- What waited for a tag that never came.
local function flush(states, events)
  local indexes = {}
  for index in pairs(states) do
    indexes[#indexes + 1] = index
  end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    local state = states[index]
    push(state, events, state.mode == "thought" and "thinking" or "text", state.pending)
  end
end


-- The events that one event becomes.
local function take(states, event)
  if event.type ~= "text" and event.type ~= "thinking" then
    local events = {}
    if is_terminal[event.type] then
      flush(states, events)
    end
    events[#events + 1] = event
    return events
  end
  local index, events = event.choice or 0, {}
  states[index] = states[index] or new_state(event.choice)
  if event.type == "text" then
    read(states[index], events, event.text)
  else
    push(states[index], events, "thinking", event.text)
  end
  return events
end


local function raise(request)
  local raised = {}
  for option, value in pairs(request) do
    raised[option] = value
  end
  for _, limit in ipairs { "max_tokens", "max_completion_tokens" } do
    raised[limit] = raised[limit] and math.max(raised[limit], M.TOKENS_MIN)
  end
  return raised
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  if not request.enable_thinking then
    return self.model:stream(request, limits)
  end
  local inner = self.model:stream(raise(request), limits)
  local states, ready, position = {}, {}, 0
  local apart = stream.new(function()
    position = position + 1
    while not ready[position] do
      local event = inner:pull()
      if not event then
        return nil
      end
      ready, position = take(states, event), 1
    end
    return ready[position]
  end, function()
    inner:close()
  end)
  apart.rows = inner.rows
  return apart
end


return M
