-- The MCP client against servers that nobody here wrote: two npm packages, installed into a cache folder outside the repository.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local mcp = require "perilune.tool.mcp"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"
local tool = require "perilune.tool"

local PACKAGES = { everything = "@modelcontextprotocol/server-everything", filesystem = "@modelcontextprotocol/server-filesystem" }
local VERSION = "2026.8.31"
local NODE_MIN = 20
local INSTALL_SECONDS, START_TRIES = 120, 3


local function output_of(argv, seconds)
  local result = proc.run { argv = argv, timeout = seconds or 10 }
  return result and result.status == 0 and result.stdout or nil
end


local function cache_folder()
  local root = proc.env "XDG_CACHE_HOME"
  return (root and root ~= "" and root or (proc.env "HOME" or ".") .. "/.cache") .. "/perilune-conformance"
end


local function home_of(package)
  return cache_folder() .. "/node_modules/" .. PACKAGES[package]
end


local function is_installed(package)
  local text = fs.read(home_of(package) .. "/package.json")
  return text and json.decode(text).version == VERSION
end


local function install()
  local argv = { "npm", "install", "--prefix", cache_folder(), "--no-audit", "--no-fund", "--ignore-scripts" }
  for _, package in pairs(PACKAGES) do
    argv[#argv + 1] = package .. "@" .. VERSION
  end
  assert(fs.mkdir(cache_folder()))
  return output_of(argv, INSTALL_SECONDS)
end


-- What is missing for these tests; nil when nothing is.
local function missing()
  local version = output_of { "node", "--version" }
  if tonumber(version and version:match("^v(%d+)") or 0) < NODE_MIN then
    return ("node %d or newer"):format(NODE_MIN)
  elseif not output_of { "npm", "--version" } then
    return "npm"
  elseif not (is_installed "everything" and is_installed "filesystem") and not install() then
    return ("the npm packages %s and %s %s"):format(PACKAGES.everything, PACKAGES.filesystem, VERSION)
  end
end


local function command_of(package, ...)
  return { "node", home_of(package) .. "/dist/index.js", ... }
end


local function free_port()
  local server <close> = assert(serve.listen {})
  return server:port()
end


-- server-everything over HTTP; it names no port of its own choice, so it gets one that was free a moment ago.
local function start_web(port)
  for _ = 1, START_TRIES do
    local given = port or free_port()
    local child = assert(proc.start {
      argv = command_of("everything", "streamableHttp"), env = { PATH = proc.env "PATH", PORT = tostring(given) },
    })
    if programs.read_until(child, "\n", "stderr"):find("listening") then
      return child, given
    end
    child:close()
  end
  error("server-everything does not start")
end


local function text_of(result)
  return result.content[1].text
end


local function names_of(list)
  local names = {}
  for _, one in ipairs(list) do
    names[one.name] = one
  end
  return names
end


-- What is true of server-everything on both transports.
local function check_everything(server)
  local tools = names_of(server:tools())
  assert.equal("Echo: hello", tool.call(tools["every_echo"], '{"message":"hello"}', {}).content)
  assert.is_true(tool.call(tools["every_echo"], '{"message":5}', {}).is_error)
  assert.matches("The sum of 2 and 3.5 is 5.5", tool.call(tools["every_get-sum"], '{"a":2,"b":3.5}', {}).content)
  assert.matches("image/png, %d+ bytes", tool.call(tools["every_get-tiny-image"], "", {}).content)
  assert.matches("demo://resource/dynamic/blob/1", tool.call(tools["every_get-resource-links"], '{"count":2}', {}).content)
  assert.is_number(server:call("get-structured-content", { location = "Chicago" }).structuredContent.temperature)
  local resources = server:resources()
  assert.is_true(#resources > 3)
  assert.matches("^# Everything Server", server:read_resource(resources[1].uri)[1].text)
  local blob = server:read_resource("demo://resource/dynamic/blob/1")[1]
  assert.is_string(blob.data)
  assert.is_truthy(names_of(server:prompts())["args-prompt"])
  assert.same({ { role = "user", content = "What's weather in Paris?" } }, server:get_prompt("args-prompt", { city = "Paris" }).messages)
  assert.is_true(server:ping() >= 0)
end


local function check_progress(server)
  local seen = {}
  local result = server:call("trigger-long-running-operation", { duration = 0.2, steps = 4 }, function(progress)
    seen[#seen + 1] = ("%d/%d"):format(progress.progress, progress.total)
  end)
  assert.matches("completed", text_of(result))
  assert.same({ "1/4", "2/4", "3/4", "4/4" }, seen)
end


-- A call that is given up, and one after it.
local function check_cancel(server)
  local call = task.spawn(server.call, server, "trigger-long-running-operation", { duration = 60, steps = 600 })
  task.sleep(0.05)
  call:cancel()
  assert.is_false((pcall(call.wait, call)))
  assert.equal("Echo: after", text_of(server:call("echo", { message = "after" })))
end


local function check_many(server)
  local group <close> = task.group()
  local answers = {}
  for number = 1, 50 do
    group:spawn(function()
      answers[number] = text_of(server:call("echo", { message = "n" .. number }))
    end)
  end
  group:wait()
  for number = 1, 50 do
    assert.equal("Echo: n" .. number, answers[number])
  end
end


describe("with real MCP servers", function()
  local needed = missing()
  if needed then
    pending("the client works: this needs " .. needed)
    return
  end

  it("server-everything on standard input and output does all that it should", function()
    local server <close> = mcp.connect { name = "every", command = command_of("everything", "stdio"), roots = { "/srv/my files" } }
    assert.equal("2025-06-18", server:about().protocol)
    check_everything(server)
    check_progress(server)
    check_cancel(server)
    check_many(server)
    assert.matches("file:///srv/my%%20files", text_of(server:call("get-roots-list")))
    assert.same({}, server:waiting())
  end)

  it("server-everything over HTTP does all that it should, with a new session after a restart", function()
    local child, port = start_web()
    local running <close> = child -- luacheck: ignore 211
    local server <close> = mcp.connect { name = "every", url = ("http://127.0.0.1:%d/mcp"):format(port) }
    local session = server.session
    assert.is_string(session.transport.session_id)
    check_everything(server)
    check_progress(server)
    check_cancel(server)
    check_many(server)
    child:close()
    local again <close> = start_web(port) -- luacheck: ignore 211
    assert.equal("Echo: again", text_of(server:call("echo", { message = "again" })))
    assert.are_not.equal(session, server.session)
  end)

  it("server-filesystem reads and writes where it may, and only there", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    local server <close> = mcp.connect { name = "files", command = command_of("filesystem", folder) }
    local tools = names_of(server:tools { only = { "write_file", "read_text_file" } })
    local arguments = assert(json.encode { path = folder .. "/a.txt", content = "höllo\n" })
    assert.is_false(tool.call(tools.files_write_file, arguments, {}).is_error)
    assert.equal("höllo\n", fs.read(folder .. "/a.txt"))
    assert.equal("höllo\n", tool.call(tools.files_read_text_file, assert(json.encode { path = folder .. "/a.txt" }), {}).content)
    local refused = tool.call(tools.files_read_text_file, '{"path":"/etc/passwd"}', {})
    assert.is_true(refused.is_error)
    assert.matches("Access denied", refused.content)
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("server-filesystem may be told its folder as a root", function()
    local folder = assert(fs.temp_dir("perilune-mcp"))
    assert(fs.write(folder .. "/here.txt", "x"))
    local server <close> = mcp.connect { name = "files", command = command_of("filesystem"), roots = { folder } }
    task.deadline(10, function() -- it asks for the roots whenever it finds the time
      while not text_of(server:call("list_directory", { path = folder })):find("here.txt", 1, true) do
        task.sleep(0.02)
      end
    end)
    assert(fs.remove(folder, { recursive = true }))
  end)
end)
