-- perilune.tools.list_files: what is in given folders, level by level, so that a cut takes the depths and not the surface.
local definition = require "perilune.tool.definition"
local fs = require "perilune.sys.fs"
local roots_of = require "perilune.tool.builtin.roots"
local settings = require "perilune.tool.builtin.settings"

local M = {}

M.ENTRIES = 500 -- of one answer, when the options do not say
M.DEPTH_MAX = 10

---@class perilune.ListFilesOptions : perilune.BuiltinOptions
---@field roots string[] the folders it may list
---@field entries? integer most entries of one answer; default ENTRIES

local endings = { directory = "/", link = " (a link)", other = " (no file)" }


local function join(folder, name)
  return folder == "." and name or folder .. "/" .. name
end


-- Adds the entries of a folder to `walk.lines` and its folders to `next_level`; hidden ones are not entered.
local function list_one(walk, folder, next_level)
  local names, err = fs.list(join(walk.path, folder), { beneath = walk.root })
  if not names then
    return nil, err
  end
  for _, name in ipairs(names) do
    if #walk.lines == walk.entries then
      walk.is_cut = true
      return true
    end
    local path = join(folder, name)
    local stat = fs.stat(join(walk.path, path), { beneath = walk.root })
    if stat then
      walk.lines[#walk.lines + 1] = path .. (endings[stat.type] or (" (%d bytes)"):format(stat.size))
      if stat.type == "directory" and name:sub(1, 1) ~= "." then
        next_level[#next_level + 1] = path
      end
    end
  end
  return true
end


local function run(roots, entries, arguments)
  local root, path = roots_of.locate(roots, arguments.path or ".")
  if not root then
    return nil, path
  end
  local walk = { root = root, path = path, entries = entries, lines = {}, is_cut = false }
  local level, depth = { "." }, 0
  while #level > 0 and depth < (arguments.depth or 1) and not walk.is_cut do
    local next_level = {}
    for _, folder in ipairs(level) do
      local ok, err = list_one(walk, folder, next_level)
      if not ok and depth == 0 then -- a folder further down may have gone, or be somebody else's
        return nil, err
      end
    end
    level, depth = next_level, depth + 1
  end
  table.sort(walk.lines)
  if walk.is_cut then
    walk.lines[#walk.lines + 1] = ("[cut at %d entries: list a folder inside]"):format(entries)
  end
  return #walk.lines > 0 and table.concat(walk.lines, "\n") or "[the folder is empty]"
end


---A tool that lists folders.
---@param options perilune.ListFilesOptions
---@return perilune.Tool
function M.new(options)
  local where = "perilune.tools.list_files"
  options = settings.read(where, options, { roots = "table", entries = "integer" })
  local roots = roots_of.read(where, options)
  return definition.define {
    name = options.name or "list_files",
    description = "List the files of a folder, and of the folders inside it down to a depth. " .. roots_of.describe(roots),
    parameters = {
      path = "string?: the folder; default: all that is shared",
      depth = {
        type = "integer", minimum = 1, maximum = M.DEPTH_MAX, optional = true, description = "how many levels; default 1",
      },
    },
    idempotent = true,
    timeout = options.timeout or 30,
    approval = options.approval,
    run = function(arguments)
      return run(roots, options.entries or M.ENTRIES, arguments)
    end,
  }
end


return M
