-- Which tools of a server may be called: those that are what they were when they were first seen. The sha256 of name,
-- description and schema is what is approved; one that appears or changes later waits for `approve`. A file keeps this over
-- restarts: { "<server>": { "<tool>": "<sha256>" } }, one for several servers if you like.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local text = require "perilune.std.text"
local token = require "perilune.sys.token"

local M = {}

local methods = {}
local metatable = { __name = "perilune.mcp.Pins", __index = methods }

local FILE_MODE = tonumber("600", 8)


---@param definition table a tool as the server describes it
---@return string hex
function M.digest(definition)
  local pinned = { name = definition.name, description = definition.description, inputSchema = definition.inputSchema }
  return token.sha256(assert(json.encode(pinned)))
end


local function bad_file(path, message)
  return nil, errors.new { kind = "configuration", message = ("the pins in %s: %s"):format(path, message) }
end


-- All servers of the file; an empty table when there is none yet. What cannot be read is never taken for "nothing approved".
local function read_file(path)
  local content, err = fs.read(path)
  if not content then
    if err.kind == "not_found" then
      return {}
    end
    return bad_file(path, err.message)
  end
  local all
  all, err = json.decode(content)
  if err then
    return bad_file(path, err.message)
  end
  for _, pins in pairs(type(all) == "table" and all or { false }) do
    if type(pins) ~= "table" then
      return bad_file(path, "this is not { server = { tool = sha256 } }")
    end
  end
  return all
end


local function save(self)
  if not self.path then
    return true
  end
  local all, err = read_file(self.path)
  if not all then
    return nil, err
  end
  all[self.server] = self.approved
  return fs.write(self.path, assert(json.encode(all, { pretty = true })) .. "\n", { mode = FILE_MODE })
end


---@class perilune.mcp.Pins
---@field seen table<string, { definition: table, digest: string }> the tools of the server, as it describes them now
---@field order string[] their names, in the server's order
---@field approved? table<string, string> name -> digest; nil: nothing was ever seen

---@param server string
---@param path? string
---@return perilune.mcp.Pins?
---@return perilune.Error?
function M.open(server, path)
  local all, err = {}, nil
  if path then
    all, err = read_file(path)
  end
  if not all then
    return nil, err
  end
  return setmetatable({ server = server, path = path, approved = all[server], seen = {}, order = {}, told = {} }, metatable)
end


-- "new", "changed", or nil for one that may be called.
local function state_of(self, name)
  local pinned = self.approved[name]
  if pinned == self.seen[name].digest then
    return nil
  end
  return pinned and "changed" or "new"
end


-- One that may not be called is told once.
local function tell(self, name)
  local state, digest = state_of(self, name), self.seen[name].digest
  if state and self.told[name] ~= digest then
    self.told[name] = digest
    log.write("warn", "mcp", ("%s: the tool '%s' is %s and is not called until it is approved (server:approve %q)"):format(
      self.server, name, state == "new" and "new" or "not what it was: its description or schema has changed", name))
  end
end


---Takes the server's list of tools. The first one ever is approved as it is.
---@param definitions table[]
---@return true?
---@return perilune.Error?
function methods:look(definitions)
  local seen, order = {}, {}
  for _, definition in ipairs(definitions) do
    local name = type(definition) == "table" and definition.name
    if type(name) == "string" and not seen[name] then
      seen[name] = { definition = definition, digest = M.digest(definition) }
      order[#order + 1] = name
    end
  end
  self.seen, self.order = seen, order
  if not self.approved then
    self.approved = {}
    for name, one in pairs(seen) do
      self.approved[name] = one.digest
    end
    return save(self)
  end
  for _, name in ipairs(order) do
    tell(self, name)
  end
  return true
end


---The description of a tool that may be called now.
---@param name string
---@return table? definition
---@return perilune.Error?
function methods:check(name)
  local one = self.seen[name]
  if not one then
    return nil, errors.new {
      kind = "tool", code = "gone", message = ("MCP server '%s' does not offer the tool '%s' any more"):format(self.server, name),
    }
  end
  local state = state_of(self, name)
  if state then
    return nil, errors.new {
      kind = "permission", code = "not_approved",
      message = ("the tool '%s' of MCP server '%s' %s; it is not called until its user approves it"):format(name, self.server,
        state == "new" and "is new" or "has changed its description or schema since it was approved"),
    }
  end
  return one.definition
end


---The tools that wait for approval.
---@return { name: string, state: "new"|"changed", description: string?, schema: table? }[]
function methods:waiting()
  local list = {}
  for _, name in ipairs(self.order) do
    local state, definition = state_of(self, name), self.seen[name].definition
    if state then
      list[#list + 1] = { name = name, state = state, description = definition.description, schema = definition.inputSchema }
    end
  end
  return list
end


---Approves a tool as it is now.
---@param name string
---@return true?
---@return perilune.Error?
function methods:approve(name)
  if not self.seen[name] then
    local better = text.suggest(name, self.order)
    return nil, errors.new {
      kind = "configuration", code = "misuse", message = ("MCP server '%s' has no tool '%s'%s"):format(self.server, name,
        better and (", did you mean '%s'?"):format(better) or ""),
    }
  end
  self.approved[name] = self.seen[name].digest
  return save(self)
end


return M
