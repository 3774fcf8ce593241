-- An OpenAI of our own for tests of the server: it answers over real HTTP and does what the last thing that the user said tells it.
--   call NAME JSON    calls a tool; once on each line
--   json JSON         answers with this JSON
--   think             reasons before it answers
--   long N            answers with N words
--   slow N            the same, one every 20 ms
--   fail STATUS       refuses with that status
--   cut               the connection breaks in the middle of the answer
-- To anything else it answers what it was told, and to the results of tools what they were.
local json = require "perilune.json"
local replay = require "perilune.testing.replay"
local task = require "perilune.sys.task"

local M = {}

local WORD_SECONDS = 0.02
local PROMPT_TOKENS = 10
local PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

local models = { "gpt-4o-mini", "vendor/model-with-slash", "text-embedding-3-small", "gpt-image-1" }


local function reply(request, status, value)
  request:reply { status = status, headers = { ["content-type"] = "application/json" }, body = assert(json.encode(value)) }
end


local function refuse(request, status, message, code)
  reply(request, status, { error = { message = message, type = "invalid_request_error", param = json.null, code = code or json.null } })
end


local function has_model(name)
  for _, one in ipairs(models) do
    if one == name then
      return true
    end
  end
  return false
end


-- What a message says, without pictures.
local function text_of(content)
  if type(content) ~= "table" then
    return content or ""
  end
  local texts = {}
  for _, part in ipairs(content) do
    texts[#texts + 1] = part.text
  end
  return table.concat(texts, "\n")
end


-- What the user said last, and the results that came after it.
local function heard(messages)
  local results = {}
  for position = #messages, 1, -1 do
    local message = messages[position]
    if message.role == "user" then
      return text_of(message.content), results
    elseif message.role == "tool" then
      table.insert(results, 1, text_of(message.content))
    end
  end
  return "", results
end


local function calls_in(said, prefix)
  local calls = {}
  for line in said:gmatch("[^\n]+") do
    local name, arguments = line:match("^call ([%w_]+) ({.*})$")
    if name then
      calls[#calls + 1] = {
        index = #calls, id = ("call_%s_%d"):format(prefix, #calls + 1), type = "function",
        ["function"] = { name = name, arguments = arguments },
      }
    end
  end
  return calls
end


local function words_of(text)
  local words = {}
  for word in text:gmatch("%S+%s*") do
    words[#words + 1] = word
  end
  return words
end


---@class tests.UpstreamAnswer
---@field words string[]
---@field calls table[]
---@field reason string
---@field thought? string
---@field word_seconds? number
---@field is_cut boolean

-- What to answer.
local function answer_to(body, number)
  local said, results = heard(body.messages)
  local answer = { words = {}, calls = {}, reason = "stop", is_cut = said == "cut" }
  local pace, count = said:match("^(%l+) (%d+)$")
  if results[1] then
    answer.words = words_of("The tools said: " .. table.concat(results, ", "))
  elseif said:find("^call ") then
    answer.calls, answer.reason = calls_in(said, number), "tool_calls"
  elseif said:find("^json ") then
    answer.words = words_of(said:sub(6))
  elseif pace == "long" or pace == "slow" then
    answer.word_seconds = pace == "slow" and WORD_SECONDS or nil
    for position = 1, tonumber(count) do
      answer.words[position] = ("word%d "):format(position)
    end
  else
    answer.thought = said == "think" and "Let me think." or nil
    answer.words = words_of("You said: " .. said)
  end
  local limit = body.max_completion_tokens or body.max_tokens
  if limit and #answer.words > limit then
    table.move(answer.words, #answer.words + 1, #answer.words * 2 - limit, limit + 1)
    answer.reason = "length"
  end
  return answer
end


local function usage_of(answer)
  local written = #answer.words + #answer.calls
  return {
    prompt_tokens = PROMPT_TOKENS, completion_tokens = written, total_tokens = PROMPT_TOKENS + written,
    prompt_tokens_details = { cached_tokens = 0 }, completion_tokens_details = { reasoning_tokens = 0 },
  }
end


local function whole(request, body, answer, number)
  local choices = {}
  for position = 1, body.n or 1 do
    choices[position] = {
      index = position - 1, finish_reason = answer.reason, logprobs = json.null,
      message = {
        role = "assistant", content = answer.words[1] and table.concat(answer.words) or json.null, refusal = json.null,
        reasoning_content = answer.thought, tool_calls = answer.calls[1] and answer.calls or nil,
      },
    }
  end
  task.sleep((answer.word_seconds or 0) * #answer.words)
  reply(request, 200, {
    id = "chatcmpl-up" .. number, object = "chat.completion", created = 1700000000, model = body.model, choices = choices,
    usage = usage_of(answer),
  })
end


-- The deltas of a streamed answer.
local function deltas_of(answer)
  local deltas = { { role = "assistant", content = "" } }
  if answer.thought then
    deltas[#deltas + 1] = { reasoning_content = answer.thought }
  end
  for _, word in ipairs(answer.words) do
    deltas[#deltas + 1] = { content = word }
  end
  for _, call in ipairs(answer.calls) do
    local arguments = call["function"].arguments
    local half = #arguments // 2
    deltas[#deltas + 1] = { tool_calls = { {
      index = call.index, id = call.id, type = "function", ["function"] = { name = call["function"].name, arguments = "" },
    } } }
    for _, piece in ipairs { arguments:sub(1, half), arguments:sub(half + 1) } do
      deltas[#deltas + 1] = { tool_calls = { { index = call.index, ["function"] = { arguments = piece } } } }
    end
  end
  return deltas
end


local function streamed(request, body, answer, number)
  local function send(choices, usage)
    return request:write(("data: %s\n\n"):format(assert(json.encode {
      id = "chatcmpl-up" .. number, object = "chat.completion.chunk", created = 1700000000, model = body.model, choices = choices,
      usage = usage,
    })))
  end

  local copies = body.n or 1
  request:start { headers = { ["content-type"] = "text/event-stream" } }
  for position, delta in ipairs(deltas_of(answer)) do
    if answer.is_cut and position > 2 then
      return request:reset()
    end
    for copy = 1, copies do
      if not send { { index = copy - 1, delta = delta, finish_reason = json.null } } then
        return
      end
    end
    task.sleep(answer.word_seconds or 0)
  end
  for copy = 1, copies do
    send { { index = copy - 1, delta = {}, finish_reason = answer.reason } }
  end
  send(json.array {}, usage_of(answer))
  request:write "data: [DONE]\n\n"
  request:finish()
end


local paths = {}


paths["/v1/chat/completions"] = function(request, body, number)
  local said, results = heard(body.messages)
  local status = not results[1] and tonumber(said:match("^fail (%d+)$"))
  if status then
    return refuse(request, status, "told to fail")
  end
  local answer = answer_to(body, number)
  local write = (body.stream and streamed or whole)
  write(request, body, answer, number)
end


-- Vectors of two numbers: how long the text is, and a half.
paths["/v1/embeddings"] = function(request, body)
  local data = {}
  for position, text in ipairs(type(body.input) == "table" and body.input or { body.input }) do
    data[position] = { object = "embedding", index = position - 1, embedding = { #text, 0.5 } }
  end
  reply(request, 200, { object = "list", model = body.model, data = data, usage = { prompt_tokens = 3, total_tokens = 3 } })
end


paths["/v1/images/generations"] = function(request, body)
  local data = {}
  for position = 1, body.n or 1 do
    data[position] = { b64_json = PNG }
  end
  reply(request, 200, { created = 1700000000, data = data })
end


paths["/v1/models"] = function(request)
  local data = {}
  for position, id in ipairs(models) do
    data[position] = { id = id, object = "model", created = 1700000000, owned_by = "upstream" }
  end
  reply(request, 200, { object = "list", data = data })
end


---Starts it. Own it with `<close>`; its requests are kept in `upstream.requests`.
---@return perilune.testing.Replay
function M.start()
  local number = 0
  return replay.serve { function(request)
    local answer, text = paths[request:path()], request:body()
    local body = text ~= "" and json.decode(text) or {}
    if not answer then
      return refuse(request, 404, "no such path")
    elseif body.model and not has_model(body.model) then
      return refuse(request, 404, ("The model `%s` does not exist"):format(body.model), "model_not_found")
    end
    number = number + 1
    answer(request, body, number)
  end }
end


return M
