-- The longest functions and files against the aims of the style: C 70 lines a function and 600 a file, Lua 50 and 400.
-- Aims, not fences: nothing fails here. A Lua function counts whole, with the functions inside it.
local source = require "source"

local LISTED = 10
local aims = {
  { language = "C", folders = "src", extensions = { "c" }, function_lines = 70, file_lines = 600 },
  { language = "Lua", folders = "lua", extensions = { "lua" }, function_lines = 50, file_lines = 400 },
}

local functions_in = {}


local function lines_of(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end


-- A C function is what stands between a { and a } that are alone in the first column; its name is above.
function functions_in.C(file, found)
  local lines = lines_of((source.cut(source.read(file), "c")))
  local start
  for number, line in ipairs(lines) do
    if line:find("^{") then
      start = number
    elseif line:find("^}%s*$") and start then
      local above = start - 1
      while above > 1 and not lines[above]:find("^[%a_].*%(") do
        above = above - 1
      end
      found[#found + 1] = { lines = number - above + 1, where = ("%s:%d"):format(file, above), name = lines[above]:match("([%w_]+)%s*%(") }
      start = nil
    end
  end
end


-- A Lua function of a module begins and ends in the first column.
function functions_in.Lua(file, found)
  local start, name
  for number, line in ipairs(lines_of((source.cut(source.read(file), "lua")))) do
    local here = line:match("^local%s+function%s+([%w_]+)") or line:match("^function%s+([%w_.:]+)")
      or line:match("^([%w_.]+)%s*=%s*function") or line:match("^return%s+(function)")
    if here and not line:find("%f[%w_]end%s*$") then
      start, name = number, here
    elseif line:find("^end") and start then
      found[#found + 1] = { lines = number - start + 1, where = ("%s:%d"):format(file, start), name = name }
      start = nil
    end
  end
end


local function print_longest(title, list, aim)
  table.sort(list, function(a, b)
    return a.lines > b.lines or a.lines == b.lines and a.where < b.where
  end)
  local over = 0
  for _, entry in ipairs(list) do
    over = over + (entry.lines > aim and 1 or 0)
  end
  local function at(share)
    return list[#list - math.floor((#list - 1) * share)].lines
  end
  print(("%s: %d, median %d, 90 %% at most %d, %d over the aim of %d"):format(title, #list, at(0.5), at(0.9), over, aim))
  for i = 1, math.min(LISTED, #list) do
    local entry = list[i]
    print(("  %4d %s %s %s"):format(entry.lines, entry.lines > aim and "!" or " ", entry.where, entry.name or ""))
  end
end


for _, aim in ipairs(aims) do
  local files, functions = {}, {}
  for _, file in ipairs(source.files(aim.folders, table.unpack(aim.extensions))) do
    files[#files + 1] = { lines = #lines_of(source.read(file)), where = file }
    functions_in[aim.language](file, functions)
  end
  if #files > 0 and #functions > 0 then
    print_longest(aim.language .. " functions", functions, aim.function_lines)
    print_longest(aim.language .. " files", files, aim.file_lines)
  end
end
