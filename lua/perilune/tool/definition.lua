-- What a tool is: a checked definition with a compiled schema. Plain data after that, which a request carries as it is
-- (docs/model.md); calling it is tool/call.lua's work.
local check = require "perilune.std.check"
local parameters_of = require "perilune.tool.parameters"
local schema = require "perilune.std.schema"

local M = {}

M.RESULT_BYTES = 64 * 1024 -- of one result, when the tool does not say; more than that drowns a model

---@class perilune.Tool
---@field name string
---@field description string
---@field parameters table|userdata JSON Schema
---@field validator perilune.Validator
---@field run? fun(arguments: table, context: table): any, any? absent: answered from outside, with run:submit
---@field idempotent boolean may be run again when it is unknown whether it ran
---@field timeout? number seconds
---@field strict? boolean ask the provider to keep to the schema
---@field approval? "never"|"always"|fun(arguments: table, context: table): boolean
---@field result_bytes integer a longer result is cut

---@class perilune.ToolOptions
---@field name string 1 to 64 letters, digits, _ and -
---@field description string for the model
---@field parameters? table|userdata JSON Schema, json.raw, or the shorthand of tool/parameters.lua; absent: none
---@field run? fun(arguments: table, context: table): any, any?
---@field idempotent? boolean default false
---@field timeout? number seconds
---@field strict? boolean
---@field approval? "never"|"always"|fun(arguments: table, context: table): boolean
---@field result_bytes? integer default RESULT_BYTES

local metatable = { __name = "perilune.Tool" }


function metatable:__tostring()
  return ("tool '%s'"):format(self.name)
end


local fields = {
  name = "string", description = "string", parameters = "table|userdata", run = "function", idempotent = "boolean",
  timeout = "number", strict = "boolean", approval = "string|function", result_bytes = "integer",
}


local function check_fields(where, options)
  if not options.name:find("^[%w_-]+$") or #options.name > 64 then
    check.fail(where .. ": a name has 1 to 64 letters, digits, _ and -", 3)
  elseif options.timeout and not (options.timeout > 0 and options.timeout < math.huge) then
    check.fail(where .. ": 'timeout' must be more than 0 seconds", 3)
  elseif options.result_bytes and options.result_bytes <= 0 then
    check.fail(where .. ": 'result_bytes' must be more than 0", 3)
  elseif type(options.approval) == "string" and options.approval ~= "never" and options.approval ~= "always" then
    check.fail(("%s: 'approval' must be 'never', 'always' or a function, got '%s'"):format(where, options.approval), 3)
  end
end


---Makes a tool. Raises misuse at the caller's line, and an error of kind `schema` when the JSON Schema is malformed.
---@param options perilune.ToolOptions
---@return perilune.Tool
function M.define(options)
  check.value("perilune.tool: the definition", options, "table")
  check.options("perilune.tool", options, fields)
  check.field("perilune.tool", options, "name", "string")
  local where = ("perilune.tool '%s'"):format(options.name)
  check.field(where, options, "description", "string")
  check_fields(where, options)
  local parameters = parameters_of.schema(where, options.parameters)
  return setmetatable({
    name = options.name,
    description = options.description,
    parameters = parameters,
    validator = schema.compile(parameters),
    run = options.run,
    idempotent = options.idempotent == true,
    timeout = options.timeout,
    strict = options.strict,
    approval = options.approval,
    result_bytes = options.result_bytes or M.RESULT_BYTES,
  }, metatable)
end


---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == metatable
end


return M
