-- The models that a server can be asked for: those of the providers that can be called, aliases, and assistants. Providers are asked for
-- their lists beside the requests; whoever is slow is left out until it has answered.
local catalogue = require "perilune.model.catalogue"
local clock = require "perilune.sys.clock"
local configured = require "perilune.model.configured"
local defined = require "perilune.agent.defined"
local hooks = require "perilune.agent.hooks"
local registry = require "perilune.agent.registry"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.model_list", __index = methods }

-- How long a request waits for the first lists, and how long they are believed.
local WAIT_SECONDS, FRESH_SECONDS = 2, 300

local ASSISTANTS_MAX = 1000


---@class perilune.serve.ListedModel
---@field id string as clients name it
---@field owner string
---@field created integer
---@field kind? string

---@param server perilune.Server
---@return table model_list
function M.new(server)
  return setmetatable({ server = server, at = -math.huge, came = task.signal(), began = math.floor(clock.wall()) }, metatable)
end


local function read(self)
  self.entries, self.at = (catalogue.list(self.server.settings)), clock.mono()
  self.reading = nil
  self.came:wake()
end


-- What is known without asking anybody.
local function known(settings)
  local entries = {}
  for _, found in ipairs(configured.providers()) do
    if not found.key or settings.env(found.key) then
      for _, model in ipairs(found.models) do
        entries[#entries + 1] = { id = found.name .. "/" .. model, provider = found.name, kind = "chat" }
      end
    end
  end
  return entries
end


local function entries_of(self)
  if clock.mono() - self.at > FRESH_SECONDS and not self.reading then
    self.server.app:discover()
    self.reading = task.spawn(read, self)
  end
  if not self.entries then
    self.came:wait(WAIT_SECONDS)
  end
  return self.entries or known(self.server.settings)
end


-- Names of assistants that this account may see.
local function assistants_of(self, account)
  local seen = {}
  for _, name in ipairs(defined.names()) do
    seen[name] = self.began
  end
  for _, row in ipairs(registry.list(self.server.app, { limit = ASSISTANTS_MAX })) do
    if not account or not row.account or row.account == account then
      seen[row.name] = seen[row.name] or math.floor(row.created_at)
    end
  end
  return seen
end


---Every model that a key may ask, in a stable order: assistants, aliases, then what the providers have.
---@param exchange perilune.Exchange
---@return perilune.serve.ListedModel[]
function methods:list(exchange)
  local list = {}
  local function add(id, owner, created, kind)
    if exchange:may_use(id) then
      list[#list + 1] = { id = id, owner = owner, created = created, kind = kind }
    end
  end
  local assistants = assistants_of(self, exchange.key.account)
  for _, name in ipairs(tables.sorted_keys(assistants)) do
    add("assistant/" .. name, "assistant", assistants[name], "assistant")
  end
  for _, name in ipairs(tables.sorted_keys(hooks.of(self.server.app).aliases)) do
    add(name, "alias", self.began, "chat")
  end
  for _, entry in ipairs(entries_of(self)) do
    add(entry.id or entry.provider .. "/" .. entry.model, entry.provider, self.began, entry.kind)
  end
  return list
end


return M
