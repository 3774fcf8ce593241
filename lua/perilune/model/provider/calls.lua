-- Tool calls that arrive in fragments, put together. Fragments belong together by index and id: an empty text never
-- overwrites, the same index with another id and a name is another call, a missing index means "the last one".
-- Arguments stay the text the model wrote. The wrapper `multi_tool_use.parallel` that some models imagine becomes the
-- calls in it.
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

-- An answer with more calls than this is a model in a loop; the rest is dropped.
M.CALLS_MAX = 512

-- A call that never got a name: it is answered as an unknown tool, and no vendor takes an empty name back.
M.UNNAMED = "unnamed"

local methods = {}
local metatable = { __name = "perilune.model.provider.calls", __index = methods }


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


-- Arguments come as text; some proxies send the object itself.
local function arguments_text(value)
  if type(value) == "table" then
    return json.encode(value)
  end
  return text(value)
end


---A new, empty collection of calls.
---@param options { seed: string?, tools: table[]?, choice: integer? }
---@return table
function M.new(options)
  return setmetatable({
    list = {},
    by_index = {},
    seed = options.seed or "",
    tools = options.tools,
    choice = options.choice,
  }, metatable)
end


-- Names of the imagined wrapper; a request that has a tool of that name means it.
local function is_wrapper(self, name)
  if name ~= "multi_tool_use.parallel" and name ~= "parallel" then
    return false
  end
  for _, tool in ipairs(self.tools or {}) do
    if tool.name == name then
      return false
    end
  end
  return true
end


local function make_id(self, position, name)
  return "call_" .. wire.short_id(self.seed .. "\0" .. position .. "\0" .. name)
end


local function find(self, index, id, name)
  local call
  if index then
    call = self.by_index[index]
    if call and id and call.said_id and id ~= call.said_id and name then
      return nil
    end
    return call
  end
  if id then
    for position = #self.list, 1, -1 do
      if self.list[position].said_id == id then
        return self.list[position]
      end
    end
    return nil
  end
  return not name and self.list[#self.list] or nil
end


-- The id that the model gave, unless it gave it to an earlier call too: each result must find its own call.
local function id_of(self, call)
  for _, other in ipairs(self.list) do
    if other ~= call and other.id == call.said_id then
      return nil
    end
  end
  return call.said_id
end


local function announce(self, call, events)
  call.is_announced = true
  call.id = call.id or id_of(self, call) or make_id(self, call.index, call.name)
  events[#events + 1] =
    { type = "tool_call_start", index = call.index, id = call.id, name = call.name, choice = self.choice }
end


---Takes one fragment and appends the events it causes.
---@param events table[]
---@param index integer?
---@param id any
---@param name any
---@param arguments any
function methods:add(events, index, id, name, arguments)
  index, id, name = math.tointeger(index), text(id), text(name)
  local call = find(self, index, id, name)
  if not call then
    if #self.list >= M.CALLS_MAX then
      return
    end
    call = { index = #self.list, fragments = {} }
    self.list[#self.list + 1] = call
  end
  if index then
    self.by_index[index] = call
  end
  call.said_id, call.name = call.said_id or id, call.name or name
  local fragment = arguments_text(arguments)
  if fragment then
    call.fragments[#call.fragments + 1] = fragment
  end
  if not call.name or is_wrapper(self, call.name) then
    return
  end
  if not call.is_announced then
    announce(self, call, events)
    fragment = text(table.concat(call.fragments))
  end
  if fragment then
    events[#events + 1] =
      { type = "tool_call_delta", index = call.index, arguments = fragment, choice = self.choice }
  end
end


-- The calls inside a wrapper, or nil when it does not hold any.
local function unwrap(self, call)
  local value = json.decode(table.concat(call.fragments), { repair = true })
  local uses = type(value) == "table" and value.tool_uses
  if type(uses) ~= "table" or #uses == 0 then
    return nil
  end
  local found = {}
  for position, use in ipairs(uses) do
    local name = type(use) == "table" and text(use.recipient_name)
    if not name then
      return nil
    end
    name = name:gsub("^functions%.", "")
    found[position] = { name = name, fragments = { arguments_text(use.parameters) } }
    found[position].id = make_id(self, call.index .. "." .. position, name)
  end
  return found
end


local function complete(self, call, events)
  call.name = call.name or M.UNNAMED
  local arguments = table.concat(call.fragments)
  if not call.is_announced then
    announce(self, call, events)
    if arguments ~= "" then
      events[#events + 1] =
        { type = "tool_call_delta", index = call.index, arguments = arguments, choice = self.choice }
    end
  end
  events[#events + 1] = {
    type = "tool_call",
    index = call.index,
    id = call.id,
    name = call.name,
    arguments = arguments:find("%S") and arguments or "{}",
    choice = self.choice,
  }
end


---Appends the complete calls. The first call out of a wrapper takes its index, the others take new ones.
---@param events table[]
function methods:finish(events)
  local free = #self.list
  for _, call in ipairs(self.list) do
    local wrapped = call.name and is_wrapper(self, call.name) and unwrap(self, call) or nil
    for position, inner in ipairs(wrapped or { call }) do
      if position == 1 then
        inner.index = call.index
      else
        inner.index, free = free, free + 1
      end
      complete(self, inner, events)
    end
  end
end


---@return boolean
function methods:is_empty()
  return #self.list == 0
end


return M
