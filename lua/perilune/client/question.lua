-- The questions of a client: what people pass is checked at their line, and becomes a request.
local attachments = require "perilune.model.attachments"
local check = require "perilune.std.check"
local requests = require "perilune.model.request"
local settings = require "perilune.model.settings"

local M = {}

---The options of one question and their types: those of a request, and these.
M.options = { model = "string|table", system = "string" }
for _, more in ipairs { requests.options, requests.call_options, attachments.option_types } do
  for name, spec in pairs(more) do
    M.options[name] = spec
  end
end
M.options.messages = nil

-- The options that are no part of a request.
local of_the_call = { "model", "timeout", "cancel", "images", "videos", "files" }

-- Who asks for what the other function gives.
local misuse = {
  [true] = "gives the events of an answer: client:chat gives a whole one",
  [false] = "gives a whole answer: client:stream gives its events",
}


-- Raises what is wrong with a question: its caller's mistake at the caller's line, else the error as it is.
local function refuse(err, level)
  if err.kind == "configuration" then
    check.fail(err.message, level + 1)
  end
  error(err, 0)
end


local function check_options(where, input, options, is_streamed, level)
  level = level + 1
  options = check.options(where, options, M.options, level)
  settings.check_seconds(where, "timeout", options.timeout, level)
  settings.check_token(where, options.cancel, level)
  if type(options.model) == "table" and type(options.model.stream) ~= "function" then
    check.fail(where .. ": 'model' is the name of a model, or a model: a table with 'stream'", level)
  elseif options.stream ~= nil and options.stream ~= is_streamed then
    check.fail(("%s %s"):format(where, misuse[is_streamed]), level)
  elseif type(input) ~= "string" and type(input) ~= "table" then
    check.fail(("%s: the question is a text or a list of messages, got a %s"):format(where, type(input)), level)
  end
  return options
end


---A question as a request.
---@param where string the function as the caller knows it
---@param input string|perilune.Message[]
---@param options? table
---@param is_streamed boolean
---@param level? integer whose call to blame, as for `check.options`
---@return perilune.Request
---@return table options
function M.new(where, input, options, is_streamed, level)
  level = (level or 2) + 1
  options = check_options(where, input, options, is_streamed, level)
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  for _, name in ipairs(of_the_call) do
    given[name] = nil
  end
  given.stream = is_streamed
  local with_media, err = attachments.attach(input, options)
  local request
  if with_media then
    request, err = requests.new(with_media, given)
  end
  if not request then
    refuse(err, level)
  end
  return request, options
end


return M
