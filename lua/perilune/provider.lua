-- perilune.provider: what provider files and scripts call. The registry returns `nil, err`; here a mistake raises, and names
-- the line that made it.
local check = require "perilune.std.check"
local registry = require "perilune.model.provider"

local M = {}


local function refuse(err)
  check.fail(err.message, 3)
end


---Makes a provider with a wire format of its own (docs/providers.md), and checks it.
---@param spec table api = 1, name, frame, encode, decoder, base_url?, key?, models?, quirks?, known_quirks?
---@return perilune.Provider
function M.new(spec)
  local provider, err = registry.new(spec)
  return provider or refuse(err)
end


---Makes a provider that speaks chat.completions: data, no code.
---@param spec { name: string, base_url: string, key: string?, models: string[]?, quirks: table?, responses: table? }
---@return perilune.Provider
function M.compatible(spec)
  local provider, err = registry.compatible(spec)
  return provider or refuse(err)
end


---Makes a provider like a known one, with other fields. `quirks` are added to those it has; with a new `base_url` the old key
---is not sent unless `key` says so.
---@param name string a known provider
---@param changes table fields of a provider; `name` must be among them
---@return perilune.Provider
function M.extend(name, changes)
  local provider, err = registry.extend(name, changes)
  return provider or refuse(err)
end


---Makes a provider known to this process. Files in the provider folders need no such call: what they return is known.
---@param spec perilune.Provider
---@return perilune.Provider
function M.register(spec)
  local provider, err = registry.register(spec)
  return provider or refuse(err)
end


return M
