-- The keywords of JSON Schema about a value itself: its type, its choices, its size. Each is `build[keyword](context, operand)`:
-- it checks the operand and returns check(run, value). See std/schema.lua for contexts and runs.
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"
local value_of = require "perilune.std.schema.value"

local build = {}

local with_article = {
  string = "a string", number = "a number", integer = "an integer", boolean = "a boolean", object = "an object",
  array = "an array", null = "null",
}


-- Any value

function build.type(context, operand)
  local names = type(operand) == "table" and value_of.need_names(context, "type", operand) or { operand }
  local known = tables.set(value_of.types)
  local described = {}
  if #names == 0 then
    context.fail("type must not be empty")
  end
  for i, name in ipairs(names) do
    if not known[name] then
      local better = type(name) == "string" and text.suggest(name, value_of.types)
      context.fail(("unknown type %s%s"):format(value_of.show(name), better and (", did you mean %q?"):format(better) or ""))
    end
    described[i] = with_article[name]
  end
  local message = ("must be %s; got "):format(table.concat(described, " or "))
  return function(run, value)
    for _, name in ipairs(names) do
      if value_of.has_type(value, name) then
        return
      end
    end
    run:miss(message .. value_of.show(value))
  end
end


function build.enum(context, operand)
  local allowed, shown = {}, {}
  for i, value in ipairs(value_of.need_list(context, "enum", operand)) do
    allowed[value_of.canonical(value)] = true
    shown[i] = value_of.show(value)
  end
  local message = ("must be one of %s; got "):format(table.concat(shown, ", "))
  return function(run, value)
    if not allowed[value_of.canonical(value)] then
      run:miss(message .. value_of.show(value))
    end
  end
end


function build.const(_, operand)
  local wanted = value_of.canonical(operand)
  return function(run, value)
    if value_of.canonical(value) ~= wanted then
      run:miss(("must be %s; got %s"):format(value_of.show(operand), value_of.show(value)))
    end
  end
end


-- Numbers

local function bound(keyword, wording, holds)
  build[keyword] = function(context, operand)
    if type(operand) ~= "number" then
      context.fail(keyword .. " must be a number")
    end
    return function(run, value)
      if type(value) == "number" and not holds(value, operand) then
        run:miss(("must be %s %s; got %s"):format(wording, operand, value))
      end
    end
  end
end


bound("minimum", "at least", function(value, limit) return value >= limit end)
bound("maximum", "at most", function(value, limit) return value <= limit end)
bound("exclusiveMinimum", "greater than", function(value, limit) return value > limit end)
bound("exclusiveMaximum", "less than", function(value, limit) return value < limit end)


-- Decimal fractions have no exact double: 0.3 is a multiple of 0.1 although 0.3 / 0.1 is not 3.
local function is_multiple(value, factor)
  if math.type(value) == "integer" and math.type(factor) == "integer" then
    return value % factor == 0
  end
  local quotient = value / factor
  return math.abs(quotient - math.floor(quotient + 0.5)) <= 1e-15 * math.max(1, math.abs(quotient)) and quotient - quotient == 0
end


bound("multipleOf", "a multiple of", is_multiple)


local check_multiple = build.multipleOf

function build.multipleOf(context, operand)
  if type(operand) == "number" and operand <= 0 then
    context.fail("multipleOf must be greater than 0")
  end
  return check_multiple(context, operand)
end


local function plural(count, noun)
  if count == 1 then
    return "1 " .. noun
  end
  return ("%d %s"):format(count, noun == "property" and "properties" or noun .. "s")
end


local function size_of_kind(kind)
  if kind == "string" then
    return function(value) return utf8.len(value) or #value end
  elseif kind == "array" then
    return function(value) return #value end
  end
  return function(value) return #tables.sorted_keys(value) end
end


local function sized(keyword, kind, noun, is_minimum)
  local size_of = size_of_kind(kind)
  build[keyword] = function(context, operand)
    local limit = type(operand) == "number" and math.tointeger(operand)
    if not limit or limit < 0 then
      context.fail(keyword .. " must be a whole number, 0 or more")
    end
    local message = ("must have at %s %s; has "):format(is_minimum and "least" or "most", plural(limit, noun))
    return function(run, value)
      if value_of.kind_of(value) == kind then
        local size = size_of(value)
        if is_minimum and size < limit or not is_minimum and size > limit then
          run:miss(message .. size)
        end
      end
    end
  end
end


sized("minLength", "string", "character", true)
sized("maxLength", "string", "character", false)
sized("minItems", "array", "item", true)
sized("maxItems", "array", "item", false)
sized("minProperties", "object", "property", true)
sized("maxProperties", "object", "property", false)


return build
