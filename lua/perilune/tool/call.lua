-- The boundary around a tool: what a model wrote goes in, text for the model comes out. Whatever the tool does, raise, run out
-- of time, return nonsense, becomes a result that says so; only the end of the task itself (cancelled, its own deadline, its
-- budget) goes through, because nobody is left to read the result.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"

local M = {}

M.ARGUMENTS_BYTES_MAX = 1024 * 1024
M.MESSAGE_BYTES_MAX = 2000 -- of an error, as the model sees it

local MARK = "…" -- where text.truncate has cut

---@class perilune.ToolResult
---@field content string what the model reads
---@field is_error boolean
---@field error? perilune.Error with is_error
---@field whole? string the content, when it was too long to be shown whole
---@field shown_bytes? integer how much of it is shown


-- An error object of kind `tool`; `code` is "arguments", "raised", "returned", "timeout" or "result".
local function failure(tool, code, message, cause, details)
  return errors.new {
    kind = "tool", code = code, message = ("tool '%s': %s"):format(tool.name, message), cause = cause, details = details,
  }
end


-- What a raised or returned error says. Not tostring: a foreign __tostring could raise here.
local function message_of(value)
  if type(value) == "table" and type(rawget(value, "message")) == "string" then
    return rawget(value, "message")
  elseif type(value) == "string" or type(value) == "number" then
    return tostring(value)
  end
  return "failed with a " .. type(value)
end


---The arguments a model wrote, checked. No text at all, and null, mean no arguments. On a failure the error (kind `tool`, code
---`arguments`) says all that is wrong; `details.misses` lists it.
---@param tool perilune.Tool
---@param arguments_text string
---@return table|nil, perilune.Error?
function M.parse_arguments(tool, arguments_text)
  if not arguments_text:find("%S") then
    arguments_text = "{}"
  end
  local arguments, err = json.decode(arguments_text, { bytes = M.ARGUMENTS_BYTES_MAX })
  if err then
    return nil, failure(tool, "arguments", "the arguments are not valid JSON: " .. err.message, err)
  elseif arguments == json.null then
    arguments = {}
  end
  local ok, misses = tool.validator:validate(arguments)
  if ok and (type(arguments) ~= "table" or json.is_array(arguments)) then
    misses = { { path = "$", message = "must be an object" } }
  elseif ok then
    return arguments
  end
  local lines = {}
  for i, miss in ipairs(misses) do
    lines[i] = ("%s: %s"):format(miss.path, miss.message)
  end
  return nil, failure(tool, "arguments", "the arguments do not fit its schema:\n" .. table.concat(lines, "\n"), nil,
    { misses = misses })
end


local function failed(err)
  return { content = text.truncate("Error: " .. text.to_utf8(err.message), M.MESSAGE_BYTES_MAX), is_error = true, error = err }
end


local function limited(content, bytes)
  content = text.to_utf8(content)
  if #content <= bytes then
    return { content = content, is_error = false }
  end
  local shown = text.truncate(content, bytes)
  local note = ("\n[cut: the result has %d bytes, only its beginning is shown]"):format(#content)
  return {
    content = shown .. note, is_error = false, whole = content,
    shown_bytes = #shown - (bytes >= #MARK and #MARK or 0),
  }
end


-- The error when the tool raised. Raises again when it was the task that ended, not the tool.
local function raised(tool, value, traceback)
  if errors.is(value, "cancelled") then
    error(value, 0)
  end
  task.check()
  local details = { traceback = traceback }
  if errors.is(value, "timeout") and tool.timeout and value.code == "deadline" then
    return failure(tool, "timeout", ("ran out of time (its limit is %s s)"):format(tool.timeout), value, details)
  end
  return failure(tool, "raised", message_of(value), value, details)
end


-- A tool returns a text for the model, any JSON value, nothing, or nil and an error.
local function returned(tool, value, err)
  if type(value) == "string" then
    return limited(value, tool.result_bytes)
  elseif value == nil and err ~= nil then
    return failed(failure(tool, "returned", message_of(err), err, type(err) == "table" and err.details or nil))
  elseif value == nil then
    return { content = "done", is_error = false }
  end
  local content, problem = json.encode(value, { repair = true })
  if not content then
    return failed(failure(tool, "result", "its result is not JSON: " .. problem.message, problem))
  end
  return limited(content, tool.result_bytes)
end


local function run(tool, arguments, context)
  if tool.timeout then
    return task.deadline(tool.timeout, tool.run, arguments, context)
  end
  return tool.run(arguments, context)
end


---Calls a tool with what a model wrote and answers what the model is to read. Strings are passed on as they are, other values
---as JSON, nil as "done"; invalid UTF-8 is replaced, more than `tool.result_bytes` is cut, and says so.
---Raises only `cancelled` and what ends the task.
---@param tool perilune.Tool
---@param arguments_text string
---@param context table
---@return perilune.ToolResult
function M.call(tool, arguments_text, context)
  assert(tool.run, "the tool is answered from outside")
  local arguments, err = M.parse_arguments(tool, arguments_text)
  if not arguments then
    return failed(err)
  end
  local traceback
  local ok, value, problem = xpcall(run, function(raised_value)
    traceback = debug.traceback(nil, 2)
    return raised_value
  end, tool, arguments, context)
  if ok then
    return returned(tool, value, problem)
  end
  return failed(raised(tool, value, traceback))
end


return M
