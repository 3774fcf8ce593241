-- Definitions of assistants as data: what a row may say, and the assistant that it makes. Tools are named: the built-in ones, whose
-- options are in the configuration (`tools = { read_file = { roots = … } }`), and MCP servers (`mcp = { files = { command = … } }`),
-- which stand for all of their tools. So a row, which may have come over HTTP, opens nothing that the owner has not configured.
local assistants = require "perilune.agent.assistant"
local builtin = require "perilune.tool.builtin"
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"
local tool = require "perilune.tool"

local M = {}

local DEPTH_MAX = 128


-- The place of the first value that no row can hold.
local function find_function(value, place, depth)
  if type(value) == "function" then
    return place
  elseif type(value) ~= "table" or depth > DEPTH_MAX then
    return nil
  end
  for _, key in ipairs(tables.sorted_keys(value)) do
    local inside = math.type(key) and ("%s[%d]"):format(place, key) or ("%s.%s"):format(place, tostring(key))
    local found = find_function(value[key], inside, depth + 1)
    if found then
      return found
    end
  end
end


---Raises when the options hold what only a script can define: functions, tools and assistants. It blames the caller of its caller's caller.
---@param where string
---@param options table
function M.check_data(where, options)
  for position, one in ipairs(type(options.tools) == "table" and options.tools or {}) do
    if type(one) ~= "string" and (type(one) ~= "table" or tool.is(one) or type(one.name) ~= "string") then
      check.fail(("%s: tools[%d] must be the name of a built-in tool or of a configured MCP server: %s"):format(where, position,
        tool.is(one) and ("only a script can define a tool like '%s'"):format(one.name) or "got a " .. type(one)), 4)
    end
  end
  for position, one in ipairs(type(options.handoffs) == "table" and options.handoffs or {}) do
    if type(one) ~= "string" then
      check.fail(("%s: handoffs[%d] must be the name of an assistant, got a %s"):format(where, position, type(one)), 4)
    end
  end
  for _, name in ipairs(tables.sorted_keys(options)) do
    local place = find_function(options[name], tostring(name), 1)
    if place then
      check.fail(("%s: %s is a function: only a script can define that"):format(where, place), 4)
    end
  end
end


---Tools without a function of their own: whoever asks answers them.
---@param list { name: string, description: string?, parameters: table?, strict: boolean? }[]
---@return perilune.Tool[]
function M.outside_tools(list)
  local tools = {}
  for position, one in ipairs(list) do
    local parameters = one.parameters
    if parameters == nil or parameters == json.null then
      parameters = { type = "object", properties = {} }
    end
    tools[position] = tool.define {
      name = one.name, description = type(one.description) == "string" and one.description or "", parameters = parameters,
      strict = one.strict == true or nil,
    }
  end
  return tools
end


---Options without those that are null, as JSON has them.
---@param options table
---@return table
function M.without_nulls(options)
  local kept = {}
  for name, value in pairs(options) do
    if value ~= json.null then
      kept[name] = value
    end
  end
  return kept
end


local function add_server(app, list, name)
  for _, one in ipairs(app:mcp(name):tools()) do
    list[#list + 1] = one
  end
end


local function unknown_tool(name, settings)
  local names, servers = tables.sorted_keys(builtin), tables.sorted_keys(settings.mcp or {})
  local nearest = text.suggest(name, table.move(servers, 1, #servers, #names + 1, names))
  error(errors.new {
    kind = "configuration", code = "tool",
    message = ("there is no built-in tool and no configured MCP server '%s'%s; a tool of its own only a script can define"):format(
      name, nearest and (", did you mean '" .. nearest .. "'?") or ""),
  }, 0)
end


-- The tools of these names, for the options of an assistant.
local function tools_of(app, names)
  local list, settings = {}, app.settings
  for _, name in ipairs(names) do
    local make = rawget(builtin, name)
    if type(name) == "table" then -- { name =, description =, parameters = }: its outputs come from outside
      list[#list + 1] = M.outside_tools({ name })[1]
    elseif make then
      list[#list + 1] = make((settings.tools or {})[name])
    elseif (settings.mcp or {})[name] then
      add_server(app, list, name)
    else
      unknown_tool(name, settings)
    end
  end
  return list
end


---The assistant of a row, without those it may hand over to. Raises what is wrong with it.
---@param app perilune.App
---@param row { name: string, definition: table, metadata: table? }
---@return perilune.Assistant
function M.build(app, row)
  local options = M.without_nulls(row.definition)
  options.name, options.metadata, options.label = row.name, row.metadata, nil -- a label is for people alone
  options.tools, options.handoffs = options.tools and tools_of(app, options.tools), nil
  return assistants.new(options)
end


return M
