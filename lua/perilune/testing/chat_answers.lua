-- Answers of a chat.completions server as the kit makes them, each with the truth about it: what a vendor of that family
-- sends, and the ways in which the vendors differ. Streams are cut where vendors cut them: one event a network read.
local json = require "perilune.json"
local replay = require "perilune.testing.replay"

local M = {}

local API = "chat.completions"
local MODEL = "kit-model"

local null = json.null

local usage = {
  prompt_tokens = 12, completion_tokens = 7, total_tokens = 19,
  prompt_tokens_details = { cached_tokens = 4 }, completion_tokens_details = { reasoning_tokens = 2 },
}


---@class perilune.testing.KitAnswer
---@field name string
---@field recording perilune.testing.Recording
---@field is_streamed boolean
---@field api string
---@field expect table the truth, in the form of expect.json
---@field kind? string the kind of the error that it must become
---@field retry_after? integer the seconds its header says


local function expect_of(given)
  given.text, given.tool_calls, given.model = given.text or "", given.tool_calls or {}, MODEL
  if not given.error then
    given.usage = { input_tokens = 12, output_tokens = 7, total_tokens = 19, cached_tokens = 4, reasoning_tokens = 2 }
    given.usage_raw = usage
  end
  return given
end


local function event(delta, finish_reason, counted)
  return {
    id = "chatcmpl-kit", object = "chat.completion.chunk", created = 1, model = MODEL, usage = counted,
    choices = { { index = 0, delta = delta, finish_reason = finish_reason or null } },
  }
end


-- One SSE event for each table (or text, as it is).
local function stream(events, line_end)
  local parts, chunks = {}, {}
  for position, one in ipairs(events) do
    local text = type(one) == "table" and "data: " .. assert(json.encode(one)) .. "\n\n" or one
    parts[position] = line_end and text:gsub("\n", line_end) or text
    chunks[position] = #parts[position]
  end
  return replay.recording(table.concat(parts), { chunks = chunks })
end


-- As OpenAI ends a stream: usage in a chunk of its own, [DONE].
local function ended(deltas, finish_reason)
  local events = {}
  for position, delta in ipairs(deltas) do
    events[position] = event(delta)
  end
  events[#events + 1] = event({}, finish_reason)
  events[#events + 1] = { id = "chatcmpl-kit", model = MODEL, choices = json.array {}, usage = usage }
  events[#events + 1] = "data: [DONE]\n\n"
  return stream(events)
end


local function whole(message, finish_reason)
  message.role = "assistant"
  return replay.recording(assert(json.encode {
    id = "chatcmpl-kit", object = "chat.completion", created = 1, model = MODEL, usage = usage,
    choices = { { index = 0, message = message, finish_reason = finish_reason } },
  }))
end


local function call(index, id, name, arguments)
  return { index = index, id = id, type = id and "function", ["function"] = { name = name, arguments = arguments } }
end


local function texts()
  return {
    {
      name = "text", recording = whole({ content = "Hello, Moon." }, "stop"),
      expect = expect_of { text = "Hello, Moon.", finish_reason = "stop" },
    },
    {
      name = "stream", is_streamed = true,
      recording = ended({ { role = "assistant", content = "" }, { content = "Grüße " }, { content = "🌙\n" }, { content = "data: x" } },
        "stop"),
      expect = expect_of { text = "Grüße 🌙\ndata: x", finish_reason = "stop" },
    },
    {
      name = "stream without [DONE], comments, CRLF", is_streamed = true,
      recording = stream({ ": keep-alive\n\n", event { content = "one " }, ": keep-alive\n\n", event({ content = "two" }, "stop", usage) },
        "\r\n"),
      expect = expect_of { text = "one two", finish_reason = "stop" },
    },
    {
      name = "length", is_streamed = true, recording = ended({ { content = "cut" } }, "length"),
      expect = expect_of { text = "cut", finish_reason = "length" },
    },
    {
      name = "reasoning", is_streamed = true,
      recording = ended({ { reasoning_content = "Let me " }, { reasoning_content = "think." }, { content = "Done." } }, "stop"),
      expect = expect_of { text = "Done.", reasoning = "Let me think.", finish_reason = "stop" },
    },
  }
end


local function tools()
  local paris = { id = "call_1", name = "get_weather", arguments = { city = "Paris" } }
  local rome = { id = "call_2", name = "get_weather", arguments = { city = "Rome" } }
  local clock = { id = "call_1", name = "get_time", arguments = {} }
  return {
    {
      name = "tool", expect = expect_of { tool_calls = { paris }, finish_reason = "tool_calls" },
      recording = whole({ content = null, tool_calls = { call(nil, "call_1", "get_weather", '{"city":"Paris"}') } }, "tool_calls"),
    },
    {
      name = "tool, streamed", is_streamed = true, expect = expect_of { tool_calls = { paris }, finish_reason = "tool_calls" },
      recording = ended({
        { content = null, tool_calls = { call(0, "call_1", "get_weather", "") } },
        { tool_calls = { call(0, nil, nil, '{"ci') } }, { tool_calls = { call(0, nil, nil, 'ty":"Paris"}') } },
      }, "tool_calls"),
    },
    {
      name = "parallel tools", is_streamed = true,
      expect = expect_of { tool_calls = { paris, rome }, finish_reason = "tool_calls" },
      recording = ended({
        { tool_calls = { call(0, "call_1", "get_weather", "") } }, { tool_calls = { call(1, "call_2", "get_weather", "") } },
        { tool_calls = { call(0, nil, nil, '{"city":') } }, { tool_calls = { call(1, nil, nil, '{"city":"Rome"}') } },
        { tool_calls = { call(0, nil, nil, '"Paris"}') } },
      }, "tool_calls"),
    },
    {
      name = "no-argument tool", is_streamed = true, expect = expect_of { tool_calls = { clock }, finish_reason = "tool_calls" },
      recording = ended({ { tool_calls = { call(0, "call_1", "get_time", "") } } }, "tool_calls"),
    },
  }
end


-- An error of that status, in the words of OpenAI.
local function refusal(status, kind, error_type, code, retry_after)
  local said = { message = "The kit says " .. status, type = error_type, code = code }
  local headers = { ["content-type"] = "application/json", ["retry-after"] = retry_after and tostring(retry_after) }
  return {
    name = "error " .. status, kind = kind, retry_after = retry_after,
    recording = replay.recording(assert(json.encode { error = said }), { status = status, headers = headers }),
    expect = { text = "", tool_calls = {}, error = { status = status, type = error_type, code = code, message = said.message } },
  }
end


local function failures()
  local said = { message = "The kit is overloaded", type = "server_error", code = "overloaded" }
  local body = assert(json.encode { error = said })
  return {
    refusal(401, "authentication", "invalid_request_error", "invalid_api_key"),
    refusal(404, "model_not_found", "invalid_request_error", "model_not_found"),
    refusal(429, "rate_limit", "requests", "rate_limit_exceeded", 7),
    refusal(500, "server", "server_error", nil),
    {
      name = "error in a 200", kind = "overloaded", recording = replay.recording(body),
      expect = { text = "", tool_calls = {}, error = said },
    },
    {
      name = "error in a stream", kind = "overloaded", is_streamed = true,
      recording = stream { event { content = "one " }, "data: " .. body .. "\n\n" },
      expect = { text = "one ", tool_calls = {}, model = MODEL, error = said },
    },
  }
end


---Every answer, in the order of the kit's table.
---@return perilune.testing.KitAnswer[]
function M.all()
  local list = {}
  for _, group in ipairs { texts(), tools(), failures() } do
    table.move(group, 1, #group, #list + 1, list)
  end
  for _, answer in ipairs(list) do
    answer.api, answer.is_streamed = API, answer.is_streamed == true
  end
  return list
end


return M
