-- Anthropic's Messages API: POST /v1/messages and /v1/messages/count_tokens, for every model and every assistant.
local answer = require "perilune.serve.shape.anthropic.answer"
local assistant_turns = require "perilune.serve.assistant_turns"
local problem = require "perilune.serve.problem"
local requests = require "perilune.model.request"
local shape = require "perilune.serve.shape.anthropic.request"
local tokens = require "perilune.model.tokens"


-- Tokens of a question, estimated.
local function count(question)
  local sum = tokens.of_tools(question.options.tools or {})
  for _, message in ipairs(question.messages) do
    sum = sum + tokens.of_message(message)
  end
  return sum
end


-- What was thought goes back to the model that thought it, whatever it was called this time.
local function name_thoughts(messages, model)
  for _, message in ipairs(messages) do
    if message.provider_items then
      message.provider_items.model = model
    end
  end
end


local function ask(exchange, question)
  local name = exchange:model_named(question.model)
  question.options.stream = question.is_streamed
  local request, err = requests.new(question.messages, question.options)
  if not request then
    problem.invalid(nil, (err.message:gsub("^request: ", "")))
  end
  local assistant = name:match("^assistant/(.+)$")
  if assistant then
    return assistant_turns.stream(exchange, assistant, question.messages, question.options)
  end
  local model, full = exchange:model(name)
  name_thoughts(request.messages, full:match("^[^/]+/(.+)$") or full)
  return model:stream(request)
end


local function identify(exchange, question)
  return { id = "msg_" .. exchange.id:sub(5), model = question.model, input_tokens = count(question) }
end


local function streamed(exchange, question, events)
  local stream <close> = events
  local encoder = answer.stream(identify(exchange, question))
  local out <close> = exchange:events { name_error = "error", encode_error = function(failure)
    return answer.error(failure, exchange)
  end }
  for event in stream.pull, stream do -- what is passed on need not be collected
    exchange:note(event)
    if event.type == "error" or event.type == "attempt_discarded" then
      return out:fail(event.error)
    end
    for _, one in ipairs(encoder:feed(event)) do
      out:send(one, one.type)
    end
  end
end


local function create(exchange)
  local question = shape.read(exchange:body())
  local events = ask(exchange, question)
  if question.is_streamed then
    return streamed(exchange, question, events)
  end
  exchange:reply(200, answer.message(exchange:collect(events), identify(exchange, question)))
end


local function count_tokens(exchange)
  local question = shape.read(exchange:body(), true)
  exchange:model_named(question.model)
  exchange:reply(200, { input_tokens = count(question) })
end


return {
  { "POST", "/v1/messages", create, family = "messages", encode_error = answer.error },
  { "POST", "/v1/messages/count_tokens", count_tokens, family = "messages", encode_error = answer.error },
}
