-- POST /v1/chat/completions: a question to a model, or to an assistant ("assistant/NAME"), whose whole tool loop runs behind it.
local assistant_turns = require "perilune.serve.assistant_turns"
local chat_chunks = require "perilune.serve.shape.chat_chunks"
local chat_requests = require "perilune.serve.chat_requests"
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local openai_shape = require "perilune.model.openai_shape"


-- The events of the answer.
local function ask(exchange, name, request, asked)
  local assistant = name:match("^assistant/(.+)$")
  if assistant then
    return assistant_turns.stream(exchange, assistant, asked.messages, asked.options)
  end
  return exchange:model(name):stream(request)
end


local function identify(exchange, name)
  return { id = "chatcmpl-" .. exchange.id:sub(5), created = math.floor(clock.wall()), model = name, null = json.null }
end


local function whole(exchange, events, name)
  local answer, identity = exchange:collect(events), identify(exchange, name)
  answer.id, answer.model = identity.id, answer.model or name
  exchange:reply(200, openai_shape.completion(answer, identity))
end


local function streamed(exchange, events, name, include_usage)
  local stream <close> = events
  local out <close> = exchange:events()
  local chunks = chat_chunks.new(identify(exchange, name), include_usage)
  for event in stream.pull, stream do -- what is passed on need not be collected
    exchange:note(event)
    if event.type == "error" or event.type == "attempt_discarded" then
      return out:fail(event.error)
    end
    local bytes = chunks:feed(event)
    if bytes then
      out:write(bytes)
    end
  end
  out:done()
end


local function complete(exchange)
  local name, request, asked = chat_requests.read(exchange, exchange:body())
  request.keeps_pieces = request.stream -- a client gets the chunks that the provider made
  local events = ask(exchange, name, request, asked)
  if asked.is_streamed then
    streamed(exchange, events, name, asked.include_usage)
  else
    whole(exchange, events, name)
  end
end


return {
  { "POST", "/v1/chat/completions", complete, family = "chat" },
}
