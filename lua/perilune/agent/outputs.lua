-- Answers as data: an assistant with an `output` schema answers in JSON that fits it. The provider is asked to see to that where it can;
-- the answer is checked here in any case, and the model is told what is wrong with it.
local json = require "perilune.json"

local M = {}


---Asks the provider for the format.
---@param assistant perilune.Assistant
---@param request perilune.Request
function M.add_format(assistant, request)
  local output = assistant.output
  if output and not request.response_format then
    request.response_format = { type = "json_schema", json_schema = { name = output.name, schema = output.schema } }
  end
end


-- The JSON of an answer: all of it, or what stands between the fences of Markdown.
local function json_of(content)
  local fenced = content:match("^%s*```%w*%s*\n(.-)\n%s*```%s*$")
  return json.decode(fenced or content)
end


---The value of an answer; for an assistant without a schema there is none.
---@param assistant perilune.Assistant
---@param answer perilune.Response
---@return any value
---@return string? complaint what is wrong, for the model
function M.read(assistant, answer)
  local output = assistant.output
  if not output or answer.refusal then
    return nil
  end
  local value, err = json_of(answer.content)
  if err then
    return nil, "the answer is not valid JSON: " .. err.message
  end
  local fits, misses = output.validator:validate(value)
  if fits then
    return value
  end
  local lines = {}
  for position, miss in ipairs(misses) do
    lines[position] = ("%s: %s"):format(miss.path, miss.message)
  end
  return nil, "the answer does not fit its schema:\n" .. table.concat(lines, "\n")
end


---What the model is told.
---@param complaint string
---@return perilune.Message
function M.reply(complaint)
  return { role = "user", content = complaint .. "\nAnswer again, with JSON that fits, and nothing else." }
end


return M
