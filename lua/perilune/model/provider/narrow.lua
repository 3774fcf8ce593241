-- Fits a request into wire formats that hold less than ours: instructions that must be one message, tool results that
-- hold text alone, tool choices that cannot be said. Pure; what it does not change it passes on as the same table.
local wire = require "perilune.model.provider.wire"

local M = {}


-- Consecutive instructions at the front become one: many chat templates take only one.
local function push_instructions(list, message)
  local plain = wire.text_of(message.content)
  local first = list[1]
  if plain == "" then
    return
  elseif #list == 1 and first.role == "system" then
    list[1] = { role = "system", content = first.content .. "\n\n" .. plain }
  else
    list[#list + 1] = { role = "system", content = plain }
  end
end


-- A result without its media, which wait for the user message that follows the results.
local function text_result(message, waiting)
  local plain, has_media = wire.text_of(message.content)
  if not has_media then
    return message
  end
  for _, part in ipairs(wire.parts(message.content)) do
    waiting[#waiting + 1] = part.type ~= "text" and part or nil
  end
  return {
    role = "tool", tool_call_id = message.tool_call_id, name = message.name, is_error = message.is_error,
    content = plain ~= "" and plain or "(see the attached media)",
  }
end


---Messages of four roles: instructions are "system", those at the front joined; the media of tool results follow the
---last result of a row in a user message.
---@param messages perilune.Message[]
---@return perilune.Message[]
function M.messages(messages)
  local list, waiting = {}, {}
  local function flush()
    if #waiting > 0 then
      list[#list + 1] = { role = "user", content = waiting }
      waiting = {}
    end
  end
  for _, message in ipairs(messages) do
    if message.role == "tool" then
      list[#list + 1] = text_result(message, waiting)
    else
      flush()
      if message.role == "system" or message.role == "developer" then
        push_instructions(list, message)
      else
        list[#list + 1] = message
      end
    end
  end
  flush()
  return list
end


---The messages that follow the last one of the user, as a set: they belong to one turn of tool calls.
---@param messages perilune.Message[]
---@return table<perilune.Message, true>
function M.same_turn(messages)
  local turn = {}
  for position = #messages, 1, -1 do
    if messages[position].role == "user" then
      break
    end
    turn[messages[position]] = true
  end
  return turn
end


---The tools and the choice for a vendor that knows only some choices. What it does not know becomes the nearest thing:
---no tools for "none", that one tool for a name, a free choice for "required".
---@param request perilune.Request
---@param known? table<string, true> of "auto", "none", "required", "named"; nil: all of them
---@return table[] tools
---@return string|table|nil choice
function M.tools(request, known)
  local tools, choice = request.tools or {}, request.tool_choice
  local kind = type(choice) == "table" and "named" or choice
  if not kind or not known or known[kind] then
    return tools, choice
  elseif kind == "none" then
    return {}, nil
  elseif kind == "named" then
    local named = {}
    for _, tool in ipairs(tools) do
      named[#named + 1] = tool.name == choice.name and tool or nil
    end
    return named, known.required and "required" or nil
  end
  return tools, nil
end


---The texts that end an answer, as a list; nil when there are none.
---@param stop string|string[]|nil
---@return string[]?
function M.stop_list(stop)
  if type(stop) == "string" then
    return { stop }
  end
  return stop
end


return M
