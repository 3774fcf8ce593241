-- Which function answers which request: a tree of path segments. `{name}` takes one segment, a last `{name...}` all that is left.
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.router", __index = methods }

local PARAMETER_BYTES_MAX = 1024


---@class perilune.serve.Route
---@field family string|false what a key must allow; false: open to everybody
---@field run fun(exchange: perilune.Exchange)
---@field pattern string
---@field encode_error? fun(answer: perilune.serve.Answer, exchange: perilune.Exchange): table where errors have another shape

---@return table router
function M.new()
  return setmetatable({ root = { fixed = {} } }, metatable)
end


---@param method string
---@param pattern string "/v1/threads/{thread_id}"
---@param route perilune.serve.Route
function methods:add(method, pattern, route)
  local node = self.root
  for segment in pattern:gmatch("[^/]+") do
    local name, is_rest = segment:match("^{([%w_]+)(%.*)}$")
    local following
    if name then
      following = node.any or { fixed = {} }
      node.any = following
      following.is_rest = is_rest ~= ""
    else
      following = node.fixed[segment] or { fixed = {} }
      node.fixed[segment] = following
    end
    node = following
    node.names = node.names or {}
  end
  node.by_method, node.encode_error = node.by_method or {}, route.encode_error or node.encode_error
  local names = {}
  for name in pattern:gmatch("{([%w_]+)%.*}") do
    names[#names + 1] = name
  end
  route.pattern, route.names = pattern, names
  node.by_method[method] = route
end


---Adds a list of { method, pattern, function, family = }.
---@param list table[]
function methods:add_all(list)
  for _, one in ipairs(list) do
    self:add(one[1], one[2], { run = one[3], family = one.family, encode_error = one.encode_error })
  end
end


local function decode(segment)
  return (segment:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end


-- A value of the path, or an error: it goes into queries and messages.
local function parameter(name, text, is_rest)
  if text:find("%%%X") or text:find("%%%x?$") then
    problem.invalid(name, ("'%s' in the path is not percent-encoded correctly"):format(name))
  end
  local value = decode(text)
  if #value > PARAMETER_BYTES_MAX then
    problem.invalid(name, ("'%s' in the path is longer than %d bytes"):format(name, PARAMETER_BYTES_MAX))
  elseif value == "" or value:find("%c") or value:find("..", 1, true) or not utf8.len(value)
    or not is_rest and value:find("/", 1, true) then
    problem.invalid(name, ("'%s' in the path is no name of anything"):format(name))
  end
  return value
end


-- The node of a path, and the texts of its parameters.
local function walk(root, path)
  local node, found, position = root, {}, 1
  for segment, after in path:gmatch("([^/]+)()") do
    local fixed = node.fixed[segment]
    if fixed then
      node = fixed
    elseif node.any and node.any.is_rest then
      found[#found + 1] = path:sub(position):gsub("^/+", "")
      return node.any, found
    elseif node.any then
      found[#found + 1] = segment
      node = node.any
    else
      return nil
    end
    position = after
  end
  return node, found
end


---The route of a request.
---@param method string
---@param path string without query, not percent-decoded
---@return perilune.serve.Route? route
---@return table<string, string>|string params, or, without a route, the methods that there are ("" when there are none)
function methods:find(method, path)
  if path:find("//", 1, true) then
    return nil, ""
  end
  local node, texts = walk(self.root, path)
  if not node or not node.by_method then
    return nil, ""
  end
  local route = node.by_method[method] or method == "HEAD" and node.by_method.GET
  if not route then
    return nil, table.concat(tables.sorted_keys(node.by_method), ", ")
  end
  local params = {}
  for position, name in ipairs(route.names) do
    params[name] = parameter(name, texts[position], node.is_rest and position == #route.names)
  end
  return route, params
end


---How errors of an address are written, and of what is below it and not there.
---@param path string
---@return (fun(answer: perilune.serve.Answer, exchange: perilune.Exchange): table)? encode_error nil: as everywhere
function methods:encoder(path)
  local node, encode_error = self.root, nil
  for segment in path:gmatch("[^/]+") do
    node = node.fixed[segment] or node.any
    if not node then
      break
    end
    encode_error = node.encode_error or encode_error
  end
  return encode_error
end


return M
