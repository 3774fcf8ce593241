-- What the modules of this folder share: columns that hold JSON, times (milliseconds in rows, seconds in Lua), and the
-- answers to "the one row" and "no row".
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local json = require "perilune.json"

local M = {}

---For columns that hold schemas: the order of their keys means something.
M.ORDERED = { ordered = true }


---Now, as rows have it.
---@return integer milliseconds
function M.now()
  return math.floor(clock.wall() * 1000)
end


---@param seconds number|nil
---@return integer|nil milliseconds
function M.milliseconds(seconds)
  return seconds and math.floor(seconds * 1000 + 0.5)
end


---The id of a thread or a run: the object itself, or its id.
---@param what string|{ id: string }
---@return string
function M.id(what)
  return type(what) == "table" and what.id or what --[[@as string]]
end


---Turns a row into what Lua wants, in place: JSON columns become values, times become seconds.
---@param row table
---@param json_columns string[]
---@param time_columns string[]
---@param options? perilune.json.DecodeOptions
---@return table|nil row
---@return perilune.Error?
function M.decode(row, json_columns, time_columns, options)
  for _, name in ipairs(json_columns) do
    if row[name] then
      local value, err = json.decode(row[name], options)
      if err then
        return nil, errors.new {
          kind = "database", code = "corrupt", message = ("the column %s holds no JSON: %s"):format(name, err.message), cause = err,
        }
      end
      row[name] = value
    end
  end
  for _, name in ipairs(time_columns) do
    row[name] = row[name] and row[name] / 1000
  end
  return row
end


---Turns every row of a read, see `decode`; passes its error on.
---@param list table[]|nil
---@param err perilune.Error?
---@param decode fun(row: table): table|nil, perilune.Error?
---@return table[]|nil
---@return perilune.Error?
function M.each(list, err, decode)
  if not list then
    return nil, err
  end
  for position, row in ipairs(list) do
    list[position], err = decode(row)
    if err then
      return nil, err
    end
  end
  return list
end


---@param what string "thread", "run"
---@param id string
---@return nil
---@return perilune.Error
function M.missing(what, id)
  return nil, errors.new { kind = "not_found", code = what, message = ("there is no %s %s"):format(what, id) }
end


---The first row of a read, or an error of kind `not_found`.
---@param list table[]|nil
---@param err perilune.Error?
---@param what string
---@param id string
---@return table|nil
---@return perilune.Error?
function M.one(list, err, what, id)
  if not list then
    return nil, err
  end
  if not list[1] then
    return M.missing(what, id)
  end
  return list[1]
end


---JSON for a column; nil stays nil.
---@param value any
---@return string|nil
---@return perilune.Error?
function M.encode(value)
  if value == nil then
    return nil
  end
  return json.encode(value)
end


return M
