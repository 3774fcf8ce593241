-- Addresses of pages: what may be asked for, and where a redirect leads. Whether a host may be connected to is decided when it
-- is, by what the resolver says (src/io/address.c); nothing here looks at hosts.
local M = {}

M.BYTES_MAX = 8000


-- "%" and two digits for what is not ASCII, behind the host.
local function escape(url)
  local head, tail = url:match("^(%a+://[^/?#]*)(.*)$")
  return head .. tail:gsub("[\x80-\xFF]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end)
end


---The address as it is sent, without its fragment; or nil and why not.
---@param url string
---@return string?
---@return string? problem
function M.check(url)
  local scheme, authority = url:match("^(%a[%w+.-]*)://([^/?#]*)")
  if #url > M.BYTES_MAX then
    return nil, ("the address is longer than %d bytes"):format(M.BYTES_MAX)
  elseif url:find("[\0-\32\127\\]") then
    return nil, "the address contains spaces, control characters or backslashes"
  elseif not scheme then
    return nil, "an address begins with http:// or https://"
  elseif scheme:lower() ~= "http" and scheme:lower() ~= "https" then
    return nil, scheme .. ": only http and https are fetched"
  elseif authority:find("@", 1, true) then
    return nil, "an address with a user or password is refused"
  elseif authority == "" or authority:find("^:") then
    return nil, "the address has no host"
  end
  return escape((url:gsub("#.*$", "")))
end


---Where a Location header leads, from the address that gave it (RFC 3986, 5.2; dots are removed by who fetches it).
---@param base string a checked address
---@param location string
---@return string
function M.resolve(base, location)
  local scheme, authority, path = base:match("^(%a+:)(//[^/?#]*)([^?#]*)")
  if location:find("^%a[%w+.-]*:") then
    return location
  elseif location:find("^//") then
    return scheme .. location
  elseif location:find("^/") then
    return scheme .. authority .. location
  elseif location:find("^%?") then
    return scheme .. authority .. (path == "" and "/" or path) .. location
  elseif location == "" or location:find("^#") then
    return base
  end
  return scheme .. authority .. (path:match("^.*/") or "/") .. location
end


return M
