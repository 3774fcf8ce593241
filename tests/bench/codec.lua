-- codec.lua SECONDS: perilune.json beside lua-cjson in this process, both ways, on three texts. One JSON line has the
-- microseconds of each: "chunk.decode", "chunk.decode.cjson", ...
local cjson = require "cjson"
local clock = require "perilune.sys.clock"
local json = require "perilune.json"

local seconds = tonumber(arg[1])


local function chunk()
  return {
    id = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", object = "chat.completion.chunk", created = 1694268190,
    model = "gpt-4o-mini-2024-07-18", service_tier = "default", system_fingerprint = "fp_44709d6fcb", obfuscation = "hKx2Qp",
    choices = { { index = 0, delta = { content = " weather" }, logprobs = json.null, finish_reason = json.null } },
  }
end


local function reply()
  local sentence = "In \"Paris\" it is 18 °C under a cloudy sky, with a light wind from the south-west.\n"
  return {
    id = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", object = "chat.completion", created = 1741569952, model = "gpt-4.1-2025-04-14",
    choices = { { index = 0, message = { role = "assistant", content = sentence:rep(42) }, finish_reason = "stop" } },
    usage = { prompt_tokens = 57, completion_tokens = 924, total_tokens = 981, prompt_tokens_details = { cached_tokens = 0 } },
  }
end


local function tool(number)
  return {
    type = "function",
    ["function"] = {
      name = "get_weather_" .. number, description = "Get the current weather in a city, as a number of degrees and a short text",
      parameters = {
        type = "object", required = json.array { "city" }, additionalProperties = false,
        properties = {
          city = { type = "string", description = "the name of the city, in English" },
          days = { type = "integer", description = "how many days ahead", minimum = 0, maximum = 14 },
          unit = { type = "string", enum = json.array { "celsius", "fahrenheit" } },
        },
      },
    },
  }
end


local function tools_request()
  local tools = {}
  for number = 1, 11 do
    tools[number] = tool(number)
  end
  return {
    model = "gpt-4o-mini", stream = true, temperature = 0.2, tools = tools,
    messages = { { role = "system", content = "You are helpful" }, { role = "user", content = "Weather in Paris?" } },
  }
end


local function microseconds(f, argument)
  collectgarbage()
  local started, count, spent = clock.mono(), 0, 0
  while spent < seconds do
    for _ = 1, 20 do
      f(argument)
    end
    count = count + 20
    spent = clock.mono() - started
  end
  return spent / count * 1e6
end


local results = {}
for name, value in pairs { chunk = chunk(), reply = reply(), tools = tools_request() } do
  local text = assert(json.encode(value))
  local ours, theirs = assert(json.decode(text)), cjson.decode(text)
  assert(json.encode(ours) == text, name .. " does not survive decode and encode")
  results[name .. ".bytes"] = #text
  results[name .. ".decode"] = microseconds(json.decode, text)
  results[name .. ".decode.cjson"] = microseconds(cjson.decode, text)
  results[name .. ".encode"] = microseconds(json.encode, ours)
  results[name .. ".encode.cjson"] = microseconds(cjson.encode, theirs)
end
print(json.encode(results))
