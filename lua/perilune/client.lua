-- Clients: questions without a thread. A client holds settings; every answer is a stream, a whole one is a stream that was
-- collected.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local requests = require "perilune.model.request"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Client", __index = methods }

local option_types = {
  provider = "string", model = "string", fallbacks = "table", api_key = "string", api_keys = "table", base_url = "string",
  api = "string", timeout = "number", timeouts = "table", proxy = "string", ca_file = "string", verify_ssl = "boolean", headers = "table",
}

-- Options of one question: those of a request, and these.
local call_types = { model = "string", timeout = "number", system = "string" }
for name, spec in pairs(requests.options) do
  if name ~= "messages" then
    call_types[name] = spec
  end
end


---@class perilune.Client

---@param app perilune.App
---@param options? table provider, api, model, fallbacks, api_key, api_keys, base_url, timeout, timeouts, proxy, ca_file,
---verify_ssl, headers
---@return perilune.Client
function M.new(app, options)
  options = options or {}
  check.options("perilune.client", options, option_types)
  return setmetatable({ app = app, options = options }, metatable)
end


local function request_of(input, options, is_streamed)
  local given = {}
  for name, value in pairs(options) do
    given[name] = value
  end
  given.model, given.timeout = nil, nil
  given.stream = is_streamed
  local request, err = requests.new(input, given)
  if not request then
    error(err, 0)
  end
  return request
end


local function start(self, input, options, is_streamed)
  options = options or {}
  check.options("client", options, call_types, 3)
  local request = request_of(input, options, is_streamed)
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
---@param options? table the options of a request, and model, system
---@return perilune.Stream
function methods:stream(input, options)
  return start(self, input, options, true)
end


local function collect(self, input, options)
  local started = clock.mono()
  local stream <close> = start(self, input, options, false)
  local answer = stream:response()
  answer.stats = { latency_ms = math.floor((clock.mono() - started) * 1000 + 0.5) }
  return answer
end


---One whole answer; raises what went wrong.
---@param input string|perilune.Message[]
---@param options? table the options of a request, and model, system, timeout (seconds)
---@return perilune.Response
function methods:chat(input, options)
  local seconds = options and options.timeout or self.options.timeout
  if seconds then
    return task.deadline(seconds, collect, self, input, options)
  end
  return collect(self, input, options)
end


return M
