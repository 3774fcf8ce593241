-- One configured Perilune: its settings and its database, opened when first needed. The façade has one for the scripts of a
-- process; tests and commands make their own.
local errors = require "perilune.std.errors"

local M = {}

local methods = {}
local metatable = { __name = "perilune.App", __index = methods }


---@class perilune.App
---@field settings perilune.Settings

---@param settings perilune.Settings
---@return perilune.App
function M.new(settings)
  settings.listed = settings.listed or {}
  return setmetatable({ settings = settings }, metatable)
end


---The database; opened, and brought up to date, by the first call.
---@return table db
function methods:database()
  while self.is_opening do
    self.opened = self.opened or require("perilune.sys.task").signal()
    self.opened:wait()
  end
  if not self.db then
    self.is_opening = true
    local db, err = require("perilune.store").open(self.settings.db)
    self.is_opening = nil
    if self.opened then
      self.opened:wake()
    end
    if not db then
      error(err, 0)
    end
    self.db = db
  end
  return self.db
end


---The connection to an MCP server of the configuration (`mcp = { files = { command = … } }`); made by the first call.
---@param name string
---@return perilune.mcp.Server
function methods:mcp(name)
  self.servers = self.servers or {}
  if not self.servers[name] then
    local options = { name = name }
    for option, value in pairs(self.settings.mcp[name]) do
      options[option] = value
    end
    local server = require("perilune.tool.mcp").connect(options)
    if self.servers[name] then -- another task was faster
      server:close()
    else
      self.servers[name] = server
    end
  end
  return self.servers[name]
end


---What works for this application beside the script: each of these tasks ends its errors itself. Closing ends them first.
---@return perilune.TaskGroup
function methods:background()
  self.tasks = self.tasks or require("perilune.sys.task").group()
  return self.tasks
end


local function end_all(tasks)
  local group <close> = tasks
  group:cancel("shutdown")
end


---The assistant of that name, see agent/registry.lua. Raises `not_found`.
---@param name string
---@return perilune.Assistant
function methods:assistant(name)
  return require("perilune.agent.registry").find(self, name)
end


---Closes what was opened.
function methods:close()
  local tasks = self.tasks
  self.tasks = nil
  if tasks then
    end_all(tasks)
  end
  for name, server in pairs(self.servers or {}) do
    self.servers[name] = nil
    server:close()
  end
  local db = self.db
  self.db = nil
  if db then
    db:close()
  end
end


metatable.__close = methods.close


local function load_providers(folders)
  local found = require("perilune.model.discovery").load(folders)
  for _, broken in ipairs(found.broken) do
    require("perilune.sys.log").write("warn", "provider", ("%s is skipped: %s"):format(broken.file, broken.error))
  end
  return found
end


---The providers of the user's files: known from here on. The folders are read by the first call, in a task of its own, so
---that whoever asks meanwhile waits for the same reading.
---@return perilune.Discovery
function methods:discover()
  local folders = self.settings.provider_folders or {}
  self.discovery = self.discovery or require("perilune.sys.task").spawn(load_providers, folders)
  return self.discovery:wait()
end


-- Names that scripts have given to models (perilune.alias) stand for those.
local function without_aliases(self, names)
  local aliases = require("perilune.agent.hooks").of(self).aliases
  if next(aliases) == nil then
    return names
  end
  local all = {}
  for _, name in ipairs(names) do
    local meant = aliases[name] or { name }
    table.move(meant, 1, #meant, #all + 1, all)
  end
  return all
end


---One model over these names: strings, or objects with `stream`. The first is what is asked; nil or false: nobody named a model, and
---the configured one is meant. Raises when nobody can be asked.
---@param names (string|table|false|nil)[]
---@param overrides? table settings of this model alone
---@return table model
---@return string name
function methods:model(names, overrides)
  local resolve = require "perilune.model.resolve" -- here: a script that asks no model need not load every provider
  self:discover()
  names = without_aliases(self, names)
  local settings = self.settings
  if overrides then
    settings = setmetatable(overrides, { __index = settings })
  end
  local model, name = resolve.model(names, settings)
  if not model then
    error(errors.wrap(name), 0)
  end
  return model, name
end


---The model of an assistant.
---@param assistant perilune.Assistant
---@return table model
---@return string name
function methods:model_of(assistant)
  return self:model { assistant.model or false, table.unpack(assistant.fallbacks) }
end


return M
