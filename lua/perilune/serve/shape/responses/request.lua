-- A body of the Responses API as a question of ours: messages, options of a request, tools of the client. Pure. What would change the
-- question and is not there is an error that names it; fields that nobody here knows are left out, because clients send such.
local input = require "perilune.serve.shape.responses.input"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"
local requests = require "perilune.model.request"
local schema = require "perilune.std.schema"

local M = {}

local null = json.null

-- Fields that are shown again with the response, and their values when nobody gives one.
local echoed = {
  instructions = null, max_output_tokens = null, max_tool_calls = null, metadata = {}, parallel_tool_calls = true,
  previous_response_id = null, prompt_cache_key = null, reasoning = null, safety_identifier = null, store = true, temperature = 1,
  tool_choice = "auto", top_logprobs = 0, top_p = 1, truncation = "disabled", user = "", background = false, presence_penalty = 0,
  frequency_penalty = 0,
}

local types = {
  instructions = "string", previous_response_id = "string", prompt_cache_key = "string", safety_identifier = "string", user = "string",
  truncation = "string", metadata = "table", reasoning = "table", text = "table", tools = "table", include = "table", stream = "boolean",
  store = "boolean", background = "boolean", parallel_tool_calls = "boolean", temperature = "number", top_p = "number",
  max_output_tokens = "integer", max_tool_calls = "integer", top_logprobs = "integer", presence_penalty = "number",
  frequency_penalty = "number",
}

local formats = { text = true, json_object = true, json_schema = true }
local choices = { auto = true, none = true, required = true }
local truncations = { auto = true, disabled = true }

-- Our options where a client calls them otherwise.
local client_names = { max_tokens = "max_output_tokens", reasoning_effort = "reasoning.effort" }

local METADATA_PAIRS_MAX = 16
local METADATA_KEY_BYTES_MAX, METADATA_VALUE_BYTES_MAX = 64 * 4, 512 * 4 -- 64 and 512 characters
local TOOLS_MAX = 128


---@class perilune.serve.ResponsesQuestion
---@field model? any as it was given
---@field messages perilune.Message[]
---@field options table of a request, without messages and tools
---@field tools { name: string, description: string?, parameters: table?, strict: boolean? }[] of the client, those that may
---be called
---@field instructions? string
---@field echo table what the response shows again
---@field is_streamed boolean
---@field is_background boolean
---@field is_stored boolean
---@field previous? string the id of a response
---@field conversation? string its id
---@field calls_max? integer tool calls of one response


-- The fields that are there, each of its type; null is the same as absent.
local function present(body)
  local given = {}
  for name, value in pairs(body) do
    local expected = types[name]
    if value ~= null then
      local actual = expected == "integer" and math.type(value) or type(value)
      if expected and actual ~= expected then
        problem.invalid(name, ("'%s' must be of type %s, not %s."):format(name, expected, type(value)))
      end
      given[name] = value
    end
  end
  return given
end


---Raises unless it is metadata as OpenAI has it: texts by name.
---@param metadata any
---@return table<string, string>|nil
function M.metadata(metadata)
  if metadata == nil or metadata == null then
    return nil
  end
  local count = 0
  local is_object = type(metadata) == "table" and not json.is_array(metadata)
  for name, value in pairs(is_object and metadata or { false }) do
    count = count + 1
    if type(name) ~= "string" or type(value) ~= "string" then
      problem.invalid("metadata", "'metadata' must be an object whose values are texts.")
    elseif count > METADATA_PAIRS_MAX or #name > METADATA_KEY_BYTES_MAX or #value > METADATA_VALUE_BYTES_MAX then
      problem.invalid("metadata", ("'metadata' has at most %d pairs, of at most 64 and 512 characters."):format(METADATA_PAIRS_MAX))
    end
  end
  return metadata
end


-- Is it a JSON Schema of an object, and not something that only looks like one?
local function is_schema(parameters)
  return type(parameters) == "table" and (next(parameters) == nil or parameters.type == "object" or type(parameters.properties) == "table"
    or parameters["$ref"] ~= nil or parameters["$schema"] ~= nil)
end


local function tool_of(where, tool, names)
  if type(tool) ~= "table" then
    problem.invalid(where, ("'%s' must be a tool."):format(where))
  elseif tool.type ~= "function" then
    problem.invalid(where .. ".type", ("Tools of the type '%s' are not there: a tool is a function of yours, and the tools of this server "
      .. "belong to its assistants."):format(tostring(tool.type)), "unsupported_parameter")
  elseif type(tool.name) ~= "string" or not tool.name:find("^[%w_-]+$") or #tool.name > 64 then
    problem.invalid(where .. ".name", ("'%s.name' must have 1 to 64 letters, digits, _ and -."):format(where))
  elseif names[tool.name] then
    problem.invalid(where .. ".name", ("Two tools are called '%s'."):format(tool.name))
  end
  names[tool.name] = true
  local parameters = tool.parameters
  if parameters ~= nil and parameters ~= null and not is_schema(parameters) then
    problem.invalid(where .. ".parameters", ("'%s.parameters' must be a JSON Schema of the type object."):format(where))
  elseif type(parameters) == "table" then
    schema.compile(parameters, where .. ".parameters")
  end
  return {
    name = tool.name, description = type(tool.description) == "string" and tool.description or nil,
    parameters = parameters ~= null and parameters or nil, strict = tool.strict == true or nil,
  }
end


local function tools_of(tools)
  local list, names = {}, {}
  for position, tool in ipairs(tools or {}) do
    list[position] = tool_of(("tools[%d]"):format(position - 1), tool, names)
  end
  if #list > TOOLS_MAX then
    problem.invalid("tools", ("There are at most %d tools."):format(TOOLS_MAX))
  end
  return list
end


local function choice_of(choice)
  if choice == nil or choices[choice] then
    return choice
  elseif type(choice) ~= "table" then
    problem.invalid("tool_choice", "'tool_choice' must be \"auto\", \"none\", \"required\", or an object.")
  elseif choice.type == "function" then
    return { name = choice.name }
  elseif choice.type == "allowed_tools" then
    return choice.mode
  end
  problem.invalid("tool_choice", ("A tool_choice of the type '%s' is not known here."):format(tostring(choice.type)),
    "unsupported_parameter")
end


-- Of the tools those that the choice allows. An assistant's own are not known here, so a choice among them cannot be kept.
local function allowed_of(given, tools)
  local choice = given.tool_choice
  if type(choice) ~= "table" or choice.type ~= "allowed_tools" then
    return tools
  elseif type(given.model) == "string" and given.model:find("^assistant/") then
    problem.invalid("tool_choice", "A tool_choice of the type allowed_tools cannot be had with an assistant.", "unsupported_parameter")
  elseif choice.mode ~= "auto" and choice.mode ~= "required" then
    problem.invalid("tool_choice.mode", "'tool_choice.mode' must be \"auto\" or \"required\".")
  elseif type(choice.tools) ~= "table" or not choice.tools[1] then
    problem.invalid("tool_choice.tools", "'tool_choice.tools' must be a list of one tool at least.")
  end
  local names, is_allowed, allowed = {}, {}, {}
  for _, tool in ipairs(tools) do
    names[tool.name] = true
  end
  for position, one in ipairs(choice.tools) do
    local where = ("tool_choice.tools[%d]"):format(position - 1)
    if type(one) ~= "table" or one.type ~= "function" or not names[one.name] then
      problem.invalid(where, ("'%s' must name a function that is among the tools."):format(where))
    end
    is_allowed[one.name] = true
  end
  for _, tool in ipairs(tools) do
    allowed[#allowed + 1] = is_allowed[tool.name] and tool or nil
  end
  return allowed
end


-- text.format as chat completions have it, which is our own form.
local function format_of(text)
  local format = text and text.format
  if format == nil or format == null then
    return nil
  elseif type(format) ~= "table" then
    problem.invalid("text.format", "'text.format' must be an object.")
  elseif format.type == "text" then
    return nil
  elseif not formats[format.type] then
    problem.invalid("text.format", ("The format '%s' is not known; it is text, json_object or json_schema."):format(tostring(format.type)))
  elseif format.type == "json_object" then
    return { type = "json_object" }
  elseif type(format.name) ~= "string" or type(format.schema) ~= "table" then
    problem.invalid("text.format", "A format of the type json_schema needs 'name' and 'schema'.")
  end
  local strict, description = format.strict, format.description
  return { type = "json_schema", json_schema = {
    name = format.name, schema = format.schema, strict = strict ~= null and strict or nil,
    description = description ~= null and description or nil,
  } }
end


local function wants_logprobs(given)
  for _, one in ipairs(given.include or {}) do
    if one == "message.output_text.logprobs" then
      return true
    end
  end
  return nil
end


local function options_of(given)
  local effort = (given.reasoning or {}).effort
  local logprobs = wants_logprobs(given)
  return {
    temperature = given.temperature, top_p = given.top_p, max_tokens = given.max_output_tokens, user = given.user,
    presence_penalty = given.presence_penalty, frequency_penalty = given.frequency_penalty, tool_choice = choice_of(given.tool_choice),
    parallel_tool_calls = given.parallel_tool_calls, response_format = format_of(given.text),
    reasoning_effort = effort ~= null and effort or nil, logprobs = logprobs, top_logprobs = logprobs and given.top_logprobs or nil,
  }
end


-- A tool as it is shown: what nobody has said is null.
local function shown_tool(tool)
  local shown = { description = null, parameters = null, strict = false }
  for name, value in pairs(tool) do
    shown[name] = value
  end
  return shown
end


local function echo_of(given)
  local echo = { service_tier = "default" } -- there is one only
  for name, default in pairs(echoed) do
    local value = given[name]
    if value == nil then
      value = default
    end
    echo[name] = value
  end
  local text = {}
  for name, value in pairs(given.text or {}) do
    if type(name) == "string" then
      text[name] = value ~= null and value or nil
    end
  end
  text.format = text.format or { type = "text" }
  echo.text, echo.tools = text, json.array()
  for position, tool in ipairs(given.tools or {}) do
    echo.tools[position] = shown_tool(tool)
  end
  return echo
end


-- The id of a conversation: the text, or an object that holds it.
local function conversation_of(conversation)
  local id = conversation
  if type(conversation) == "table" then
    id = conversation.id
  end
  if conversation ~= nil and type(id) ~= "string" then
    problem.invalid("conversation", "'conversation' must be the id of a conversation.")
  end
  return id
end


-- What the engine would refuse later is refused now, with the name of the field.
local function check(question)
  local sample = { messages = question.messages, tools = question.tools }
  if not sample.messages[1] then
    sample.messages = { { role = "user", content = "" } }
  end
  for name, value in pairs(question.options) do
    sample[name] = value
  end
  if type(sample.tool_choice) == "table" then
    sample.tool_choice = nil -- it may name a tool of an assistant
  end
  local is_right, err = requests.check(sample)
  if not is_right then
    local message = err.message:gsub("^request: ", "")
    local option = message:match("^option '([%w_]+)'")
    local name = client_names[option] or option
    problem.invalid(name or "input", option and message:gsub(option, name, 1) or message)
  end
end


local function refuse_what_is_not_there(given)
  if given.prompt ~= nil then
    problem.invalid("prompt", "Prompts are not kept here: an assistant of the server is asked as the model 'assistant/NAME'.",
      "unsupported_parameter")
  elseif given.conversation ~= nil and given.previous_response_id ~= nil then
    problem.invalid("previous_response_id", "'previous_response_id' and 'conversation' cannot be used together.",
      "mutually_exclusive_parameters")
  elseif given.truncation and not truncations[given.truncation] then
    problem.invalid("truncation", "'truncation' must be \"auto\" or \"disabled\".")
  elseif given.background and given.store == false then
    problem.invalid("background", "A response in the background must be stored: 'store' must be true.")
  end
end


---Reads a body. Raises 400 with the field that is wrong.
---@param body table
---@param resolve? fun(where: string, id: string): table the item that a reference means
---@return perilune.serve.ResponsesQuestion
function M.read(body, resolve)
  local given = present(body)
  refuse_what_is_not_there(given)
  M.metadata(given.metadata)
  local question = {
    model = given.model, messages = given.input ~= nil and input.messages("input", given.input, resolve) or {},
    options = options_of(given), tools = allowed_of(given, tools_of(given.tools)), instructions = given.instructions, echo = echo_of(given),
    is_streamed = given.stream == true, is_background = given.background == true, is_stored = given.store ~= false,
    previous = given.previous_response_id, conversation = conversation_of(given.conversation), calls_max = given.max_tool_calls,
  }
  if not question.messages[1] and not question.previous and not question.conversation then
    problem.invalid("input", "'input' is missing: a text, or a list of items.", "missing_required_parameter")
  end
  check(question)
  return question
end


return M
