-- A wire format of nobody's, for specs of what people make of their own: a line of JSON for everything the model does.
--   {"say":"Hello"}  {"call":{"id":"1","name":"f","arguments":{}}}  {"count":[3,5]}  {"end":"stop"}  {"error":"no"}
local failure = require "perilune.model.provider.failure"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

local decoder = {}
local metatable = { __index = decoder }


local function encode(request, target)
  local messages = {}
  for position, message in ipairs(request.messages) do
    local text, has_media = wire.text_of(message.content)
    if has_media then
      return wire.media_error(target, "media")
    end
    messages[position] = { who = message.role, text = text, calls = message.tool_calls, answers = message.tool_call_id }
  end
  return {
    method = "POST", url = wire.join(target.base_url, "ask"),
    headers = wire.headers({ ["x-toy-key"] = target.api_key }, target),
    body = assert(json.encode {
      model = target.model, messages = messages, tools = request.tools, limit = request.max_tokens, live = request.stream ~= false,
    }),
  }
end


local function fail(self, err)
  self.is_over = true
  return { { type = "error", error = err } }
end


function decoder:take(line)
  if line.call then
    self.calls = self.calls + 1
    local call = { type = "tool_call", index = self.calls - 1, id = line.call.id, name = line.call.name }
    call.arguments = assert(json.encode(line.call.arguments))
    return call
  elseif line.count then
    local prompt, completion = line.count[1], line.count[2]
    local usage = { prompt_tokens = prompt, completion_tokens = completion, total_tokens = prompt + completion }
    return { type = "usage", usage = usage }
  elseif line["end"] then
    self.is_over = true
    return { type = "stop", reason = self.calls > 0 and "tool_calls" or "stop", raw = line["end"] }
  end
  return { type = "text", text = line.say }
end


local function is_call(call)
  return type(call) == "table" and type(call.id) == "string" and call.id ~= "" and type(call.name) == "string"
    and type(call.arguments) == "table"
end


local function is_count(count)
  return type(count) == "table" and math.type(count[1]) == "integer" and math.type(count[2]) == "integer"
end


local function is_text(text)
  return type(text) == "string" and text ~= ""
end


function decoder:feed(data)
  if self.is_over then
    return {}
  end
  local line = json.decode(data, { repair = true })
  if type(line) ~= "table" or self.status >= 400 and not line.error then
    return fail(self, failure.from_bytes(data, "this is no line of the toy", self))
  elseif line.error then
    return fail(self, failure.from_body(line, self))
  elseif not (is_call(line.call) or is_count(line.count) or is_text(line["end"]) or is_text(line.say)) then
    return fail(self, failure.from_bytes(data, "this is no line of the toy", self))
  end
  local events = { not self.is_started and { type = "start" } or nil }
  self.is_started = true
  events[#events + 1] = self:take(line)
  return events
end


function decoder:finish()
  if self.is_over then
    return {}
  end
  return fail(self, self.status >= 400 and failure.from_bytes(nil, "an empty answer", self) or failure.interrupted())
end


---A provider that is right, with other fields where they are given.
---@param changes? table
---@return table spec
function M.spec(changes)
  local spec = {
    api = 1, name = "toy", frame = "lines", base_url = "http://127.0.0.1:9", key = "TOY_API_KEY", models = { "bear" },
    encode = encode,
    decoder = function(options)
      return setmetatable({ status = options.status or 200, calls = 0 }, metatable)
    end,
  }
  for field, value in pairs(changes or {}) do
    spec[field] = value
  end
  return spec
end


-- Recorded answers: body, meta.json, expect.json.
local recordings = {
  text = {
    '{"say":"Grüße "}\n{"say":"🌙"}\n{"count":[3,5]}\n{"end":"full stop"}\n', { status = 200, streaming = true },
    { text = "Grüße 🌙", finish_reason = "full stop", usage = { input_tokens = 3, output_tokens = 5, total_tokens = 8 } },
  },
  tool = {
    '{"call":{"id":"1","name":"dance","arguments":{"style":"waltz"}}}\n{"count":[3,5]}\n{"end":"call"}\n',
    { status = 200, streaming = true },
    {
      finish_reason = "call", tool_calls = { { id = "1", name = "dance", arguments = { style = "waltz" } } },
      usage = { input_tokens = 3, output_tokens = 5 },
    },
  },
  ["errors/tired"] = {
    '{"error":"too tired"}', { status = 503 }, { error = { status = 503, message = "too tired" } },
  },
}


---Writes recordings of the toy into a folder.
---@param folder string
function M.record(folder)
  for name, parts in pairs(recordings) do
    assert(fs.mkdir(folder .. "/" .. name))
    assert(fs.write(folder .. "/" .. name .. "/response.body", parts[1]))
    assert(fs.write(folder .. "/" .. name .. "/meta.json", assert(json.encode(parts[2]))))
    assert(fs.write(folder .. "/" .. name .. "/expect.json", assert(json.encode(parts[3]))))
  end
end


return M
