-- The folders that file tools may use. What keeps a path inside of them is `beneath` of perilune.sys.fs; here it is only said
-- which root a path means.
local settings = require "perilune.tool.builtin.settings"

local M = {}


---The option `roots` as absolute paths.
---@param where string
---@param options table
---@return string[]
function M.read(where, options)
  local roots = {}
  for i, path in ipairs(settings.list(where, options, "roots", "string")) do
    roots[i] = settings.folder(where .. ": roots", path)
  end
  return roots
end


---What the model must know about its paths.
---@param roots string[]
---@return string
function M.describe(roots)
  if #roots == 1 then
    return "Paths are relative to the folder that is shared with you."
  end
  return ("Paths are relative to %s, or absolute and inside of one of: %s."):format(roots[1], table.concat(roots, ", "))
end


-- "/srv/data/x" in "/srv/data" is "x".
local function inside(root, path)
  local prefix = root == "/" and root or root .. "/"
  if path == root then
    return "."
  elseif path:sub(1, #prefix) == prefix then
    return path:sub(#prefix + 1)
  end
end


---The root that a path means, and the path relative to it. The root is for `beneath`, which refuses what would leave it.
---@param roots string[]
---@param path string
---@return string? root
---@return string|perilune.Error path_or_err
function M.locate(roots, path)
  if path == "" then
    return roots[1], "."
  elseif path:find("\0", 1, true) then
    return settings.failure("path", "a path contains no NUL")
  elseif path:sub(1, 1) ~= "/" then
    return roots[1], path
  end
  for _, root in ipairs(roots) do
    local rest = inside(root, path)
    if rest then
      return root, rest:gsub("^/+", "")
    end
  end
  return settings.failure("path", path .. " is refused: it is not inside of a folder that this tool may use")
end


return M
