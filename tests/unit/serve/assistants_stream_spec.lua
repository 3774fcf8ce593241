local encoders = require "perilune.serve.shape.assistants.stream"
local json = require "perilune.json"
local mutation = require "perilune.testing.mutation"
local objects = require "perilune.serve.shape.assistants.objects"
local steps = require "perilune.serve.shape.assistants.steps"

local CASES = 300

local run = {
  id = "run_r", thread_id = "thread_t", assistant = "helper", status = "running", created_at = 100.5, started_at = 100.5, metadata = {},
  asked = { assistant_id = "asst_a", shown = { model = "m" } },
}


local function new(options)
  options = options or {}
  options.run, options.next_seq, options.next_step = run, options.next_seq or 2, options.next_step or 1
  options.now = function() return 101 end
  return encoders.new(options)
end


-- All events for a run that is shown to end so; its row may have another status.
local function encode(list, status, encoder, row_status)
  encoder = encoder or new()
  local events = encoder.step and {} or encoder:created()
  for _, event in ipairs(list) do
    local more = encoder:feed(event)
    table.move(more, 1, #more, #events + 1, events)
  end
  local err = status == "failed" and { kind = "rate_limit", message = "slow down" } or nil
  local row = { id = run.id, status = row_status or status or "completed", error = err }
  local more = encoder:finish(row, { id = run.id, status = status or "completed" })
  table.move(more, 1, #more, #events + 1, events)
  return events
end


local function names(events)
  local list = {}
  for position, event in ipairs(events) do
    list[position] = event.name:gsub("^thread%.", "")
  end
  return list
end


local function find(events, name, which)
  for _, event in ipairs(events) do
    if event.name == "thread." .. name then
      which = (which or 1) - 1
      if which == 0 then
        return event.data
      end
    end
  end
end


-- The rules of OpenAI's own client (AssistantStream of version 7); nil: the events keep them.
local function find_breach(events)
  local known, step, message = {}, nil, nil
  for position, event in ipairs(events) do
    local kind, verb = event.name:match("^thread%.(.*)%.([%w_]+)$")
    local id = event.data.id
    if kind == "run.step" and verb == "created" then
      if step or known[id] then
        return position .. ": a step is created twice, or before the one before it ended"
      end
      step, known[id] = id, true
    elseif kind == "run.step" and id ~= step then
      return position .. ": not the active step"
    elseif kind == "run.step" and verb == "delta" and event.data.delta.id then
      return position .. ": a delta has an id"
    elseif kind == "message" and verb == "created" then
      if message or known[id] then
        return position .. ": a message is created twice, or before the one before it ended"
      end
      message, known[id] = id, true
    elseif kind == "message" and id ~= message then
      return position .. ": not the active message"
    end
    if kind == "run.step" and not (verb == "created" or verb == "in_progress" or verb == "delta") then
      step = nil
    elseif kind == "message" and (verb == "completed" or verb == "incomplete") then
      message = nil
    end
  end
  return events[#events].name:find("^thread%.run%.") == nil and "no run at the end" or nil
end


local function say(text)
  return { type = "text", text = text }
end


local function call(index, id, arguments)
  return { type = "tool_call_start", index = index, id = id, name = "f" },
    { type = "tool_call_delta", index = index, arguments = arguments },
    { type = "tool_call", index = index, id = id, name = "f", arguments = arguments }
end


local start, finish = { type = "start" }, { type = "stop", reason = "stop" }


local function result(id, content)
  return { type = "tool_result", id = id, name = "f", content = content }
end


describe("the stream of a run", function()
  it("of an answer is run, step and message, in OpenAI's order", function()
    local events = encode { start, say "Hel", say "lo", { type = "usage", usage = {} }, finish }
    assert.same({
      "run.created", "run.queued", "run.in_progress", "run.step.created", "run.step.in_progress", "message.created", "message.in_progress",
      "message.delta", "message.delta", "message.completed", "run.step.completed", "run.completed",
    }, names(events))
    local message = find(events, "message.completed")
    assert.same({ { type = "text", text = { value = "Hello", annotations = {} } } }, message.content)
    assert.same({ "msg_t_2", "run_r", "asst_a", 101 }, { message.id, message.run_id, message.assistant_id, message.completed_at })
    assert.same({}, find(events, "message.created").content)
    local step = find(events, "run.step.completed")
    assert.same({ "step_r_1", "completed", { type = "message_creation", message_creation = { message_id = "msg_t_2" } } },
      { step.id, step.status, step.step_details })
    assert.equal("in_progress", find(events, "run.step.created").status)
    assert.same({ content = { { index = 0, type = "text", text = { value = "lo", annotations = {} } } } },
      find(events, "message.delta", 2).delta)
  end)

  it("shows calls as they are written, and their outputs in the end of their step", function()
    local first, delta, last = call(0, "call_1", '{"a":1}')
    local events = encode { start, first, delta, last, result("call_1", "A"), start, say "Done", finish }
    assert.same({
      "run.created", "run.queued", "run.in_progress", "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.delta",
      "run.step.completed", "run.step.created", "run.step.in_progress", "message.created", "message.in_progress", "message.delta",
      "message.completed", "run.step.completed", "run.completed",
    }, names(events))
    assert.same({}, find(events, "run.step.created").step_details.tool_calls)
    local begun = find(events, "run.step.delta").delta.step_details.tool_calls[1]
    assert.same({ 0, "call_1", "f", "" }, { begun.index, begun.id, begun["function"].name, begun["function"].arguments })
    local done = find(events, "run.step.completed")
    assert.same({ id = "call_1", type = "function", ["function"] = { name = "f", arguments = '{"a":1}', output = "A" } },
      done.step_details.tool_calls[1])
    assert.same({ "step_r_2", "step_r_3", "msg_t_4" },
      { done.id, find(events, "run.step.completed", 2).id, find(events, "message.created").id })
  end)

  it("shows a call whole that came whole", function()
    local events = encode({ start, { type = "tool_call", index = 3, id = "c", name = "f", arguments = "{}" } }, "requires_action")
    assert.equal("{}", find(events, "run.step.delta", 2).delta.step_details.tool_calls[1]["function"].arguments)
    assert.is_nil(find(events, "run.step.completed"))
    assert.equal("thread.run.requires_action", events[#events].name)
  end)

  it("ends the step of a message with the first call, and loses nothing that is said after it", function()
    local first, delta, last = call(0, "c", "{}")
    local events = encode { start, say "Let me", first, delta, last, say " look.", result("c", "A"), start, say "Done", finish }
    assert.is_nil(find_breach(events))
    assert.equal("Let me look.", find(events, "message.completed").content[1].text.value)
    assert.same({ "step_r_1", "step_r_2", "step_r_3" }, {
      find(events, "run.step.completed").id, find(events, "run.step.completed", 2).id, find(events, "run.step.completed", 3).id,
    })
    assert.equal("msg_t_4", find(events, "message.created", 2).id)
  end)

  it("goes on with the calls that waited when their outputs come", function()
    local waited = steps.step(run, { seq = 2, status = "in_progress", created_at = 100, details = { type = "tool_calls", tool_calls = {
      { id = "a", type = "function", ["function"] = { name = "f", arguments = "{}", output = json.null } },
      { id = "b", type = "function", ["function"] = { name = "f", arguments = "{}", output = "known" } },
      { id = "c", type = "function", ["function"] = { name = "f", arguments = "{}", output = json.null } },
    } } })
    local used = { { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 }, [5] = {
      prompt_tokens = 4, completion_tokens = 5, total_tokens = 9,
    } }
    local encoder = new { step = waited, next_seq = 5, next_step = 5, usage_of = function(step)
      return used[step]
    end }
    local events = encode({ { type = "begun" }, result("a", "A"), result("c", { x = 1 }), start, say "Done", finish }, nil, encoder)
    assert.same({
      "run.step.completed", "run.queued", "run.in_progress", "run.step.created", "run.step.in_progress", "message.created",
      "message.in_progress", "message.delta", "message.completed", "run.step.completed", "run.completed",
    }, names(events))
    local outputs = {}
    for position, one in ipairs(find(events, "run.step.completed").step_details.tool_calls) do
      outputs[position] = one["function"].output
    end
    assert.same({ "A", "known", '{"x":1}' }, outputs)
    assert.same({ "msg_t_7", "step_r_5" }, { find(events, "message.created").id, find(events, "run.step.created").id })
    assert.same({ used[1], used[5] }, { find(events, "run.step.completed").usage, find(events, "run.step.completed", 2).usage })
  end)

  it("says of what is open how it ended", function()
    for status, reason in pairs { failed = "run_failed", cancelled = "run_cancelled", expired = "run_expired" } do
      local events = encode({ start, say "Half" }, status)
      local message, step = find(events, "message.incomplete"), find(events, "run.step." .. status)
      assert.same({ reason, "Half" }, { message.incomplete_details.reason, message.content[1].text.value })
      assert.equal(101, step[status .. "_at"])
      assert.equal("thread.run." .. status, events[#events].name)
    end
    assert.equal("rate_limit_exceeded", find(encode({ start, say "x" }, "failed"), "run.step.failed").last_error.code)
    local cut = encode({ start, say "x" }, "incomplete", nil, "completed")
    assert.equal("max_tokens", find(cut, "message.incomplete").incomplete_details.reason)
    assert.is_table(find(cut, "run.step.completed"))
    assert.is_table(find(encode({ start, say "x" }, "incomplete"), "message.completed")) -- a limit of the run, met after it
  end)

  it("puts a refusal beside the text", function()
    local message = find(encode { start, say "Well", { type = "refusal", text = "No." }, finish }, "message.completed")
    assert.same({ objects.text_part("Well"), { type = "refusal", refusal = "No." } }, message.content)
  end)

  it(("keeps the rules of OpenAI's client, whatever a model says (%d runs)"):format(CASES), function()
    local random = mutation.random(3)
    local endings = { "completed", "failed", "cancelled", "incomplete", "requires_action" }
    for number = 1, CASES do
      local list = {}
      for answer = 1, random(4) do
        local open = {}
        list[#list + 1] = start
        for piece = 1, random(5) do
          if random(2) == 1 then
            list[#list + 1] = say("word" .. piece)
          else
            local id = ("call_%d_%d"):format(answer, piece)
            local first, delta, last = call(#open, id, "{}")
            table.move({ first, delta, last }, random(2), 3, #list + 1, list)
            open[#open + 1] = id
          end
        end
        for _, id in ipairs(open) do
          list[#list + 1] = result(id, "x")
        end
      end
      local events = encode(list, endings[random(#endings)])
      local breach = find_breach(events)
      assert.is_nil(breach, ("case %d: %s\n%s"):format(number, breach, table.concat(names(events), "\n")))
    end
  end)

  it("is held to rules that can be broken", function()
    local events = encode { start, say "a", finish }
    table.remove(events, 4)
    assert.matches("not the active step", find_breach(events))
  end)
end)
