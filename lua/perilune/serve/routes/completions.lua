-- POST /v1/completions: OpenAI's old endpoint of texts, which editors and some SDKs still use; the prompt is one message of the user's.
local chat_requests = require "perilune.serve.chat_requests"
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local null = json.null

-- What cannot be done here, with the value that asks for nothing.
local untaken = { { "suffix", "" }, { "echo", false }, { "logprobs", false }, { "best_of", 1 }, { "messages" }, { "tools" } }


local function prompt_of(body)
  local prompt = body.prompt
  if type(prompt) == "table" and #prompt == 1 then
    prompt = prompt[1]
  end
  if type(prompt) ~= "string" or prompt == "" then
    problem.invalid("prompt", "'prompt' must be a text that is not empty; several prompts, and tokens, are not taken here.")
  end
  for _, row in ipairs(untaken) do
    local name, value = row[1], body[row[1]]
    if value and value ~= null and value ~= row[2] then
      problem.invalid(name, ("'%s' is not taken here."):format(name), "unsupported_parameter")
    end
  end
  return prompt
end


-- The same as the body of a chat completion: every other field means there what it means here.
local function as_chat(body)
  local chat = {}
  for name, value in pairs(body) do
    chat[name] = value
  end
  for _, row in ipairs(untaken) do
    chat[row[1]] = nil
  end
  chat.prompt, chat.messages = nil, { { role = "user", content = prompt_of(body) } }
  return chat
end


local reasons = { length = "length", content_filter = "content_filter" }


local function completion(identity, choices, usage)
  return {
    id = identity.id, object = "text_completion", created = identity.created, model = identity.model, choices = choices,
    usage = usage and {
      prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens, total_tokens = usage.total_tokens,
    },
  }
end


local function choice(index, text, reason)
  return { index = index, text = text, logprobs = null, finish_reason = reason and (reasons[reason] or "stop") or null }
end


-- How each of the answers has ended.
local function endings(event)
  local list = { choice(0, "", event.reason) }
  for _, other in ipairs(event.choices or {}) do
    list[#list + 1] = choice(other.index, "", other.reason)
  end
  return list
end


local function streamed(exchange, events, identity, wants_usage)
  local stream <close> = events
  local out <close> = exchange:events()
  for event in stream.pull, stream do -- what is passed on need not be collected
    exchange:note(event)
    if event.type == "error" or event.type == "attempt_discarded" then
      return out:fail(event.error)
    elseif event.type == "text" then
      out:send(completion(identity, { choice(event.choice or 0, event.text) }))
    elseif event.type == "stop" then
      out:send(completion(identity, endings(event)))
    end
  end
  if wants_usage and exchange.usage then
    out:send(completion(identity, json.array(), exchange.usage))
  end
  out:done()
end


local function complete(exchange)
  local name, request, asked = chat_requests.read(exchange, as_chat(exchange:body()))
  local identity = { id = "cmpl-" .. exchange.id:sub(5), created = math.floor(clock.wall()), model = name }
  local events = exchange:model(name):stream(request)
  if request.stream then
    return streamed(exchange, events, identity, asked.include_usage)
  end
  local answer, choices = exchange:collect(events), {}
  for position, one in ipairs(answer.choices) do
    choices[position] = choice(one.index, one.content or "", one.finish_reason)
  end
  exchange:reply(200, completion(identity, choices, answer.usage))
end


return {
  { "POST", "/v1/completions", complete, family = "chat" },
}
