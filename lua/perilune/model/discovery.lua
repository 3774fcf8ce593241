-- Providers of one's own: every *.lua in the given folders is run and returns one. A broken file is told of, with its error,
-- and skipped; it never stops anything else. Files are read in byte order, so that one may extend what an earlier one gave.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local provider = require "perilune.model.provider"

local M = {}

---@class perilune.Discovery
---@field files string[] the files whose providers are known now
---@field broken { file: string, error: string }[] the files that were skipped, and why


local function fail(message)
  return nil, errors.new { kind = "configuration", message = message, retryable = false }
end


-- What a file raised, as one line; "FILE:3: " becomes "line 3: ".
local function describe(err, path)
  local message = (err.where and err.where .. ": " or "") .. err.message
  local prefix = path .. ":"
  if message:sub(1, #prefix) == prefix then
    message = "line " .. message:sub(#prefix + 1)
  end
  return message
end


-- Where a raise in a file of the user's becomes a return value.
local function run(chunk, path)
  local ok, value = pcall(chunk, path)
  if ok then
    return value
  end
  local err = errors.wrap(value, "configuration")
  if err.kind == "cancelled" then
    error(err, 0)
  end
  return fail(describe(err, path))
end


---Runs one provider file; registers nothing.
---@param path string
---@return perilune.Provider?
---@return perilune.Error?
function M.file(path)
  local text, err = fs.read(path)
  if not text then
    return nil, err
  end
  local chunk, problem = load(text, "@" .. path, "t")
  if not chunk then
    return fail(describe({ message = problem }, path))
  end
  local value
  value, err = run(chunk, path)
  if err then
    return nil, err
  elseif type(value) ~= "table" then
    return fail(("it must return a provider, perilune.provider.compatible { … } for one, not %s")
      :format(value == nil and "nothing" or "a " .. type(value)))
  end
  return provider.new(value)
end


-- The provider files of a folder; none where there is no such folder.
local function list(folder, broken)
  local stat = fs.stat(folder)
  if not stat or stat.type ~= "directory" then
    return {}
  end
  local names, err = fs.list(folder)
  if not names then
    broken[#broken + 1] = { file = folder, error = err.message }
    return {}
  end
  local paths = {}
  for _, name in ipairs(names) do
    if name:find("^[^.].*%.lua$") then
      paths[#paths + 1] = folder .. "/" .. name
    end
  end
  return paths
end


---Runs every provider file of the folders and makes the providers known.
---@param folders string[] a name that two of them use is the earlier folder's
---@return perilune.Discovery
function M.load(folders)
  local found = { files = {}, broken = {} }
  for _, folder in ipairs(folders) do
    for _, path in ipairs(list(folder, found.broken)) do
      local made, err = M.file(path)
      if made then
        made, err = provider.register(made, path)
      end
      if made then
        found.files[#found.files + 1] = path
      else
        found.broken[#found.broken + 1] = { file = path, error = err.message }
      end
    end
  end
  return found
end


return M
