-- docs/faults.md as data: its rows and the names in its scripts. Whatever it does not understand is an error: a line that is not
-- read would be a line that is not played.
local fs = require "perilune.sys.fs"

local M = {}

local PATH = "docs/faults.md"

local placeholders = { DATA = true, WORDS = true, CALL = true }

-- What stands in front of a script, and how many words belong to it.
local prefixes = { https = 0, tls = 1, names = 1, warm = 0, long = 0, everywhere = 0 }


---@class tests.faults.Does what becomes of a request
---@field becomes "answer"|"next"|"fail"|"cut"
---@field again boolean|"maybe_billed"
---@field after number seconds before it is asked again, at least
---@field text string of an answer
---@field kind? string
---@field code? string

---@class tests.faults.Row
---@field number integer
---@field name string the line as a title
---@field plays table prefixes by name, and `script`
---@field limit? { [1]: string, [2]: number }
---@field streamed tests.faults.Does
---@field whole tests.faults.Does
---@field charged string
---@field tools? { run: integer, wrong: integer }

local function fail(line, problem)
  error(("%s: %s: %s"):format(PATH, problem, line), 0)
end


local function cells_of(line)
  local cells = {}
  for cell in line:gmatch("|([^|]*)") do
    cells[#cells + 1] = cell:match("^%s*(.-)%s*$")
  end
  cells[#cells] = nil -- what follows the last bar
  return cells
end


local function code_of(cell, line)
  return cell:match("^`(.+)`$") or fail(line, "no script")
end


local function unescape(text)
  return (text:gsub("\\u{(%x+)}", function(digits)
    return utf8.char(tonumber(digits, 16))
  end))
end


local function parse_does(text, line)
  local again_answered, answered = text:match("^(.-)answer(.*)$")
  if answered then
    local quoted = answered:match('^ "(.*)"$')
    local said = quoted and unescape(quoted) or "one two three four"
    return { becomes = "answer", again = again_answered == "again: ", after = 0, text = said }
  end
  local before, becomes, kind, code = text:match("^(.-)(%l+): ([%l_]+) ?([%l_]*)$")
  local again = { [""] = false, ["again, "] = true, ["(again,) "] = "maybe_billed" }
  local seconds = before and before:match("^again after ([%d.]+) s, $")
  local does = {
    becomes = becomes, again = seconds ~= nil or again[before], after = tonumber(seconds or 0), kind = kind,
    code = code ~= "" and code or nil,
  }
  if does.again == nil or becomes ~= "next" and becomes ~= "fail" and becomes ~= "cut" then
    fail(line, "unknown words '" .. text .. "'")
  end
  return does
end


local function parse_plays(script)
  local plays = {}
  while true do
    local word, rest = script:match("^(%l+) ?(.*)$")
    if not prefixes[word] then
      plays.script = script
      return plays
    end
    plays[word] = true
    if prefixes[word] == 1 then
      plays[word], rest = rest:match("^(%l+) ?(.*)$")
    end
    script = rest
  end
end


-- A line of a table of faults, by the names of its columns.
local function parse_row(columns, cells, line)
  local cell = {}
  for position, name in ipairs(columns) do
    cell[name] = cells[position]
  end
  local row = { number = math.tointeger(tonumber(cell["#"])), name = ("%s: %s"):format(cell["#"], cell.fault), charged = cell.charged }
  if not cell.plays then
    return row
  end
  row.plays = parse_plays(code_of(cell.plays, line))
  if (cell.limit or "") ~= "" then
    local name, seconds = cell.limit:match("^([%l_]+) ([%d.]+)$")
    row.limit = { name, tonumber(seconds) }
  end
  local streamed, whole = cell.does:match("^streamed (.+); whole (.+)$")
  row.streamed, row.whole = parse_does(streamed or cell.does, line), parse_does(whole or cell.does, line)
  if cell.tools then
    row.tools = { run = tonumber(cell.tools:match("(%d+) runs?") or 0), wrong = tonumber(cell.tools:match("(%d+) wrong") or 0) }
  end
  return row
end


local function parse_name(cells, names, line)
  local name, argument = code_of(cells[1], line):match("^(%l+) ?(%u*)$")
  if argument ~= "" and not placeholders[argument] then
    fail(line, "unknown argument")
  end
  local streamed = code_of(cells[2], line)
  local whole = cells[3] == "the same" and streamed or code_of(cells[3], line)
  names.streamed[name] = { script = streamed, argument = argument }
  names.whole[name] = { script = whole, argument = argument }
end


---Reads the file.
---@return tests.faults.Row[] rows
---@return { streamed: table, whole: table } names for `expand`
---@return table<integer, string> titles by number, of its last line
function M.read()
  local rows, names, columns = {}, { streamed = {}, whole = {} }, nil
  for line in assert(fs.read(PATH)):gmatch("[^\n]*") do
    local cells = line:sub(1, 1) == "|" and cells_of(line)
    if not cells then
      columns = nil
    elseif not columns then
      columns = cells
    elseif not cells[1]:find("^%-+$") then -- the line below the head of a table
      if columns[1] == "#" then
        rows[#rows + 1] = parse_row(columns, cells, line)
      elseif columns[1] == "name" then
        parse_name(cells, names, line)
      end
    end
  end
  local titles = {}
  for _, row in ipairs(rows) do
    titles[row.number] = row.name
  end
  return rows, names, titles
end


---A script without names, as the server understands it.
---@param script string
---@param names table<string, table> those of the streamed or of the whole form
---@return string
function M.expand(script, names)
  local parts, at = {}, 1
  local function take_text()
    local text, after = script:match("^ *('[^']*')()", at)
    at = after or at
    return text
  end
  while at <= #script do
    local word, after = script:match("^ *([^ ']+)()", at)
    local text = not word and take_text()
    local name = word and names[word]
    at = after or at
    if name and name.argument ~= "" then
      local argument = assert(take_text(), word .. " has no argument"):sub(2, -2)
      local body = name.script:gsub(name.argument, function()
        return argument
      end)
      parts[#parts + 1] = M.expand(body, names)
    else
      parts[#parts + 1] = name and M.expand(name.script, names) or word or assert(text, "what is " .. script:sub(at))
    end
  end
  return table.concat(parts, " ")
end


return M
