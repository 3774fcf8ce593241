-- A stage between what is asked and the network. With a cassette that records, each exchange goes into its file when it ends; with one that
-- replays, the file answers, and nothing is sent. Without one (`settings.cassette`) it is not there.
--
-- It goes around each call, below the meter and failover: what they do with an answer, they do with a recorded one. Whole exchanges
-- (perilune.fetch, images, embeddings, lists of models) go through `exchange`, which net/fetch calls.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local fingerprint = require "perilune.model.fingerprint"
local log = require "perilune.sys.log"
local secrets = require "perilune.net.secrets"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.cassette", __index = methods }


---@class perilune.Cassette
---@field mode "record"|"replay"
---@field tape perilune.Recorder|perilune.Player
---@field timing? boolean replay: events come when they came then; else at once

---@param model table what is asked when nothing is replayed
---@param target { name: string, model: string }
---@param settings { cassette: perilune.Cassette? } looked at for every request
---@return table model
function M.new(model, target, settings)
  return setmetatable({ model = model, name = target.name .. "/" .. target.model, settings = settings }, metatable)
end


local function milliseconds(from)
  return math.floor((clock.mono() - from) * 1000 + 0.5)
end


-- Errors

-- An error object as data, and back.
local function plain_error(err)
  local plain = {}
  for name, value in pairs(err) do
    if name ~= "cause" and name ~= "traceback" then
      plain[name] = fingerprint.plain(value)
    end
  end
  return plain
end


local function was_cut(target)
  return errors.new {
    kind = "configuration", code = "cassette_cut",
    message = ("the recording of this request to %s ends here: whoever made it did not read on"):format(target),
  }
end


-- Answers

local function plain_event(event)
  if event.type == "error" then
    return { type = "error", rate_limits = fingerprint.plain(event.rate_limits), error = plain_error(event.error) }
  end
  return fingerprint.plain(event)
end


-- Passes on what a model says, and keeps it.
local function record(cassette, target, request, inner)
  local tape, started, is_over = cassette.tape, clock.mono(), false
  local recording = tape:begin("answer", target, request)
  local steps = {}
  recording.steps = steps
  local function finish(is_cut)
    if not is_over then
      is_over, recording.cut = true, is_cut or nil
      tape:finish(recording)
    end
  end
  local recorded = stream.new(function()
    local event = inner:pull()
    if not event then
      finish(true)
      return nil
    end
    steps[#steps + 1] = { milliseconds(started), plain_event(event) }
    if event.type == "stop" or event.type == "error" then
      finish(false)
    end
    return event
  end, function()
    finish(true)
    inner:close()
  end)
  recorded.rows = inner.rows
  return recorded
end


-- Waits until so many milliseconds have passed; false when it was woken because nobody listens any more.
local function wait_until(signal, started, ms)
  local seconds = started + ms / 1000 - clock.mono()
  return seconds <= 0 or not signal:wait(seconds)
end


local function play(cassette, target, request)
  local recording, err = cassette.tape:take("answer", target, request)
  if not recording then
    return stream.from_list { { type = "error", error = err } }
  end
  local position, started, signal = 0, clock.mono(), cassette.timing and task.signal()
  return stream.new(function()
    position = position + 1
    local step = recording.steps[position]
    if not step then
      return recording.cut and { type = "error", error = was_cut(target) } or nil
    elseif signal and not wait_until(signal, started, step[1]) then
      return nil
    end
    local event = step[2]
    if event.type == "error" then
      event.error = errors.new(event.error)
    end
    return event
  end, function()
    if signal then
      signal:wake()
    end
  end)
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local cassette = self.settings.cassette
  if not cassette then
    return self.model:stream(request, limits)
  end
  local asked = fingerprint.of_request(request)
  if cassette.mode == "replay" then
    return play(cassette, self.name, asked)
  end
  return record(cassette, self.name, asked, self.model:stream(request, limits))
end


-- Whole exchanges

local function plain_response(response)
  local headers = {}
  for name, value in pairs(response.headers) do
    headers[name] = not secrets.is_name(name) and log.redact(value) or nil
  end
  local body = response.body
  if utf8.len(body) then
    return { status = response.status, headers = headers, body = log.redact(body) }
  end
  return { status = response.status, headers = headers, base64 = token.base64(body) }
end


local function play_exchange(cassette, target, asked)
  local recording, err = cassette.tape:take("exchange", target, asked)
  if not recording then
    return nil, err
  elseif recording.cut then
    return nil, was_cut(target)
  end
  if cassette.timing then
    task.sleep((recording.ms or 0) / 1000)
  end
  if recording.error then
    return nil, errors.new(recording.error)
  end
  local response = recording.response
  return { status = response.status, headers = response.headers or {}, body = response.body or assert(token.unbase64(response.base64)) }
end


---One whole exchange: recorded, or answered by the cassette.
---@param cassette perilune.Cassette
---@param given { method: string, url: string, body: string? }
---@param send fun(given: table): table?, perilune.Error?
---@return { status: integer, headers: table<string, string>, body: string }?
---@return perilune.Error?
function M.exchange(cassette, given, send)
  local target, asked = given.method .. " " .. secrets.hide_in_url(given.url), fingerprint.of_body(given.body)
  if cassette.mode == "replay" then
    return play_exchange(cassette, target, asked)
  end
  local started = clock.mono()
  local recording = cassette.tape:begin("exchange", target, asked)
  local response, err = send(given)
  recording.ms = milliseconds(started)
  recording.response = response and plain_response(response)
  recording.error = err and plain_error(err)
  cassette.tape:finish(recording)
  return response, err
end


return M
