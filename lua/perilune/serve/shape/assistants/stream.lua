-- A run as it comes: our events go in, the named events of the Assistants family come out. Pure: what the run is called, the numbers that
-- its next message and its next step get, and a clock are given.
--
-- Clients know one open step and one open message at a time. A message stays open until its answer has ended, because a model may say
-- something after it has called a tool; its step ends with the first call.
local ids = require "perilune.serve.ids"
local json = require "perilune.json"
local objects = require "perilune.serve.shape.assistants.objects"
local steps = require "perilune.serve.shape.assistants.steps"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.assistants.stream", __index = methods }

local null = json.null


local function unknown() end


---@class perilune.serve.RunStreamOptions
---@field run perilune.RunRow
---@field next_seq integer the number of the next message of the thread
---@field next_step integer the number of the run's next step
---@field step? table the step object of calls whose outputs have come
---@field now fun(): number
---@field usage_of? fun(step: integer): perilune.Usage? what a model call has used, once that is stored

---@param options perilune.serve.RunStreamOptions
---@return table encoder
function M.new(options)
  local self = setmetatable({
    run = options.run, next_seq = options.next_seq, next_step = options.next_step, now = options.now,
    usage_of = options.usage_of or unknown, out = {}, has_begun = false,
  }, metatable)
  if options.step then
    local model_step = ids.step_seq(options.step.id, self.run.id) - 1 -- its calls come right after it
    self.step, self.answer = options.step, { results = 0, step = model_step }
  end
  return self
end


-- Adds an event, with a copy of the object: it goes on changing.
local function emit(self, name, object)
  local data = {}
  for field, value in pairs(object) do
    data[field] = value
  end
  self.out[#self.out + 1] = { name = "thread." .. name, data = data }
end


-- The events that were made since the last call.
local function take(self)
  local out = self.out
  self.out = {}
  return out
end


local function emit_run(self, status)
  emit(self, "run." .. status, objects.run(self.run, { status = status }))
end


-- The run is under way, for the first time or again.
local function begin(self)
  if not self.has_begun then
    self.has_begun = true
    emit_run(self, "queued")
    emit_run(self, "in_progress")
  end
end


---The events of a run that has just been made.
---@return { name: string, data: table }[]
function methods:created()
  emit(self, "run.created", objects.run(self.run, { status = "queued" }))
  begin(self)
  return take(self)
end


-- Steps

local function open_step(self, seq, details)
  self.step = steps.step(self.run, { seq = seq, details = details, status = "in_progress", created_at = self.now() })
  emit(self, "run.step.created", self.step)
  emit(self, "run.step.in_progress", self.step)
end


local function close_step(self, status, err)
  local step = self.step
  if not step then
    return
  end
  self.step = nil
  step.status, step[status .. "_at"] = status, objects.seconds(self.now())
  step.last_error = status == "failed" and objects.last_error(err) or null
  emit(self, "run.step." .. status, step)
end


-- Ends the last step of an answer: what that has used is known by then.
local function close_last_step(self, status, err)
  local step, answer = self.step, self.answer
  if step and answer then
    step.usage = objects.usage(self.usage_of(answer.step))
  end
  close_step(self, status, err)
end


local function emit_delta(self, call)
  emit(self, "run.step.delta", { id = self.step.id, object = "thread.run.step.delta", delta = {
    step_details = { type = "tool_calls", tool_calls = { call } },
  } })
end


-- Messages

local function open_message(self)
  local answer = self.answer
  local id, now = ids.message(self.run.thread_id, answer.seq), self.now()
  if not answer.has_calls then
    open_step(self, answer.step, { type = "message_creation", message_creation = { message_id = id } })
  end
  self.pieces, self.parts = {}, json.array {}
  self.message = {
    id = id, object = "thread.message", created_at = objects.seconds(now), thread_id = self.run.thread_id, status = "in_progress",
    incomplete_details = null, completed_at = null, incomplete_at = null, role = "assistant", content = json.array {},
    assistant_id = objects.assistant_id(self.run), run_id = self.run.id, attachments = json.array {}, metadata = {},
  }
  emit(self, "message.created", self.message)
  emit(self, "message.in_progress", self.message)
end


-- Puts a finished part into the message.
local function close_part(self)
  local part = self.parts[#self.parts]
  if part and self.pieces[1] then
    local whole = table.concat(self.pieces)
    if part.type == "text" then
      part.text.value = whole
    else
      part.refusal = whole
    end
    self.pieces = {}
  end
end


local function close_message(self, reason)
  local message = self.message
  if not message then
    return
  end
  close_part(self)
  self.message = nil
  local shown, now = {}, objects.seconds(self.now())
  for name, value in pairs(message) do
    shown[name] = value
  end
  shown.content = self.parts
  if reason then
    shown.status, shown.incomplete_details, shown.incomplete_at = "incomplete", { reason = reason }, now
    emit(self, "message.incomplete", shown)
  else
    shown.status, shown.completed_at = "completed", now
    emit(self, "message.completed", shown)
  end
end


-- Adds to the part of that type; another type begins another part.
local function say(self, kind, piece)
  if not self.message then
    open_message(self)
  end
  local parts = self.parts
  if not parts[1] or parts[#parts].type ~= kind then
    close_part(self)
    parts[#parts + 1] = kind == "text" and objects.text_part("") or { type = "refusal", refusal = "" }
  end
  self.pieces[#self.pieces + 1] = piece
  local delta = { index = #parts - 1, type = kind }
  if kind == "text" then
    delta.text = { value = piece, annotations = json.array {} }
  else
    delta.refusal = piece
  end
  emit(self, "message.delta", { id = self.message.id, object = "thread.message.delta", delta = { content = { delta } } })
end


-- Answers

-- An answer has ended, or all that came of it.
local function close_answer(self)
  local answer = self.answer
  if not answer then
    return
  end
  close_message(self)
  close_last_step(self, "completed")
  self.answer = nil
  if answer.seq then -- each call is a step, and each result a message
    self.next_step = math.max(self.next_step, answer.step + 1 + answer.results)
  end
  self.next_seq = self.next_seq + answer.results
end


local function answer_of(self)
  if not self.answer then
    self.answer = { seq = self.next_seq, step = self.next_step, results = 0, calls = {}, places = {} }
    self.next_seq, self.next_step = self.next_seq + 1, self.next_step + 1
  end
  return self.answer
end


-- Events

local on = {}


function on.start(self)
  if self.answer and (not self.answer.seq or self.answer.has_content) then
    close_answer(self)
  end
  answer_of(self)
end


-- An answer that did not fit is not shown, but is on the thread, with what the model was told of it.
function on.answer_rejected(self)
  answer_of(self)
  self.answer = nil
  self.next_seq = self.next_seq + 1
end


function on.text(self, event)
  answer_of(self).has_content = true
  say(self, "text", event.text)
end


function on.refusal(self, event)
  answer_of(self).has_content = true
  say(self, "refusal", event.text)
end


-- A call becomes known: the step of all calls begins with the first.
function on.tool_call_start(self, event)
  local answer = answer_of(self)
  answer.has_content = true
  if not answer.has_calls then
    answer.has_calls = true
    close_step(self, "completed")
    open_step(self, answer.step + 1, { type = "tool_calls", tool_calls = json.array {} })
  end
  local place = #answer.calls
  answer.calls[place + 1] = { id = event.id, type = "function", ["function"] = { name = event.name, arguments = "", output = null } }
  answer.places[event.index] = { call = answer.calls[place + 1], index = place, bytes = 0 }
  emit_delta(self, {
    index = place, id = event.id, type = "function", ["function"] = { name = event.name, arguments = "", output = null },
  })
end


function on.tool_call_delta(self, event)
  local place = answer_of(self).places[event.index]
  if place and event.arguments ~= "" then
    place.bytes = place.bytes + #event.arguments
    emit_delta(self, { index = place.index, type = "function", ["function"] = { arguments = event.arguments } })
  end
end


-- A call is complete: what of it was not shown yet is shown now.
function on.tool_call(self, event)
  if not answer_of(self).places[event.index] then
    on.tool_call_start(self, event)
  end
  local place = self.answer.places[event.index]
  if place.bytes < #event.arguments then
    emit_delta(self, { index = place.index, type = "function", ["function"] = { arguments = event.arguments:sub(place.bytes + 1) } })
    place.bytes = #event.arguments
  end
  place.call["function"].arguments = event.arguments
  local shown = json.array {}
  self.step.step_details = { type = "tool_calls", tool_calls = table.move(self.answer.calls, 1, #self.answer.calls, 1, shown) }
end


-- What a call came to; the step ends with the last one.
function on.tool_result(self, event)
  local answer, step, open = self.answer, self.step, 0
  if answer then
    answer.results = answer.results + 1
  end
  for _, call in ipairs(step and step.step_details.tool_calls or {}) do
    local described = call["function"]
    if call.id == event.id and described.output == null then
      described.output = type(event.content) == "string" and event.content or json.encode(event.content)
    end
    open = open + (described.output == null and 1 or 0)
  end
  if open == 0 then
    close_message(self)
    close_last_step(self, "completed")
  end
end


---What an event of the run becomes.
---@param event table
---@return { name: string, data: table }[]
function methods:feed(event)
  local take_it = on[event.type]
  if take_it then
    if event.type ~= "tool_result" then
      if not self.has_begun then
        close_answer(self)
      end
      begin(self)
    end
    take_it(self, event)
  end
  return take(self)
end


---Has a client seen something of the answer that is being made?
---@return boolean
function methods:has_content()
  return self.answer ~= nil and self.answer.has_content == true
end


local reasons = { failed = "run_failed", cancelled = "run_cancelled", expired = "run_expired" }


---The last events: what is open ends as the run has ended.
---@param row perilune.RunRow as it is now
---@param shown table its object
---@return { name: string, data: table }[]
function methods:finish(row, shown)
  local status = shown.status
  begin(self)
  if status == "completed" then
    close_answer(self)
  elseif status == "requires_action" then
    close_message(self)
  elseif status == "incomplete" then
    close_message(self, row.status == "completed" and "max_tokens" or nil) -- else a limit was met after it
    close_last_step(self, self.step and self.step.type == "tool_calls" and "failed" or "completed") -- calls that were never made
  else
    close_message(self, reasons[status])
    close_last_step(self, reasons[status] and status or "failed", row.error)
  end
  emit(self, "run." .. status, shown)
  return take(self)
end


return M
