-- perilune.tools.calculator: arithmetic that is right.
local arithmetic = require "perilune.tool.builtin.arithmetic"
local definition = require "perilune.tool.definition"
local settings = require "perilune.tool.builtin.settings"

local M = {}

local description = "Calculate the exact value of an arithmetic expression. Operators: + - * / // (whole division) % (remainder) "
  .. "^ and brackets. Angles are in radians, log is natural unless a base is given: log(8, 2). Names: "


local function run(arguments)
  local value, result = arithmetic.evaluate(arguments.expression)
  if not value then
    return settings.failure("expression", result)
  end
  return result
end


---A tool that calculates.
---@param options? perilune.BuiltinOptions
---@return perilune.Tool
function M.new(options)
  options = settings.read("perilune.tools.calculator", options, {})
  return definition.define {
    name = options.name or "calculator",
    description = description .. table.concat(arithmetic.names, ", "),
    parameters = { expression = "string: for example 2 * (3 + 4)^2 or sqrt(2)" },
    idempotent = true,
    timeout = options.timeout or 5,
    approval = options.approval,
    run = run,
  }
end


return M
