-- perilune runs, threads, assistants and db from outside: what is listed and drawn, and runs that go on in another process than the
-- one they began in.
local has = require "tests.support.has"
local json = require "perilune.json"
local programs = require "tests.support.program"

-- Defines assistants; with an argument, it also talks: `KEY NAME TEXT`.
local AGENTS = [[
local perilune = require "perilune"
local mail = perilune.tool {
  name = "send_mail", description = "Send a mail to somebody", parameters = { to = "string: whom" }, approval = "always",
  run = function(arguments) return "sent to " .. arguments.to end,
}
local lookup = perilune.tool {
  name = "look_up", description = "Look up the price of a thing", parameters = { thing = "string: what" },
}
local pay = perilune.tool {
  name = "pay_bill", description = "Pay the bill of somebody", parameters = { whom = "string: whom" },
  run = function(arguments)
    if arg[4] then
      io.write("paying\n")
      io.stdout:flush()
      perilune.sleep(30)
    end
    return "paid " .. arguments.whom
  end,
}
local known = {
  mailer = perilune.assistant { name = "mailer", model = "offline/demo", tools = { mail } },
  shopper = perilune.assistant { name = "shopper", model = "offline/demo", tools = { lookup } },
  payer = perilune.assistant { name = "payer", model = "offline/demo", tools = { pay } },
}
if arg[1] then
  print(perilune.thread(arg[1]):run(known[arg[2] ], arg[3]).status)
end
]]


local function output_of(program, words)
  local result = program:run(words)
  assert.are.same({ 0, "" }, { result.status, result.stderr })
  return result.stdout
end


local function data_of(program, words)
  words[#words + 1] = "--json"
  return assert(json.decode(output_of(program, words)))
end


local function fails(program, status, words, part)
  local result = program:run(words)
  assert.are.same({ status, "" }, { result.status, result.stdout }, result.stderr)
  has(result.stderr, part)
end


local function new_program(env)
  local program = programs.new(env)
  program:file("agents.lua", AGENTS)
  return program
end


-- A run that waits: its id and the id of its call.
local function waiting_run(program, key, name, text)
  local status = name == "shopper" and "waiting_tool" or "waiting_approval"
  assert.are.equal(status .. "\n", output_of(program, { "run", "agents.lua", key, name, text }))
  local run = data_of(program, { "runs", "list", "--thread", key })[1]
  return run.id, data_of(program, { "runs", "show", run.id }).waiting[1].call_id
end


describe("perilune runs", function()
  it("goes on with a run that was approved, with the assistant that a script defines", function()
    local program <close> = new_program { COLUMNS = "100" }
    local id, call = waiting_run(program, "k", "mailer", "Please send a mail to Ann")
    local drawn = output_of(program, { "runs", "show", id })
    for _, part in ipairs { id .. "  waiting_approval\n", "2 tool  send_mail", "waits for approval", call .. ' send_mail({"to":"Ann"})',
      "perilune runs approve " .. id .. " [CALL...]" } do
      has(drawn, part)
    end
    has(output_of(program, { "runs", "approve", id, call, "--script", "agents.lua" }), "sent to Ann")
    drawn = output_of(program, { "runs", "show", id })
    has(drawn, id .. "  completed\n")
    has(drawn, "        approved\n")
    fails(program, 1, { "runs", "approve", id }, "is completed already")
    fails(program, 1, { "runs", "resume", id }, "is completed already")
    assert.are.equal("ok\n", output_of(program, { "db", "check" }))
  end)

  it("keeps a decision when the assistant is not known, and goes on later", function()
    local program <close> = new_program()
    local id = waiting_run(program, "k", "mailer", "Please send a mail to Ann")
    fails(program, 1, { "runs", "approve", id }, "there is no assistant 'mailer'")
    has(output_of(program, { "runs", "show", id }), "no process goes on with this: perilune runs resume " .. id)
    has(output_of(program, { "runs", "resume", id, "--script", "agents.lua" }), "sent to Ann")
  end)

  it("tells the model of a call that was rejected, and why", function()
    local program <close> = new_program()
    local id, call = waiting_run(program, "k", "mailer", "Please send a mail to Ann")
    fails(program, 1, { "runs", "reject", id, "call_x", "--script", "agents.lua" }, "no call 'call_x'")
    output_of(program, { "runs", "reject", id, call, "--reason", "she is away", "--script", "agents.lua" })
    has(output_of(program, { "runs", "show", id }), "rejected: she is away")
    local shown = output_of(program, { "threads", "show", "k" })
    has(shown, "she is away")
    assert.is_nil(shown:find("sent to Ann", 1, true))
  end)

  it("hands in the output of a call that is answered from outside", function()
    local program <close> = new_program()
    local id, call = waiting_run(program, "k", "shopper", "Look up the price of tea")
    has(output_of(program, { "runs", "show", id }), "perilune runs submit " .. id .. " CALL OUTPUT")
    local still = program:run { "runs", "approve", id, "--script", "agents.lua" }
    assert.are.same({ 0, "" }, { still.status, still.stdout })
    has(still.stderr, "the run " .. id .. " waits:\n  " .. call)
    has(output_of(program, { "runs", "submit", id, call, "3 euros", "--script", "agents.lua" }), "3 euros")
  end)

  it("cancels a run that waits, for good", function()
    local program <close> = new_program()
    local id = waiting_run(program, "k", "mailer", "Please send a mail to Ann")
    assert.are.same({ id = id, status = "cancelled" }, data_of(program, { "runs", "cancel", id }))
    fails(program, 1, { "runs", "approve", id, "--script", "agents.lua" }, "is cancelled already")
    local again = program:run { "runs", "cancel", id }
    assert.are.same({ 0, id .. " is cancelled\n" }, { again.status, again.stderr })
    waiting_run(program, "k", "mailer", "Please send a mail to Bob") -- the thread is free again
  end)

  it("lets somebody decide about a tool that was running when its process was killed", function()
    local program <close> = new_program()
    local child <close> = program:start { "run", "agents.lua", "k", "payer", "Please pay the bill of Ann", "slowly" }
    programs.read_until(child, "paying")
    assert(child:kill("KILL"))
    assert.are.equal("KILL", programs.ending_of(child).signal)
    local id = data_of(program, { "runs", "list", "--status", "open" })[1].id
    local data = data_of(program, { "runs", "show", id })
    assert.are.same({ "running", true, "started" }, { data.status, data.is_left, data.steps[2].status })
    has(output_of(program, { "runs", "show", id }), "perilune runs resume " .. id)
    local resumed = program:run { "runs", "resume", id, "--script", "agents.lua" }
    assert.are.same({ 0, "" }, { resumed.status, resumed.stdout }, resumed.stderr)
    has(resumed.stderr, "pay_bill")
    has(output_of(program, { "runs", "show", id }), "nobody knows whether this had its effect")
    has(output_of(program, { "runs", "approve", id, "--script", "agents.lua" }), "paid Ann")
    assert.are.equal("ok\n", output_of(program, { "db", "check" }))
  end)

  it("lists the newest first, of a thread, of a status, so many", function()
    local program <close> = new_program()
    assert.are.equal("[]\n", output_of(program, { "runs", "list", "--json" }))
    local first = waiting_run(program, "a", "mailer", "Please send a mail to Ann")
    output_of(program, { "runs", "approve", first, "--script", "agents.lua" })
    local second = waiting_run(program, "b", "mailer", "Please send a mail to Bob")
    local function ids(...)
      local list = {}
      for position, run in ipairs(data_of(program, { "runs", "list", ... })) do
        list[position] = run.id
      end
      return list
    end
    assert.are.same({ second, first }, ids())
    assert.are.same({ second }, ids("-n", "1"))
    assert.are.same({ first }, ids("--thread", "a"))
    assert.are.same({ first }, ids("--status", "completed"))
    assert.are.same({ second }, ids("--status", "waiting"))
    assert.are.same({}, ids("--status", "failed"))
    local listed = output_of(program, { "runs" })
    assert.is_truthy(listed:find("^RUN +THREAD +STATUS +ASSISTANT +STARTED +TIME +TOKENS +COST\n" .. second .. "  b "), listed)
  end)

  it("draws as wide as it was told, without colours in a pipe unless asked", function()
    local program <close> = new_program { COLUMNS = "60" }
    local id = waiting_run(program, "k", "mailer", "Please send a mail to Ann")
    local drawn = output_of(program, { "runs", "show", id })
    assert.is_nil(drawn:find("\27", 1, true))
    for line in drawn:gmatch("[^\n]+") do
      assert.is_true(utf8.len(line) <= 60 or line:find("perilune runs", 1, true) ~= nil, line)
    end
    has(output_of(program, { "runs", "show", id, "--color" }), "\27[")
  end)

  it("says what is wrong with a command", function()
    local program <close> = new_program()
    for words, part in pairs {
      [{ "runs", "frob" }] = "unknown action 'frob'; it is list, show,", [{ "runs", "show" }] = "which run?",
      [{ "runs", "list", "x" }] = "unexpected",
      [{ "runs", "reject", "run_x" }] = "which call?", [{ "runs", "list", "--status", "done" }] = "there is no status 'done'",
    } do
      fails(program, 2, words, part)
    end
    fails(program, 1, { "runs", "show", "run_x" }, "there is no run run_x")
    fails(program, 1, { "runs", "cancel", "run_x" }, "there is no run run_x")
    fails(program, 1, { "runs", "list", "--thread", "x" }, "there is no thread x")
  end)
end)


describe("perilune threads", function()
  it("searches, forks and exports", function()
    local program <close> = programs.new()
    output_of(program, { "chat", "offline/demo", "--thread", "trip", stdin = "I like the Louvre\nAnd Rome\n" })
    local found = data_of(program, { "threads", "search", "louvre" })
    assert.are.same({ 1, "trip", "message", 1 }, { #found, found[1].key, found[1].match.field, found[1].match.seq })
    assert.is_truthy(output_of(program, { "threads", "search", "louvre" }):find("^KEY +IN +TEXT\ntrip +message 1 +I like the Louvre\n"))
    assert.are.equal("[]\n", output_of(program, { "threads", "search", "%", "--json" }))

    assert.are.equal("other\n", output_of(program, { "threads", "fork", "trip", "other", "--at", "2" }))
    assert.are.equal(2, #data_of(program, { "threads", "show", "other" }).messages)
    assert.are.equal(5, data_of(program, { "threads", "fork", "trip" }).next_seq)
    fails(program, 1, { "threads", "fork", "trip", "other" }, "the key 'other' already")
    fails(program, 1, { "threads", "fork", "trip", "x", "--at", "9" }, "there is no message 9")

    local text = output_of(program, { "threads", "export", "trip" })
    has(text, "# trip\n\nThread `")
    has(text, "## user\n")
    assert.are.equal(4, #data_of(program, { "threads", "export", "trip" }).messages)
    local result = program:run { "threads", "export", "trip", "--format", "json", "-o", "trip.json" }
    assert.are.same({ 0, "", "written to trip.json\n" }, { result.status, result.stdout, result.stderr })
    fails(program, 2, { "threads", "export", "trip", "--format", "pdf" }, "markdown or json, not 'pdf'")
    fails(program, 2, { "threads", "search" }, "search for what?")
    fails(program, 2, { "threads", "search", "" }, "is a text that is not empty")
  end)
end)


describe("perilune assistants", function()
  it("creates, lists, shows and deletes; what is stored can run", function()
    local program <close> = programs.new()
    program:file("a.json", '{"name": "adder", "model": "offline/demo", "tools": ["calculator"], "instructions": "Be brief."}')
    local made = program:run { "assistants", "create", "a.json" }
    assert.are.equal(0, made.status, made.stderr)
    has(made.stderr, "adder is stored as asst_")
    fails(program, 1, { "assistants", "create", "a.json" }, "there is an assistant 'adder' already")
    local definition = '{"name":"adder","model":"offline/demo","tools":["calculator"]}'
    local replaced = data_of(program, { "assistants", "create", "--replace", "-", stdin = definition })
    assert.is_nil(replaced.definition.instructions)
    assert.is_truthy(output_of(program, { "assistants" }):find("^NAME +MODEL +TOOLS +UPDATED\nadder +offline/demo +calculator +%S+\n$"))
    has(output_of(program, { "assistants", "show", "adder" }), '"model": "offline/demo"')
    assert.are.equal("adder", data_of(program, { "assistants", "show", replaced.id }).name)
    assert.are.same({ name = "adder", deleted = true }, data_of(program, { "assistants", "delete", "adder" }))
    assert.are.equal("[]\n", output_of(program, { "assistants", "list", "--json" }))
  end)

  it("says what is wrong with a definition", function()
    local program <close> = programs.new()
    for text, part in pairs {
      ["{"] = "holds no JSON object", ["5"] = "holds no JSON object", ["{}"] = "'name' must be a text",
      ['{"name":"a","tools":["get_wether"]}'] = "no built-in tool and no configured MCP server 'get_wether'",
      ['{"name":"a","modell":"x"}'] = "did you mean 'model'?",
      ['{"name":"a","tools":["run_command"]}'] = "run_command",
    } do
      local result = program:run { "assistants", "create", "-", stdin = text }
      assert.is_true(result.status == 2 or result.status == 3, result.stderr)
      has(result.stderr, part)
    end
    fails(program, 2, { "assistants", "create" }, "which file?")
    fails(program, 2, { "assistants", "show" }, "which one?")
    fails(program, 1, { "assistants", "show", "x" }, "there is no assistant x")
  end)
end)


describe("perilune db", function()
  it("says how much there is, and which schema it has", function()
    local program <close> = programs.new()
    output_of(program, { "chat", "offline/demo", "--thread", "k", stdin = "Hello\n" })
    local stats = data_of(program, { "db", "stats" })
    local counts = {}
    for _, one in ipairs(stats.tables) do
      counts[one.name] = one.row_count
    end
    assert.are.same({ 1, 2, 1, 1, 0 }, { counts.threads, counts.messages, counts.runs, counts.steps, counts.assistants })
    assert.is_true(stats.bytes > 0 and stats.tables[2].oldest_at <= stats.tables[2].newest_at)
    local text = output_of(program, { "db", "stats" })
    assert.is_truthy(text:find("^TABLE +ROWS +OLDEST +NEWEST\nthreads +1 +%d+%-") and text:find("\nassistants +0 +%- +%-\n"), text)
    has(text, " bytes in " .. program.db)
    local info = data_of(program, { "db", "info" })
    assert.are.same({ path = program.db, schema_version = info.schema_version }, data_of(program, { "db", "migrate" }))
  end)
end)
