-- perilune.tools.read_file: text files in given folders, a piece at a time.
local definition = require "perilune.tool.definition"
local fs = require "perilune.sys.fs"
local roots_of = require "perilune.tool.builtin.roots"
local settings = require "perilune.tool.builtin.settings"
local text = require "perilune.std.text"

local M = {}

M.BYTES = 10 * 1024 * 1024 -- of a file, when the options do not say
M.LINES = 2000 -- of one answer, when the model does not say
M.ANSWER_BYTES = 48 * 1024 -- of one answer; less than what a tool's result may have, so that the note below fits

---@class perilune.ReadFileOptions : perilune.BuiltinOptions
---@field roots string[] the folders it may read
---@field bytes? integer a larger file is refused; default BYTES


-- The lines from `first` on that fit, and the number of the last one. A line that is longer than all is cut.
local function piece(content, first, lines_max)
  local from, number = 1, 1
  while number < first do
    local line_end = content:find("\n", from, true)
    if not line_end or line_end == #content then
      return nil, number
    end
    from, number = line_end + 1, number + 1
  end
  local to, last = from - 1, first - 1
  while to < #content and last - first + 1 < lines_max do
    local line_end = content:find("\n", to + 1, true) or #content
    if line_end - from >= M.ANSWER_BYTES then
      break
    end
    to, last = line_end, last + 1
  end
  if last < first then
    local line_end = content:find("\n", from, true) or #content + 1
    local shown = text.truncate(content:sub(from, line_end - 1), M.ANSWER_BYTES)
    return ("%s\n[line %d is cut: it has %d bytes]\n"):format(shown, first, line_end - from), first, line_end >= #content
  end
  return content:sub(from, to), last, to == #content
end


local function is_text(content)
  return not content:find("\0", 1, true) and text.is_utf8(content)
end


local function run(roots, bytes, arguments)
  local root, path = roots_of.locate(roots, arguments.path)
  if not root then
    return nil, path
  end
  local content, err = fs.read(path, { beneath = root, bytes = bytes })
  if not content then
    return nil, err
  elseif not is_text(content) then
    return settings.failure("binary", ("%s is not text in UTF-8 (%d bytes)"):format(arguments.path, #content))
  elseif content == "" then
    return "[the file is empty]"
  end
  local first = arguments.offset or 1
  local shown, last, is_end = piece(content, first, arguments.limit or M.LINES)
  if not shown then
    return settings.failure("offset", ("%s has only %d lines"):format(arguments.path, last))
  elseif is_end then
    return shown
  end
  local line_break = shown:sub(-1) == "\n" and "" or "\n"
  return ("%s%s[lines %d to %d; there is more, go on with offset %d]"):format(shown, line_break, first, last, last + 1)
end


---A tool that reads text files.
---@param options perilune.ReadFileOptions
---@return perilune.Tool
function M.new(options)
  local where = "perilune.tools.read_file"
  options = settings.read(where, options, { roots = "table", bytes = "integer" })
  local roots = roots_of.read(where, options)
  return definition.define {
    name = options.name or "read_file",
    description = "Read a text file, or some lines of it. " .. roots_of.describe(roots),
    parameters = {
      path = "string: the file",
      offset = { type = "integer", minimum = 1, optional = true, description = "the first line to read, from 1" },
      limit = { type = "integer", minimum = 1, optional = true, description = "how many lines to read" },
    },
    idempotent = true,
    timeout = options.timeout or 30,
    approval = options.approval,
    run = function(arguments)
      return run(roots, options.bytes or M.BYTES, arguments)
    end,
  }
end


return M
