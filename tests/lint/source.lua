-- What the checks share: lists of files, and sources with their comments and strings blanked out (same length, same lines).
local M = {}

local problems = 0


---Prints a problem as file:line: text.
function M.report(file, line, message, ...)
  problems = problems + 1
  print(("%s:%d: %s"):format(file, line, message:format(...)))
end


---Ends a check: exit code 1 if it reported anything.
function M.finish()
  os.exit(problems == 0)
end


---The files below the folders whose names end in one of the extensions, sorted. Folders that do not exist are empty.
function M.files(folders, ...)
  local names = {}
  for i, extension in ipairs { ... } do
    names[i] = ("-name '*.%s'"):format(extension)
  end
  local command = ("find %s -type f \\( %s \\) 2>/dev/null | LC_ALL=C sort"):format(folders, table.concat(names, " -o "))
  local list = {}
  for file in io.popen(command):lines() do
    list[#list + 1] = file
  end
  return list
end


function M.exists(file)
  local handle = io.open(file, "rb")
  return handle ~= nil and handle:close()
end


function M.read(file)
  local handle = assert(io.open(file, "rb"))
  local text = handle:read("a")
  handle:close()
  return text
end


---Which line a position is on. Positions must be asked for in ascending order.
function M.line_counter(text)
  local line, at = 1, 1
  return function(position)
    while true do
      local newline = text:find("\n", at, true)
      if not newline or newline >= position then
        return line
      end
      line, at = line + 1, newline + 1
    end
  end
end


-- Where the token that starts here ends, and whether it is a comment or a string; nil for code.
local scan = {}


function scan.c(text, at)
  if text:find("^//", at) then
    return (text:find("\n", at, true) or #text + 1) - 1, "comment"
  elseif text:find("^/%*", at) then
    return select(2, text:find("*/", at + 2, true)) or #text, "comment"
  end
  local quote = text:match("^[\"']", at)
  if quote then
    local stop = at + 1
    while stop <= #text and text:sub(stop, stop) ~= quote do
      stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
    end
    return math.min(stop, #text), "string"
  end
end


function scan.lua(text, at)
  local is_comment = text:find("^%-%-", at)
  local level = text:match("^%[(=*)%[", is_comment and at + 2 or at)
  if level then
    return select(2, text:find("]" .. level .. "]", at, true)) or #text, is_comment and "comment" or "string"
  elseif is_comment then
    return (text:find("\n", at, true) or #text + 1) - 1, "comment"
  elseif text:find("^[\"']", at) then
    return scan.c(text, at)
  end
end


local function blank(text)
  return (text:gsub("[^\n]", " "))
end


---Cuts a source: `code` has neither comments nor strings, `bare` has no comments; `strings` is a list of { at, text }.
---@param language "c"|"lua"
function M.cut(text, language)
  local code, bare, strings = {}, {}, {}
  local at = 1
  while at <= #text do
    local plain = text:find("[/\"'%-%[]", at) or #text + 1
    code[#code + 1] = text:sub(at, plain - 1)
    bare[#bare + 1] = text:sub(at, plain - 1)
    local stop, kind = scan[language](text, plain)
    local token = text:sub(plain, stop or plain)
    code[#code + 1] = kind and blank(token) or token
    bare[#bare + 1] = kind == "comment" and blank(token) or token
    if kind == "string" then
      strings[#strings + 1] = { at = plain, text = token }
    end
    at = (stop or plain) + 1
  end
  return table.concat(code), table.concat(bare), strings
end


return M
