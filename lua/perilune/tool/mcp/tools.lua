-- The tools of a server as tools of ours. Their schemas are other people's: one that our validator cannot read is passed on as
-- it is, and its checking is left to the server.
local content = require "perilune.tool.mcp.content"
local definition = require "perilune.tool.definition"
local errors = require "perilune.std.errors"
local token = require "perilune.sys.token"

local M = {}

local NAME_BYTES_MAX = 64
local SUFFIX_BYTES = 8


-- A name that models take: "files_read_file". What it loses, or shares with another, a few digits of its hash make up for.
local function name_of(prefix, name, taken)
  local full = prefix .. name
  local clean = full:gsub("[^%w_-]", "_")
  if #clean > NAME_BYTES_MAX or taken[clean] then
    clean = clean:sub(1, NAME_BYTES_MAX - SUFFIX_BYTES - 1) .. "_" .. token.sha256(full):sub(1, SUFFIX_BYTES)
  end
  taken[clean] = true
  return clean
end


local function schema_of(given)
  local parameters = {}
  for keyword, value in pairs(type(given.inputSchema) == "table" and given.inputSchema or {}) do
    parameters[keyword] = type(keyword) == "string" and value or nil
  end
  parameters.type = "object"
  return parameters
end


-- Where a schema of somebody else's that is malformed ends.
local function define(options)
  local parameters = options.parameters
  local ok, tool = pcall(definition.define, options)
  if not ok then
    options.parameters = { type = "object" }
    tool = definition.define(options)
    tool.parameters = parameters
  end
  return tool
end


-- Shows progress where the run shows its events.
local function reporter(context, name)
  if type(context) ~= "table" or not context.emit then
    return function() end
  end
  return function(progress)
    context.emit {
      type = "tool_progress", id = context.call_id, name = name, progress = progress.progress, total = progress.total,
      message = progress.message,
    }
  end
end


local function runner(call, given, name)
  return function(arguments, context)
    local result, err = call(given.name, arguments, reporter(context, name))
    if not result then
      return nil, err
    end
    local text = content.text(result)
    if result.isError == true then
      return nil, errors.new { kind = "tool", code = "mcp", message = text or "the tool says that it failed, but not why" }
    end
    return text
  end
end


---@class perilune.mcp.ToolOptions
---@field only? string[] the server's names of the tools that are wanted; default all
---@field prefix? boolean put the server's name in front; default true
---@field approval? "never"|"always"|fun(arguments: table, context: table): boolean
---@field idempotent? string[] the server's names of the tools that may be run again when it is unknown whether they ran

---Makes tools out of descriptions.
---@param server string
---@param definitions table[] that may be called
---@param options perilune.mcp.ToolOptions
---@param call fun(name: string, arguments: table, on_progress: function): table?, perilune.Error?
---@return perilune.Tool[]
function M.make(server, definitions, options, call)
  local list, taken, idempotent = {}, {}, {}
  for _, name in ipairs(options.idempotent or {}) do
    idempotent[name] = true
  end
  for position, given in ipairs(definitions) do
    local name = name_of(options.prefix == false and "" or server .. "_", given.name, taken)
    list[position] = define {
      name = name, description = type(given.description) == "string" and given.description or "", parameters = schema_of(given),
      run = runner(call, given, name), idempotent = idempotent[given.name] == true, approval = options.approval,
    }
  end
  return list
end


return M
