-- Checks of what a caller passed in. Misuse raises an error object of kind `configuration` whose `where` is the line that
-- called the function that checks. The typed checks return the value, so that they read as part of an assignment.
local errors = require "perilune.std.errors"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

---One of these names, or several: "string|table".
---@alias perilune.TypeSpec string "string", "number", "integer", "boolean", "table", "function", "userdata", "any"

local with_article = { integer = "an integer", any = "a value", ["nil"] = "nil" }

local VALUE_BYTES_MAX = 60


---Raises a misuse error. Level 1 is the function that called `fail`, 2 (the default) its caller, as for `error`.
---@param message string
---@param level? integer
function M.fail(message, level)
  local info = debug.getinfo((level or 2) + 1, "Sl")
  local where = info and info.currentline > 0 and ("%s:%d"):format(info.short_src, info.currentline) or nil
  error(errors.new { kind = "configuration", code = "misuse", message = message, where = where }, 0)
end


local function is_one(value, name)
  if name == "any" then
    return value ~= nil
  elseif name == "integer" then
    return math.type(value) == "integer"
  end
  return type(value) == name
end


---Is the value of this type?
---@param value any
---@param spec perilune.TypeSpec
---@return boolean
function M.is(value, spec)
  for name in spec:gmatch("[^|]+") do
    if is_one(value, name) then
      return true
    end
  end
  return false
end


local function describe_spec(spec)
  local names = {}
  for name in spec:gmatch("[^|]+") do
    names[#names + 1] = with_article[name] or "a " .. name
  end
  return table.concat(names, " or ")
end


local function describe_value(value)
  if type(value) == "string" then
    return ("the string %q"):format(text.truncate(value, VALUE_BYTES_MAX))
  elseif type(value) == "number" then
    return tostring(value)
  end
  return type(value) == "nil" and "nil" or "a " .. type(value)
end


local function expect(subject, value, spec, level)
  if not M.is(value, spec) then
    M.fail(("%s must be %s, got %s"):format(subject, describe_spec(spec), describe_value(value)), level + 1)
  end
  return value
end


---Raises unless the value is of the type; `where` says what it is: "perilune.thread: key".
---@generic T
---@param where string
---@param value T
---@param spec perilune.TypeSpec
---@return T
function M.value(where, value, spec)
  return (expect(where, value, spec, 3)) -- in parentheses: a tail call would lose a level
end


---Raises unless the value is a string.
---@param where string
---@param value any
---@return string
function M.string(where, value)
  return (expect(where, value, "string", 3))
end


---Raises unless field `name` of `t` is of the type, or absent where that is allowed.
---@param where string "perilune.tool"
---@param t table
---@param name string
---@param spec perilune.TypeSpec
---@param options? { optional?: boolean }
---@return any
function M.field(where, t, name, spec, options)
  local value = t[name]
  if value == nil then
    if not (options and options.optional) then
      M.fail(("%s: '%s' is missing, it must be %s"):format(where, name, describe_spec(spec)), 3)
    end
    return nil
  end
  return (expect(("%s: '%s'"):format(where, name), value, spec, 3))
end


---Raises unless the value is one of the listed strings.
---@param where string
---@param value any
---@param choices string[]
---@param level? integer whose call to blame: 1 is the function that calls `choice`, 2 (the default) its caller
---@return string
function M.choice(where, value, choices, level)
  for _, choice in ipairs(choices) do
    if value == choice then
      return value
    end
  end
  local better = type(value) == "string" and text.suggest(value, choices)
  M.fail(("%s must be one of '%s', got %s%s"):format(where, table.concat(choices, "', '"), describe_value(value),
    better and (", did you mean '%s'?"):format(better) or ""), (level or 2) + 1)
end


---Raises unless the value is a list of values of the type: "perilune.client: fallbacks[2] must be a string, got 5".
---@generic T
---@param where string
---@param list T
---@param spec perilune.TypeSpec of each value
---@param level? integer whose call to blame: 1 is the function that calls `list`, 2 (the default) its caller
---@return T
function M.list(where, list, spec, level)
  level = (level or 2) + 1
  expect(where, list, "table", level)
  for _, key in ipairs(tables.sorted_keys(list)) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then
      M.fail(("%s must be a list, and has a field [%s]"):format(where, tostring(key)), level)
    end
    expect(("%s[%d]"):format(where, key), list[key], spec, level)
  end
  return list
end


---Raises unless every value of the table has a name and is of the type: "perilune.client: headers['x'] must be a string, got 5".
---@generic T
---@param where string
---@param map T
---@param spec perilune.TypeSpec of each value
---@param level? integer whose call to blame: 1 is the function that calls `map`, 2 (the default) its caller
---@return T
function M.map(where, map, spec, level)
  level = (level or 2) + 1
  expect(where, map, "table", level)
  for _, name in ipairs(tables.sorted_keys(map)) do
    if type(name) ~= "string" then
      M.fail(("%s: values have names, got one at [%s]"):format(where, tostring(name)), level)
    end
    expect(("%s['%s']"):format(where, name), map[name], spec, level)
  end
  return map
end


-- A list of names becomes a set; a set, or a map of names to types, stays.
local function by_name(allowed)
  return allowed[1] ~= nil and tables.set(allowed) or allowed
end


---Raises when an option is not allowed (with the name that was probably meant) or has the wrong type. Absent options
---are fine; required ones are checked with `field`. Returns the options, a new table when there were none.
---@param where string the function as the caller knows it: "thread:run"
---@param options table|nil
---@param allowed string[]|table<string, true|perilune.TypeSpec>
---@param level? integer whose call to blame: 1 is the function that calls `options`, 2 (the default) its caller
---@return table
function M.options(where, options, allowed, level)
  level = (level or 2) + 1
  if options == nil then
    return {}
  end
  expect(where .. ": options", options, "table", level)
  local specs = by_name(allowed)
  for _, name in ipairs(tables.sorted_keys(options)) do
    local spec = specs[name]
    if type(name) ~= "string" then
      M.fail(("%s: options have names, got one at [%s]"):format(where, tostring(name)), level)
    elseif not spec then
      local better = text.suggest(name, tables.sorted_keys(specs))
      M.fail(("%s: unknown option '%s'%s"):format(where, name, better and (", did you mean '%s'?"):format(better) or ""), level)
    elseif spec ~= true then
      expect(("%s: option '%s'"):format(where, name), options[name], spec, level)
    end
  end
  return options
end


return M
