-- Recording and replaying under the real program: what a script did with a provider, it does again without one.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"

local KEY = "sk_integration_cassette_key"

-- A client, an agent with a tool, vectors and a fetch; it prints everything.
local script = [[
local perilune = require "perilune"
local client = perilune.client { model = "openai/gpt-4o-mini" }
print(client:chat("one").content, client:chat("one").content)
for event in client:stream("two") do io.write(event.text or "") end
local add = perilune.tool {
  name = "add", description = "Adds", parameters = { a = "integer", b = "integer" },
  run = function(arguments) return arguments.a + arguments.b end,
}
local adder = perilune.assistant { name = "adder", model = "openai/gpt-4o-mini", tools = { add } }
print(perilune.thread("sums"):run(adder, "1 + 2?").content)
print(#client:embed({ input = "three", model = "openai/text-embedding-3-small" }).vectors[1])
print(perilune.fetch(arg[1] .. "/v1/page", { headers = { authorization = perilune.env "OPENAI_API_KEY" or "none" } }).body)
]]

local vectors = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,0.25,0.125]}],"model":"m",'
  .. '"usage":{"prompt_tokens":1,"total_tokens":1}}'


local function says(text)
  return replay.recorded(replay.text(text))
end


-- What the vendor says to the script, in order.
local function answers()
  return replay.serve {
    says "first", says "second", says("third, which repeats " .. KEY),
    replay.recorded(replay.calls { { id = "c", name = "add", arguments = '{"a":1,"b":2}' } }), says "It is 3.",
    replay.reply(200, vectors), replay.reply(200, "a page"),
  }
end


local function environment(server)
  return { OPENAI_API_KEY = KEY, OPENAI_BASE_URL = server.url .. "/v1" }
end


local function fails(program, status, message, words)
  local result = program:run(words)
  assert.equal(status, result.status)
  assert.is_truthy(result.stderr:find(message, 1, true), result.stderr)
  assert.equal("", result.stdout)
end


describe("perilune run --record and --replay", function()
  it("do a script's work again without a network and without a key", function()
    local recorded, url, text
    do
      local server <close> = answers()
      local program <close> = programs.new(environment(server))
      url = server.url
      program:file("script.lua", script)
      recorded = program:run { "run", "--log-level", "info", "--record", "all.jsonl", "script.lua", url }
      assert.equal(0, recorded.status, recorded.stderr)
      assert.is_truthy(recorded.stderr:find("7 exchanges are recorded in all.jsonl", 1, true), recorded.stderr)
      text = assert(fs.read(program.folder .. "/all.jsonl"))
    end
    assert.is_nil(text:find(KEY, 1, true))
    local program <close> = programs.new { OPENAI_BASE_URL = url .. "/v1" }
    program:file("script.lua", script)
    program:file("all.jsonl", text)
    local replayed = program:run { "run", "--replay", "all.jsonl", "script.lua", url }
    assert.same({ 0, "" }, { replayed.status, replayed.stderr })
    assert.equal((recorded.stdout:gsub(KEY, "[redacted]")), replayed.stdout)
    assert.is_truthy(replayed.stdout:find("first\tsecond\nthird, which repeats [redacted]It is 3.\n3\na page\n", 1, true), replayed.stdout)
  end)

  it("replay failover as it went: who failed, why, and who answered", function()
    local code = [[
      local perilune = require "perilune"
      local options = { model = "openai/gpt-4o-mini", fallbacks = { "groq/llama-3.1-8b-instant" }, max_retries = 0 }
      local answer = perilune.client(options):chat("Hello")
      print(answer.provider, answer.content, #answer.attempts, answer.attempts[1].error.kind, answer.attempts[1].status)]]
    local program <close> = programs.new()
    do
      local server <close> = replay.serve { openai = replay.reply(503, "{}"), groq = says "here" }
      program.env.OPENAI_API_KEY, program.env.GROQ_API_KEY = KEY, KEY
      program.env.OPENAI_BASE_URL, program.env.GROQ_BASE_URL = server.url .. "/openai", server.url .. "/groq"
      local recorded = program:run { "run", "--record", "f.jsonl", "-e", code }
      assert.same({ 0, "groq\there\t1\toverloaded\t503\n" }, { recorded.status, recorded.stdout }, recorded.stderr)
    end
    program.env.OPENAI_API_KEY, program.env.GROQ_API_KEY = nil, nil
    local replayed = program:run { "run", "--replay", "f.jsonl", "-e", code }
    assert.same({ 0, "", "groq\there\t1\toverloaded\t503\n" }, { replayed.status, replayed.stderr, replayed.stdout })
  end)

  it("go past a target that was passed over when it was recorded", function()
    local code = [[
      local options = { model = "openai/gpt-4o-mini", fallbacks = { "groq/llama-3.1-8b-instant" } }
      print(require("perilune").client(options):chat("Hello").provider)]]
    local program <close> = programs.new()
    do
      local server <close> = replay.serve { says "here" }
      program.env.GROQ_API_KEY, program.env.GROQ_BASE_URL = KEY, server.url -- no key for the first
      local recorded = program:run { "run", "--record", "p.jsonl", "-e", code }
      assert.same({ 0, "groq\n" }, { recorded.status, recorded.stdout }, recorded.stderr)
    end
    program.env.GROQ_API_KEY = nil
    local replayed = program:run { "run", "--replay", "p.jsonl", "-e", code }
    assert.same({ 0, "", "groq\n" }, { replayed.status, replayed.stderr, replayed.stdout })
  end)

  it("ask again whoever answered when nobody was named, also by chance", function()
    local code = [[print(require("perilune").client({ model = %s }):chat("Hello").provider)]]
    local program <close> = programs.new()
    for _, name in ipairs { "nil", '"auto"' } do
      do
        local server <close> = replay.serve { says "here" }
        program.env.GROQ_API_KEY, program.env.GROQ_BASE_URL = KEY, server.url
        local recorded = program:run { "run", "--record", "g.jsonl", "-e", code:format(name) }
        assert.same({ 0, "groq\n" }, { recorded.status, recorded.stdout }, recorded.stderr)
      end
      program.env.GROQ_API_KEY = nil
      program.env.OPENAI_API_KEY = "another-key-of-this-machine"
      local replayed = program:run { "run", "--replay", "g.jsonl", "-e", code:format(name) }
      assert.same({ 0, "", "groq\n" }, { replayed.status, replayed.stderr, replayed.stdout }, name)
      program.env.OPENAI_API_KEY = nil
      local twice = [[local client = require("perilune").client({ model = %s }) client:chat("Hello") client:chat("Hello")]]
      fails(program, 3, "recording of this request to groq/", { "run", "--replay", "g.jsonl", "-e", twice:format(name) })
    end
  end)

  it("fail when something else is asked: what is nearest, where it differs; and tell what was not asked", function()
    local program <close> = programs.new()
    local code = [[local client = require("perilune").client() for _, q in ipairs(arg) do client:chat(q) end]]
    assert.equal(0, program:run({ "run", "--record", "o.jsonl", "-e", code, "What is a crater?", "Why?" }).status)
    fails(program, 3, 'at messages[1].content: recorded "What is a crater?", asked "What is a tide?"',
      { "run", "--replay", "o.jsonl", "-e", code, "What is a tide?" })
    local partly = program:run { "run", "--replay", "o.jsonl", "-e", code, "Why?" }
    assert.equal(0, partly.status)
    assert.is_truthy(partly.stderr:find("o.jsonl: 1 of 2 recordings were not asked for: number 1 (offline/demo)", 1, true), partly.stderr)
    local failed = program:run { "run", "--replay", "o.jsonl", "-e", "error('own')" }
    assert.is_nil(failed.stderr:find("not asked for", 1, true))
  end)

  it("leave a complete file when the script fails, and a readable one when it is killed", function()
    local program <close> = programs.new()
    local code = [[
      local client = require("perilune").client()
      client:chat("Hello")
      %s]]
    local failed = program:run { "run", "--record", "e.jsonl", "-e", code:format('error("own")') }
    assert.equal(1, failed.status)
    local replayed = program:run { "run", "--replay", "e.jsonl", "-e", code:format("") }
    assert.same({ 0, "" }, { replayed.status, replayed.stderr })
    do
      local stay = [[
        local fs, perilune = require "perilune.sys.fs", require "perilune"
        while not fs.read("k.jsonl"):find('"number":1', 1, true) do perilune.sleep(0.001) end
        print "written"
        perilune.sleep(60)]]
      local child <close> = program:start { "run", "--record", "k.jsonl", "-e", code:format(stay) }
      programs.read_until(child, "written", "stdout")
      child:kill "KILL"
      programs.ending_of(child)
    end
    replayed = program:run { "run", "--replay", "k.jsonl", "-e", code:format("") }
    assert.equal(0, replayed.status, replayed.stderr)
  end)

  it("are refused with what is wrong: both, a missing file, a script in place of a cassette", function()
    local program <close> = programs.new()
    program:file("script.lua", "print 'ran'")
    fails(program, 2, "run: either --record or --replay, not both", { "run", "--record", "a", "--replay", "b", "script.lua" })
    fails(program, 2, "run: --timing is for --replay", { "run", "--timing", "script.lua" })
    fails(program, 2, "run: there is no cassette 'none.jsonl'", { "run", "--replay", "none.jsonl", "script.lua" })
    fails(program, 2, "run: --record needs a file", { "run", "--record=", "script.lua" })
    fails(program, 2, "run: which script?", { "run", "--record", "script.lua" })
    fails(program, 3, "script.lua is no cassette: it is not overwritten", { "run", "--record", "script.lua", "script.lua" })
    fails(program, 3, "script.lua is no cassette: its first line", { "run", "--replay", "script.lua", "script.lua" })
    assert.equal("print 'ran'", fs.read(program.folder .. "/script.lua"))
    assert.is_truthy(program:run({ "run", "--help" }).stdout:find("perilune run --record paris.jsonl agent.lua Paris", 1, true))
  end)
end)


describe("perilune ask --record and --replay", function()
  it("give the same answer again, streamed or whole", function()
    local program <close> = programs.new()
    local recorded = program:run { "ask", "--record", "a.jsonl", "Hello" }
    assert.same({ 0, "" }, { recorded.status, recorded.stderr })
    for _, words in ipairs { {}, { "--no-stream" }, { "--timing" } } do
      local replayed = program:run { "ask", "--replay", "a.jsonl", "Hello", table.unpack(words) }
      assert.same({ 0, "", recorded.stdout }, { replayed.status, replayed.stderr, replayed.stdout })
    end
    local answer = assert(json.decode(program:run({ "ask", "--json", "--replay", "a.jsonl", "Hello" }).stdout))
    assert.equal(recorded.stdout, answer.content .. "\n")
    fails(program, 2, "ask: either --record or --replay, not both", { "ask", "--record", "a", "--replay", "b", "Hello" })
  end)
end)
