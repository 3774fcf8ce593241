-- perilune.log: log lines from scripts, on standard error. Secrets are replaced by the host.
local json = require "perilune.json"
local sys = require "perilune.sys.log"

local M = {}


local function write(level, message, fields)
  local encoded
  if fields then
    local err
    encoded, err = json.encode(fields)
    if not encoded then
      message = message .. " (fields: " .. tostring(err) .. ")"
    end
  end
  sys.write(level, "script", tostring(message), encoded)
end


for _, level in ipairs { "debug", "info", "warn", "error" } do
  M[level] = function(message, fields)
    write(level, message, fields)
  end
end


---@class perilune.Log
---@field debug fun(message: string, fields: table?)
---@field info fun(message: string, fields: table?)
---@field warn fun(message: string, fields: table?)
---@field error fun(message: string, fields: table?)

return M
