-- Two hundred agent turns at the same time in one process, streamed over real HTTP, each with a tool, cancels among them.
local apps = require "perilune.app"
local assistants = require "perilune.agent.assistant"
local fetch = require "perilune.sys.fetch"
local fs = require "perilune.sys.fs"
local messages = require "perilune.store.messages"
local runs = require "perilune.store.runs"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"
local threads = require "perilune.agent.thread"
local tool = require "perilune.tool"

local TURNS = 200

local chunk = 'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m",'
  .. '"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
local call = [[{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1,\"b\":2}"}}]}]]


-- Answers the first request of a turn with a call, the one that brings its result with ten words; pauses between the pieces.
local function answer(request)
  local is_second = request:body():find('"role":"tool"', 1, true)
  request:start { status = 200, headers = { ["content-type"] = "text/event-stream" } }
  if is_second then
    for word = 1, 10 do
      if not request:write(chunk:format(('{"content":"w%d "}'):format(word), "null")) then
        return
      end
      task.sleep(0.001)
    end
    request:write(chunk:format("{}", '"stop"'))
  else
    request:write(chunk:format(call, "null"))
    task.sleep(0.001)
    request:write(chunk:format("{}", '"tool_calls"'))
  end
  request:write("data: [DONE]\n\n")
  request:finish()
end


local function serve_answers(server)
  local handlers <close> = task.group()
  while true do
    local request = server:accept()
    if not request then
      return
    end
    handlers:spawn(function()
      local own <close> = request
      answer(own)
    end)
  end
end


describe("two hundred streamed agent turns", function()
  it("end side by side, cancels among them, and leave valid threads and nothing open", function()
    math.randomseed(200)
    local folder = assert(fs.temp_dir("turns"))
    local group <close> = task.group()
    local server <close> = assert(serve.listen { host = "127.0.0.1", port = 0 })
    group:spawn(serve_answers, server)
    local app <close> = apps.new {
      db = folder .. "/turns.db", base_url = ("http://127.0.0.1:%d/v1"):format(server:port()),
      env = function(name) return name == "OPENAI_API_KEY" and "sk-test-key" or nil end,
    }
    local add = tool.define {
      name = "add", description = "Adds two numbers", parameters = { a = "integer", b = "integer" },
      run = function(arguments) return arguments.a + arguments.b end,
    }
    local assistant = assistants.new { name = "adder", model = "openai/gpt-4o-mini", tools = { add } }
    local completed, stopped = 0, 0

    local function turn(number)
      local thread = threads.open(app, "thread " .. number)
      local stop_after = number % 4 == 0 and math.random(0, 12) or math.huge
      local stream <close> = thread:stream(assistant, "What is 1 + 2?")
      local count = 0
      for event in stream do
        count = count + 1
        if event.type == "error" then
          error(event.error, 0)
        elseif count > stop_after then
          stopped = stopped + 1
          return
        end
      end
      completed = completed + 1
    end

    local turns = task.group()
    for number = 1, TURNS do
      turns:spawn(turn, number)
    end
    turns:wait()

    assert.equal(TURNS, completed + stopped)
    assert.is_true(stopped > 10)
    assert.same({}, app:database():check())
    for _, run in ipairs(runs.list(app:database(), { limit = 1000 })) do
      assert.is_true(run.status == "completed" or run.status == "cancelled", run.status)
      local last = messages.window(app:database(), run.thread_id, 1)[1]
      assert.is_true(run.status == "cancelled" or last.message.content == "w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 ", last.message.content)
    end
    assert.equal(0, fetch.live())
    app:close()
    server:close()
    assert(fs.remove(folder, { recursive = true }))
  end)
end)
