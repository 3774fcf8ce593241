-- What a tool takes: a JSON Schema, or the shorthand that becomes one.
--
--   { location = "string: city name", days = "integer?: how many", tags = "string[]",
--     unit = { type = "string", enum = { "c", "f" }, optional = true } }
--
-- Every field is required unless it is optional, and nothing else is allowed. A table with type = "object", a table of
-- `properties`, a $ref or a $schema is taken as JSON Schema as it stands, so a parameter of the shorthand that is itself
-- named `type` cannot be written as the bare text "object".
local check = require "perilune.std.check"
local json = require "perilune.json"
local schema = require "perilune.std.schema"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"
local value_of = require "perilune.std.schema.value"

local M = {}

-- What the table form of a parameter may say, so that a typo is found.
local field_keywords = tables.set {
  "optional", "type", "description", "title", "default", "examples", "enum", "const", "format", "properties", "required",
  "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired", "items",
  "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "minimum", "maximum",
  "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "anyOf", "oneOf", "allOf", "not",
  "if", "then", "else", "$ref", "$comment", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
}

local is_type = tables.set(value_of.types)

-- Misuse is reported where the tool is defined: script -> tool.define -> M.schema -> expand -> the function that finds it.
local SCRIPT_LEVEL = 5


-- "string[]?: what it is" -> its schema, and whether it is optional.
local function from_text(where, field)
  local head, description = field:match("^([^:]*):%s*(.-)%s*$")
  local name, mark = (head or field):match("^%s*(.-)%s*(%??)%s*$")
  local item = name:match("^(.-)%[%]$")
  local its_type = item or name
  if not is_type[its_type] then
    local better = text.suggest(its_type, value_of.types)
    check.fail(("%s: unknown type '%s'%s (write \"string: what it is\")"):format(where, its_type,
      better and (", did you mean '%s'?"):format(better) or ""), SCRIPT_LEVEL)
  end
  local field_schema = item and { type = "array", items = { type = item } } or { type = its_type }
  field_schema.description = description ~= "" and description or nil
  return field_schema, mark == "?"
end


local function from_table(where, field)
  for _, keyword in ipairs(tables.sorted_keys(field)) do
    if not field_keywords[keyword] then
      local better = type(keyword) == "string" and text.suggest(keyword, tables.sorted_keys(field_keywords))
      check.fail(("%s: unknown keyword '%s'%s"):format(where, tostring(keyword),
        better and (", did you mean '%s'?"):format(better) or ""), SCRIPT_LEVEL)
    end
  end
  local is_optional = field.optional
  if is_optional ~= nil and type(is_optional) ~= "boolean" then
    check.fail(where .. ": 'optional' must be true or false", SCRIPT_LEVEL)
  end
  local field_schema = schema.copy(field)
  field_schema.optional = nil
  return field_schema, is_optional == true
end


local function expand(where, shorthand)
  local properties, required = {}, {}
  for _, name in ipairs(tables.sorted_keys(shorthand)) do
    local field = shorthand[name]
    local its_place = ("%s: parameter '%s'"):format(where, tostring(name))
    if type(name) ~= "string" then
      check.fail(where .. ": parameters have names, this is a list", SCRIPT_LEVEL - 1)
    end
    local field_schema, is_optional
    if type(field) == "string" then
      field_schema, is_optional = from_text(its_place, field)
    elseif type(field) == "table" then
      field_schema, is_optional = from_table(its_place, field)
    else
      check.fail(("%s must be a string or a table, is a %s"):format(its_place, type(field)), SCRIPT_LEVEL - 1)
    end
    properties[name] = field_schema
    if not is_optional then
      required[#required + 1] = name
    end
  end
  return { type = "object", properties = properties, required = json.array(required), additionalProperties = false }
end


local function is_json_schema(parameters)
  return parameters.type == "object" or type(parameters.properties) == "table" or type(parameters["$ref"]) == "string"
    or type(parameters["$schema"]) == "string"
end


---The JSON Schema of a tool's parameters: a new table, except for json.raw, which stays as it is. Raises for what it does not
---understand, at the line that called the caller.
---@param where string "perilune.tool 'get_weather'"
---@param parameters table|userdata|nil
---@return table|userdata
function M.schema(where, parameters)
  if parameters == nil then
    return (expand(where, {})) -- in parentheses: a tail call would lose a level
  elseif json.is_raw(parameters) then
    return parameters
  elseif is_json_schema(parameters) then
    return schema.copy(parameters)
  end
  return (expand(where, parameters))
end


return M
