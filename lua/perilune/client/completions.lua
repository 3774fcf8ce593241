-- `client.chat.completions.create{...}`: OpenAI's call, for people and code that know its shape. It is the same question as
-- `client:chat` and `client:stream`; only the shape is another.
local answer = require "perilune.client.answer"
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local openai_shape = require "perilune.model.openai_shape"
local question = require "perilune.client.question"
local requests = require "perilune.model.request"
local token = require "perilune.sys.token"

local M = {}

local WHERE = "client.chat.completions.create"

local chunk_methods = {}
local chunk_metatable = { __name = "perilune.CompletionStream", __index = chunk_methods }


---@class perilune.CompletionStream the chunks of an answer: `for chunk in stream do`
local _ = chunk_methods


---The next chunk, or nil after the last one; raises what went wrong.
---@return table?
function chunk_methods:next()
  while self.position >= #self.ready do
    local event = self.events:next()
    if not event then
      return nil
    elseif event.type == "error" or event.type == "attempt_discarded" then
      self:close()
      error(event.error, 0)
    end
    self.ready, self.position = self.chunks:feed(event), 0
  end
  self.position = self.position + 1
  return self.ready[self.position]
end


---Cancels what is left. Harmless when called again.
function chunk_methods:close()
  self.events:close()
end


chunk_metatable.__call = chunk_methods.next
chunk_metatable.__close = chunk_methods.close


local function identify(model)
  return { id = token.id "chatcmpl", created = math.floor(clock.wall()), model = model }
end


-- The question in a body, and how it is asked; misuse is the caller's of `create`, at his line.
local function read(body, options)
  options = check.options(WHERE, options, requests.call_options, 3)
  local asked, err = openai_shape.request(body)
  if not asked then
    check.fail(("%s: %s"):format(WHERE, err.message), 3)
  end
  asked.options.model = asked.model
  for name, value in pairs(options) do
    asked.options[name] = value
  end
  return asked
end


---@param client perilune.Client
---@return { create: fun(body: table, options: { timeout: number?, request_id: string?, cancel: perilune.CancellationToken? }?): table }
function M.new(client)
  local function create(body, options)
    local asked = read(body, options)
    local request, checked = question.new(WHERE, asked.messages, asked.options, asked.is_streamed)
    if asked.is_streamed then
      return setmetatable({
        events = answer.start(client, request, checked), ready = {}, position = 0,
        chunks = openai_shape.chunks(identify(asked.model), asked.include_usage),
      }, chunk_metatable)
    end
    local stream <close> = answer.start(client, request, checked)
    return openai_shape.completion(stream:response(), identify(asked.model))
  end
  return { create = create }
end


return M
