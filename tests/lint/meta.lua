-- Every function that src/api/l*.c registers is described in lua/perilune/meta/, and nothing is described that is not there.
local source = require "source"


-- The names in the luaL_Reg tables of a file, with their lines; metamethods are nobody's to call.
local function registered(file)
  local _, bare = source.cut(source.read(file), "c")
  local names, line_of = {}, source.line_counter(bare)
  for start, tables in bare:gmatch("%f[%w_]luaL_Reg%f[^%w_]()(.-);") do
    for at, name in tables:gmatch("(){%s*\"([%w_]+)\"%s*,") do
      if not name:find("^__") then
        names[#names + 1] = { name = name, line = line_of(start + at - 1), file = file }
      end
    end
  end
  return names
end


-- "src/api/lproc_self.c" and "src/api/lproc.c" are both described in meta/proc.lua.
local modules, order = {}, {}
for _, file in ipairs(source.files("src/api", "c")) do
  local module = file:match("^src/api/l(%l+)[_%l]*%.c$")
  if module then
    if not modules[module] then
      modules[module] = {}
      order[#order + 1] = module
    end
    table.move(registered(file), 1, #registered(file), #modules[module] + 1, modules[module])
  end
end

for _, module in ipairs(order) do
  local meta = ("lua/perilune/meta/%s.lua"):format(module)
  local functions = modules[module]
  if not source.exists(meta) then
    if functions[1] then
      source.report(functions[1].file, functions[1].line, "%s does not exist", meta)
    end
  else
    local text = source.read(meta)
    local code = source.cut(text, "lua")
    if not text:find("^%-%-%-@meta") then
      source.report(meta, 1, "must begin with ---@meta")
    end
    local is_registered = {}
    for _, entry in ipairs(functions) do
      is_registered[entry.name] = true
      if not code:find("function%s+[%w_.]+[.:]" .. entry.name .. "%s*%(") then
        source.report(entry.file, entry.line, "%s is not described in %s", entry.name, meta)
      end
    end
    local line_of = source.line_counter(code)
    for at, name in code:gmatch("()function%s+[%w_.]+[.:]([%w_]+)%s*%(") do
      local line = line_of(at)
      if not is_registered[name] then
        source.report(meta, line, "describes %s, which src/api/l%s.c does not register", name, module)
      end
    end
  end
end

source.finish()
