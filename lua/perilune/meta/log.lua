---@meta perilune.sys.log

--- The host's log: one line on standard error a call.
---@class perilune.sys.log
local log = {}

---@alias perilune.LogLevel "debug"|"info"|"warn"|"error"

---Writes a line, unless its level is below the log's. Control characters are escaped, secrets replaced, long lines cut.
---@param level perilune.LogLevel
---@param area string a short word: "fetch", "store", "script"
---@param message string
---@param fields_json? string a JSON object; a member named time, level, area or message gets a `_` in front
function log.write(level, area, message, fields_json) end

---Would a line of this level be written?
---@param level perilune.LogLevel
---@return boolean
function log.is_on(level) end

---The least level that is written.
---@param level perilune.LogLevel|"off"
function log.set_level(level) end

---@param format "text"|"json"
---@param use_colour? boolean for text
function log.set_format(format, use_colour) end

---Registers a value that must never be printed, in any spelling (as it is, in JSON, in a URL).
---@param value string
---@return boolean is_registered false for less than 8 bytes, which would hide ordinary words, and more than 8192
function log.secret(value) end

---The text with every secret replaced by `[redacted]`.
---@param text string
---@return string
function log.redact(text) end

return log
