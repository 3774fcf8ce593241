-- Which function answers which request: a tree of path segments. What is written goes before `{name}`, and that before `{name...}`; where
-- that way leads nowhere the next is tried, so that no route hides another one that it does not take the place of.
local path_pattern = require "perilune.std.path_pattern"
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.router", __index = methods }

local PARAMETER_BYTES_MAX = 1024


---@class perilune.serve.Route
---@field family string|false what a key must allow; false: open to everybody
---@field run fun(exchange: perilune.Exchange)
---@field pattern? string once it is added
---@field names? string[] of the parameters of its pattern
---@field has_rest? boolean the last one takes all that is left
---@field encode_error? fun(answer: perilune.serve.Answer, exchange: perilune.Exchange): table where errors have another shape

---@class perilune.serve.RouteNode what comes after a segment
---@field fixed table<string, perilune.serve.RouteNode>
---@field any? perilune.serve.RouteNode after one that is a parameter
---@field rest? perilune.serve.RouteNode after a parameter that takes all that is left
---@field by_method? table<string, perilune.serve.Route>
---@field encode_error? fun(answer: perilune.serve.Answer, exchange: perilune.Exchange): table

---@return table router
function M.new()
  return setmetatable({ root = { fixed = {} } }, metatable)
end


-- The node after a segment; made where there is none.
local function after(node, segment)
  local nodes, key = node, segment.is_rest and "rest" or "any"
  if segment.text then
    nodes, key = node.fixed, segment.text
  end
  nodes[key] = nodes[key] or { fixed = {} }
  return nodes[key]
end


---@param method string
---@param pattern string "/v1/threads/{thread_id}"
---@param route perilune.serve.Route
---@return perilune.serve.Route? taken who answers that method and path already; nothing was added then
function methods:add(method, pattern, route)
  local node, names = self.root, {}
  for _, segment in ipairs(assert(path_pattern.parse(pattern))) do
    node = after(node, segment)
    names[#names + 1] = segment.name
    route.has_rest = segment.is_rest
  end
  node.by_method = node.by_method or {}
  if node.by_method[method] then
    return node.by_method[method]
  end
  route.pattern, route.names = pattern, names
  node.by_method[method], node.encode_error = route, route.encode_error or node.encode_error
end


---Adds a list of { method, pattern, function, family = }.
---@param list table[]
function methods:add_all(list)
  for _, one in ipairs(list) do
    assert(not self:add(one[1], one[2], { run = one[3], family = one.family, encode_error = one.encode_error }), one[2])
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


-- The route of a node; `search` notes the methods that it has instead.
local function route_of(node, search)
  local by_method, method = node.by_method, search.method
  local route = by_method and (by_method[method] or method == "HEAD" and by_method.GET)
  if by_method and not route then
    search.allowed = search.allowed or {}
    for name in pairs(by_method) do
      search.allowed[name] = true
    end
  end
  return route
end


-- The route of what is left of the path from `position` on, below a node; what its parameters are goes into the list of `search`. A node
-- is looked at once, whatever the path.
local function walk(node, search, position, count)
  local from, to = search.path:find("[^/]+", position)
  if not from then
    return route_of(node, search)
  end
  local segment = search.path:sub(from, to)
  local fixed, any, rest = node.fixed[segment], node.any, node.rest
  local route = fixed and walk(fixed, search, to + 1, count)
  if not route and any then
    search[count + 1] = segment
    route = walk(any, search, to + 1, count + 1)
  end
  if not route and rest then
    search[count + 1] = search.path:sub(from)
    route = route_of(rest, search)
  end
  return route
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
  local search = { method = method, path = path }
  local route = walk(self.root, search, 1, 0)
  if not route then
    return nil, search.allowed and table.concat(tables.sorted_keys(search.allowed), ", ") or ""
  end
  local params = {}
  for position, name in ipairs(route.names) do
    params[name] = parameter(name, search[position], route.has_rest and position == #route.names)
  end
  return route, params
end


---How errors of an address are written, and of what is below it and not there.
---@param path string
---@return (fun(answer: perilune.serve.Answer, exchange: perilune.Exchange): table)? encode_error nil: as everywhere
function methods:encoder(path)
  local node, encode_error = self.root, nil
  for segment in path:gmatch("[^/]+") do
    node = node.fixed[segment] or node.any or node.rest
    if not node then
      break
    end
    encode_error = node.encode_error or encode_error
  end
  return encode_error
end


return M
