-- A response as it comes: our events go in, the numbered events of the Responses API come out, and the resource is built at the same time.
-- It is a function of the events and of what the response is called: a stream that somebody comes back to is made anew of the stored ones.
local calls = require "perilune.serve.shape.responses.calls"
local json = require "perilune.json"
local limits = require "perilune.agent.limits"
local resource = require "perilune.serve.shape.responses.resource"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.responses.encoder", __index = methods }


---@class perilune.serve.ResponseEncoder
---@field identity perilune.serve.ResponseIdentity
---@field status string of the response
---@field is_over boolean its last event was made
---@field output table[] items
---@field open? table the message, or the reasoning, that still grows

---@param identity perilune.serve.ResponseIdentity
---@return perilune.serve.ResponseEncoder
function M.new(identity)
  return setmetatable({
    identity = identity, suffix = identity.id:match("^%a+_(.+)$") or identity.id, status = "in_progress", is_over = false, output = {},
    sequence = 0, calls = calls.none(), out = {},
  }, metatable)
end


---The resource as it is now.
---@param status? string another word for its state
---@return table
function methods:response(status)
  return resource.encode(self.identity, {
    status = status or self.status, output = table.move(self.output, 1, #self.output, 1, {}), usage = self.usage, error = self.error,
    reason = self.reason, ended_at = self.ended_at,
  })
end


-- Events

---Makes an event.
---@param kind string without "response."
---@param event table its other fields
function methods:emit(kind, event)
  event.type, event.sequence_number = "response." .. kind, self.sequence
  self.sequence = self.sequence + 1
  self.out[#self.out + 1] = event
end


-- An event about an item; it says which.
local function emit_about(self, entry, kind, event)
  event.item_id, event.output_index = entry.item.id, entry.position
  self:emit(kind, event)
end


methods.emit_about = emit_about


-- A copy, because the item goes on growing.
local function copy(table_value)
  local shown = {}
  for name, value in pairs(table_value) do
    shown[name] = value
  end
  return shown
end


---Begins an item; its id depends on the response and its place.
---@param prefix string "msg"
---@param item table
---@return { item: table, position: integer } entry
function methods:add_item(prefix, item)
  local entry = { item = item, position = #self.output }
  item.id = ("%s_%s_%d"):format(prefix, self.suffix, entry.position)
  self.output[entry.position + 1] = item
  local shown = copy(item)
  if item.content then
    shown.content = json.array()
  end
  self:emit("output_item.added", { output_index = entry.position, item = shown })
  return entry
end


---Ends an item.
---@param entry { item: table, position: integer }
---@param status? string default "completed"
function methods:end_item(entry, status)
  if entry.item.status then
    entry.item.status = status or "completed"
  end
  self:emit("output_item.done", { output_index = entry.position, item = entry.item })
end


-- Messages

local function close_part(self, open)
  if not open.part then
    return
  end
  local whole, part = table.concat(open.pieces), open.part
  if part.type == "output_text" then
    part.text = whole
    emit_about(self, open, "output_text.done", { content_index = open.content_index, text = whole, logprobs = part.logprobs })
  else
    part.refusal = whole
    emit_about(self, open, "refusal.done", { content_index = open.content_index, refusal = whole })
  end
  emit_about(self, open, "content_part.done", { content_index = open.content_index, part = part })
  open.part = nil
end


local function new_part(kind)
  if kind == "refusal" then
    return { type = "refusal", refusal = "" }
  end
  return { type = "output_text", text = "", annotations = json.array(), logprobs = json.array() }
end


-- The message whose last part is of that kind.
local function open_part(self, kind)
  local open = self.open
  if not open or open.item.type ~= "message" then
    self:close_item()
    open = self:add_item("msg", { type = "message", status = "in_progress", role = "assistant", content = json.array() })
    self.open = open
  elseif open.part and open.part.type == kind then
    return open
  end
  close_part(self, open)
  local content = open.item.content
  open.part, open.pieces, open.content_index = new_part(kind), {}, #content
  content[#content + 1] = open.part
  emit_about(self, open, "content_part.added", { content_index = open.content_index, part = new_part(kind) })
  return open
end


local function close_reasoning(self, open)
  local part = open.item.summary[1]
  part.text = table.concat(open.pieces)
  emit_about(self, open, "reasoning_summary_text.done", { summary_index = 0, text = part.text })
  emit_about(self, open, "reasoning_summary_part.done", { summary_index = 0, part = part })
end


---Ends the message, or the reasoning, that still grows.
---@param status? string
function methods:close_item(status)
  local open = self.open
  if not open then
    return
  elseif open.item.type == "message" then
    close_part(self, open)
  else
    close_reasoning(self, open)
  end
  self:end_item(open, status)
  self.open = nil
end


-- What becomes of each of our events; of the others nothing does.
local on = {
  tool_call_start = calls.start, tool_call_delta = calls.delta, tool_call = calls.complete, tool_result = calls.result, image = calls.image,
}


-- A model begins to answer: the first one, or the next one of a run.
function on.start(self)
  self:close_item()
  calls.forget(self)
end


function on.text(self, event)
  local open = open_part(self, "output_text")
  open.pieces[#open.pieces + 1] = event.text
  emit_about(self, open, "output_text.delta", { content_index = open.content_index, delta = event.text, logprobs = json.array() })
end


function on.refusal(self, event)
  local open = open_part(self, "refusal")
  open.pieces[#open.pieces + 1] = event.text
  emit_about(self, open, "refusal.delta", { content_index = open.content_index, delta = event.text })
end


-- They come after the text that they are about, so they are shown with the whole of it.
function on.logprobs(self, event)
  local logprobs = open_part(self, "output_text").part.logprobs
  for _, one in ipairs(event.content or {}) do
    local shown = copy(one)
    shown.bytes = type(one.bytes) == "table" and one.bytes or json.array()
    shown.top_logprobs = type(one.top_logprobs) == "table" and one.top_logprobs or json.array()
    logprobs[#logprobs + 1] = shown
  end
end


function on.citation(self, event)
  local open, citation = open_part(self, "output_text"), event.citation
  local annotation = {
    type = "url_citation", url = citation.url or "", title = citation.title or "", start_index = citation.start_index or 0,
    end_index = citation.end_index or 0,
  }
  local annotations = open.part.annotations
  annotations[#annotations + 1] = annotation
  emit_about(self, open, "output_text.annotation.added", {
    content_index = open.content_index, annotation_index = #annotations - 1, annotation = annotation,
  })
end


function on.thinking(self, event)
  local open = self.open
  if not open or open.item.type ~= "reasoning" then
    self:close_item()
    open = self:add_item("rs", { type = "reasoning", summary = json.array() })
    open.item.summary, open.pieces = json.array { { type = "summary_text", text = "" } }, {}
    self.open = open
    emit_about(self, open, "reasoning_summary_part.added", { summary_index = 0, part = { type = "summary_text", text = "" } })
  end
  open.pieces[#open.pieces + 1] = event.text
  emit_about(self, open, "reasoning_summary_text.delta", { summary_index = 0, delta = event.text })
end


-- The answer begins again: what was shown of it cannot be taken back, and stays as incomplete.
function on.attempt_discarded(self)
  self:close_item("incomplete")
  calls.give_up(self)
end


function on.usage(self, event)
  self.usage = event.usage
end


-- The last event.
local function finish(self, status, event_kind)
  self:close_item(status ~= "completed" and "incomplete" or nil)
  calls.give_up(self)
  self.status, self.is_over = status, true
  self:emit(event_kind or status, { response = self:response() })
end


local reasons = { length = "max_output_tokens", content_filter = "content_filter" }

local waits = { waiting_tool = true, waiting_approval = true }


function on.stop(self, event)
  if waits[event.raw] then
    return -- somebody has to decide; then it goes on
  end
  -- an incomplete response knows no other limit than that of tokens
  self.reason = reasons[event.reason] or event.reason == "other" and limits.words[event.raw] and "max_output_tokens" or nil
  finish(self, self.reason and "incomplete" or "completed")
end


function on.error(self, event)
  if event.error.kind == "cancelled" then
    return finish(self, "cancelled", "incomplete") -- the events know no other word for it
  end
  self.error = event.error
  finish(self, "failed")
end


---The first events of a stream.
---@param is_queued? boolean in the background
---@return table[] events
function methods:start(is_queued)
  self.out = {}
  self:emit("created", { response = self:response(is_queued and "queued" or nil) })
  if is_queued then
    self:emit("queued", { response = self:response("queued") })
  end
  self:emit("in_progress", { response = self:response() })
  return self.out
end


---What an event of ours becomes. Another answer than the first is not shown.
---@param event table
---@param ended_at? integer of a last event: seconds since 1970
---@return table[] events
function methods:feed(event, ended_at)
  self.out = {}
  local handler = not self.is_over and not event.choice and on[event.type]
  if handler then
    self.ended_at = ended_at
    handler(self, event)
  end
  return self.out
end


---The event that ends a stream whose response goes on without it. It is no event of the response: it has the number of the last one, so
---that whoever comes back after that number misses nothing.
---@param code string
---@param message string
---@return table event
function methods:broken_off(code, message)
  return { type = "error", code = code, message = message, param = json.null, sequence_number = self.sequence - 1 }
end


return M
