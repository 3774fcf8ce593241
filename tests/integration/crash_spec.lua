-- The program is stopped in the middle of a turn, by Ctrl-C and by kill -9: what was acknowledged is there, the thread is valid,
-- and a new run works at once.
local json = require "perilune.json"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"
local runs = require "perilune.store.runs"
local store = require "perilune.store"

local ONE_WORD_BYTES = 250

local story = replay.text("one two three four")

-- Says what happens as it happens, so that the test knows when to strike.
local SCRIPT = [[
local perilune = require "perilune"
local weather = perilune.tool {
  name = "get_weather", description = "The weather in a city.", parameters = { city = "string: its name" },
  run = function(arguments)
    return "18 degrees in " .. arguments.city
  end,
}
local assistant = perilune.assistant { name = "forecaster", model = "openai/gpt-4o-mini", tools = { weather } }
local run = perilune.thread("k"):run(assistant, arg[1], { on_event = function(event)
  io.write(event.type, event.text and " " .. event.text or "", "\n")
  io.flush()
end })
print(run.content)
]]


local function call_weather()
  return replay.whole(replay.calls { { id = "call_1", name = "get_weather", arguments = '{"city":"Paris"}' } })
end


local function new_program(server)
  local program = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url }
  program:file("script.lua", SCRIPT)
  return program
end


-- The thread as `threads show` prints it.
local function shown(program)
  local result = program:run { "threads", "show", "k" }
  assert.are.same({ 0, "" }, { result.status, result.stderr })
  local check = program:run { "db", "check" }
  assert.are.same({ 0, "ok\n", "" }, { check.status, check.stdout, check.stderr })
  return result.stdout
end


-- The runs of the database, the newest first: "failed interrupted".
local function run_states(program)
  local db <close> = assert(store.open(program.db))
  local states = {}
  for position, run in ipairs(assert(runs.list(db))) do
    states[position] = run.status .. (run.error and " " .. (run.error.code or run.error.kind) or "")
  end
  return states
end


describe("kill -9", function()
  it("in the second model call of a turn loses nothing that was acknowledged, and the next run works at once", function()
    local server <close> = replay.serve { call_weather(), replay.stalled(story, ONE_WORD_BYTES), replay.whole(replay.text("Still 18.")) }
    local program <close> = new_program(server)
    local child <close> = program:start { "run", "script.lua", "Weather?" }
    programs.read_until(child, "text one \n")
    assert(child:kill("KILL"))
    assert.are.equal("KILL", programs.ending_of(child).signal)

    local acknowledged = "user: Weather?\nassistant: -> get_weather({\"city\":\"Paris\"})\ntool: 18 degrees in Paris\n"
    assert.are.equal(acknowledged, shown(program))
    assert.are.same({ "running" }, run_states(program))
    local result = program:run { "run", "script.lua", "And now?" }
    assert.are.same({ 0, "" }, { result.status, result.stderr })
    assert.is_truthy(result.stdout:find("Still 18.\n", 1, true))
    assert.are.equal(acknowledged .. "user: And now?\nassistant: Still 18.\n", shown(program))
    assert.are.same({ "completed", "failed interrupted" }, run_states(program))

    local roles = {}
    for position, message in ipairs(server.requests[3].body.messages) do
      roles[position] = message.role
    end
    assert.are.equal("user assistant tool user", table.concat(roles, " "))
  end)

  it("while a tool runs leaves a call without a result, which the next request says is unknown", function()
    local server <close> = replay.serve { call_weather(), replay.whole(replay.text("I do not know.")) }
    local program <close> = new_program(server)
    program:file("slow.lua", (SCRIPT:gsub('return "18 degrees in "', 'print("tool runs") io.flush() perilune.sleep(1000) %0')))
    local child <close> = program:start { "run", "slow.lua", "Weather?" }
    programs.read_until(child, "tool runs\n")
    assert(child:kill("KILL"))
    programs.ending_of(child)
    assert.are.equal("user: Weather?\nassistant: -> get_weather({\"city\":\"Paris\"})\n", shown(program))
    assert.are.equal(0, program:run({ "run", "script.lua", "And now?" }).status)
    local messages = server.requests[2].body.messages
    assert.are.same({ "tool", "call_1" }, { messages[3].role, messages[3].tool_call_id })
    assert.is_truthy(messages[3].content:find("unknown", 1, true))
    assert.are.same({ "completed", "failed interrupted" }, run_states(program))
  end)
end)


describe("Ctrl-C", function()
  it("during an answer exits with 130, keeps the words that had come as partial, and the thread goes on", function()
    local server <close> = replay.serve { replay.stalled(story, ONE_WORD_BYTES), replay.whole(replay.text("All four.")) }
    local program <close> = new_program(server)
    local child <close> = program:start { "run", "script.lua", "Count." }
    programs.read_until(child, "text one \n")
    assert(child:kill("INT"))
    assert.are.same({ status = 130 }, programs.ending_of(child))
    server:wait_until(function() return server.requests[1].is_over end)
    assert.are.equal("user: Count.\nassistant (partial): one \n", shown(program))
    assert.are.same({ "cancelled cancelled" }, run_states(program))

    assert.are.equal(0, program:run({ "run", "script.lua", "Go on." }).status)
    assert.are.equal("user: Count.\nassistant (partial): one \nuser: Go on.\nassistant: All four.\n", shown(program))
    local data = assert(json.decode(program:run({ "threads", "show", "k", "--json" }).stdout))
    assert.are.equal("partial", data.messages[2].status)
  end)

  it("ends a script that computes and never waits", function()
    local server <close> = replay.serve { replay.whole(story) }
    local program <close> = new_program(server)
    local child <close> = program:start { "run", "-e", "io.write('begun\\n') io.flush() while true do end" }
    programs.read_until(child, "begun\n")
    assert(child:kill("INT"))
    assert.are.same({ status = 130 }, programs.ending_of(child))
  end)
end)
