-- Recordings in folders: response.body, meta.json (status, headers, api, streaming) and expect.json, the truth about them.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local replay = require "perilune.testing.replay"
local tables = require "perilune.std.tables"

local M = {}

local DEPTH_MAX = 4


local function add(found, folder, name, depth)
  local names, err = fs.list(folder)
  if not names then
    error(err, 0)
  elseif tables.set(names)["response.body"] then
    found[#found + 1] = { name = name ~= "" and name or folder, folder = folder }
    return
  end
  for _, inner in ipairs(names) do
    local path = folder .. "/" .. inner
    local stat = depth < DEPTH_MAX and fs.stat(path)
    if stat and stat.type == "directory" then
      add(found, path, name ~= "" and name .. "/" .. inner or inner, depth + 1)
    end
  end
end


---Reads every recording of a folder and of those inside it, in byte order. Raises what cannot be read, or when there is none.
---@param folder string
---@return perilune.testing.KitAnswer[]
function M.all(folder)
  local found = {}
  add(found, folder, "", 1)
  for _, answer in ipairs(found) do
    local meta
    answer.recording, meta, answer.expect = replay.load(answer.folder)
    answer.api = meta.api
    answer.is_streamed = meta.streaming == true or meta.streaming == nil and not answer.recording.body:find("^%s*{")
  end
  if #found == 0 then
    error(errors.new {
      kind = "not_found", message = ("no recordings in %s: a folder with a file response.body is one"):format(folder),
    }, 0)
  end
  return found
end


return M
