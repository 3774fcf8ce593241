-- One request and its answer, as the functions of serve/routes see them.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local ids = require "perilune.serve.ids"
local json = require "perilune.json"
local names = require "perilune.serve.names"
local problem = require "perilune.serve.problem"
local sse = require "perilune.serve.sse"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.exchange", __index = methods }

local JSON = "application/json"
-- Schemas go on as they came: a model answers in the order of their properties.
local ORDERED = { ordered = true }


---@class perilune.Exchange
---@field app perilune.App
---@field server perilune.Server
---@field id string "req_...", the x-request-id of the answer
---@field method string
---@field path string not percent-decoded
---@field params table<string, string> of the route's pattern
---@field key perilune.serve.Key who calls
---@field started number clock.mono of its arrival
---@field route? perilune.serve.Route
---@field status? integer of the answer, once it has begun
---@field has_begun boolean something of the answer was sent
---@field is_answered boolean the answer is complete
---@field stream? perilune.serve.EventStream the answer, where it is one
---@field failure? perilune.serve.Answer what went wrong, in the stream too
---@field has_content? boolean something has come from a model: it is paid for
---@field reword? fun(raised: any): perilune.Error? where the family of the route has words of its own for an error
---@field wants_copy? boolean the answer is kept for repeated requests
---@field copy? { status: integer, type: string, body: string }
---@field more_headers table<string, string> that this answer has besides
---@field model_name? string of the answer, for the log and the metrics
---@field usage? perilune.Usage
---@field provider? string who answers; this and what follows is noted by serve/observed.lua
---@field attempts? integer requests that were made to providers
---@field fallbacks? integer how often another target was asked than before

-- A `/` at the end says nothing: scripts that look at paths need not know of it.
local function path_of(request)
  return (request:path():gsub("(.)/+$", "%1"))
end


---@param server perilune.Server
---@param request perilune.serve.Request
---@param id string
---@return perilune.Exchange
function M.new(server, request, id)
  return setmetatable({
    server = server, app = server.app, request = request, id = id, method = request:method(), path = path_of(request), params = {},
    started = clock.mono(), has_begun = false, is_answered = false, more_headers = {},
  }, metatable)
end


---A header of the request, whatever its case.
---@param name string
---@return string?
function methods:header(name)
  return self.request:header(name)
end


local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end


---A parameter of the query: the first of that name.
---@param name string
---@return string?
function methods:query(name)
  if not self.queries then
    self.queries = {}
    for pair in self.request:query():gmatch("[^&]+") do
      local key, value = pair:match("^([^=]*)=?(.*)$")
      key = unescape(key)
      self.queries[key] = self.queries[key] or unescape(value)
    end
  end
  return self.queries[name]
end


---A whole number of the query.
---@param name string
---@param default integer?
---@param min integer
---@param max integer
---@return integer?
function methods:query_integer(name, default, min, max)
  local text = self:query(name)
  if text == nil or text == "" then
    return default
  end
  local value = text:find("^%-?%d+$") and math.tointeger(tonumber(text))
  if not value or value < min or value > max then
    problem.invalid(name, ("'%s' must be a whole number from %d to %d."):format(name, min, max))
  end
  return value
end


-- The bytes of the body, as they are to be read.
local function plain_body(self)
  local coding, text = self.request:header("content-encoding"), self.request:body()
  if coding and coding:lower() ~= "identity" then
    error(problem.new {
      status = 415, type = "invalid_request_error", code = "unsupported_content_encoding", is_retryable = false,
      message = "The body of a request must not be compressed.",
    }, 0)
  elseif text:find("^\xEF\xBB\xBF") then
    problem.invalid(nil, "The body of the request begins with a byte order mark.", "invalid_json")
  end
  return text
end


---The JSON object that is the body.
---@param may_be_empty? boolean an empty body is an empty object
---@return table
function methods:body(may_be_empty)
  if self.decoded then
    return self.decoded
  end
  local text = plain_body(self)
  if text == "" and may_be_empty then
    self.decoded = {}
    return self.decoded
  end
  local value, err = json.decode(text, ORDERED)
  if err then
    problem.invalid(nil, "The body of the request is not valid JSON: " .. err.message, "invalid_json")
  elseif type(value) ~= "table" or json.is_array(value) then
    problem.invalid(nil, "The body of the request must be a JSON object.", "invalid_json")
  end
  self.decoded = value
  return value
end


---The headers of the answer.
---@param headers table<string, string>
---@return table<string, string>
function methods:head(headers)
  headers["x-request-id"], headers["request-id"] = self.id, self.id -- OpenAI's name of it, and Anthropic's
  headers["openai-processing-ms"] = tostring(math.floor((clock.mono() - self.started) * 1000))
  headers["openai-version"] = "2020-10-01"
  headers["x-perilune-provider"] = self.provider
  if self.attempts then
    headers["x-perilune-attempts"], headers["x-perilune-fallbacks"] = tostring(self.attempts), tostring(self.fallbacks)
  end
  local cors = self.server.cors
  if cors then
    cors:add(self, headers)
  end
  for name, value in pairs(self.more_headers) do
    headers[name] = value
  end
  return headers
end


---Who asks: the client's address, also behind a proxy that is trusted.
---@return string
function methods:address()
  self.remote = self.remote or self.server.proxy:address(self)
  return self.remote
end


---Remembers what an event of the whole answer says of its usage, for the log and the metrics.
---@param event table
function methods:note(event)
  if event.type == "usage" then
    self.usage = event.usage
  end
end


-- Nano-dollars, as a decimal number of dollars.
local function dollars(nano)
  return ("%d.%09d"):format(nano // 1000000000, nano % 1000000000)
end


---The whole answer that a stream of events comes to. Raises what it ended in.
---@param events perilune.Stream
---@return perilune.Response
function methods:collect(events)
  local stream <close> = events
  for event in stream do
    self:note(event)
  end
  local answer = stream:so_far()
  if answer.error then
    error(answer.error, 0)
  end
  if answer.usage and answer.usage.cost then
    self.more_headers["x-perilune-cost"] = dollars(answer.usage.cost)
  end
  return answer
end


---The whole answer.
---@param status integer
---@param value table|string a table becomes JSON
---@param headers? table<string, string>
function methods:reply(status, value, headers)
  headers = headers or {}
  local text = value
  if type(value) == "table" then
    local err
    text, err = json.encode(value)
    if not text then
      error(err, 0)
    end
    headers["content-type"] = headers["content-type"] or JSON
  end
  local ok, err = self.request:reply { status = status, headers = self:head(headers), body = text }
  if not ok then
    error(err, 0)
  end
  self.status, self.has_begun, self.is_answered = status, true, true
  if self.wants_copy then
    self.copy = { status = status, type = headers["content-type"], body = text }
  end
end


---How what was raised is answered.
---@param raised any
---@return perilune.serve.Answer
---@return perilune.Error err what it is answered as
function methods:explain(raised)
  local err = errors.wrap(self.reword and self.reword(raised) or raised)
  return problem.answer_of(err), err
end


---The body of such an answer, in the shape of the address.
---@param answer perilune.serve.Answer
---@return string
function methods:error_text(answer)
  local encode = self.server.router:encoder(self.path) or problem.body
  return (json.encode(encode(answer, self), { repair = true }))
end


---The answer as server-sent events; its head goes out with the first of them, or when none has come for a while. Own it with `<close>`.
---@param options? { encode_error: (fun(answer: perilune.serve.Answer): table)?, name_error: string? } the error in the stream, and its name
---@return perilune.serve.EventStream
function methods:events(options)
  self.stream = self.stream or sse.new(self, options)
  return self.stream
end


---May the key use that model?
---@param full string "provider/model", or a label (serve/names.lua)
---@return boolean
function methods:may_use(full)
  local patterns = self.key.scopes.models
  for _, pattern in ipairs(patterns or {}) do
    if names.fits(pattern, full) then
      return true
    end
  end
  return not patterns
end


-- Raises unless the key may use what a name is read as.
local function check_model(self, name, family)
  if self.key.scopes.models and not self:may_use(self.server:full_name(family, name)) then
    error(problem.new {
      status = 403, type = "permission_error", code = "model_not_allowed", param = "model", is_retryable = false,
      message = ("This key may not use the model '%s'."):format(name),
    }, 0)
  end
end


---A name of a model as clients write it, checked: it is a name, and the key may use what it is read as.
---@param name any
---@param family? perilune.Family "models" by default
---@return string
function methods:model_named(name, family)
  if name == nil or name == json.null or name == "" then
    problem.invalid("model", "'model' is missing: a model like \"openai/gpt-4o-mini\", \"auto\", or \"assistant/NAME\".",
      "missing_required_parameter")
  elseif type(name) ~= "string" or #name > 512 or name:find("%c") or name:find("..", 1, true) or not utf8.len(name) then
    problem.invalid("model", "'model' is no name of a model.")
  end
  self.model_name = name
  check_model(self, name, family or "models")
  return name
end


---What answers for a name: a model with `stream`, behind the accounts. Raises 404 when there is none.
---@param name string
---@return table model
---@return string name "provider/model"
function methods:model(name)
  name = self:model_named(name)
  local model, full = self.server:model(name)
  return self:bill(model, full, { writes_attempts = true }), full
end


---A name for what is charged next: the request's own first, then numbered ones.
---@return string
function methods:charge_id()
  self.charges = (self.charges or 0) + 1
  return self.charges == 1 and self.id or ("%s:%d"):format(self.id, self.charges)
end


---The id of the run that this request begins, if it does: whoever finds the request's id knows it.
---@return string
function methods:run_id()
  return ids.run_of_request(self.id)
end


---The accounts around a model: what is asked of it is paid for by the caller's key.
---@param model table
---@param name string "provider/model"
---@param options? perilune.serve.BillOptions
---@return table model
function methods:bill(model, name, options)
  return self.server:bill(self, model, name, options)
end


---A job goes on in the background: of the requests at once it is one until it ends.
---@param job perilune.Job
function methods:lend_ticket(job)
  local ticket = self.ticket
  self.ticket = nil
  function job.on_over()
    ticket:leave()
  end
end


---Does a thing belong to the caller? Who calls without a key, from this machine, sees everything.
---@param row { account: string? }
---@return boolean
function methods:owns(row)
  local account = self.key.account
  return not account or row.account == account
end


---Raises unless a thing belongs to the caller, as if it did not exist.
---@param what string "thread"
---@param id string as the caller knows it
---@param row { account: string? }
---@generic T
---@return T row
function methods:own(what, id, row)
  if not self:owns(row) then
    problem.not_found(what, id)
  end
  return row
end


---The value, or a raise: not_found becomes the answer that there is no such thing.
---@generic T
---@param what string
---@param id string
---@param row T?
---@param err perilune.Error?
---@return T
function methods:found(what, id, row, err)
  if row then
    return self:own(what, id, row)
  elseif errors.is(err, "not_found") then
    problem.not_found(what, id)
  end
  error(err, 0)
end


return M
