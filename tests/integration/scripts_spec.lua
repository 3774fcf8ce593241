-- Every example in scripts/ under the real program, with the offline model and a database of its own.
local frames = require "tests.support.frames"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local programs = require "tests.support.program"

local LINES_MAX = 40

local OFFLINE = "I am the offline model: no network, no key, no knowledge. "


local function greeting(text, count)
  return ('%sYou said "%s". This is message %d of our conversation.\n'):format(OFFLINE, text, count)
end


local forecast = [[
you: What's the weather in Paris?
offline: get_weather answered: {"sky":"cloudy","temperature":18}. (I am the offline model; I only repeat what the tools say.)
you: What did I ask you before?
offline: Earlier in this conversation you said: 1. "What's the weather in Paris?"]]

-- What each script prints, run after run on the same database.
local outputs = {
  ["approval.lua"] = {
    'waiting_approval\tdelete_file\t{"path":"old.log"}\nThe log is gone.\nI kept the photos.\n'
      .. "Error: the user did not allow this call: they are dear to me\n",
  },
  ["assistant.lua"] = {
    "Io\t1822\tcompleted\t2 requests\na guardrail refuses the input: we do not talk about Pluto\n",
  },
  ["auto.lua"] = { "20 questions, 20 answers\n" },
  ["cancel.lua"] = { "I am the offline model: \n-- stopped --\n" .. greeting("Go on.", 2) },
  ["compaction.lua"] = { [[
day 1: the thread has  2 messages, 2 were sent
day 2: the thread has  4 messages, 4 were sent
day 3: the thread has  6 messages, 6 were sent
day 4: the thread has  8 messages, 3 were sent
day 5: the thread has 10 messages, 5 were sent
day 6: the thread has 12 messages, 7 were sent
day 7: the thread has 14 messages, 3 were sent
day 8: the thread has 16 messages, 5 were sent
(Summary of the conversation so far. It was written by a program; the messages themselves are not repeated here.)

Logged so far: day 1, 2, 3, 4, 5, 6.
]] },
  ["failover.lua"] = {
    "Here I am.\tsays third, after\n  first/large retried: overloaded\n  first/large failed: overloaded\n  second/large failed: quota\n"
      .. "all_failed\tbecause of\n  first/large failed: overloaded\n  second/large failed: quota\n",
  },
  ["gateway.lua"] = { "" }, -- defines things for `perilune serve`, and says so in the log alone
  ["serve.lua"] = { "" },
  ["webhook.lua"] = { "" },
  ["handoff.lua"] = {
    "Why does the sea rise? The moon pulls the sea. (tides, 3 steps)\n"
      .. "Why did it get dark at noon? The moon hides the sun. (eclipses, 3 steps)\n",
  },
  ["hello.lua"] = { greeting("Hello, who are you?", 1) .. "(offline/demo, 28 tokens)\n" },
  ["images.lua"] = {
    "image-1.png: N bytes, drawn by offline/demo\nimage-2.png: N bytes, drawn by offline/demo\n",
  },
  ["mcp.lua"] = {
    "moon_phase: The phase of the moon on a day\noffline: moon_phase answered: Waxing gibbous on Friday. "
      .. "(I am the offline model; I only repeat what the tools say.)\n",
  },
  ["parallel.lua"] = {
    "1. What is a crater?\n   " .. greeting("What is a crater?", 1) .. "2. What is an eclipse?\n   "
      .. greeting("What is an eclipse?", 1) .. "3. What is a tide?\n   " .. greeting("What is a tide?", 1),
  },
  ["production.lua"] = {
    "12 questions answered\ncancelled\tcancelled\tuser_requested\n13 requests, success rate 1.00, p95 below a second: true\n"
      .. "offline/demo is closed\n",
  },
  ["provider.lua"] = { "Data is enough.\nTwo functions are enough.\n" },
  ["reasoning.lua"] = { "(answer) " .. greeting("Is 391 a prime number?", 1) },
  ["replay.lua"] = {
    "recorded: " .. greeting("What is a crater?", 1) .. "replayed: " .. greeting("What is a crater?", 1)
      .. 'nil\tconfiguration: crater.jsonl has no recording of this request to offline/demo: the nearest is number 1 (used already), '
      .. 'which differs at messages[1].content: recorded "What is a crater?", asked "What is a tide?". Nothing was sent; record it '
      .. "again, or ask what was recorded\n",
  },
  ["research.lua"] = {
    "The moon: People have watched it for ever. It circles the earth. Everybody has painted it.\n5 steps, 4 runs on the way\n",
  },
  ["stream.lua"] = { greeting("Tell me a short story about the moon.", 1) .. "(36 tokens)\n" },
  ["structured.lua"] = { "Jupiter has a radius of 0 km.\n" }, -- the offline model fills in what it finds in the question
  ["testing_spec.lua"] = { "+++\n3 successes / 0 failures / 0 errors / 0 pending : N seconds\n" },
  ["thread.lua"] = {
    "  1 user      The moon is 384,400 km away.\n  2 assistant " .. greeting("The moon is 384,400 km away.", 1),
    "  1 user      The moon is 384,400 km away.\n  2 assistant " .. greeting("The moon is 384,400 km away.", 1)
      .. "  3 user      The moon is 384,400 km away.\n  4 assistant " .. greeting("The moon is 384,400 km away.", 2),
  },
  ["tools.lua"] = { -- the second run remembers the first
    forecast .. "\n", forecast .. ' 2. "What did I ask you before?" 3. "What\'s the weather in Paris?"\n',
  },
  ["workflow.lua"] = { -- the second run finds it done
    "writing about the far side of the moon\nprinting publish/moon: N bytes, key 5c386890...\nprinted\n", "printed\n",
  },
  ["vision.lua"] = {
    greeting("What is in this picture?", 1) .. "media: cannot look at no-such-file.png: No such file or directory\n",
  },
}


-- The folder project is what `perilune init` writes (project_spec.lua).
local names = {}
for _, name in ipairs(assert(fs.list("scripts"))) do
  names[#names + 1] = name:find("%.lua$") and name
end


describe("the script", function()
  for _, name in ipairs(names) do
    it(name .. " prints what it should, and exits with 0", function()
      local expected = assert(outputs[name], "this spec does not know what it prints")
      local program <close> = programs.new { HOOK_SECRET = "webhook.lua asks for one" }
      for run, output in ipairs(expected) do
        local result = program:run { name:find("_spec%.lua$") and "test" or "run", programs.path("scripts/" .. name) }
        local printed = result.stdout:gsub("%d+ bytes", "N bytes"):gsub("[%d.]+ seconds", "N seconds")
        assert.are.same({ 0, "", output }, { result.status, result.stderr, printed }, "run " .. run)
      end
    end)

    it(name .. (" has at most %d lines"):format(LINES_MAX), function()
      local text = assert(frames.read("scripts/" .. name))
      assert.is_true(select(2, text:gsub("\n", "")) <= LINES_MAX)
      assert.is_truthy(text:find("^%-%- %u"), "it begins by saying what it shows")
    end)
  end

  it("cancel.lua leaves a thread in which the first answer is partial", function()
    local program <close> = programs.new()
    program:run { "run", programs.path("scripts/cancel.lua") }
    local shown = assert(json.decode(program:run { "threads", "show", "a-story-that-was-stopped", "--json" }.stdout))
    local statuses = {}
    for position, stored in ipairs(shown.messages) do
      statuses[position] = stored.status
    end
    assert.are.same({ "complete", "partial", "complete", "complete" }, statuses)
    local kept = shown.messages[2].message.content -- what had arrived: at least what the script printed, but not all
    assert.are.equal("I am the offline model: ", kept:sub(1, 24))
    assert.is_nil(kept:find("message 1", 1, true))
  end)
end)
