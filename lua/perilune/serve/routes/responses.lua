-- The Responses family: questions to models and assistants whose answers are kept, unless the client wants otherwise. A response that is
-- kept is a run of the engine (serve/stored_responses.lua); one that is not asks its model directly, or leaves nothing behind.
local assistant_access = require "perilune.serve.assistant_access"
local clock = require "perilune.sys.clock"
local context = require "perilune.agent.context"
local encoders = require "perilune.serve.shape.responses.encoder"
local errors = require "perilune.std.errors"
local hooks = require "perilune.agent.hooks"
local ids = require "perilune.serve.ids"
local jobs = require "perilune.agent.job"
local lists = require "perilune.serve.lists"
local problem = require "perilune.serve.problem"
local registry = require "perilune.agent.registry"
local requests = require "perilune.model.request"
local run_ends = require "perilune.serve.run_ends"
local run_jobs = require "perilune.serve.run_jobs"
local run_object = require "perilune.agent.run"
local runs = require "perilune.store.runs"
local shape = require "perilune.serve.shape.responses.request"
local stored = require "perilune.serve.stored_responses"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"
local token = require "perilune.sys.token"
local tokens = require "perilune.model.tokens"
local toolset = require "perilune.agent.toolset"

local must = errors.must

local SEQUENCE_MAX = 1 << 40
local WRITE_SECONDS = 30


-- The question

local function read(exchange)
  return shape.read(exchange:body(), function(_, id)
    return stored.item(exchange, id)
  end)
end


-- How the engine knows the assistant of that name, when the client's tools and choice fit it.
local function assistant_of(exchange, name, question)
  local found, names = assistant_access.find(exchange, name), {}
  local assistant = found.defined or registry.find(exchange.app, found.ref)
  for position, one in ipairs(question.tools) do
    if toolset.has(assistant, one.name) then
      problem.invalid(("tools[%d].name"):format(position - 1), ("The assistant has a tool of its own called '%s'."):format(one.name))
    end
    names[one.name] = true
  end
  local choice = question.options.tool_choice
  if type(choice) == "table" and not names[choice.name] and not assistant.tools[choice.name] then
    problem.invalid("tool_choice", ("There is no tool '%s'."):format(tostring(choice.name)))
  end
  return found.ref
end


-- Without tools there is nothing to choose.
local function check_choice(question)
  local options, choice, found = question.options, question.options.tool_choice, false
  if not question.tools[1] then
    options.tool_choice, options.parallel_tool_calls = nil, nil
    return
  end
  for _, one in ipairs(question.tools) do
    found = found or type(choice) == "table" and one.name == choice.name
  end
  if type(choice) == "table" and not found then
    problem.invalid("tool_choice", ("There is no tool '%s'."):format(tostring(choice.name)))
  end
end


-- What the run is made of: data, because whoever goes on with it makes the same of it.
local function asked_of(exchange, question, name)
  local asked = {
    api = "responses", model = name, created_at = math.floor(clock.wall()), echo = question.echo, conversation = question.conversation,
    inputs = #question.messages, tools = question.tools, overrides = question.options, hands_back = true,
  }
  local assistant = name:match("^assistant/(.+)$")
  if assistant then
    asked.assistant, asked.instructions_after = assistant_of(exchange, assistant, question), question.instructions
    asked.budget = question.calls_max and { tool_calls = question.calls_max } or nil
    return asked
  end
  check_choice(question)
  exchange.server:model(name) -- raises when nothing answers to that name
  local names = hooks.of(exchange.app).aliases[name] or { name }
  asked.overrides.model, asked.overrides.fallbacks = names[1], table.move(names, 2, #names, 1, {})
  asked.overrides.instructions = question.instructions
  return asked
end


-- Results of calls alone, and answers alone, are no question to a model that has heard nothing yet.
local function check_messages(exchange, question)
  local is_empty = not question.previous and not context.build(question.messages, question.instructions)[1]
  if is_empty and (not question.conversation or stored.conversation(exchange, question.conversation).next_seq == 1) then
    problem.invalid("input", "There are no messages: 'input' has nothing that a model could answer.")
  end
end


-- Answering

-- Of a conversation that is busy OpenAI has a word of its own.
local function locked(conversation)
  return function(raised)
    local code = errors.wrap(raised).code
    return (code == "active_run" or code == "waiting_run") and problem.new {
      status = 400, type = "invalid_request_error", code = "conversation_locked", param = "conversation", is_retryable = false,
      message = ("Another response is being made in the conversation '%s'."):format(conversation),
    } or nil
  end
end


local function send_all(out, events, after)
  for _, event in ipairs(events) do
    if event.sequence_number > after then
      out:send(event, event.type)
    end
  end
end


-- The run waits for somebody who decides, and a stream cannot.
local function send_waiting(out, encoder)
  local event = encoder:broken_off("waiting_approval", ("The run %s waits for a decision: POST /v1/runs/{id}/approve or /reject makes it, "
    .. "and the response goes on."):format(ids.run_of(encoder.identity.id) or encoder.identity.id))
  out:send(event, event.type)
end


---@class perilune.serve.LiveResponse
---@field events perilune.Stream of ours
---@field encoder perilune.serve.ResponseEncoder
---@field feed fun(event: table): table[]
---@field is_kept? boolean

-- Nobody can decide about a call of an answer that goes with its thread.
local NOT_KEPT = "A call of the assistant needs a decision, and an answer that is not stored cannot wait for one: leave out `store`."


-- A stream that sends nothing before something has come, so that what fails before it is answered with a status.
local function streamed(exchange, live)
  local out <close> = exchange:events()
  local events <close> = live.events
  local encoder, is_shown = live.encoder, false
  for event in events do
    exchange:note(event)
    if event.type == "error" and not out.has_begun then
      error(event.error, 0)
    elseif event.type ~= "attempt" and not is_shown then
      is_shown = true
      send_all(out, encoder:start(), -1)
    end
    send_all(out, live.feed(event), -1)
    if event.type == "error" then
      exchange.failure = problem.answer_of(event.error)
    end
  end
  if not live.is_kept and not encoder.is_over then
    out:send(encoder:broken_off("waiting_approval", NOT_KEPT), "error")
  elseif not encoder.is_over then
    send_waiting(out, encoder)
  end
end


local function whole(exchange, live)
  local events <close> = live.events
  live.encoder:start()
  for event in events do
    exchange:note(event)
    if event.type == "error" then
      error(event.error, 0)
    end
    live.feed(event)
  end
  if not live.is_kept and not live.encoder.is_over then
    error(problem.new {
      status = 409, type = "invalid_request_error", code = "waiting_approval", param = "store", message = NOT_KEPT, is_retryable = false,
    }, 0)
  end
  exchange:reply(200, live.encoder:response())
end


-- What asks the model itself: nothing is stored.
local function ask_directly(exchange, question, name)
  check_choice(question)
  local request = must(requests.new(context.build(question.messages, question.instructions), question.options))
  request.tools, request.stream = question.tools[1] and question.tools or nil, question.is_streamed
  local encoder = encoders.new {
    id = token.id("resp"), created_at = math.floor(clock.wall()), model = name, echo = question.echo,
  }
  return {
    events = exchange:model(name):stream(request), encoder = encoder,
    feed = function(event)
      return encoder:feed(event, math.floor(clock.wall()))
    end,
  }
end


-- Results of calls go to the assistant that has made them, also where that is one which the other has handed over to.
local function who_called(exchange, question, asked, thread)
  local last = question.messages[#question.messages]
  local before = asked.assistant and last and last.role == "tool" and stored.before(exchange, question, thread)
  return before and (before.asked or {}).assistant == asked.assistant and before.assistant or nil
end


local function job_of(exchange, question, asked, thread)
  return run_jobs.job(exchange.app, thread, asked, {
    run_id = exchange:run_id(), messages = question.messages, account = exchange.key.account,
    at_work = who_called(exchange, question, asked, thread),
    wrap = function(model, name)
      return exchange:bill(model, name)
    end,
  })
end


local function live_run(exchange, job, is_kept)
  local db, encoder = exchange.server.db, encoders.new(stored.identity(job.run_id, job.asked))
  return {
    events = jobs.stream(job), encoder = encoder, is_kept = is_kept,
    feed = function(event)
      return stored.feed(db, job.run_id, encoder, event)
    end,
  }
end


-- A stream of what is stored, from the event after that number; who leaves does not end the run.
local function replay(exchange, row, after)
  local db, is_background = exchange.server.db, row.asked.echo.background
  local out <close> = exchange:events()
  out:write(": " .. row.id .. "\n\n") -- the head goes out now, however long the next event takes
  local encoder = encoders.new(stored.identity(row.id, row.asked))
  send_all(out, encoder:start(is_background), after)
  for event in run_object.get(exchange.app, row.id):events() do
    send_all(out, stored.feed(db, row.id, encoder, event), after)
    if encoder.is_over then
      return
    end
  end
  send_all(out, stored.conclude(db, run_ends.row_now(db, row), encoder), after)
  if not encoder.is_over then
    send_waiting(out, encoder)
  end
end


local function in_background(exchange, question, job)
  exchange:lend_ticket(job)
  jobs.start(job)
  local row = must(runs.get(exchange.server.db, job.run_id))
  if question.is_streamed then
    return replay(exchange, row, -1)
  end
  exchange:reply(200, stored.resource(exchange.server.db, row))
end


-- A thread that goes when the answer is made.
local function thread_for_now(db, thread)
  return setmetatable({}, { __close = function()
    task.shield(WRITE_SECONDS, threads.delete, db, thread.id)
  end })
end


-- POST /v1/responses
local function create(exchange)
  local question = read(exchange)
  local name = exchange:model_named(question.model)
  check_messages(exchange, question)
  local answer = question.is_streamed and streamed or whole
  local is_kept = question.is_stored or question.conversation ~= nil
  if not is_kept and not question.previous and not name:find("^assistant/") then
    return answer(exchange, ask_directly(exchange, question, name))
  end
  exchange.reword = question.conversation and locked(question.conversation) or nil
  local asked = asked_of(exchange, question, name)
  local place <close> = stored.place()
  local thread = place:thread(exchange, question, is_kept)
  asked.first_seq, asked.is_kept = thread.next_seq, is_kept
  local going <close> = not is_kept and thread_for_now(exchange.server.db, thread) or nil -- luacheck: ignore 211
  local job = job_of(exchange, question, asked, thread)
  if question.is_background then
    return in_background(exchange, question, job)
  end
  answer(exchange, live_run(exchange, job, is_kept))
end


-- Responses that are there

-- GET /v1/responses/{response_id}
local function retrieve(exchange)
  local row = stored.get(exchange, exchange.params.response_id)
  if exchange:query("stream") ~= "true" then
    return exchange:reply(200, stored.resource(exchange.server.db, row))
  elseif not row.asked.echo.background then
    problem.invalid("stream", "This response cannot be streamed again: it was not made in the background.")
  end
  replay(exchange, row, exchange:query_integer("starting_after", -1, 0, SEQUENCE_MAX))
end


-- DELETE /v1/responses/{response_id}
local function delete(exchange)
  local id = exchange.params.response_id
  local row = stored.get(exchange, id)
  if not row.finished_at then
    run_ends.end_run(exchange, row)
  end
  stored.delete(exchange.server.db, row)
  exchange:reply(200, { id = id, object = "response", deleted = true })
end


-- POST /v1/responses/{response_id}/cancel
local function cancel(exchange)
  local row = stored.get(exchange, exchange.params.response_id)
  if not row.asked.echo.background then
    problem.invalid(nil, "Only a response that is made in the background can be cancelled.")
  elseif not row.finished_at then
    row = run_ends.end_run(exchange, row)
  end
  exchange:reply(200, stored.resource(exchange.server.db, row))
end


-- GET /v1/responses/{response_id}/input_items
local function list_inputs(exchange)
  local row = stored.get(exchange, exchange.params.response_id)
  exchange:reply(200, stored.inputs(exchange.server.db, row, lists.page(exchange)))
end


-- POST /v1/responses/input_tokens: how many tokens a question would be; counted here, roughly.
local function count_tokens(exchange)
  local question = read(exchange)
  local messages = stored.history(exchange, question)
  table.move(question.messages, 1, #question.messages, #messages + 1, messages)
  local count = tokens.of_tools(question.tools)
  for _, message in ipairs(context.build(messages, question.instructions)) do
    count = count + tokens.of_message(message)
  end
  exchange:reply(200, { object = "response.input_tokens", input_tokens = count })
end


return {
  { "POST", "/v1/responses", create, family = "responses" },
  { "POST", "/v1/responses/input_tokens", count_tokens, family = "responses" },
  { "GET", "/v1/responses/{response_id}", retrieve, family = "responses" },
  { "DELETE", "/v1/responses/{response_id}", delete, family = "responses" },
  { "POST", "/v1/responses/{response_id}/cancel", cancel, family = "responses" },
  { "GET", "/v1/responses/{response_id}/input_items", list_inputs, family = "responses" },
}
