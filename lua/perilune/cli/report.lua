-- What an error becomes on the command line: a message on standard error that says what happened and where, and an exit code.
local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local text = require "perilune.std.text"

local M = {}

local VALUE_BYTES_MAX = 200 -- of an error that is a table

-- How the lines of our own modules begin in a traceback: "lua/perilune/".
local own_modules = debug.getinfo(1, "S").short_src:match("^(.*)cli/report%.lua$")

local exit_codes = {
  configuration = 3, authentication = 4, permission = 4, rate_limit = 5, quota = 5, connection = 6, timeout = 6, tls = 6, api = 6,
  not_found = 6, model_not_found = 6, context_length = 6, content_filter = 6, overloaded = 6, server = 6, bad_response = 6,
  stream_interrupted = 6, empty_response = 6, all_failed = 6, database = 7, cancelled = 130,
}


---What the program exits with for an error.
---@param err perilune.Error
---@return integer
function M.exit_code(err)
  if err.code == "usage" then
    return 2
  elseif err.kind == "all_failed" and err.cause and err.cause.kind then
    return exit_codes[err.cause.kind] or 6
  elseif err.kind == "not_found" and not err.provider then -- a thread, a run
    return 1
  elseif err.kind == "timeout" and err.code == "deadline" then -- the script's own limit
    return 1
  end
  return exit_codes[err.kind] or 1
end


-- Whose error it is, when a provider is to blame.
local function origin(err)
  if not err.provider then
    return ""
  end
  local parts = { err.model and err.provider .. "/" .. err.model or err.provider }
  parts[#parts + 1] = err.status and "HTTP " .. err.status
  parts[#parts + 1] = err.request_id and "request " .. err.request_id
  return (" [%s]"):format(table.concat(parts, ", "))
end


local function is_own(line)
  return line:sub(1, #own_modules) == own_modules or line:sub(1, 3) == "[C]" or line == "(...tail calls...)"
end


-- The traceback without what is below the script: how this program came to run it is nobody's concern.
local function frames(traceback)
  local lines = {}
  for line in (traceback or ""):gmatch("\n\t([^\n]+)") do
    lines[#lines + 1] = line
  end
  while lines[1] and is_own(lines[#lines]) do
    lines[#lines] = nil
  end
  return lines
end


-- The line of the script that led to the error.
local function script_line(lines)
  for _, line in ipairs(lines) do
    if not is_own(line) then
      return line:match("^(.-:%d+): in ")
    end
  end
end


-- What was raised, when it was no error object.
local function message_of(err)
  local cause = err.cause
  local metatable = type(cause) == "table" and getmetatable(cause)
  if type(cause) == "table" and not (metatable and metatable.__tostring) then
    local said = type(cause.message) == "string" and cause.message or json.encode(cause, { repair = true }) or "{ … }"
    return "an error that is a table: " .. text.truncate(said, VALUE_BYTES_MAX)
  elseif err.message == "nil" and cause == nil then
    return "an error without a message: error(nil)"
  end
  return err.message
end


-- A mistake of the program that ran: where, and how it came there when that was a longer way than one line.
local function internal(err)
  local lines = frames(err.traceback)
  local message = message_of(err)
  local where = err.where or message == err.message and message:find("^[^\n]-:%d+: ") and "" or script_line(lines)
  where = where and where ~= "" and where .. ": " or ""
  local frame_count = 0
  for _, line in ipairs(lines) do
    frame_count = frame_count + (line:sub(1, 3) == "[C]" and 0 or 1)
  end
  if err.code == "syntax" or frame_count < 2 then
    return where .. message
  end
  return where .. message .. "\nstack traceback:\n\t" .. table.concat(lines, "\n\t")
end


-- An error object: its kind, its message, and the line of the script that led to it.
local function known(err)
  local label = (err.code == "usage" or err.code == "misuse") and "" or err.kind .. ": "
  local where = err.where
  if not where or where:sub(1, #own_modules) == own_modules then
    where = err.code ~= "usage" and script_line(frames(err.traceback)) or nil
  end
  if err.kind == "cancelled" and not where then
    return "interrupted"
  end
  return (where and where .. ": " or "") .. label .. err.message .. origin(err)
end


---Prints an error; returns the exit code for it.
---@param err perilune.Error
---@return integer
function M.print(err)
  if err.kind == "cancelled" and err.reason == "shutdown" then -- whoever ended the program knows
    return M.exit_code(err)
  end
  local said = err.kind == "internal" and internal(err) or known(err)
  proc.write(2, require("perilune.sys.log").redact("perilune: " .. said) .. "\n")
  return M.exit_code(err)
end


return M
