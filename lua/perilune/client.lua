-- Clients: questions without a thread. A client holds settings; every answer is a stream, a whole one is a stream that was
-- collected. What is no conversation (images, embeddings, lists of models) is one exchange each.
local attachments = require "perilune.model.attachments"
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local requests = require "perilune.model.request"
local settings_check = require "perilune.model.settings"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Client", __index = methods }

-- Options of one question: those of a request, and these.
local call_types = { model = "string", timeout = "number", system = "string" }
for name, spec in pairs(requests.options) do
  if name ~= "messages" then
    call_types[name] = spec
  end
end


for name, spec in pairs(attachments.option_types) do
  call_types[name] = spec
end


---@class perilune.Client
---@field images { generate: fun(options: table): perilune.Images } the same as `client:image`

---@param app perilune.App
---@param options? table provider, api, model, fallbacks, api_key, api_keys, base_url, timeout, timeouts, proxy, ca_file,
---verify_ssl, headers, image_provider, exclude_images
---@return perilune.Client
function M.new(app, options)
  options = settings_check.check("perilune.client", options)
  local self = setmetatable({ app = app, options = options }, metatable)
  self.images = {
    generate = function(image)
      return self:image(image)
    end,
  }
  return self
end


-- Raises what is wrong with a question at the line that asked it: script -> methods.chat -> check_call -> refuse.
local function refuse(err)
  if err.kind == "configuration" then
    check.fail(err.message, 4)
  end
  error(err, 0)
end


-- The options of a question and its request; misuse is the script's, at its line.
local function check_call(where, input, options, is_streamed)
  options = check.options(where, options, call_types, 3)
  if options.timeout and not (options.timeout > 0 and options.timeout < math.huge) then
    check.fail(("%s: 'timeout' must be more than 0 seconds, got %s"):format(where, options.timeout), 3)
  elseif type(input) ~= "string" and type(input) ~= "table" then
    check.fail(("%s: the question is a text or a list of messages, got a %s"):format(where, type(input)), 3)
  end
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  given.model, given.timeout, given.images, given.videos, given.files = nil, nil, nil, nil, nil
  given.stream = is_streamed
  local with_media, err = attachments.attach(input, options)
  local request
  if with_media then
    request, err = requests.new(with_media, given)
  end
  if not request then
    refuse(err)
  end
  return request, options
end


local function start(self, request, options)
  local settings = {}
  for name, value in pairs(self.options) do
    settings[name] = value
  end
  local names = { options.model or self.options.model or "auto", table.unpack(self.options.fallbacks or {}) }
  settings.model, settings.fallbacks, settings.timeout = nil, nil, nil
  local model = self.app:model(names, settings)
  return model:stream(request)
end


---The events of an answer: `for event in client:stream("...") do`. Closing the stream cancels the request.
---@param input string|perilune.Message[]
---@param options? table the options of a request, and model, system, images, videos, files (paths, addresses or bytes)
---@return perilune.Stream
function methods:stream(input, options)
  local request, checked = check_call("client:stream", input, options, true)
  return start(self, request, checked)
end


local function collect(self, request, options)
  local started = clock.mono()
  local stream <close> = start(self, request, options)
  local answer = stream:response()
  answer.stats = { latency_ms = math.floor((clock.mono() - started) * 1000 + 0.5) }
  return answer
end


---One whole answer; raises what went wrong.
---@param input string|perilune.Message[]
---@param options? table the options of a request, and model, system, images, videos, files (paths, addresses or bytes),
---timeout (seconds)
---@return perilune.Response
function methods:chat(input, options)
  local request, checked = check_call("client:chat", input, options, false)
  local seconds = checked.timeout or self.options.timeout
  if seconds then
    return task.deadline(seconds, collect, self, request, checked)
  end
  return collect(self, request, checked)
end


-- The settings of what is no conversation: the client's over the application's; the client's model is one that talks.
local function settings_of(self)
  self.app:discover()
  local settings = {}
  for name, value in pairs(self.options) do
    settings[name] = value
  end
  settings.model = nil
  return setmetatable(settings, { __index = self.app.settings })
end


-- An exchange in the time that its caller gave it; raises what went wrong.
local function exchange(self, options, f)
  options.timeout = options.timeout or self.options.timeout
  local result, err = f(options, settings_of(self))
  if not result then
    error(err, 0)
  end
  return result
end


local function copy(options)
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  return given
end


---Draws images; raises what went wrong. Without a model, whoever has a key and draws; else the offline model draws a pattern.
---@param options { prompt: string, model: string?, n: integer?, size: string?, response_format: "url"|"b64_json"|nil }
---@return perilune.Images
function methods:image(options)
  local images = require "perilune.model.images"
  return exchange(self, copy(check.options("client:image", options, images.options)), images.generate)
end


---Makes a vector of each text; raises what went wrong.
---@param options { input: string|string[], model: string?, dimensions: integer? }
---@return perilune.Embeddings
function methods:embed(options)
  local embeddings = require "perilune.model.embeddings"
  return exchange(self, copy(check.options("client:embed", options, embeddings.options)), embeddings.embed)
end


---Every model that can be called: the built-in lists and what the providers say, who are asked once a process.
---@return perilune.ModelEntry[]
---@return table<string, perilune.Error> errors by provider, of those who did not answer
function methods:models()
  self.app.listed_models = self.app.listed_models or {}
  return require("perilune.model.catalogue").list(settings_of(self), self.app.listed_models)
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
