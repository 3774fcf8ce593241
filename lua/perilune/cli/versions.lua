-- What the program is made of.
local fetch = require "perilune.sys.fetch"
local store = require "perilune.sys.store"

local M = {}


---@return string? "3.40.1"
---@return perilune.Error?
function M.sqlite()
  local db <close>, err = store.open { path = ":memory:" }
  if not db then
    return nil, err
  end
  local info
  info, err = db:info()
  return info and info.sqlite_version, err
end


---Loads libcurl.
---@return string? "7.88.1 OpenSSL/3.0.17 zlib/1.2.13 …"
---@return perilune.Error?
function M.libcurl()
  local library, err = fetch.library()
  return library and library:gsub("^libcurl/", ""), err
end


---One line.
---@param version string the program's
---@return string
function M.text(version)
  local sqlite, libcurl = M.sqlite() or "none", M.libcurl() or "none"
  return ("perilune %s (%s, SQLite %s, libcurl %s)\n"):format(version, _VERSION, sqlite, libcurl:match "%S+")
end


return M
