local encoders = require "perilune.serve.shape.responses.encoder"
local json = require "perilune.json"
local tables = require "perilune.std.tables"

local usage = { type = "usage", usage = {
  prompt_tokens = 5, completion_tokens = 3, total_tokens = 8, prompt_tokens_details = { cached_tokens = 2 },
  completion_tokens_details = { reasoning_tokens = 1 },
} }

local start = { type = "start", model = "m" }
local stop = { type = "stop", reason = "stop" }


local function new_encoder(changes)
  local identity = { id = "resp_abc", created_at = 10, model = "m", echo = { store = true, metadata = {} }, client_tools = { mine = true } }
  for name, value in pairs(changes or {}) do
    identity[name] = value
  end
  return encoders.new(identity)
end


-- All events of a stream, and the encoder.
local function encode(list, changes)
  local encoder, all = new_encoder(changes), {}
  local function add(events)
    table.move(events, 1, #events, #all + 1, all)
  end
  add(encoder:start())
  for _, event in ipairs(list) do
    add(encoder:feed(event, 20))
  end
  return all, encoder
end


local function types(events)
  local names = {}
  for position, event in ipairs(events) do
    names[position] = event.type:gsub("^response%.", "")
  end
  return table.concat(names, " ")
end


local function call(index, id, name, arguments)
  return { type = "tool_call", index = index, id = id, name = name, arguments = arguments or "{}" }
end


describe("the encoder of responses", function()
  it("says a text as OpenAI does", function()
    local events, encoder = encode { start, { type = "text", text = "Hel" }, { type = "text", text = "lo" }, usage, stop }
    assert.equal("created in_progress output_item.added content_part.added output_text.delta output_text.delta output_text.done "
      .. "content_part.done output_item.done completed", types(events))
    assert.equal("Hello", events[7].text)
    assert.same({ type = "output_text", text = "Hello", annotations = {}, logprobs = {} }, events[8].part)
    assert.equal("msg_abc_0", events[5].item_id)
    assert.is_true(encoder.is_over)
    assert.same(encoder:response(), events[10].response)
  end)

  it("numbers its events without gaps", function()
    local events = encode { start, { type = "thinking", text = "a" }, { type = "text", text = "b" }, call(0, "c1", "mine"), usage, stop }
    for position, event in ipairs(events) do
      assert.equal(position - 1, event.sequence_number)
    end
  end)

  it("does not change what it has given away", function()
    local events = encode { start, { type = "text", text = "Hello" }, stop }
    assert.same({}, events[3].item.content)
    assert.equal("in_progress", events[3].item.status)
    assert.equal("", events[4].part.text)
    assert.equal("in_progress", events[1].response.status)
    assert.same({}, events[1].response.output)
  end)

  it("has all that a resource must have", function()
    local _, encoder = encode { start, { type = "text", text = "Hello" }, usage, stop }
    local response = encoder:response()
    assert.same({
      "completed_at", "conversation", "created_at", "error", "id", "incomplete_details", "metadata", "model", "object", "output", "status",
      "store", "usage",
    }, tables.sorted_keys(response))
    assert.same({ "completed", 20, json.null, json.null }, { response.status, response.completed_at, response.error,
      response.incomplete_details })
    assert.same({
      input_tokens = 5, output_tokens = 3, total_tokens = 8, input_tokens_details = { cached_tokens = 2, cache_write_tokens = 0 },
      output_tokens_details = { reasoning_tokens = 1 },
    }, response.usage)
  end)

  it("keeps thoughts, text and refusals apart", function()
    local events, encoder = encode {
      start, { type = "thinking", text = "hm" }, { type = "text", text = "a" }, { type = "refusal", text = "no" }, stop,
    }
    assert.equal("created in_progress output_item.added reasoning_summary_part.added reasoning_summary_text.delta "
      .. "reasoning_summary_text.done reasoning_summary_part.done output_item.done output_item.added content_part.added output_text.delta "
      .. "output_text.done content_part.done content_part.added refusal.delta refusal.done content_part.done output_item.done completed",
      types(events))
    local output = encoder:response().output
    assert.same({ { type = "summary_text", text = "hm" } }, output[1].summary)
    assert.same({ "output_text", "refusal" }, { output[2].content[1].type, output[2].content[2].type })
    assert.equal("no", output[2].content[2].refusal)
  end)

  it("gives calls of the client's tools back to it", function()
    local events, encoder = encode {
      start, { type = "tool_call_start", index = 0, id = "c1", name = "mine" }, { type = "tool_call_delta", index = 0, arguments = '{"a"' },
      { type = "tool_call_delta", index = 0, arguments = ":1}" }, call(0, "c1", "mine", '{"a":1}'), usage,
      { type = "stop", reason = "tool_calls" },
    }
    assert.equal("created in_progress output_item.added function_call_arguments.delta function_call_arguments.delta "
      .. "function_call_arguments.done output_item.done completed", types(events))
    assert.same({ '{"a":1}', "mine" }, { events[6].arguments, events[6].name })
    assert.same({ {
      type = "function_call", id = "fc_abc_0", call_id = "c1", name = "mine", arguments = '{"a":1}', status = "completed",
    } }, encoder:response().output)
  end)

  it("says the arguments of a call in one piece when they came so", function()
    local events = encode { start, call(0, "c1", "mine", "{}"), call(1, "c2", "mine", "[]"), stop }
    assert.equal("created in_progress output_item.added function_call_arguments.delta function_call_arguments.done output_item.done "
      .. "output_item.added function_call_arguments.delta function_call_arguments.done output_item.done completed", types(events))
    assert.equal("[]", events[8].delta)
  end)

  it("shows what the server's own tools did, with what came of it", function()
    local events, encoder = encode {
      start, call(0, "c1", "look"), call(1, "c2", "look"), { type = "tool_result", id = "c2", content = "no", is_error = true },
      { type = "tool_result", id = "c1", content = "snow" }, start, { type = "text", text = "It snows." }, stop,
    }
    assert.truthy(types(events):find("mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done", 1, true))
    local output = encoder:response().output
    assert.same({ "mcp_call", "look", "completed", "snow" }, { output[1].type, output[1].name, output[1].status, output[1].output })
    assert.same({ "failed", "no" }, { output[2].status, output[2].error.content[1].text })
    assert.equal("It snows.", output[3].content[1].text)
  end)

  it("shows the answer to a call of the client's that the server had to refuse", function()
    local _, encoder = encode {
      start, call(0, "c1", "mine", "{"), { type = "tool_result", id = "c1", content = "no JSON", is_error = true }, stop,
    }
    local output = encoder:response().output
    assert.same({ "function_call", "function_call_output", "c1", "no JSON" }, { output[1].type, output[2].type, output[2].call_id,
      output[2].output })
  end)

  it("takes every call for the client's where no tool is the server's", function()
    local encoder = encoders.new { id = "resp_1", created_at = 1, model = "m", echo = {} }
    encoder:start()
    encoder:feed(start)
    encoder:feed(call(0, "c1", "whatever"))
    assert.equal("function_call", encoder:response().output[1].type)
  end)

  it("says why an answer is not whole", function()
    for raw, reason in pairs { length = "max_output_tokens", content_filter = "content_filter" } do
      local events, encoder = encode { start, { type = "text", text = "a" }, { type = "stop", reason = raw } }
      assert.equal("response.incomplete", events[#events].type)
      local response = encoder:response()
      assert.same({ "incomplete", reason, json.null }, { response.status, response.incomplete_details.reason, response.completed_at })
      assert.equal("incomplete", response.output[1].status)
    end
    local _, encoder = encode { start, { type = "stop", reason = "other", raw = "max_steps" } }
    assert.equal("incomplete", encoder:response().status)
    _, encoder = encode { start, { type = "stop", reason = "other", raw = "eos" } }
    assert.equal("completed", encoder:response().status)
  end)

  it("ends what had begun when it fails", function()
    local events, encoder = encode {
      start, { type = "text", text = "a" }, { type = "tool_call_start", index = 0, id = "c1", name = "mine" },
      { type = "error", error = { kind = "rate_limit", message = "too fast" } }, { type = "text", text = "more" },
    }
    assert.equal("response.failed", events[#events].type)
    local response = encoder:response()
    assert.same({ code = "rate_limit_exceeded", message = "too fast" }, response.error)
    local _, refused = encode { start, { type = "error", error = { kind = "authentication", message = "no such key: sk-secret" } } }
    assert.is_nil(refused:response().error.message:find("secret", 1, true))
    assert.same({ "completed", "incomplete" }, { response.output[1].status, response.output[2].status })
    local added, done = 0, 0
    for _, event in ipairs(events) do
      added = added + (event.type == "response.output_item.added" and 1 or 0)
      done = done + (event.type == "response.output_item.done" and 1 or 0)
    end
    assert.same({ 2, 2 }, { added, done })
  end)

  it("calls a response that was cancelled so", function()
    local events, encoder = encode { start, { type = "error", error = { kind = "cancelled", message = "by the user" } } }
    assert.equal("response.incomplete", events[#events].type)
    assert.same({ "cancelled", json.null }, { encoder:response().status, encoder:response().error })
  end)

  it("goes on after a person was waited for", function()
    local _, encoder = encode { start, call(0, "c1", "look"), { type = "stop", reason = "other", raw = "waiting_approval" } }
    assert.same({ false, "in_progress" }, { encoder.is_over, encoder:response().status })
    encoder:feed { type = "tool_result", id = "c1", content = "snow" }
    encoder:feed(stop, 30)
    assert.same({ "completed", "completed" }, { encoder:response().status, encoder:response().output[1].status })
  end)

  it("begins anew when an answer was lost, and leaves what was shown of it as incomplete", function()
    local _, encoder = encode {
      start, { type = "text", text = "a" }, { type = "attempt_discarded" }, start, { type = "text", text = "b" }, stop,
    }
    local output = encoder:response().output
    assert.same({ "incomplete", "completed" }, { output[1].status, output[2].status })
  end)

  it("shows sources and probabilities with the text that they are about", function()
    local events, encoder = encode {
      start, { type = "text", text = "a" }, { type = "citation", citation = { url = "https://example.com" } },
      { type = "logprobs", content = { { token = "a", logprob = -0.5, bytes = json.null } } }, stop,
    }
    assert.truthy(types(events):find("output_text.annotation.added", 1, true))
    local part = encoder:response().output[1].content[1]
    assert.same({ { type = "url_citation", url = "https://example.com", title = "", start_index = 0, end_index = 0 } }, part.annotations)
    assert.same({ { token = "a", logprob = -0.5, bytes = {}, top_logprobs = {} } }, part.logprobs)
  end)

  it("shows a picture that a model has made", function()
    local _, encoder = encode { start, { type = "image", data = "aGk=" }, { type = "image", url = "https://example.com/x.png" }, stop }
    assert.same({ { type = "image_generation_call", id = "ig_abc_0", status = "completed", result = "aGk=" } }, encoder:response().output)
  end)

  it("shows the first answer only", function()
    local _, encoder = encode { start, { type = "text", text = "a" }, { type = "text", text = "b", choice = 1 }, stop }
    assert.equal("a", encoder:response().output[1].content[1].text)
  end)

  it("is a function of its events", function()
    local list = { start, { type = "thinking", text = "hm" }, call(0, "c1", "look"), call(1, "c2", "mine"), usage, stop }
    assert.same((encode(list)), (encode(list)))
  end)

  it("says that a response in the background is queued", function()
    local events = new_encoder():start(true)
    assert.equal("created queued in_progress", types(events))
    assert.same({ "queued", "queued", "in_progress" }, { events[1].response.status, events[2].response.status, events[3].response.status })
  end)
end)
