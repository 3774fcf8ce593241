-- The built-in tools under the real program: what a model can do with them, and what it cannot. The offline model picks the tool
-- whose words are in the question, and fills in what stands in quotes.
local fs = require "perilune.sys.fs"
local has = require "tests.support.has"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"

-- Asks an assistant with these tools each of the questions; prints what the tools said.
local script = [[
local perilune = require "perilune"
local json = require "perilune.json"
local work = json.decode(arg[1])
local tools = {}
for name, options in pairs(work.tools) do
  tools[#tools + 1] = perilune.tools[name](options)
end
local assistant = perilune.assistant { name = "tested", model = "offline/demo", tools = tools }
local thread, answers = perilune.thread "t", {}
for position, question in ipairs(work.questions) do
  answers[position] = thread:run(assistant, question).content
end
print(json.encode(answers))
]]


-- The answers to the questions, in order.
local function answers_of(program, tools, questions)
  program:file("script.lua", script)
  local result = program:run { "run", "script.lua", assert(json.encode { tools = tools, questions = questions }) }
  assert.are.same({ 0, "" }, { result.status, result.stderr })
  return assert(json.decode(result.stdout))
end


-- Runs the program at a terminal, as a person would, who types this. Everything it says comes back.
local function at_terminal(program, words, typed)
  local pid = assert(proc.self()):match(":(%d+):")
  local binary = assert(proc.run { argv = { "readlink", ("/proc/%s/exe"):format(pid) } }).stdout:match("^[^\n]+")
  local quoted = { "'" .. binary .. "'" }
  for _, word in ipairs(words) do
    quoted[#quoted + 1] = "'" .. word .. "'"
  end
  local result = assert(proc.run {
    argv = { "script", "-qec", table.concat(quoted, " "), "/dev/null" }, cwd = program.folder, env = program.env, stdin = typed,
      timeout = 60,
  })
  return result.stdout:gsub("\r\n", "\n"), result.status
end


describe("the built-in tools", function()
  it("are off unless a script names them", function()
    local program <close> = programs.new()
    program:file("secret.txt", "the secret")
    for _, answer in ipairs(answers_of(program, {}, { 'Read the file "secret.txt"', 'Run the command "id"', 'Calculate "1 + 1"' })) do
      has(answer, "I am the offline model: no network")
    end
  end)

  it("do their work together in a conversation", function()
    local program <close> = programs.new()
    program:file("notes.txt", "milk\nbread\n")
    local roots = { roots = { "." } }
    local answers = answers_of(program, {
      calculator = {}, read_file = roots, list_files = roots, run_command = { allow = { "uname" }, approval = "never" },
    }, { 'Calculate "7 * 6"', 'Read lines of the file "notes.txt"', 'List files of the folder "."', 'Run the program "uname"' })
    has(answers[1], "calculator answered: 42.")
    has(answers[2], "read_file answered: milk\nbread")
    has(answers[3], "list_files answered: notes.txt (11 bytes)")
    has(answers[4], "run_command answered: exit status 0\n--- stdout\nLinux")
  end)

  it("do not let a model out of its folder", function()
    local program <close> = programs.new()
    assert(fs.mkdir(program.folder .. "/shared"))
    program:file("secret.txt", "the secret")
    assert(proc.run { argv = { "ln", "-s", "..", program.folder .. "/shared/up" } })
    local roots = { roots = { "shared" } }
    local questions = {}
    for _, path in ipairs { "../secret.txt", "up/secret.txt", program.folder .. "/secret.txt", "shared/../../secret.txt", "/etc/passwd" } do
      questions[#questions + 1] = ('Read lines of the file "%s"'):format(path)
      questions[#questions + 1] = ('Write the text "broken" to a file "%s"'):format(path)
    end
    local answers = answers_of(program, { read_file = roots, write_file = roots }, questions)
    for i = 1, #answers, 2 do
      has(answers[i], "read_file failed: ")
      has(answers[i + 1], "write_file failed: ")
      assert.is_nil(answers[i]:find("the secret", 1, true) or answers[i]:find("root:", 1, true))
    end
    assert.are.equal("the secret", fs.read(program.folder .. "/secret.txt"))
  end)

  it("do not let a model into the network around this host", function()
    local program <close> = programs.new({ http_proxy = "http://127.0.0.1:1", https_proxy = "http://127.0.0.1:1",
      ALL_PROXY = "http://127.0.0.1:1" })
    local answers = answers_of(program, { http_get = {} }, {
      'Fetch the page "http://127.0.0.1:80/"', 'Fetch the page "http://2130706433/"', 'Fetch the page "http://[::ffff:127.0.0.1]/"',
      'Fetch the page "http://localhost/"', 'Fetch the page "file:///etc/passwd"',
    })
    for i = 1, 4 do
      has(answers[i], "is not allowed: it is a loopback address")
    end
    has(answers[5], "only http and https are fetched")
  end)

  it("run no program that nobody has approved", function()
    local program <close> = programs.new()
    local answers = answers_of(program, { run_command = { allow = { "uname" }, approval = "always" } }, { 'Run the program "uname"' })
    assert.is_nil(answers[1]:find("Linux", 1, true))
  end)

  it("ask the person at the terminal, and nobody else", function()
    local program <close> = programs.new()
    program:file("ask.lua", [[
      local perilune = require "perilune"
      local tool = perilune.tools.ask_user()
      local answer, err = tool.run({ question = "Which \27[2Jcolour?", choices = { "red", "blue" } }, {})
      print("answer: " .. (answer or err.message))
    ]])
    local result = program:run { "run", "ask.lua" }
    assert.are.same({ 0, "answer: nobody can be asked: standard input is not a terminal\n" }, { result.status, result.stdout })
    local said, status = at_terminal(program, { "run", "ask.lua" }, "2\n")
    assert.are.equal(0, status)
    has(said, "\nWhich  [2Jcolour?\n  1. red\n  2. blue\n> ")
    has(said, "answer: blue\n")
  end)

  it("say which names there are", function()
    local program <close> = programs.new()
    program:file("x.lua", 'local perilune = require "perilune"\nperilune.tools.http_gte()\n')
    local result = program:run { "run", "x.lua" }
    assert.are.equal(3, result.status)
    has(result.stderr, "x.lua:2")
    has(result.stderr, "perilune.tools.http_gte does not exist, did you mean perilune.tools.http_get?")
  end)
end)
