-- The keywords of JSON Schema that combine schemas. Each is `build[keyword](context, operand)`:
-- it checks the operand and returns check(run, value). See std/schema.lua for contexts and runs.
local value_of = require "perilune.std.schema.value"

local build = {}

local BRANCHES_SHOWN_MAX = 4 -- of an anyOf in a message


local function compile_list(context, keyword, operand)
  local checks = {}
  for i, schema in ipairs(value_of.need_list(context, keyword, operand)) do
    checks[i] = context.compile(schema, keyword, i)
  end
  if #checks == 0 then
    context.fail(keyword .. " must not be empty")
  end
  return checks
end


function build.allOf(context, operand)
  local checks = compile_list(context, "allOf", operand)
  return function(run, value)
    for _, check in ipairs(checks) do
      check(run, value)
    end
  end
end


-- "fits none of the 2 forms: must be a string; got 3 | $.day is required but missing"
local function miss_all(run, branches)
  local reasons = {}
  for i = 1, math.min(#branches, BRANCHES_SHOWN_MAX) do
    local first = branches[i][1]
    reasons[i] = first and ("%s %s"):format(first.path, first.message)
  end
  run:miss(("fits none of the %d allowed forms: %s"):format(#branches, table.concat(reasons, " | ")))
end


function build.anyOf(context, operand)
  local checks = compile_list(context, "anyOf", operand)
  return function(run, value)
    local branches = {}
    for i, check in ipairs(checks) do
      branches[i] = run:try(check, value)
      if #branches[i] == 0 then
        return
      end
    end
    miss_all(run, branches)
  end
end


function build.oneOf(context, operand)
  local checks = compile_list(context, "oneOf", operand)
  return function(run, value)
    local branches, fitting = {}, {}
    for i, check in ipairs(checks) do
      branches[i] = run:try(check, value)
      if #branches[i] == 0 then
        fitting[#fitting + 1] = i
      end
    end
    if #fitting == 0 then
      miss_all(run, branches)
    elseif #fitting > 1 then
      run:miss(("fits %d of the forms (%s), must fit exactly one"):format(#fitting, table.concat(fitting, ", ")))
    end
  end
end


build["not"] = function(context, operand)
  local check = context.compile(operand, "not")
  return function(run, value)
    if #run:try(check, value) == 0 then
      run:miss(("%s is excluded here"):format(value_of.show(value)))
    end
  end
end


build["if"] = function(context, operand)
  local condition = context.compile(operand, "if")
  local schema = context.schema
  local yes = schema["then"] ~= nil and context.compile(schema["then"], "then")
  local no = schema["else"] ~= nil and context.compile(schema["else"], "else")
  return function(run, value)
    local check
    if #run:try(condition, value) == 0 then
      check = yes
    else
      check = no
    end
    if check then
      check(run, value)
    end
  end
end


return build
