-- The contract of a decoder's events (docs/model.md), checked on a list of them: known types, their fields, the order, exactly
-- one end.
local errors = require "perilune.std.errors"
local tables = require "perilune.std.tables"

local M = {}

local reasons = tables.set { "stop", "length", "tool_calls", "content_filter", "refusal", "other" }
local error_kinds = tables.set(errors.kinds)


local function is_text(value)
  return type(value) == "string" and value ~= ""
end


local function check_text(event)
  return not is_text(event.text) and "its text is not a text, or empty"
end


-- A model may forget the name; then it is empty, and the agent loop says so to the model.
local function check_call(event)
  return not (is_text(event.id) and type(event.name) == "string") and "a tool call has no id or no name"
end


local function nothing()
  return false
end


-- What is wrong with an event of that type; false when nothing is.
local checks = {
  start = nothing, item = function(event)
    return event.item == nil and "there is no item"
  end,
  text = check_text, thinking = check_text, refusal = check_text,
  tool_call_start = check_call,
  tool_call_delta = function(event)
    return type(event.arguments) ~= "string" and "its arguments are not a text"
  end,
  tool_call = function(event)
    local has_arguments = type(event.arguments) == "string" and event.arguments:find("%S")
    return check_call(event) or not has_arguments and "its arguments are not a text, or empty ('{}' when there are none)"
  end,
  image = function(event)
    return not is_text(event.data) and not is_text(event.url) and "it has neither data nor url"
  end,
  audio = function(event)
    return not (is_text(event.data) or is_text(event.id) or event.expires_at) and "it has no data, id or expires_at"
  end,
  citation = function(event)
    return (type(event.citation) ~= "table" or event.citation.raw == nil) and "its citation is not a table with raw"
  end,
  logprobs = function(event)
    return not event.content and not event.refusal and "it has neither content nor refusal"
  end,
  usage = function(event)
    for _, name in ipairs { "prompt_tokens", "completion_tokens", "total_tokens" } do
      if type(event.usage) ~= "table" or math.type(event.usage[name]) ~= "integer" then
        return ("usage.%s is not an integer"):format(name)
      end
    end
    return false
  end,
  stop = function(event)
    return not reasons[event.reason] and ("its reason '%s' is none of the list"):format(tostring(event.reason))
  end,
  error = function(event)
    local err = event.error
    return not (errors.is(err) and error_kinds[err.kind] and is_text(err.message)) and "its error is not an error object"
  end,
}


---What is wrong with the events of one answer; nil when nothing is.
---@param events table[] from the first `feed` to `finish`
---@param is_sound? boolean the answer was not damaged: it begins with `start`, or it is an error alone
---@return string?
function M.problem(events, is_sound)
  if type(events) ~= "table" then
    return "a decoder returns a list of events, not " .. type(events)
  end
  for position, event in ipairs(events) do
    local check = type(event) == "table" and checks[event.type]
    if not check then
      return ("event %d has the unknown type '%s'"):format(position, type(event) == "table" and tostring(event.type) or type(event))
    end
    local problem = check(event)
    local is_end = event.type == "stop" or event.type == "error"
    if problem then
      return ("event %d, %s: %s"):format(position, event.type, problem)
    elseif is_end and position < #events then
      return ("event %d, %s: it is the end, but '%s' follows"):format(position, event.type, events[position + 1].type)
    elseif position > 1 and event.type == "start" then
      return ("event %d, start: it must be the first"):format(position)
    elseif is_sound and position == 1 and event.type ~= "start" and event.type ~= "error" then
      return ("event 1 must be start, not %s"):format(event.type)
    elseif position == #events and not is_end then
      return "the last event must be stop or error, not " .. event.type
    end
  end
  return #events == 0 and "there is not one event; an answer ends with stop or error" or nil
end


return M
