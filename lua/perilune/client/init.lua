-- Clients: questions without a thread. A client holds settings; every answer is a stream, a whole one is a stream that was
-- collected. What is no conversation (images, embeddings, lists of models) is one exchange each.
local answer = require "perilune.client.answer"
local cancellation = require "perilune.model.cancellation"
local check = require "perilune.std.check"
local completions = require "perilune.client.completions"
local fluent = require "perilune.client.request"
local models = require "perilune.client.models"
local production = require "perilune.client.production"
local question = require "perilune.client.question"
local settings = require "perilune.model.settings"
local statistics = require "perilune.client.stats"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Client", __index = methods }


---@class perilune.Client
---@field chat perilune.ClientChat
---@field images { generate: fun(options: table): perilune.Images } the same as `client:image`
---@field last_provider? string who began the latest answer
---@field last_model? string

---One whole answer, `client:chat("Hello")`, or OpenAI's call, `client.chat.completions.create{...}`.
---@class perilune.ClientChat
---@field completions { create: fun(body: table, options: table?): table }
---@overload fun(client: perilune.Client, input: string|perilune.Message[], options: table?): perilune.Response


-- One whole answer; raises what went wrong.
local function chat(self, input, options)
  if getmetatable(self) ~= metatable then
    check.fail("client:chat is called with a colon: client:chat(input, options)")
  end
  local request, checked = question.new("client:chat", input, options, false)
  local stream <close> = answer.start(self, request, checked)
  return stream:response()
end


local chat_metatable = {
  __call = function(_, self, input, options)
    return chat(self, input, options)
  end,
}


---@param app perilune.App
---@param options? table see model/settings, and docs/manual.md
---@return perilune.Client
function M.new(app, options)
  options = production.apply(settings.check("perilune.client", options))
  local self = setmetatable({
    app = app, options = options, counts = statistics.new(), limiter = models.limiter(options), made = {}, made_count = 0,
  }, metatable)
  self.chat = setmetatable({ completions = completions.new(self) }, chat_metatable)
  self.images = {
    generate = function(image)
      return self:image(image)
    end,
  }
  return self
end


---The events of an answer: `for event in client:stream("...") do`. Closing the stream cancels the request.
---@param input string|perilune.Message[]
---@param options? table the options of a request, and model, system, images, videos, files (paths, addresses or bytes), timeout
---(seconds, of the whole answer), request_id, cancel
---@return perilune.Stream
function methods:stream(input, options)
  local request, checked = question.new("client:stream", input, options, true)
  return answer.start(self, request, checked)
end


---A question word by word: `client:request():user("Hello"):temperature(0.2):execute()`.
---@return perilune.ClientRequest
function methods:request()
  return fluent.new(self)
end


---What the questions of this client came to.
---@return perilune.ClientStats
function methods:stats()
  return self.counts:summary()
end


---Begins to count anew.
function methods:reset_stats()
  self.counts:reset()
end


-- The settings of what is no conversation: the client's over the application's; the client's model is one that talks.
local function settings_of(self)
  self.app:discover()
  local own = {}
  for name, value in pairs(self.options) do
    own[name] = value
  end
  own.model = nil
  return setmetatable(own, { __index = self.app.settings })
end


-- An exchange in the time that its caller gave it, until its token is cancelled; raises what went wrong.
local function exchange(self, where, options, types, f)
  local known = { cancel = "table" }
  for name, spec in pairs(types) do
    known[name] = spec
  end
  options = check.options(where, options, known, 3)
  settings.check_token(where, options.cancel, 3)
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  given.timeout, given.cancel = options.timeout or self.options.timeout, nil
  local result = cancellation.run(self.options.cancel, cancellation.run, options.cancel, function()
    local found, err = f(given, settings_of(self))
    return found or error(err, 0)
  end)
  self.last_provider, self.last_model = result.provider, result.model
  return result
end


---Draws images; raises what went wrong. Without a model, whoever has a key and draws; else the offline model draws a pattern.
---@param options { prompt: string, model: string?, n: integer?, size: string?, response_format: "url"|"b64_json"|nil }
---@return perilune.Images
function methods:image(options)
  local images = require "perilune.model.images"
  return (exchange(self, "client:image", options, images.options, images.generate))
end


---Makes a vector of each text; raises what went wrong.
---@param options { input: string|string[], model: string?, dimensions: integer? }
---@return perilune.Embeddings
function methods:embed(options)
  local embeddings = require "perilune.model.embeddings"
  return (exchange(self, "client:embed", options, embeddings.options, embeddings.embed))
end


---Every model that can be called: the built-in lists and what the providers say, who are asked once a process.
---@return perilune.ModelEntry[]
---@return table<string, perilune.Error> errors by provider, of those who did not answer
function methods:models()
  return require("perilune.model.catalogue").list(settings_of(self))
end


---What models can do, as far as it is published: of one, "provider/model", or of all that `models` knows.
---@param model? string
---@return perilune.Capability|perilune.Capability[]
function methods:capabilities(model)
  local capabilities = require "perilune.model.capabilities"
  if model then
    check.string("client:capabilities: model", model)
    self.app:discover()
    local found, err = capabilities.find(model)
    return found or error(err, 0)
  end
  local list = {}
  for position, entry in ipairs((self:models())) do
    list[position] = capabilities.get(entry.provider, entry.model, entry)
  end
  return list
end


return M
