-- Requests in canonical form (docs/model.md): made from what people type, and checked before anything is sent, so
-- that a typo is an error with a suggestion instead of an option that silently does nothing.
local message = require "perilune.model.message"
local shape = require "perilune.model.shape"

local M = {}

---The options of a request and the types they may have.
M.options = {
  messages = "table", tools = "table", tool_choice = "string|table", stream = "boolean",
  temperature = "number", top_p = "number", max_tokens = "integer", max_completion_tokens = "integer",
  frequency_penalty = "number", presence_penalty = "number", n = "integer", stop = "string|table", logprobs = "boolean",
  top_logprobs = "integer", seed = "integer", user = "string", reasoning_effort = "string",
  parallel_tool_calls = "boolean", response_format = "table", metadata = "table", enable_thinking = "boolean",
  provider_specific_params = "table",
}

---The options of a call: how an answer is waited for. They are no part of what is asked; of them only `request_id` is in a
---request, because model/call.lua sends it along as a header.
M.call_options = { timeout = "number", request_id = "string", cancel = "table" }

-- What a request may hold: its options, and the name that its caller gave it.
local fields = { request_id = "string" }
for name, spec in pairs(M.options) do
  fields[name] = spec
end

-- A name goes into a header: printable ASCII, at most as long as OpenAI takes it.
local REQUEST_ID_BYTES_MAX = 512

local tool_choices = { auto = true, none = true, required = true }

local positive = { max_tokens = true, max_completion_tokens = true, n = true }


local function has_type(value, expected)
  local actual = type(value)
  if actual == "number" and expected == "integer" then
    return math.type(value) == "integer"
  end
  return actual == expected or expected == "string|table" and (actual == "string" or actual == "table")
end


local function is_fine(option, value)
  return has_type(value, fields[option]) and not (positive[option] and value < 1)
end


-- The error says the place as JSON has it, counted from 0.
local function refuse(param, problem, ...)
  local _, err = shape.refuse("request", problem, ...)
  err.param = param
  return nil, err
end


local function refuse_option(option, value)
  local expected = fields[option]
  if not has_type(value, expected) then
    expected = expected:gsub("|", " or ")
    return refuse(option, "option '%s' must be %s, not %s", option, expected, type(value))
  end
  return refuse(option, "option '%s' must be at least 1, not %d", option, value)
end


local function check_options(request)
  local is_right, err = shape.check_known("request", "option", request, fields)
  if not is_right then
    return nil, err
  end
  local wrong -- the first one by its name
  for option, value in pairs(request) do
    if not is_fine(option, value) and (not wrong or option < wrong) then
      wrong = option
    end
  end
  if wrong then
    return refuse_option(wrong, request[wrong])
  end
  local id = request.request_id
  if id and (#id > REQUEST_ID_BYTES_MAX or not id:find("^[\x21-\x7E]+$")) then
    return refuse("request_id", "option 'request_id' is 1 to %d printable ASCII characters without spaces", REQUEST_ID_BYTES_MAX)
  end
  return true
end


local function check_tool(tool, position, names)
  local place = ("tools[%d]"):format(position - 1)
  if type(tool) ~= "table" or type(tool.name) ~= "string" or tool.name == "" then
    return refuse(place, "tool %d has no name", position)
  elseif tool.description ~= nil and type(tool.description) ~= "string" then
    return refuse(place, "the description of the tool '%s' must be string, not %s", tool.name, type(tool.description))
  elseif names[tool.name] then
    return refuse(place, "two tools are called '%s'", tool.name)
  end
  return true
end


local function check_tools(request)
  local names = {}
  for position, tool in ipairs(request.tools or {}) do
    local is_right, err = check_tool(tool, position, names)
    if not is_right then
      return nil, err
    end
    names[tool.name] = true
  end
  local choice = request.tool_choice
  if type(choice) == "string" and not tool_choices[choice] then
    return refuse("tool_choice", "tool_choice is \"auto\", \"none\", \"required\" or { name = … }, not '%s'", choice)
  elseif type(choice) == "table" and not names[choice.name] then
    return refuse("tool_choice", "tool_choice names '%s', which is not among the tools", tostring(choice.name))
  end
  return true
end


---Checks a request; returns it unchanged.
---@param request table
---@return perilune.Request?
---@return perilune.Error? err `param` is the field that is wrong
function M.check(request)
  local is_right, err = check_options(request)
  if is_right and (type(request.messages) ~= "table" or #request.messages == 0) then
    return refuse("messages", "there are no messages")
  end
  if is_right then
    is_right, err = check_tools(request)
  end
  if not is_right then
    return nil, err
  end
  for position, one in ipairs(request.messages) do
    is_right, err = message.check(one, ("message %d"):format(position))
    if not is_right then
      err.param = ("messages[%d]"):format(position - 1)
      return nil, err
    end
  end
  return request
end


---Makes a request out of a question or a list of messages.
---@param input string|perilune.Message[]
---@param options? table options of the request, and `system`, a text that goes first
---@return perilune.Request?
---@return perilune.Error?
function M.new(input, options)
  local request = {}
  for option, value in pairs(options or {}) do
    request[option] = value
  end
  request.system = nil
  request.messages = {}
  if options and options.system then
    request.messages[1] = { role = "system", content = options.system }
  end
  if type(input) == "string" then
    request.messages[#request.messages + 1] = { role = "user", content = input }
  elseif type(input) == "table" then
    table.move(input, 1, #input, #request.messages + 1, request.messages)
  else
    return shape.refuse("request", "input is a text or a list of messages, not a %s", type(input))
  end
  return M.check(request)
end


---@class perilune.Request
---@field messages perilune.Message[]
---@field tools? { name: string, description: string?, parameters: any, strict: boolean? }[]
---@field tool_choice? "auto"|"none"|"required"|{ name: string }
---@field stream? boolean default true
---@field max_tokens? integer
---@field request_id? string the caller's own name of the request, sent as `x-client-request-id`
---@field provider_specific_params? table merged into the body last, verbatim
---@field keeps_pieces? boolean a text that came in several frames, which had piled up, also tells its `pieces`

return M
