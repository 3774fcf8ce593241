-- JSON Schema (draft 2020-12), the part that tools and structured output use, compiled to closures. Values are what
-- perilune.json decodes: an unmarked empty table is an object, 1.0 is an integer. Messages are written for a model to read.
--
-- Checked: type enum const, properties required additionalProperties propertyNames minProperties maxProperties
-- dependentRequired, items prefixItems contains minItems maxItems uniqueItems, minimum maximum exclusiveMinimum
-- exclusiveMaximum multipleOf, minLength maxLength, anyOf oneOf allOf not if/then/else, $ref inside the document.
-- Not checked, listed in `validator.ignored`: `pattern` and `patternProperties` (Lua has no ECMA-262 expressions; where
-- patternProperties stands, additionalProperties allows every name), unevaluated*, dependentSchemas, $dynamicRef, the counts
-- of contains and draft 7's `dependencies`. `format` and everything unknown is annotation, as the standard says.
local combination = require "perilune.std.schema.combination"
local container = require "perilune.std.schema.container"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local scalar = require "perilune.std.schema.scalar"
local tables = require "perilune.std.tables"
local value_of = require "perilune.std.schema.value"

local M = {}

M.MISSES_MAX = 20 -- more than a model can use at once
M.DEPTH_MAX = 500 -- schemas applied inside each other; the JSON codec stops at 128 values
M.STEPS_MAX = 100000 -- schemas applied in one validation: a fraction of a second

-- The order of the messages: what a value is, then what it holds, then how it combines.
local order = {
  { scalar, "type", "enum", "const" },
  { container, "required", "properties", "additionalProperties", "propertyNames", "dependentRequired", "prefixItems", "items",
    "contains", "uniqueItems" },
  { scalar, "minProperties", "maxProperties", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength" },
  { combination, "allOf", "anyOf", "oneOf", "not", "if" },
}

local not_checked = {
  "pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems", "dependentSchemas", "$dynamicRef",
  "minContains", "maxContains", "dependencies",
}

local methods = {}
local metatable = { __name = "perilune.schema", __index = methods }

---@class perilune.SchemaMiss
---@field path string "$.days[0].high": items count from 0, as JSON people do
---@field message string "must be a number; got \"warm\""

---@class perilune.Validator
---@field ignored string[] what the schema says and nobody checks: "$.properties.zip: pattern"
---@field validate fun(self: perilune.Validator, value: any): true|nil, perilune.SchemaMiss[]?


local function malformed(compiler, where, message)
  error(errors.new {
    kind = "schema", code = "malformed", param = compiler.param, message = ("schema at %s: %s"):format(where, message),
  }, 0)
end


-- A compiler is { root, schemas, ignored, param }: `schemas` maps each schema table to its check, so that references meet it.
local compile


-- "#/$defs/day" -> the schema it points to.
local function resolve(compiler, where, reference)
  if type(reference) ~= "string" then
    malformed(compiler, where, "$ref must be a string")
  end
  local pointer = reference:match("^#(.*)$")
  if not pointer or pointer ~= "" and pointer:sub(1, 1) ~= "/" then
    malformed(compiler, where, ("$ref %q: only references inside the schema (#/$defs/…) are followed"):format(reference))
  end
  local target = compiler.root
  for token in pointer:gmatch("/([^/]*)") do
    local key = token:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    key = key:gsub("~1", "/"):gsub("~0", "~")
    if type(target) ~= "table" then
      target = nil
      break
    end
    target = json.is_array(target) and target[(tonumber(key) or -1) + 1] or target[key]
  end
  if type(target) ~= "table" and type(target) ~= "boolean" then
    malformed(compiler, where, ("$ref %q points to nothing"):format(reference))
  end
  return target
end


-- What an assertion is given to build itself from: the schema it stands in and a way to compile the schemas inside it.
local function context_for(compiler, schema, where)
  return {
    schema = schema,
    fail = function(message) malformed(compiler, where, message) end,
    compile = function(inner, ...)
      local path = where
      for _, key in ipairs { ... } do
        path = path .. value_of.step(key)
      end
      return compile(compiler, inner, path)
    end,
  }
end


local function list_checks(compiler, schema, where)
  local checks = {}
  if schema["$ref"] ~= nil then
    local target = resolve(compiler, where .. "['$ref']", schema["$ref"])
    checks[1] = compile(compiler, target, where .. "['$ref']")
  end
  local context = context_for(compiler, schema, where)
  for _, group in ipairs(order) do
    for i = 2, #group do
      local keyword = group[i]
      if schema[keyword] ~= nil then
        checks[#checks + 1] = group[1][keyword](context, schema[keyword])
      end
    end
  end
  for _, keyword in ipairs(not_checked) do
    if schema[keyword] ~= nil then
      compiler.ignored[#compiler.ignored + 1] = where .. ": " .. keyword
    end
  end
  return checks
end


local function accept_all() end


local function accept_nothing(run)
  run:miss("is not allowed here")
end


-- check(run, value): adds a miss to the run for everything that is wrong with the value.
function compile(compiler, schema, where)
  if type(schema) == "boolean" then
    return schema and accept_all or accept_nothing
  elseif type(schema) ~= "table" or json.is_array(schema) then
    malformed(compiler, where, "must be an object or a boolean, is " .. value_of.show(schema))
  elseif compiler.schemas[schema] then
    return compiler.schemas[schema]
  end
  local checks
  compiler.schemas[schema] = function(run, value)
    if run:enter() then
      for _, check in ipairs(checks) do
        check(run, value)
      end
    end
    run.depth = run.depth - 1
  end
  checks = list_checks(compiler, schema, where)
  return compiler.schemas[schema]
end


-- A run is one validation: { steps, depth, keys, misses }. `keys` is the way from the root to the value under test. A branch
-- of anyOf and the like collects its misses apart, see `try`.
local run_methods = {}
local run_metatable = { __index = run_methods }


local function path_of(keys)
  local path = { "$" }
  for i, key in ipairs(keys) do
    path[i + 1] = value_of.step(key)
  end
  return table.concat(path)
end


function run_methods:miss(message, key)
  local misses = self.misses
  if #misses < M.MISSES_MAX then
    local path = path_of(self.keys) .. (key and value_of.step(key) or "")
    misses[#misses + 1] = { path = path, message = message }
  end
end


-- Counts the application of a schema; false when it must not be looked at any more.
function run_methods:enter()
  self.depth = self.depth + 1
  self.steps = self.steps + 1
  if self.depth > M.DEPTH_MAX or self.steps > M.STEPS_MAX then
    if not self.is_over then
      self.is_over = true
      self.over_path = path_of(self.keys)
    end
    return false
  end
  return not self.is_over
end


function run_methods:inside(key, check, value)
  local keys = self.keys
  keys[#keys + 1] = key
  check(self, value)
  keys[#keys] = nil
end


-- The misses a check finds, kept out of the result.
function run_methods:try(check, value)
  local kept = self.misses
  self.misses = {}
  check(self, value)
  local found = self.misses
  self.misses = kept
  return found
end


---True, or nil and what is wrong: at most MISSES_MAX misses, in the order of the schema.
---@param value any
---@return true|nil, perilune.SchemaMiss[]?
function methods:validate(value)
  local run = setmetatable({ steps = 0, depth = 0, keys = {}, misses = {} }, run_metatable)
  self.check(run, value)
  if run.is_over then -- said on its own: what was collected until then proves nothing
    return nil, { { path = run.over_path, message = "is too deep or too large to be checked against this schema" } }
  elseif #run.misses > 0 then
    return nil, run.misses
  end
  return true
end


---Makes a validator out of a schema: a table, a boolean, or json.raw. Raises an error of kind `schema` when it is malformed.
---The schema must not be changed afterwards.
---@param schema table|boolean|userdata
---@param param? string the field that holds it, for the error
---@return perilune.Validator
function M.compile(schema, param)
  if json.is_raw(schema) then
    schema = assert(json.decode(tostring(schema))) -- was validated when it was made
  end
  local compiler = { root = schema, schemas = {}, ignored = {}, param = param }
  local check = compile(compiler, schema, "$")
  return setmetatable({ check = check, ignored = compiler.ignored }, metatable)
end


-- Where the schemas and the lists are inside a schema, for `copy`.
local holds_schema = tables.set {
  "additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else", "unevaluatedProperties",
  "unevaluatedItems",
}
local holds_named_schemas = tables.set { "properties", "$defs", "definitions", "patternProperties", "dependentSchemas" }
local holds_schemas = tables.set { "anyOf", "oneOf", "allOf", "prefixItems" }
local holds_list = tables.set { "required", "enum", "examples" }


local function copy_map(map, depth, copy_value)
  local copied = {}
  for key, value in next, map do
    copied[key] = copy_value(value, depth)
  end
  return json.keep_order(copied, map)
end


---A deep copy of a schema that was written in Lua, with the lists marked as lists: `required = {}` is then written as [].
---What is not a schema (const, default) is shared.
---@param schema any
---@param depth? integer how deep it is already
---@return any
function M.copy(schema, depth)
  depth = (depth or 0) + 1
  if type(schema) ~= "table" then
    return schema
  elseif depth > M.DEPTH_MAX then
    malformed("$", "is nested too deep")
  end
  local copied = {}
  for keyword, value in next, schema do
    if type(value) ~= "table" then
      copied[keyword] = value
    elseif holds_schema[keyword] then
      copied[keyword] = M.copy(value, depth)
    elseif holds_named_schemas[keyword] then
      copied[keyword] = copy_map(value, depth, M.copy)
    elseif holds_schemas[keyword] then
      copied[keyword] = json.array(copy_map(value, depth, M.copy))
    elseif holds_list[keyword] or keyword == "type" then
      copied[keyword] = json.array(table.move(value, 1, #value, 1, {}))
    else
      copied[keyword] = value
    end
  end
  return json.keep_order(copied, schema)
end


return M
