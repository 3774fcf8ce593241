-- The keywords of JSON Schema about what objects and arrays hold. Each is `build[keyword](context, operand)`:
-- it checks the operand and returns check(run, value). See std/schema.lua for contexts and runs.
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"
local value_of = require "perilune.std.schema.value"

local build = {}


-- Objects

function build.required(context, operand)
  local names = value_of.need_names(context, "required", operand)
  return function(run, value)
    if value_of.kind_of(value) == "object" then
      for _, name in ipairs(names) do
        if value[name] == nil then
          run:miss("is required but missing", name)
        end
      end
    end
  end
end


function build.properties(context, operand)
  local names = tables.sorted_keys(value_of.need_map(context, "properties", operand))
  local checks = {}
  for i, name in ipairs(names) do
    if type(name) ~= "string" then
      context.fail("properties must have names")
    end
    checks[i] = context.compile(operand[name], "properties", name)
  end
  return function(run, value)
    if value_of.kind_of(value) == "object" then
      for i, name in ipairs(names) do
        if value[name] ~= nil then
          run:inside(name, checks[i], value[name])
        end
      end
    end
  end
end


function build.additionalProperties(context, operand)
  local check = context.compile(operand, "additionalProperties")
  local schema = context.schema
  local known = type(schema.properties) == "table" and schema.properties or {}
  local names = tables.sorted_keys(known)
  if schema.patternProperties ~= nil then
    return function() end -- any name may be allowed by a pattern
  end
  return function(run, value)
    if value_of.kind_of(value) ~= "object" then
      return
    end
    for _, name in ipairs(tables.sorted_keys(value)) do
      if known[name] ~= nil then -- luacheck: ignore 542
        -- checked by `properties`
      elseif operand == false then
        local better = text.suggest(name, names)
        run:miss("is not allowed here" .. (better and (", did you mean %q?"):format(better) or ""), name)
      else
        run:inside(name, check, value[name])
      end
    end
  end
end


function build.propertyNames(context, operand)
  local check = context.compile(operand, "propertyNames")
  return function(run, value)
    if value_of.kind_of(value) == "object" then
      for _, name in ipairs(tables.sorted_keys(value)) do
        run:inside(name, check, name)
      end
    end
  end
end


function build.dependentRequired(context, operand)
  for _, names in next, value_of.need_map(context, "dependentRequired", operand) do
    value_of.need_names(context, "dependentRequired", names)
  end
  local triggers = tables.sorted_keys(operand)
  return function(run, value)
    if value_of.kind_of(value) ~= "object" then
      return
    end
    for _, trigger in ipairs(triggers) do
      for _, name in ipairs(value[trigger] ~= nil and operand[trigger] or {}) do
        if value[name] == nil then
          run:miss(("is required when %q is given"):format(trigger), name)
        end
      end
    end
  end
end


-- Arrays

function build.prefixItems(context, operand)
  local checks = {}
  for i, schema in ipairs(value_of.need_list(context, "prefixItems", operand)) do
    checks[i] = context.compile(schema, "prefixItems", i)
  end
  return function(run, value)
    if value_of.kind_of(value) == "array" then
      for i = 1, math.min(#checks, #value) do
        run:inside(i, checks[i], value[i])
      end
    end
  end
end


function build.items(context, operand)
  local check = context.compile(operand, "items")
  local first = 1 + (type(context.schema.prefixItems) == "table" and #context.schema.prefixItems or 0)
  return function(run, value)
    if value_of.kind_of(value) == "array" then
      for i = first, #value do
        run:inside(i, check, value[i])
      end
    end
  end
end


function build.contains(context, operand)
  local check = context.compile(operand, "contains")
  return function(run, value)
    if value_of.kind_of(value) ~= "array" or context.schema.minContains == 0 then
      return
    end
    for i = 1, #value do
      if #run:try(check, value[i]) == 0 then
        return
      end
    end
    run:miss("holds no item of the required kind")
  end
end


function build.uniqueItems(context, operand)
  if type(operand) ~= "boolean" then
    context.fail("uniqueItems must be true or false")
  end
  return function(run, value)
    if not operand or value_of.kind_of(value) ~= "array" then
      return
    end
    local seen = {}
    for i = 1, #value do
      local key = value_of.canonical(value[i])
      if seen[key] then
        run:miss(("is the same as item [%d], items must differ"):format(seen[key] - 1), i)
      else
        seen[key] = i
      end
    end
  end
end


return build
