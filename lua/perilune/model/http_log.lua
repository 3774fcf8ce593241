-- What goes over the wire, in the log, for those who asked (`log_http`). Keys never appear: the log hides every secret that it knows by
-- its value, and headers that carry one are hidden by their name.
local log = require "perilune.sys.log"
local secrets = require "perilune.net.secrets"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

-- A longer body is cut.
M.BODY_BYTES_MAX = 4096


local function headers_of(headers)
  local lines = {}
  for _, name in ipairs(tables.sorted_keys(headers)) do
    lines[#lines + 1] = ("%s: %s"):format(name, secrets.is_name(name) and "[redacted]" or headers[name])
  end
  return table.concat(lines, "; ")
end


local function body_of(bytes)
  return text.truncate(text.to_utf8(bytes), M.BODY_BYTES_MAX)
end


---@param target perilune.Target
---@param http perilune.HttpRequest
function M.request(target, http)
  log.write("info", "http", ("> %s/%s: %s %s [%s] %s"):format(
    target.name, target.model, http.method, secrets.hide_in_url(http.url), headers_of(http.headers or {}), body_of(http.body or "")))
end


---@param target perilune.Target
---@param head { status: integer, headers: table<string, string> }
function M.head(target, head)
  log.write("info", "http", ("< %s/%s: %d [%s]"):format(target.name, target.model, head.status, headers_of(head.headers)))
end


---One frame of the body.
---@param target perilune.Target
---@param data string
function M.frame(target, data)
  log.write("info", "http", ("< %s/%s: %s"):format(target.name, target.model, body_of(data)))
end


return M
