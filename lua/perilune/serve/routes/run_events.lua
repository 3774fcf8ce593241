-- Our own routes for every run, whatever asked for it: its events, again and as they come, and decisions about calls that wait.
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"
local run_answers = require "perilune.serve.run_answers"
local run_object = require "perilune.agent.run"
local states = require "perilune.serve.states"
local stored_events = require "perilune.store.events"
local thread_runs = require "perilune.serve.thread_runs"

local SEQ_MAX = (1 << 53) - 1


-- The last event that the client knows.
local function after_of(exchange)
  local after = exchange:query_integer("after", nil, 0, SEQ_MAX)
  local last_id = exchange:header("last-event-id")
  if after or not last_id or last_id == "" then
    return after or 0
  end
  local value = last_id:find("^%d+$") and math.tointeger(tonumber(last_id))
  if not value or value > SEQ_MAX then
    problem.invalid("Last-Event-ID", ("'Last-Event-ID' must be a whole number from 0 to %d."):format(SEQ_MAX))
  end
  return value
end


-- An event that was read, as clients see it.
local function show(event)
  if event.error then
    event.error.message = problem.words(event.error)
  end
  return event
end


-- What has come so far, a thousand at most.
local function list(exchange, row, after)
  local found = errors.must(stored_events.list(exchange.server.db, row, after))
  for _, event in ipairs(found) do
    show(event)
  end
  local last = found[#found]
  exchange:reply(200, {
    object = "list", data = json.array(found), last_seq = last and last.seq or after, status = row.status,
  })
end


local function events(exchange)
  local row, after = thread_runs.find(exchange, exchange.params.run_id), after_of(exchange)
  if (exchange:header("accept") or ""):find("application/json", 1, true) then
    return list(exchange, row, after)
  end
  local out <close> = exchange:events()
  for event in run_object.get(exchange.app, row.id):events(after) do
    local seq = event.seq
    out:send(show(event), nil, seq)
  end
  if not out.has_begun then
    out:write(": no more events\n\n")
  end
end


-- The calls that a decision is about: the one that is named, or all that it can be made about.
local function calls_for(waiting, call_id, is_meant)
  local found = {}
  for _, call in ipairs(waiting) do
    if is_meant(call) and (call_id == nil or call.id == call_id) then
      found[#found + 1] = call
    end
  end
  if not found[1] then
    problem.invalid("call_id", call_id and ("No call '%s' of this run waits for that."):format(call_id)
      or "No call of this run waits for that.")
  end
  return found
end


local function decide(exchange, is_meant, decision)
  local db, row = exchange.server.db, thread_runs.find(exchange, exchange.params.run_id)
  local body, state = exchange:body(true), states.of(row)
  if state.run ~= "requires_action" then
    problem.invalid(nil, ("The run is %s: nothing waits for a decision."):format(state.run))
  end
  local calls, decisions = calls_for(thread_runs.waiting(db, row), fields.text(body, "call_id"), is_meant), {}
  for position, call in ipairs(calls) do
    decisions[position] = { seq = call.seq, decision = decision(body) }
  end
  run_answers.go_on(exchange, row, decisions, false)
end


local function approve(exchange)
  decide(exchange, function(call)
    return call.waits_for ~= "output"
  end, function()
    return { kind = "approve" }
  end)
end


local function reject(exchange)
  decide(exchange, function()
    return true
  end, function(body)
    return { kind = "reject", reason = fields.text(body, "reason", 1000) }
  end)
end


return {
  { "GET", "/v1/runs/{run_id}/events", events, family = "runs" },
  { "POST", "/v1/runs/{run_id}/approve", approve, family = "runs" },
  { "POST", "/v1/runs/{run_id}/reject", reject, family = "runs" },
}
