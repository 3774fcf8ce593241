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


---Closes what was opened.
function methods:close()
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


---One model over these names: strings, or objects with `stream`. The first is what is asked; nil or false: nobody named a model, and
---the configured one is meant. Raises when nobody can be asked.
---@param names (string|table|false|nil)[]
---@param overrides? table settings of this model alone
---@return table model
---@return string name
function methods:model(names, overrides)
  local resolve = require "perilune.model.resolve" -- here: a script that asks no model need not load every provider
  self:discover()
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
