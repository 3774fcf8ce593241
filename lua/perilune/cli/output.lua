-- What commands print: data on standard output, everything else on standard error.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"

local M = {}


-- What a program exits with that wrote to a pipe which nobody reads: 128 + SIGPIPE.
local NO_READER = 141


---Writes text to standard output. When nobody reads it any more (`| head -1`), the command ends without a word.
---@param text string
function M.write(text)
  local ok, err = proc.write(1, text)
  if ok then
    return
  elseif err.code == "closed" then
    error(errors.new { kind = "cancelled", code = "exit", exit_code = NO_READER, message = "nobody reads the output" }, 0)
  end
  err.message = "the output is not complete: " .. err.message
  error(err, 0)
end


---Writes one line to standard error.
---@param text string
function M.note(text)
  proc.write(2, text .. "\n")
end


---Writes a value as JSON.
---@param value any
function M.json(value)
  local text, err = json.encode(value, { pretty = true })
  if not text then
    error(err, 0)
  end
  M.write(text .. "\n")
end


---Writes rows as aligned columns.
---@param rows table[]
---@param columns { [1]: string, [2]: string|fun(row: table): any }[] heading and field, or a function of the row
function M.table(rows, columns)
  local widths, lines = {}, { {} }
  for index, column in ipairs(columns) do
    lines[1][index] = column[1]
  end
  for position, row in ipairs(rows) do
    local line = {}
    for index, column in ipairs(columns) do
      local value = column[2]
      if type(value) == "function" then
        value = value(row)
      else
        value = row[value]
      end
      line[index] = value == nil and "-" or tostring(value)
    end
    lines[position + 1] = line
  end
  for _, line in ipairs(lines) do
    for index, cell in ipairs(line) do
      widths[index] = math.max(widths[index] or 0, utf8.len(cell) or #cell)
    end
  end
  local out = {}
  for _, line in ipairs(lines) do
    local cells = {}
    for index, cell in ipairs(line) do
      local padding = index < #line and widths[index] - (utf8.len(cell) or #cell) or 0
      cells[index] = cell .. (" "):rep(padding)
    end
    out[#out + 1] = table.concat(cells, "  ")
  end
  M.write(table.concat(out, "\n") .. "\n")
end


---Nano-dollars as people read them.
---@param nano integer?
---@return string
function M.money(nano)
  return nano and ("$%.6f"):format(nano / 1e9) or "unknown"
end


return M
