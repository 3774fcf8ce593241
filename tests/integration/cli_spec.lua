-- The command line from outside: what goes where, what it says, what it exits with. Data goes to standard output, everything
-- else to standard error.
local frames = require "tests.support.frames"
local has = require "tests.support.has"
local json = require "perilune.json"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"

local story = replay.text("one two three four")


-- Runs it in a folder that has these files; it must exit with that code and say all of it on standard error, and no data.
local function fails(status, words, says, files)
  local program <close> = programs.new()
  for name, text in pairs(files or {}) do
    program:file(name, text)
  end
  local result = program:run(words)
  assert.are.same({ status, "" }, { result.status, result.stdout }, result.stderr)
  for _, part in ipairs(says) do
    has(result.stderr, part)
  end
  return result.stderr
end


-- The output of a command that must succeed and have nothing else to say.
local function output_of(program, words)
  local result = program:run(words)
  assert.are.same({ 0, "" }, { result.status, result.stderr })
  return result.stdout
end


local function data_of(program, words)
  return assert(json.decode(output_of(program, words)))
end


local function chatted(program, key, lines)
  return output_of(program, { "chat", "offline/demo", "--thread", key, stdin = table.concat(lines, "\n") .. "\n" })
end


describe("perilune run", function()
  it("says that there is no such script, and exits with 2", function()
    fails(2, { "run", "nosuch.lua" }, { "there is no script 'nosuch.lua'" })
    fails(2, { "run" }, { "which script?" })
  end)

  it("names the line of a syntax error, and exits with 1", function()
    fails(1, { "run", "x.lua" }, { "x.lua:2: unexpected symbol near '='" }, { ["x.lua"] = "local a = 1\nlocal b = = 1\n" })
  end)

  it("names the line of an error, shows how it came there, and exits with 1", function()
    fails(1, { "run", "x.lua" }, { "x.lua:2: boom", "stack traceback:", "x.lua:4: in" },
      { ["x.lua"] = "local function f()\n  error('boom')\nend\nf()\n" })
    fails(1, { "run", "-e", "print(undefined_thing)" }, { "(command line):1: undefined variable 'undefined_thing'" })
  end)

  it("stops a script at its deadline, whether it waits or computes", function()
    fails(1, { "run", "--deadline", "0.1", "-e", "require('perilune').sleep(1000)" }, { "timeout: the deadline has passed" })
    fails(1, { "run", "--deadline", "0.1", "-e", "while true do end" }, { "timeout: the deadline has passed" })
  end)

  it("stops a script that computes without waiting", function()
    fails(1, { "run", "--slice", "0.1", "x.lua" }, { "x.lua:2:", "computed too long without waiting", "--slice" },
      { ["x.lua"] = "print = nil\nwhile true do end\n" })
  end)

  it("stops a script that eats memory", function()
    for _, code in ipairs {
      "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", "local s = 'x' while true do s = s .. s end",
    } do
      fails(1, { "run", "--memory", "64", "-e", code }, { "budget:", "--memory" })
    end
  end)

  it("gives a script its arguments, standard input and exit code", function()
    local program <close> = programs.new()
    program:file("x.lua", "#!/usr/bin/env perilune\nprint(arg[0], #arg, arg[1], ...) os.exit(tonumber(arg[2]))")
    local result = program:run { "run", "x.lua", "--deadline", "7" }
    assert.are.same({ 7, "x.lua\t2\t--deadline\t--deadline\t7\n", "" }, { result.status, result.stdout, result.stderr })
    assert.are.equal("3\n", output_of(program, { "run", "-e", "print(1 + 2)" }))
    assert.are.equal("5\n", output_of(program, { "run", "-", stdin = "print(2 + 3)" }))
  end)

  it("takes scripts as editors write them: with a byte order mark, with a first line for the shell", function()
    local program <close> = programs.new()
    program:file("x.lua", "\xEF\xBB\xBF#!/usr/bin/perilune run\nprint('ran')\n")
    assert.are.equal("ran\n", output_of(program, { "run", "x.lua" }))
    local err = fails(1, { "run", "x.lua" }, { "x.lua: attempt to load a binary chunk" }, { ["x.lua"] = "\27Lua" })
    assert.is_nil(err:find("traceback", 1, true))
  end)

  it("names the script's line, and not its own, whatever went wrong", function()
    local cases = {
      { 3, "p.tool()", "perilune.tool: the definition must be a table" }, { 3, "p.thread(5)", "key must be a string, got 5" },
      { 3, "p.thread('k'):run('x')", "the first argument is an assistant" }, { 3, "p.client{modl=1}", "did you mean 'model'?" },
      { 3, "p.thread('k'):run(p.assistant{}, 5)", "content is a text or a list of parts" },
      { 3, "p.client():chat()", "the question is a text or a list of messages" },
      { 3, "p.thraed('k')", "did you mean perilune.thread?" }, { 3, "p.gather{5}", "functions[1] must be a function" },
      { 3, "p.client():stream('x', {temprature=1})", "did you mean 'temperature'?" },
      { 3, "p.assistant{tool_choice='maybe'}", 'tool_choice is "auto"' },
      { 3, "p.client{timeouts={conect=1}}", "did you mean 'connect'?" },
      { 3, "p.client{provider='opnai'}:chat('x')", "did you mean 'openai'?" },
      { 6, "p.client{model='x/y'}:chat('x')", "there is no provider 'x'" },
      { 4, "p.client{provider='openai'}:chat('x')", "[openai/gpt-4o-mini]" }, { 3, "os.exit('x')", "must be an integer or a boolean" },
      { 1, "error{ code = 5 }", 'an error that is a table: {"code":5}' }, { 1, "error()", "an error without a message" },
    }
    for _, case in ipairs(cases) do
      local err = fails(case[1], { "run", "x.lua" }, { "perilune: x.lua:2: ", case[3] },
        { ["x.lua"] = "local p = require 'perilune'\n" .. case[2] .. "\n" })
      assert.are.equal(1, select(2, err:gsub("\n", "")), err)
    end
  end)

  it("ends with 141 and without a word when nobody reads what it prints, and with 1 when the disk is full", function()
    for _, words in ipairs { { "run", "x.lua" }, { "models" }, { "ask", "hi" } } do
      local program <close> = programs.new()
      program:file("x.lua", "while true do print('line') require('perilune').sleep(0.001) end")
      local result = program:run_into(words)
      assert.are.same({ 141, "" }, { result.status, result.stderr })
      result = program:run_into({ "run", "-e", "print(1)" }, "/dev/full")
      assert.are.equal(1, result.status)
      has(result.stderr, "the output is not complete")
    end
  end)

  it("exits with 3 for a configuration that is wrong, and names the field that was meant", function()
    fails(3, { "run", "-e", "require('perilune').client():chat('x')" }, { "perilune.lua: unknown option 'modell', did you mean 'model'?" },
      { ["perilune.lua"] = "return { modell = 'x' }" })
    fails(3, { "--config", "nosuch.lua", "ask", "hi" }, { "nosuch.lua" })
    fails(3, { "ask", "hi" }, { "not valid Lua", "perilune.lua:1:" }, { ["perilune.lua"] = "return {" })
    for text, problem in pairs {
      ["return 5"] = "must return a table, not a number", [""] = "must return a table, not nothing",
      ["x = 1"] = "perilune.lua:1: assignment to undeclared global 'x'", ["error 'boom'"] = "perilune.lua:1: boom",
      ["return { timeouts = { conect = 1 } }"] = "did you mean 'connect'?", ["return { env = { A = 5 } }"] = "env['A'] must be a string",
      ["return { log_level = 'loud' }"] = "not 'loud'",
    } do
      local err = fails(3, { "ask", "hi" }, { "perilune: ", problem }, { ["perilune.lua"] = text })
      assert.are.equal(1, select(2, err:gsub("\n", "")), err)
    end
  end)
end)


describe("the command line", function()
  it("suggests what was meant, and exits with 2", function()
    fails(2, { "asl", "hi" }, { "unknown command 'asl', did you mean 'ask'?" })
    fails(2, { "ask", "--modle", "x", "hi" }, { "unknown option '--modle', did you mean '--model'?" })
    fails(2, { "ask", "--max-tokens", "lots", "hi" }, { "'--max-tokens' needs a whole number, not 'lots'" })
    fails(2, { "ask", "hi", "-m" }, { "option '-m' needs a value: NAME" })
    fails(2, { "ask" }, { "ask: what?" })
    fails(2, { "threads", "frob" }, { "unknown action 'frob'; it is list, show, search, fork, export or delete" })
    fails(2, { "db" }, { "migrate, check, backup, info or stats" })
    fails(2, { "db", "backup" }, { "where to?" })
    fails(2, { "usage", "--by", "moon" }, { "--by is model, provider or day, not 'moon'" })
    fails(2, { "--log-level", "loud", "ask", "hi" }, { "debug, info, warn, error or off, not 'loud'" })
    fails(2, {}, { "usage: perilune", "commands:" })
    fails(2, { "ask", "--no-strem", "hi" }, { "did you mean '--no-stream'?" })
    fails(2, { "ask", "--stream=yes", "hi" }, { "'--stream' takes no value, got 'yes'" })
    fails(2, { "ask", "--max-tokens", "1.5", "hi" }, { "needs a whole number, not '1.5'" })
    fails(2, { "ask", "--max-tokens", "0", "hi" }, { "must be at least 1, not 0" })
    fails(2, { "ask", "-x", "hi" }, { "unknown option '-x'; try --help" })
    fails(2, { "run", "--deadline", "-1", "-e", "" }, { "'--deadline' must be between 0 and 1000000000, not -1" })
    fails(2, { "run", "." }, { "not a regular file" })
    fails(2, { "threads", "list", "x" }, { "unexpected argument 'x'" })
    fails(2, { "threads", "delete" }, { "which one? (perilune threads delete KEY)" })
    fails(2, { "usage", "x" }, { "unexpected argument 'x'" })
    fails(2, { "chat", "-c", "-t", "x" }, { "either --thread or --continue" })
    fails(6, { "chat", "nosuch/x" }, { "there is no provider 'nosuch'" })
    fails(2, { "test", "nosuch" }, { "there is no 'nosuch'" })
    fails(2, { "providers", "test", "nosuch" }, { "neither a file nor a known provider" })
  end)

  it("refuses an option of another action, and exits with 2", function()
    for _, words in ipairs {
      { "keys", "revoke", "x", "--grace", "1h" }, { "keys", "--account", "x" }, { "credits", "balance", "--note", "x" },
      { "threads", "show", "x", "--at", "1" }, { "threads", "export", "x", "-n", "1" }, { "runs", "approve", "x", "--reason", "y" },
      { "runs", "show", "x", "--script", "y" }, { "assistants", "list", "--no-replace" }, { "workflows", "show", "x", "--again" },
      { "providers", "--live" }, { "providers", "test", "x", "--health" },
    } do
      local err = fails(2, words, { "is an option of" })
      has(err, "; try perilune " .. words[1] .. " --help")
    end
  end)

  it("helps: as a whole, and for each command with examples", function()
    local program <close> = programs.new()
    local help = output_of(program, { "--help" })
    for name in help:match("commands:(\n.-)\n\n"):gmatch("\n  (%l+)") do
      local text = output_of(program, { name, "--help" })
      has(text, "usage: perilune " .. name)
      has(text, "examples:")
      assert.are.equal(text, output_of(program, { "--help", name }))
      assert.are.equal(text, output_of(program, { "help", name }))
    end
    assert.matches("^perilune 0%.[%d.]+ %(Lua 5%.4, SQLite 3[%d.]+%)\n$", output_of(program, { "--version" })) -- nothing is loaded for it
    assert.is_nil(frames.read(program.db)) -- helping needs no database
  end)

  it("exits with 4 without a key, and names the variable", function()
    fails(4, { "ask", "--model", "openai/gpt-4o-mini", "hi" }, { "authentication: no key for openai: set OPENAI_API_KEY" })
  end)

  it("exits with 4 for a key that was not copied well, and does not say it", function()
    local program <close> = programs.new { OPENAI_API_KEY = "sk-secret\n-key", OPENAI_BASE_URL = "http://127.0.0.1:1" }
    local result = program:run { "ask", "-m", "openai/gpt-4o-mini", "hi" }
    assert.are.same({ 4, "" }, { result.status, result.stdout })
    has(result.stderr, "the key for openai holds a line feed")
    assert.is_nil(result.stderr:find("secret", 1, true))
  end)

  it("does not say a password that stands in an address", function()
    local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = "http://me:hidden@127.0.0.1:1/v1" }
    for _, words in ipairs { { "ask", "-m", "openai/gpt-4o-mini", "hi" }, { "providers" }, { "providers", "--health" } } do
      local result = program:run(words)
      has(result.stdout .. result.stderr, "http://127.0.0.1:1/v1")
      assert.is_nil((result.stdout .. result.stderr):find("hidden", 1, true))
    end
  end)

  it("tells of lines of .env that it cannot read, by their numbers, and uses the others", function()
    local program <close> = programs.new()
    program:file(".env", "A='x y'\nthis is no line\n")
    local result = program:run { "run", "-e", "print(require('perilune').env('A'))" }
    assert.are.same({ 0, "x y\n" }, { result.status, result.stdout })
    has(result.stderr, ".env:2: this is not NAME=value")
    assert.is_nil(result.stderr:find("no line", 1, true))
  end)

  it("exits by what the provider says: 4, 5, 6", function()
    local cases = {
      { 401, 4, "authentication" }, { 403, 4, "permission" }, { 429, 5, "rate_limit" }, { 404, 6, "not_found" }, { 500, 6, "server" },
    }
    for _, case in ipairs(cases) do
      local server <close> = replay.serve { replay.reply(case[1], { error = { message = "no" } }) }
      local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url }
      local result = program:run { "ask", "-m", "openai/gpt-4o-mini", "hi" }
      assert.are.same({ case[2], "" }, { result.status, result.stdout })
      assert.are.equal(("perilune: %s: no [openai/gpt-4o-mini, HTTP %d]\n"):format(case[3], case[1]), result.stderr)
    end
  end)

  it("exits with 6 when nobody can be reached, and says where", function()
    local url = replay.closed_port()
    local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = url }
    local result = program:run { "ask", "-m", "openai/gpt-4o-mini", "hi" }
    assert.are.same({ 6, "" }, { result.status, result.stdout })
    has(result.stderr, "connection: ")
    has(result.stderr, url)
  end)

  it("exits with 7 for a database that is none, or newer, and leaves it as it is", function()
    local text = ("just words "):rep(100)
    local program <close> = programs.new()
    program:file("perilune.db", text)
    local result = program:run { "threads", "list" }
    assert.are.same({ 7, "" }, { result.status, result.stdout })
    has(result.stderr, "is not a database")
    assert.are.equal(text, frames.read(program.db))

    local newer <close> = programs.new()
    chatted(newer, "k", { "Hello" })
    local bytes = frames.read(newer.db)
    bytes = bytes:sub(1, 60) .. string.pack(">I4", 999) .. bytes:sub(65) -- the schema version in the file's head
    newer:file("perilune.db", bytes)
    result = newer:run { "threads", "list" }
    assert.are.same({ 7, "" }, { result.status, result.stdout })
    has(result.stderr, "newer Perilune (schema version 999")
    assert.are.equal(bytes, frames.read(newer.db))
    assert.are.equal(3, newer:run({ "--db", "postgres://host/name", "threads", "list" }).status)
  end)
end)


describe("perilune ask", function()
  local function with_provider(answer, body)
    local server <close> = replay.serve { answer }
    local program <close> = programs.new {
      OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url, PERILUNE_MODEL = "openai/gpt-4o-mini",
    }
    body(program, server)
  end

  it("prints the answer as it comes, and whole on demand", function()
    with_provider(replay.recorded(story), function(program, server)
      assert.are.equal("one two three four\n", output_of(program, { "ask", "Count", "to", "four." }))
      assert.are.same({ { role = "user", content = "Count to four." } }, server.requests[1].body.messages)
      assert.are.equal(true, server.requests[1].body.stream)
      assert.are.equal("one two three four\n", output_of(program, { "ask", "--no-stream", "Count." }))
      assert.are_not.equal(true, server.requests[2].body.stream)
    end)
  end)

  it("puts standard input before the prompt, and instructions before both", function()
    with_provider(replay.whole(story), function(program, server)
      output_of(program, { "ask", "--system", "Be brief.", "--max-tokens", "5", "Summarise.", stdin = "A long text.\n" })
      local body = server.requests[1].body
      assert.are.equal("Be brief.", body.messages[1].content)
      assert.are.equal("A long text.\n\n\nSummarise.", body.messages[2].content)
      assert.are.equal(5, body.max_completion_tokens or body.max_tokens)
      output_of(program, { "ask", stdin = "Only this." })
      assert.are.equal("Only this.", server.requests[2].body.messages[1].content)
    end)
  end)

  it("refuses a prompt that is no text", function()
    local program <close> = programs.new()
    local result = program:run { "ask", "What is this?", stdin = "caf\xE9\n" }
    assert.are.same({ 2, "" }, { result.status, result.stdout })
    has(result.stderr, "no text in UTF-8 (byte 4); attach files that are no text with --file")
  end)

  it("prints everything about the answer as JSON", function()
    with_provider(replay.whole(story), function(program)
      local answer = data_of(program, { "ask", "--json", "Count." })
      assert.are.same({ "one two three four", "openai", "replayed", "stop", 8 },
        { answer.content, answer.provider, answer.model, answer.finish_reason, answer.usage.total_tokens })
      assert.is_true(json.is_array(answer.tool_calls))
    end)
  end)

  it("prints what had arrived of an answer that is cut, says so, and exits with 6", function()
    with_provider(replay.broken(story, 250), function(program)
      local result = program:run { "ask", "Count." }
      assert.are.same({ 6, "one \n" }, { result.status, result.stdout })
      has(result.stderr, "stream_interrupted: the answer was cut off")
    end)
  end)

  it("stops at Ctrl-C with 130, after what had arrived", function()
    with_provider(replay.stalled(story, 250), function(program, server)
      local child <close> = program:start { "ask", "Count." }
      child:close_stdin()
      assert.are.equal("one ", programs.read_until(child, "one "))
      assert(child:kill("INT"))
      assert.are.same({ status = 130 }, programs.ending_of(child))
      server:wait_until(function() return server.requests[1].is_over end)
    end)
  end)
end)


describe("perilune threads", function()
  it("lists, shows and deletes conversations, for people and as JSON", function()
    local program <close> = programs.new()
    assert.are.equal("[]\n", output_of(program, { "threads", "list", "--json" }))
    chatted(program, "first", { "Hello" })
    chatted(program, "second", { "Good evening", "What did I say before?" })
    local list = data_of(program, { "threads", "list", "--json" })
    assert.are.same({ "second", "first", 2 }, { list[1].key, list[2].key, #list })
    local table_text = output_of(program, { "threads" })
    assert.is_truthy(table_text:find("^KEY +MESSAGES +UPDATED\nsecond +4 +%S+\nfirst +2 +%S+\n$"), table_text)
    assert.are.equal(2, select(2, output_of(program, { "threads", "list", "-n", "1" }):gsub("\n", "")))

    local shown = output_of(program, { "threads", "show", "second" })
    assert.is_truthy(shown:find("^user: Good evening\nassistant: .*\nuser: What did I say before%?\nassistant: Earlier"), shown)
    local data = data_of(program, { "threads", "show", "second", "--json" })
    assert.are.same({ "second", 4, "What did I say before?" }, { data.key, #data.messages, data.messages[3].message.content })
    assert.are.equal(shown, output_of(program, { "threads", "show", data.id }))

    local deleted = program:run { "threads", "delete", "first" }
    assert.are.same({ 0, "", "deleted first\n" }, { deleted.status, deleted.stdout, deleted.stderr })
    assert.are.same({ id = data.id, deleted = true }, data_of(program, { "threads", "delete", "second", "--json" }))
    assert.are.equal("[]\n", output_of(program, { "threads", "list", "--json" }))
    local missing = program:run { "threads", "show", "second" }
    assert.are.same({ 1, "", "perilune: not_found: there is no thread second\n" }, { missing.status, missing.stdout, missing.stderr })
  end)
end)


describe("perilune chat", function()
  it("answers a pipe line by line, and remembers it when it is started again", function()
    local program <close> = programs.new()
    local first = chatted(program, "k", { "Hello", "", "What did I say before?" })
    assert.is_truthy(first:find('^I am the offline model: [^\n]*You said "Hello"[^\n]*\nEarlier [^\n]* 1%. "Hello"\n$'), first)
    local second = chatted(program, "k", { "What did I say before?" })
    assert.are.equal('Earlier in this conversation you said: 1. "Hello" 2. "What did I say before?"\n', second)
    assert.are.equal('Earlier in this conversation you said: 1. "Hello" 2. "What did I say before?" 3. "What did I say before?"\n',
      output_of(program, { "chat", "--continue", "offline/demo", stdin = "What did I say so far?\n" }))
    fails(2, { "chat", "--continue" }, { "there is no conversation to continue" })
  end)

  it("leaves out a line that is no text, and goes on", function()
    local program <close> = programs.new()
    local result = program:run { "chat", "offline/demo", stdin = "caf\xE9\nHello\n" }
    assert.are.equal(0, result.status)
    has(result.stdout, 'You said "Hello". This is message 1')
    assert.are.equal("perilune: that line is no text in UTF-8 and was not sent\n", result.stderr)
  end)

  it("goes on after Ctrl-C; the answer that was stopped is kept as partial", function()
    local server <close> = replay.serve { replay.stalled(story, 250), replay.whole(replay.text("All four.")) }
    local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url }
    local child <close> = program:start { "chat", "openai/gpt-4o-mini", "--thread", "k" }
    assert(child:write("Count.\n"))
    assert.are.equal("one ", programs.read_until(child, "one "))
    assert(child:kill("INT"))
    has(programs.read_until(child, "kept", "stderr"), "stopped; what had arrived is kept")
    assert(child:write("Go on.\n"))
    assert.are.equal("All four.\n", programs.read_until(child, "four%.\n"))
    child:close_stdin()
    assert.are.equal(0, programs.ending_of(child).status)
    assert.are.equal("user: Count.\nassistant (partial): one \nuser: Go on.\nassistant: All four.\n",
      output_of(program, { "threads", "show", "k" }))
  end)
end)


describe("perilune test", function()
  it("runs a user's specs: a failing one and one that leaves something running make the exit code 1", function()
    local program <close> = programs.new()
    program:file("well_spec.lua", "it('is well', function() assert.is_true(true) end)")
    program:file("bad_spec.lua", "it('fails', function() assert.are.equal(1, 2) end)")
    program:file("left_spec.lua", [[
      local perilune = require "perilune"
      it("leaves", function() perilune.spawn(perilune.sleep, 100) end)
      it("is well", function() end)]])
    local well = program:run { "test", "well_spec.lua" }
    assert.are.same({ 0, "" }, { well.status, well.stderr })
    local bad = program:run { "test", "bad_spec.lua" }
    assert.are.equal(1, bad.status)
    has(bad.stdout, "bad_spec.lua:1: Expected objects to be equal")
    local left = program:run { "test", "left_spec.lua" }
    assert.are.equal(1, left.status)
    has(left.stderr, "left over after 'leaves': 1 tasks")
    assert.is_nil(left.stderr:find("is well", 1, true))
  end)
end)


describe("two processes on one thread", function()
  it("are one run and one conflict; the thread stays valid", function()
    local program <close> = programs.new()
    program:file("x.lua", [[
      local perilune = require "perilune"
      local wait = perilune.tool { name = "wait_long", description = "wait long", run = function()
        print("waiting") io.stdout:flush() io.read() return "done" end }
      print(perilune.thread("k"):run(perilune.assistant { tools = { wait } }, "wait long").content)]])
    local first <close> = program:start { "run", "x.lua" }
    programs.read_until(first, "waiting")
    local second = program:run { "run", "x.lua" }
    assert.are.same({ 1, "" }, { second.status, second.stdout })
    has(second.stderr, "conflict: the thread")
    first:close_stdin()
    programs.read_until(first, "wait_long answered: done")
    assert.are.equal(0, programs.ending_of(first).status)
    assert.are.equal("ok\n", output_of(program, { "db", "check" }))
    has(output_of(program, { "threads", "show", "k" }), "tool: done\nassistant: wait_long answered: done")
  end)
end)


describe("perilune usage", function()
  it("adds up what was used by model, provider and day, and never calls an unknown price nothing", function()
    local server <close> = replay.serve { replay.whole(story) }
    local program <close> = programs.new { OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = server.url }
    assert.are.equal("[]\n", output_of(program, { "usage", "--json" }))
    output_of(program, { "chat", "openai/gpt-4o-mini", stdin = "Count.\nAgain.\n" })
    output_of(program, { "chat", "openai/some-unknown-model", stdin = "Count.\n" })
    local rows = data_of(program, { "usage", "--json" })
    assert.are.same({ "gpt-4o-mini", 2, 6, 10 }, { rows[1].model, rows[1].attempts, rows[1].prompt_tokens, rows[1].completion_tokens })
    assert.is_true(rows[1].cost_nano > 0)
    assert.are.same({ "some-unknown-model", nil, 1 }, { rows[2].model, rows[2].cost_nano, rows[2].unpriced })
    has(output_of(program, { "usage" }), "unknown")
    assert.are.equal(3, data_of(program, { "usage", "--by", "provider", "--json" })[1].attempts)
    assert.is_truthy(data_of(program, { "usage", "--by", "day", "--json" })[1].day:find("^%d%d%d%d%-%d%d%-%d%d$"))
  end)
end)


describe("perilune db", function()
  it("checks, copies and describes the database", function()
    local program <close> = programs.new()
    chatted(program, "k", { "Hello" })
    assert.are.equal("ok\n", output_of(program, { "db", "check" }))
    local check = data_of(program, { "db", "check", "--json" })
    assert.are.same({ true, 0 }, { check.ok, #check.problems })
    local copied = program:run { "db", "backup", "copy.db" }
    assert.are.same({ 0, "", "written to copy.db\n" }, { copied.status, copied.stdout, copied.stderr })
    assert.are.equal(output_of(program, { "threads", "show", "k" }), output_of(program, { "--db", "copy.db", "threads", "show", "k" }))
    local again = program:run { "db", "backup", "copy.db" }
    assert.are.same({ 7, "" }, { again.status, again.stdout })
    has(again.stderr, "never overwrites")
    local info = data_of(program, { "db", "info", "--json" })
    assert.are.same({ program.db, "wal", false }, { info.path, info.journal_mode, info.read_only })
    has(output_of(program, { "db", "info" }), program.db)
  end)
end)
