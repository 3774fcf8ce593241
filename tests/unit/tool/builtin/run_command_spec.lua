local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local run_command = require "perilune.tool.builtin.run_command"
local task = require "perilune.sys.task"
local tool = require "perilune.tool"


local function call(tested, argv, stdin)
  return tool.call(tested, assert(json.encode { argv = argv, stdin = stdin }), { is_approved = true })
end


describe("perilune.tools.run_command", function()
  local dir

  before_each(function()
    dir = assert(fs.temp_dir("run-command-"))
  end)

  after_each(function()
    assert(fs.remove(dir, { recursive = true }))
  end)

  it("runs what is allowed and reports all of it", function()
    local tested = run_command.new { allow = { "printf", "sh", "cat", "false" } }
    assert.equal("exit status 0\n--- stdout\na b", call(tested, { "printf", "%s\n", "a b" }).content)
    assert.equal("exit status 3\n--- stdout\nout\n--- stderr\nerr", call(tested, { "sh", "-c", "echo out; echo err >&2; exit 3" }).content)
    assert.equal("exit status 0\n--- stdout\nhello", call(tested, { "cat" }, "hello").content)
    assert.equal("exit status 0", call(tested, { "cat" }).content)
    assert.equal("exit status 1", call(tested, { "false" }).content)
    assert.is_false(call(tested, { "false" }).is_error)
    assert.equal("killed by KILL", call(tested, { "sh", "-c", "kill -9 $$" }).content)
  end)

  it("refuses everything else", function()
    local tested = run_command.new { allow = { "echo", { "git", "status" } } }
    local refused = {
      { "sh" }, { "/bin/echo", "x" }, { "./echo" }, { "echo " }, { " echo" }, { "ECHO" }, { "echo;sh" }, { "git" }, { "git", "push" },
      { "git", "-C", "/", "status" }, { "git status" }, { "" }, { "echo\nsh" },
    }
    for _, argv in ipairs(refused) do
      local result = call(tested, argv)
      assert.is_true(result.is_error)
      assert.is_truthy(result.content:find("is not allowed; allowed is what begins with: echo, git status", 1, true), result.content)
    end
    assert.is_truthy(call(tested, { "echo", "a\0b" }).content:find("contains no NUL", 1, true))
    assert.is_truthy(tool.call(tested, '{"argv":[]}', {}).content:find("schema", 1, true))
    assert.is_truthy(tool.call(tested, '{"argv":"echo x"}', {}).content:find("schema", 1, true))
  end)

  it("knows no shell", function()
    local tested = run_command.new { allow = { "echo" } }
    assert.equal("exit status 0\n--- stdout\n$(id) `id` $HOME ; id | cat > x * && id",
      call(tested, { "echo", "$(id)", "`id`", "$HOME", ";", "id", "|", "cat", ">", "x", "*", "&&", "id" }).content)
  end)

  it("gives programs next to nothing of the environment", function()
    local tested = run_command.new { allow = { "env" } }
    for line in call(tested, { "env" }).content:gmatch("[^\n]+") do
      local name = line:match("^([%w_]+)=")
      assert.is_true(name == nil or name == "PATH" or name == "LANG" or name == "LC_ALL" or name == "TZ", line)
    end
    local with_home = run_command.new { allow = { "env" }, env = { "HOME", "NO_SUCH_VARIABLE" } }
    assert.is_truthy(call(with_home, { "env" }).content:find("\nHOME=" .. proc.env("HOME"), 1, true))
    assert.is_nil(call(with_home, { "env" }).content:find("NO_SUCH", 1, true))
  end)

  it("runs in its folder", function()
    assert.equal("exit status 0\n--- stdout\n/usr", call(run_command.new { allow = { "pwd" }, folder = "/usr/" }, { "pwd" }).content)
    assert.equal("exit status 0\n--- stdout\n" .. fs.cwd(), call(run_command.new { allow = { "pwd" } }, { "pwd" }).content)
  end)

  it("ends what takes too long, and all that it started", function()
    local tested = run_command.new { allow = { "sh" }, timeout = 0.3, folder = dir }
    local result = call(tested, { "sh", "-c", "sleep 1000 & echo $! > child; echo begun; wait" })
    assert.is_true(result.is_error)
    assert.equal("Error: tool 'run_command': killed: it did not end within 0.3 s\n--- stdout\nbegun", result.content)
    local child = assert(fs.read(dir .. "/child")):match("%d+")
    task.deadline(10, function()
      while fs.stat("/proc/" .. child) do
        local status = fs.read(("/proc/%s/stat"):format(child))
        if status and status:find(") Z", 1, true) then
          break -- dead; whoever reaps orphans here takes its time
        end
        task.sleep(0.01)
      end
    end)
  end)

  it("keeps the beginning of a long output", function()
    local tested = run_command.new { allow = { "seq" }, out_bytes = 10 }
    assert.equal("exit status 0\n--- stdout\n1\n2\n3\n4\n5\n[cut: there was more output]", call(tested, { "seq", "100000" }).content)
  end)

  it("says that there is no such program", function()
    local result = call(run_command.new { allow = { "no-such-program-here" } }, { "no-such-program-here" })
    assert.is_true(result.is_error)
    assert.is_truthy(result.content:find("no-such-program-here", 1, true))
  end)

  it("runs nothing that nobody has approved, unless it is told to", function()
    for _, approval in ipairs { "always", function() return false end } do
      local tested = run_command.new { allow = { "touch" }, folder = dir, approval = approval }
      local result = tool.call(tested, '{"argv":["touch","x"]}', {})
      assert.equal("Error: tool 'run_command': a person must approve this first, and nobody was asked", result.content)
    end
    assert.same({}, fs.list(dir))
    tool.call(run_command.new { allow = { "touch" }, folder = dir, approval = "never" }, '{"argv":["touch","x"]}', {})
    assert.same({ "x" }, fs.list(dir))
    assert.equal("always", run_command.new { allow = { "ls" } }.approval)
    assert.equal("never", run_command.new({ allow = { "ls" }, approval = "never" }).approval)
    assert.is_false(run_command.new({ allow = { "ls" } }).idempotent)
  end)

  it("reports wrong options where it is made", function()
    local function misuse(options)
      local ok, err = pcall(function() return (run_command.new(options)) end)
      assert.is_false(ok)
      assert.is_truthy(err.where and err.where:find("run_command_spec.lua", 1, true), tostring(err.where))
      return err.message
    end
    assert.equal("perilune.tools.run_command: 'allow' is missing: nothing is allowed unless it is listed", misuse())
    assert.is_truthy(misuse { allow = {} }:find("nothing would be allowed", 1, true))
    assert.is_truthy(misuse { allow = { {} } }:find("allow[1] names no program", 1, true))
    assert.is_truthy(misuse { allow = { "" } }:find("allow[1] names no program", 1, true))
    assert.is_truthy(misuse { allow = { { "git", 5 } } }:find("allow[1][2] must be a string", 1, true))
    assert.is_truthy(misuse { allow = { "ls" }, folder = "" }:find("a path is not empty", 1, true))
    assert.is_truthy(misuse { allow = { "ls" }, cwd = "." }:find("unknown option 'cwd'", 1, true))
  end)
end)
