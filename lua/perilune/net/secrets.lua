-- What must not be shown: by the name it goes under, and inside of addresses. Secrets that are known by their value are the log's
-- (perilune.sys.log).
local log = require "perilune.sys.log"

local M = {}

-- The ends of names, of headers and of parameters in an address, that stand for keys; without - and _.
local key_names = {
  "^key", "apikey", "accesskey", "subscriptionkey", "^token", "accesstoken", "authtoken", "apitoken", "securitytoken", "secret",
  "password", "^sig", "signature", "credential", "authorization", "cookie",
}


---Is what a header or a parameter of this name carries a secret?
---@param name string
---@return boolean
function M.is_name(name)
  name = name:lower():gsub("[-_]", "")
  for _, ending in ipairs(key_names) do
    if name:find(ending .. "$") then
      return true
    end
  end
  return false
end


---An address as it may be shown: without user and password, and without the keys among its parameters.
---@param url string
---@return string
function M.hide_in_url(url)
  local address, query = url:match("^([^?#]*)%??([^#]*)")
  address = address:gsub("^(%a[%w+.-]*://)[^/]*@", "%1")
  query = query:gsub("([^&=]+)=([^&]*)", function(name, value)
    return name .. "=" .. (M.is_name(name) and "[redacted]" or value)
  end)
  return log.redact(query ~= "" and address .. "?" .. query or address)
end


return M
