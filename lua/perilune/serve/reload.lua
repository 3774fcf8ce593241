-- The scripts of a server, loaded and loaded anew. A generation is what all scripts define together; it takes the place of the one before
-- when every script has loaded, and else nothing changes. Requests that are under way keep what they began with.
local defined = require "perilune.agent.defined"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local hooks = require "perilune.agent.hooks"
local housekeeping = require "perilune.serve.housekeeping"
local log = require "perilune.sys.log"
local task = require "perilune.sys.task"

local M = {}

---How often files are looked at with --watch.
M.WATCH_SECONDS = 1


local function compile(path)
  local text, err = fs.read(path)
  if not text then
    error(err, 0)
  end
  text = text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")
  local script, problem = load(text, "@" .. path, "t")
  if not script then
    error(errors.new { kind = "configuration", code = "syntax", message = problem }, 0)
  end
  return script
end


---Runs the scripts, which define assistants, routes and jobs.
---@param paths string[]
function M.load(paths)
  for _, path in ipairs(paths) do
    compile(path)()
  end
end


-- Modules of the scripts: they are read again with them. Those of the host stay.
local function forget_modules(kept)
  local forgotten = {}
  for name, module in pairs(package.loaded) do
    if not kept[name] then
      forgotten[name] = module
    end
  end
  for name in pairs(forgotten) do
    package.loaded[name] = nil
  end
  return forgotten
end


local function is_of_the_host(name)
  return name == "perilune" or name:find("^perilune%.") ~= nil
end


---What is loaded now, before any script is: these modules are never read again.
---@return table<string, true>
function M.loaded()
  local kept = {}
  for name in pairs(package.loaded) do
    kept[name] = true
  end
  return setmetatable(kept, { __index = function(_, name)
    return is_of_the_host(name) or nil
  end })
end


-- Loads all scripts into a draft, and makes routes of it.
local function load_draft(server, paths, kept)
  local modules = forget_modules(kept)
  local fresh = hooks.none()
  defined.begin(fresh)
  local ok, err = pcall(function()
    M.load(paths)
    server:load_routes()
  end)
  defined.finish(ok)
  if ok then
    server.app.hooks = fresh
    return true
  end
  for name, module in pairs(modules) do
    package.loaded[name] = module
  end
  return false, err
end


local loading -- a signal, while scripts are loaded anew


---Loads the scripts anew. When one fails everything stays as it was, and the log says why. Requests that come meanwhile get what was
---loaded before.
---@param server perilune.Server
---@param paths string[]
---@param kept table<string, true>
---@return boolean
function M.reload(server, paths, kept)
  while loading do
    loading:wait()
  end
  local loaded = task.signal()
  loading = loaded
  local ok, err = load_draft(server, paths, kept)
  loading = nil
  loaded:wake()
  if not ok then
    log.write("error", "serve", "the scripts could not be loaded anew; what was loaded before stays: " .. errors.wrap(err).message)
    return false
  end
  server:forget_models()
  housekeeping.start_jobs(server)
  log.write("info", "serve", ("%d scripts were loaded anew"):format(#paths))
  return true
end


-- The files of the scripts, and of the modules that they have loaded; `known` keeps where a module was found.
local function files_of(paths, kept, known)
  local files = table.move(paths, 1, #paths, 1, {})
  for name in pairs(package.loaded) do
    if not kept[name] then
      known[name] = known[name] or package.searchpath(name, package.path) or ""
      files[#files + 1] = known[name] ~= "" and known[name] or nil
    end
  end
  return files
end


-- Has a file changed since it was seen last? `seen` is what is known of each; one that is new has not.
local function look(files, seen)
  local has_changed = false
  for _, path in ipairs(files) do
    local found = fs.stat(path)
    local stamp = found and ("%.6f:%d"):format(found.modified, found.size) or "none"
    has_changed = has_changed or seen[path] ~= nil and seen[path] ~= stamp
    seen[path] = stamp
  end
  return has_changed
end


---Loads the scripts anew whenever one of their files, or of the modules that they require, has changed; for ever.
---@param server perilune.Server
---@param paths string[]
---@param kept table<string, true>
function M.watch(server, paths, kept)
  local known, seen = {}, {}
  look(files_of(paths, kept, known), seen)
  while true do
    task.sleep(M.WATCH_SECONDS)
    if look(files_of(paths, kept, known), seen) then
      M.reload(server, paths, kept)
    end
  end
end


return M
