-- The picture of the design, checked: includes and requires point down only, nothing goes round in circles.
local source = require "source"

-- C: which folders (or single headers) the files of a folder may include.
local may_include = {
  base = { "base/" },
  failover = { "base/", "failover/" },
  io = { "base/", "io/" },
  store = { "base/", "store/", "io/loop.h" },
  script = { "base/", "failover/", "io/", "store/", "script/" },
  api = { "base/", "failover/", "io/", "store/", "script/", "api/" },
  main = { "" },
}

-- Foreign headers and the folders that may see them.
local owners = {
  { "^uv%.h$", io = true },
  { "^curl/", io = true },
  { "^sqlite3%.h$", store = true },
  { "^libpq%-fe%.h$", store = true },
  { "^lua%.h$", script = true, api = true, main = true },
  { "^lauxlib%.h$", script = true, api = true, main = true },
  { "^lualib%.h$", script = true, api = true, main = true },
}

-- Services of io/ that must not know each other; each may have several files ("serve_conn.c").
local services = { fetch = true, serve = true, proc = true, file = true }

-- Lua: the layer of a module is that of its longest prefix here.
local layer_of_prefix = {
  ["perilune.sys"] = "sys",
  ["perilune.json"] = "std",
  ["perilune.std"] = "std",
  ["perilune.net"] = "net",
  ["perilune.log"] = "net",
  ["perilune.config"] = "agent",
  ["perilune.model"] = "model",
  ["perilune.model.provider"] = "provider",
  ["perilune.tool"] = "tool",
  ["perilune.store"] = "store",
  ["perilune.agent"] = "agent",
  ["perilune.client"] = "agent",
  ["perilune.app"] = "agent",
  ["perilune.provider"] = "agent",
  ["perilune.testing"] = "testing",
  ["perilune.serve"] = "serve",
  ["perilune"] = "facade",
  ["perilune.cli"] = "cli",
  ["perilune.boot"] = "boot",
}

-- What a layer may require: layers, or single modules.
local below_agent = "std sys net model provider tool store"
local may_require = {
  std = "std perilune.sys.json perilune.sys.task perilune.sys.token",
  net = "std sys net",
  provider = "std provider perilune.model.event perilune.model.message perilune.model.request perilune.model.response "
    .. "perilune.model.shape perilune.model.usage",
  model = "std sys net model provider",
  tool = "std sys net tool",
  store = "std sys net store",
  agent = below_agent .. " agent",
  testing = below_agent .. " agent testing",
  facade = below_agent .. " agent facade",
  serve = below_agent .. " agent serve",
  cli = below_agent .. " agent facade serve testing cli",
  boot = below_agent .. " agent facade serve testing cli",
}

-- Foreign Lua modules and the one module that may load them.
local foreign = { ["busted"] = "perilune.cli.test", ["busted.runner"] = "perilune.cli.test" }


local function starts_with(text, prefix)
  return text:sub(1, #prefix) == prefix
end


-- C

local function check_own_include(file, line, folder, name, included)
  local inside = false
  for _, prefix in ipairs(may_include[folder] or {}) do
    inside = inside or starts_with(included, prefix)
  end
  local other_folder, other = included:match("^(%w+)/(.*)%.h$")
  if not inside then
    source.report(file, line, "%s may not include %s", folder, other_folder == folder and included or other_folder or included)
  elseif folder == "io" and other_folder == "io" then
    local service, other_service = name:match("^%a+"), other:match("^%a+")
    if services[service] and services[other_service] and service ~= other_service then
      source.report(file, line, "io/%s may not include io/%s", service, other_service)
    end
  elseif folder == "api" and other_folder == "api" and other ~= "api" and other:match("^l%a+") ~= name:match("^l%a+") then
    source.report(file, line, "api/%s may not include api/%s", name, other)
  end
end


local function check_include(file, line, folder, name, quote, included)
  if quote == "<" then
    for _, owner in ipairs(owners) do
      if included:find(owner[1]) and not owner[folder] then
        source.report(file, line, "%s may not include %s", folder, included)
      end
    end
    return
  end
  if starts_with(included, "../") then
    included = included:sub(4)
  elseif folder ~= "main" and not included:find("/") then
    included = folder .. "/" .. included
  end
  check_own_include(file, line, folder, name, included)
end


local function check_c()
  for _, file in ipairs(source.files("src", "c", "h")) do
    local folder, name = file:match("^src/(%w+)/(.*)%.[ch]$")
    if not folder then
      folder, name = "main", "main"
    elseif not may_include[folder] then
      source.report(file, 1, "unknown layer '%s': add it to tests/lint/layers.lua", folder)
    end
    local line = 0
    local _, bare = source.cut(source.read(file), "c")
    for text in (bare .. "\n"):gmatch("(.-)\n") do
      line = line + 1
      local quote, included = text:match("^%s*#%s*include%s*([\"<])([^\">]+)")
      if included then
        check_include(file, line, folder, name, quote, included)
      end
    end
  end
end


-- Lua

local function layer_of(module)
  local prefix = module
  while prefix do
    if layer_of_prefix[prefix] and (prefix ~= "perilune" or module == "perilune") then
      return layer_of_prefix[prefix]
    end
    prefix = prefix:match("^(.*)%.[^.]*$")
  end
end


local function is_allowed(layer, module)
  for word in may_require[layer]:gmatch("%S+") do
    if word == module or word == layer_of(module) then
      return true
    end
  end
  return false
end


local function check_require(file, line, module, required)
  local layer = layer_of(module)
  if not starts_with(required .. ".", "perilune.") then
    if foreign[required] ~= module then
      source.report(file, line, "%s may not require %s: only perilune.* is part of the program", module, required)
    end
  elseif not layer_of(required) then
    source.report(file, line, "unknown layer of %s: add it to tests/lint/layers.lua", required)
  elseif layer and not is_allowed(layer, required) then
    source.report(file, line, "%s may not require %s", layer, required)
  end
end


-- The part of a path that begins with `name`, as text.
local function circle(path, name)
  for i, step in ipairs(path) do
    if step == name then
      return table.concat(path, " -> ", i) .. " -> " .. name
    end
  end
end


-- Depth first; `state` is "open" on the way down and "done" afterwards.
local function find_cycle(modules, state, path, module)
  state[module] = "open"
  path[#path + 1] = module
  for _, edge in ipairs(modules[module].requires) do
    if state[edge.to] == "open" then
      source.report(modules[module].file, edge.line, "requires go round: %s", circle(path, edge.to))
    elseif modules[edge.to] and not state[edge.to] then
      find_cycle(modules, state, path, edge.to)
    end
  end
  path[#path] = nil
  state[module] = "done"
end


local function check_lua()
  local modules, names = {}, {}
  for _, file in ipairs(source.files("lua", "lua")) do
    local module = file:match("^lua/(.*)%.lua$"):gsub("/init$", ""):gsub("/", ".")
    if not starts_with(module, "perilune.meta.") then
      local requires = {}
      modules[module] = { file = file, requires = requires }
      names[#names + 1] = module
      if not layer_of(module) then
        source.report(file, 1, "unknown layer of %s: add it to tests/lint/layers.lua", module)
      end
      local _, bare = source.cut(source.read(file), "lua")
      local line_of = source.line_counter(bare)
      for at, required in bare:gmatch("()%f[%w_]require%s*%(?%s*[\"']([^\"']+)[\"']") do
        local line = line_of(at)
        check_require(file, line, module, (required:gsub("%.$", "")))
        requires[#requires + 1] = { to = required, line = line } -- "perilune.cli." .. name: nobody's name, so in no circle
      end
    end
  end
  local state = {}
  for _, module in ipairs(names) do
    if not state[module] then
      find_cycle(modules, state, {}, module)
    end
  end
end


check_c()
check_lua()
source.finish()
