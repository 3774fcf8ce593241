-- perilune.tools.write_file: text files in given folders, each written as a whole.
local definition = require "perilune.tool.definition"
local fs = require "perilune.sys.fs"
local roots_of = require "perilune.tool.builtin.roots"
local settings = require "perilune.tool.builtin.settings"

local M = {}

M.BYTES = 1024 * 1024 -- of one call, when the options do not say

---@class perilune.WriteFileOptions : perilune.BuiltinOptions
---@field roots string[] the folders it may write to
---@field bytes? integer more in one call is refused; default BYTES

local writers = {
  create = function(path, content, root)
    return fs.write(path, content, { beneath = root, new = true })
  end,
  overwrite = function(path, content, root)
    return fs.write(path, content, { beneath = root })
  end,
  append = function(path, content, root)
    return fs.append(path, content, { beneath = root })
  end,
}


local function run(roots, bytes, arguments)
  local content = arguments.content
  local root, path = roots_of.locate(roots, arguments.path)
  if not root then
    return nil, path
  elseif path == "." or path:find("/%.?$") then
    return settings.failure("path", arguments.path .. " names a folder, not a file")
  elseif #content > bytes then
    return settings.failure("limit", ("the content has %d bytes, more than %d"):format(#content, bytes))
  end
  local folder, ok, err = path:match("^(.*)/"), true, nil
  if folder then
    ok, err = fs.mkdir(folder, { beneath = root })
  end
  if ok then
    ok, err = writers[arguments.mode or "create"](path, content, root)
  end
  if not ok then
    return nil, err
  end
  return ("%s %d bytes to %s"):format(arguments.mode == "append" and "appended" or "wrote", #content, arguments.path)
end


---A tool that writes text files. Other processes see the old or the new contents, also after a crash.
---@param options perilune.WriteFileOptions
---@return perilune.Tool
function M.new(options)
  local where = "perilune.tools.write_file"
  options = settings.read(where, options, { roots = "table", bytes = "integer" })
  local roots = roots_of.read(where, options)
  return definition.define {
    name = options.name or "write_file",
    description = "Write a text file; folders on the way are made. " .. roots_of.describe(roots),
    parameters = {
      path = "string: the file",
      content = "string: what is written",
      mode = {
        type = "string", enum = { "create", "overwrite", "append" }, optional = true,
        description = "create (default) fails when the file exists, overwrite replaces all of it, append adds to its end",
      },
    },
    timeout = options.timeout or 30,
    approval = options.approval,
    run = function(arguments)
      return run(roots, options.bytes or M.BYTES, arguments)
    end,
  }
end


return M
