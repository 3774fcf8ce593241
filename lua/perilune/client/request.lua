-- The fluent way to a question: `client:request():system("Be brief."):user("Hello"):temperature(0.2):execute()`. Every option of a
-- question is a method; those of messages add one.
local check = require "perilune.std.check"
local question = require "perilune.client.question"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

local methods = {}
local metatable = { __name = "perilune.ClientRequest" }


---@class perilune.ClientRequest every option of a question is a method; each returns the request
---@field model fun(self, name: string|table): perilune.ClientRequest
---@field temperature fun(self, value: number): perilune.ClientRequest
---@field max_tokens fun(self, count: integer): perilune.ClientRequest
---@field top_p fun(self, value: number): perilune.ClientRequest
---@field stop fun(self, words: string|string[]): perilune.ClientRequest
---@field tools fun(self, tools: table[]): perilune.ClientRequest
---@field tool_choice fun(self, choice: string|table): perilune.ClientRequest
---@field response_format fun(self, format: table): perilune.ClientRequest
---@field timeout fun(self, seconds: number): perilune.ClientRequest

for name, spec in pairs(question.options) do
  methods[name] = function(self, value)
    self.options[name] = check.value("request:" .. name, value, spec)
    return self
  end
end

for _, role in ipairs { "system", "user", "assistant" } do
  methods[role] = function(self, content)
    check.value(("request:%s: content"):format(role), content, "string|table")
    self.input[#self.input + 1] = { role = role, content = content }
    return self
  end
end


---Adds messages.
---@param messages perilune.Message[]
---@return perilune.ClientRequest
function methods:messages(messages)
  check.list("request:messages", messages, "table")
  table.move(messages, 1, #messages, #self.input + 1, self.input)
  return self
end


---Sets an option by its name; one that is not known goes to the provider as it is.
---@param key string
---@param value any
---@return perilune.ClientRequest
function methods:param(key, value)
  check.string("request:param: key", key)
  if question.options[key] then
    self.options[key] = check.value(("request:param: '%s'"):format(key), value, question.options[key])
    return self
  end
  local params = {}
  for name, one in pairs(self.options.provider_specific_params or {}) do
    params[name] = one
  end
  params[key] = value
  self.options.provider_specific_params = params
  return self
end


---One whole answer; raises what went wrong. What was said so far may be asked again, with more behind it.
---@return perilune.Response
function methods:execute()
  return self.client:chat(self.input, self.options)
end


---The events of an answer.
---@return perilune.Stream
function methods:stream()
  return self.client:stream(self.input, self.options)
end


function metatable.__index(_, name)
  local method = methods[name]
  if not method then
    local nearest = text.suggest(tostring(name), tables.sorted_keys(methods))
    check.fail(("request:%s does not exist%s"):format(name, nearest and (", did you mean '%s'?"):format(nearest) or ""))
  end
  return method
end


---@param client perilune.Client
---@return perilune.ClientRequest
function M.new(client)
  return setmetatable({ client = client, input = {}, options = {} }, metatable)
end


return M
