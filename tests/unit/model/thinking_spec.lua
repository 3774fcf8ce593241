local response = require "perilune.model.response"
local stream = require "perilune.model.stream"
local thinking = require "perilune.model.thinking"

local STOP = { type = "stop", reason = "stop" }


-- A model that answers with these events and remembers what it was asked.
local function scripted(events)
  return { stream = function(self, request)
    self.request = request
    local inner = stream.from_list(events)
    inner.rows[1] = { provider = "scripted" }
    self.inner = inner
    return inner
  end }
end


local function texts(...)
  local events = {}
  for position, text in ipairs { ... } do
    events[position] = { type = "text", text = text }
  end
  events[#events + 1] = STOP
  return events
end


local function read(events, request)
  local list = {}
  for event in thinking.new(scripted(events)):stream(request or { enable_thinking = true }) do
    list[#list + 1] = event
  end
  return list
end


local function answer_of(...)
  return response.collect(read(texts(...)))
end


describe("thinking in the text", function()
  local rows = {
    { "<think>why</think>because", "why", "because" },
    { "<thinking>why</thinking>because", "why", "because" },
    { " \n<think>\n why \n</think>\n\nbecause \n", "why", "because" },
    { "<think>\n\n</think>\n\nbecause", nil, "because" },
    { "<think>a</think>\n<thinking>b</thinking> c", "a\n\nb", "c" },
    { "<think>a <b> </thinking> c</think>d", "a <b> </thinking> c", "d" },
    { "<think>never closed </thi", "never closed </thi", "" },
    { "Use <think>x</think> for it", nil, "Use <think>x</think> for it" },
    { "a</think>b", nil, "a</think>b" },
    { "<thin", nil, "<thin" },
    { "<thinner>x", nil, "<thinner>x" },
    { "<think>Grüß 👋</think>Grüß 👋 dich", "Grüß 👋", "Grüß 👋 dich" },
    { "  two  words\n\nand more  ", nil, "two  words\n\nand more" },
    { "<think><think>a</think>b</think>", "<think>a", "b</think>" },
    { " \n ", nil, "" },
  }
  for position, row in ipairs(rows) do
    it("is taken out of " .. ("%q"):format(row[1]):gsub("\\\n", "\\n"), function()
      local answer = answer_of(row[1])
      assert.are.equal(row[2], answer.reasoning)
      assert.are.equal(row[3], answer.content)
    end)

    it("is the same however the text is cut, case " .. position, function()
      for first = 1, #row[1] - 1 do
        for last = first + 1, #row[1] do
          local answer = answer_of(row[1]:sub(1, first), row[1]:sub(first + 1, last), row[1]:sub(last + 1))
          assert.are.equal(row[2], answer.reasoning)
          assert.are.equal(row[3], answer.content)
        end
      end
      local bytes = {}
      for at = 1, #row[1] do
        bytes[at] = row[1]:sub(at, at)
      end
      local answer = answer_of(table.unpack(bytes))
      assert.are.equal(row[2], answer.reasoning)
      assert.are.equal(row[3], answer.content)
    end)
  end

  it("comes out as soon as it is known", function()
    local events = read(texts("<th", "ink>one", " two</th", "ink>th", "ree"))
    local list = {}
    for position, event in ipairs(events) do
      list[position] = event.type .. " " .. (event.text or "")
    end
    assert.are.same({ "thinking one", "thinking  two", "text th", "text ree", "stop " }, list)
  end)

  it("never makes an event without text", function()
    for _, event in ipairs(read(texts("", " ", "<think>", " ", "</think>", " ", "a", " "))) do
      assert.is_true(event.type == "stop" or event.text:find("%S") ~= nil)
    end
  end)

  it("is kept apart in each choice", function()
    local answer = response.collect(read {
      { type = "text", text = "<thi" }, { type = "text", text = "plain <think>", choice = 1 },
      { type = "text", text = "nk>a</think>b" }, { type = "text", text = " c", choice = 1 },
      { type = "stop", reason = "stop", choices = { { index = 1, reason = "stop" } } },
    })
    assert.are.equal("a", answer.reasoning)
    assert.are.equal("b", answer.content)
    assert.is_nil(answer.choices[2].reasoning)
    assert.are.equal("plain <think> c", answer.choices[2].content)
  end)

  it("stands beside native thinking, which is trimmed too", function()
    local answer = response.collect(read {
      { type = "thinking", text = "\n native " }, { type = "thinking", text = "thought\n" }, { type = "text", text = "\n\nanswer" }, STOP,
    })
    assert.are.equal("native thought", answer.reasoning)
    assert.are.equal("answer", answer.content)
  end)

  it("is handed out before an error ends the stream, and other events pass", function()
    local call = { type = "tool_call", index = 0, id = "c", name = "f", arguments = "{}" }
    local failed = { type = "error", error = { kind = "server" } }
    local events = read { { type = "start" }, { type = "text", text = "<think>half" }, call, { type = "text", text = "</" }, failed }
    assert.are.equal(call, events[3])
    assert.are.same({ type = "thinking", text = "</" }, events[4])
    assert.are.equal(failed, events[5])
    assert.are.equal(5, #events)
  end)
end)


describe("the thinking stage", function()
  it("does nothing unless it is asked to", function()
    local model = scripted(texts "<think>a</think> b ")
    local request = { max_tokens = 10 }
    local untouched = thinking.new(model):stream(request)
    assert.are.equal(model.inner, untouched)
    assert.are.equal(request, model.request)
    assert.are.equal("<think>a</think> b ", untouched:response().content)
    untouched = thinking.new(model):stream { enable_thinking = false }
    assert.are.equal(model.inner, untouched)
  end)

  it("raises low limits in a copy of the request", function()
    local model = scripted(texts "a")
    local request = { enable_thinking = true, max_tokens = 100, max_completion_tokens = 4000, seed = 1 }
    thinking.new(model):stream(request):close()
    assert.are.same({ enable_thinking = true, max_tokens = 3000, max_completion_tokens = 4000, seed = 1 }, model.request)
    assert.are.equal(100, request.max_tokens)
    thinking.new(model):stream({ enable_thinking = true }):close()
    assert.is_nil(model.request.max_tokens)
  end)

  it("passes on the rows of the attempt and closes what it wraps", function()
    local model = scripted(texts "a")
    local apart = thinking.new(model):stream { enable_thinking = true }
    assert.are.equal("scripted", apart.rows[1].provider)
    apart:close()
    assert.is_nil(model.inner:next())
    assert.is_nil(apart:next())
  end)
end)
