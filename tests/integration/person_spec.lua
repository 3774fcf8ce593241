-- The person at the terminal: a pseudo-terminal (script, of every Debian) stands for it.
local fs = require "perilune.sys.fs"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"

local SCRIPT = [[
local perilune = require "perilune"
local delete = perilune.tool {
  name = "delete_file", description = "Delete a file", parameters = { path = "string" }, approval = "always",
  run = function(arguments) return "deleted " .. arguments.path end,
}
local janitor = perilune.assistant { name = "janitor", tools = { delete }, model = perilune.testing.model {
  { tool_calls = { { name = "delete_file", arguments = { path = "old\27[2J.log" } } } },
  function(request) return "I read: " .. request.messages[#request.messages].content end,
} }
local run = perilune.thread("cleaning"):run(janitor, "Delete it.")
print(run.status, run.content)
]]


-- Runs it at a terminal, and answers what it asks; returns what it printed after that.
local function at_terminal(program, answer)
  local pid = assert(proc.self()):match(":(%d+):")
  local binary = assert(proc.run { argv = { "readlink", ("/proc/%s/exe"):format(pid) } }).stdout:match("[^\n]+")
  local child <close> = assert(proc.start {
    argv = { "script", "-qec", binary .. " run script.lua", "/dev/null" }, cwd = program.folder, env = program.env,
  })
  local asked = programs.read_until(child, "%[y/N%]")
  assert.is_truthy(asked:find("The assistant wants to call delete_file", 1, true))
  assert.is_nil(asked:find("\27[2J", 1, true)) -- what a model writes does not move the cursor
  assert(child:write(answer))
  return programs.read_until(child, "completed[^\n]*\n")
end


describe("the person at the terminal", function()
  it("is asked about a call that needs approval, and what they say holds", function()
    local program <close> = programs.new()
    program:file("script.lua", SCRIPT)
    assert.is_truthy(at_terminal(program, "y\n"):find("I read: deleted", 1, true))
    assert.is_truthy(at_terminal(program, "\n"):find("I read: Error: the user did not allow this call", 1, true))
  end)

  it("who is not there is not asked: the run waits", function()
    local program <close> = programs.new()
    program:file("script.lua", SCRIPT)
    local result = program:run { "run", "script.lua" }
    assert.are.equal("waiting_approval\t\n", result.stdout)
    assert.is_truthy(fs.stat(program.db))
  end)
end)
