-- Real clients, npm packages that nobody here wrote, against `perilune serve` in a process of its own. The packages live in a cache folder
-- outside the repository, in the versions that tests/conformance/clients/package.json names; the checks, which are written in their
-- language, are copied beside them. Each check is told as a line of JSON: { name, ok, detail? }.
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local ports = require "tests.support.ports"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"
local upstreams = require "tests.support.upstream"

local M = {}

local SOURCE = "tests/conformance/clients"
local DOCUMENT = "../shared/wire/openai-openapi.yaml"
local PRISM = "node_modules/@stoplight/prism-cli/dist/index.js"
local NODE_MIN = 20
local INSTALL_SECONDS, SCRIPT_SECONDS, PRISM_SECONDS = 300, 240, 60
local SAID_MAX = 2000 -- of what a script says besides

local methods = {}
local metatable = { __name = "tests.Clients", __index = methods }

-- What the server serves besides models.
local AGENTS = [[
local perilune = require "perilune"

perilune.assistant {
  name = "forecaster", model = "openai/gpt-4o-mini", instructions = "You know the weather outside.",
  tools = { perilune.tool {
    name = "look_outside", description = "What the weather is like in a city", idempotent = true,
    parameters = { city = "string: its name" },
    run = function(arguments)
      return { weather = "snow in " .. arguments.city }
    end,
  } },
}

-- Answers that are not what OpenAI's document says, to see that this is noticed.
perilune.route("GET /v1/batches", function()
  return { object = "poem", data = "none" }
end)

perilune.route("POST /v1/threads/wrong/runs", function()
  return {
    headers = { ["content-type"] = "text/event-stream" },
    body = 'event: thread.created\ndata: {"id":"thread_1"}\n\nevent: thread.poem\ndata: {}\n\nevent: done\ndata: [DONE]\n\n',
  }
end)
]]

-- Everything has a price, so that who has paid nothing may not ask.
local CONFIG = [[
return { credits = { bands = { all = { models = { "*" }, request = 1 } } } }
]]

-- Keys by what they are for in the checks, and how they are made.
local keys = {
  API_KEY = {}, POOR_KEY = { "--prepaid" }, SCOPED_KEY = { "--models", "offline/*" }, LIMITED_KEY = { "--requests", "2" },
}


-- What npm needs from outside to reach its registry.
local npm_names = { "PATH", "HOME", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY" }


local function output_of(argv, seconds)
  local env = {}
  for _, name in ipairs(npm_names) do
    env[name] = proc.env(name)
  end
  local result = proc.run { argv = argv, env = env, timeout = seconds or 10 }
  return result and result.status == 0 and result.stdout or nil
end


local function home()
  local root = proc.env "XDG_CACHE_HOME"
  return (root and root ~= "" and root or (proc.env "HOME" or ".") .. "/.cache") .. "/perilune-conformance/clients"
end


-- Copies what is in the repository to where the packages are.
local function copy_checks()
  for _, name in ipairs(assert(fs.list(SOURCE))) do
    assert(fs.write(home() .. "/" .. name, assert(fs.read(SOURCE .. "/" .. name))))
  end
end


-- Installs the packages unless these very versions are there.
local function install()
  local wanted, done = assert(fs.read(SOURCE .. "/package.json")), home() .. "/installed.json"
  if fs.read(done) == wanted then
    return true
  end
  assert(fs.mkdir(home()))
  assert(fs.write(home() .. "/package.json", wanted))
  local argv = { "npm", "install", "--prefix", home(), "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock" }
  return output_of(argv, INSTALL_SECONDS) and assert(fs.write(done, wanted))
end


---What is missing for these tests; nil when nothing is.
---@return string?
function M.missing()
  local version = output_of { "node", "--version" }
  if tonumber(version and version:match("^v(%d+)") or 0) < NODE_MIN then
    return ("node %d or newer"):format(NODE_MIN)
  elseif not output_of { "npm", "--version" } then
    return "npm"
  elseif not install() then
    return "the npm packages of " .. SOURCE .. "/package.json"
  end
  copy_checks()
end


---Is OpenAI's published document there?
---@return string? missing
function M.document_missing()
  return not fs.stat(DOCUMENT) and DOCUMENT or nil
end


local function create_keys(program)
  local made = {}
  for name, options in pairs(keys) do
    local result = program:run { "keys", "create", name:lower(), "--json", table.unpack(options) }
    assert(result.status == 0, result.stderr)
    made[name] = json.decode(result.stdout).key
  end
  return made
end


---Runs a function with a server that has keys, assistants, and an upstream of our own.
---@generic T
---@param run fun(clients: table): T
---@return T
function M.with_server(run)
  local upstream <close> = upstreams.start()
  local program <close> = programs.new { OPENAI_BASE_URL = upstream.url .. "/v1", OPENAI_API_KEY = "sk-upstream" }
  program:file("agents.lua", AGENTS)
  program:file("perilune.lua", CONFIG)
  local env = create_keys(program)
  local child <close> = program:start { "serve", "--listen", "127.0.0.1:0", "--json", "--log-level", "error", "agents.lua" }
  env.BASE_URL = json.decode(programs.read_until(child, "\n")).url .. "/v1"
  env.PATH, env.HOME, env.OPENAI_AGENTS_DISABLE_TRACING = proc.env "PATH", program.folder, "1"
  return run(setmetatable({ env = env }, metatable))
end


local function until_said(child, words)
  local said = ""
  while not said:find(words, 1, true) do
    said = said .. assert(child:read(), "Prism ended")
  end
end


---Runs a function while all that the server answers is held against OpenAI's document.
---@generic T
---@param run fun(): T
---@return T
function methods:with_validation(run)
  local env, port = self.env, ports.free()
  local child <close> = assert(proc.start {
    argv = {
      "node", home() .. "/" .. PRISM, "proxy", programs.path(DOCUMENT), env.BASE_URL, "-p", tostring(port), "--validate-request=false",
    },
    env = { PATH = env.PATH, NO_COLOR = "1" },
  })
  task.deadline(PRISM_SECONDS, until_said, child, "Prism is listening")
  local drain <close> = task.group() -- Prism waits when nobody reads what it says
  drain:spawn(function()
    repeat until not child:read()
  end)
  env.PRISM_URL, env.OPENAPI = ("http://127.0.0.1:%d"):format(port), programs.path(DOCUMENT)
  local result = run()
  drain:cancel "shutdown"
  return result
end


-- The lines of a script, and how many checks it says it made.
local function parse(output)
  local results, done = {}, nil
  for line in output:gmatch("[^\n]+") do
    local one = json.decode(line)
    if one and one.done then
      done = one.done
    elseif one then
      results[#results + 1] = one
    end
  end
  return results, done
end


---Runs the checks of a script. The last result says whether all of them were made.
---@param script string "openai_chat"
---@return { name: string, ok: boolean, detail: string?, count: integer? }[]
function methods:run(script)
  local argv = { "node", home() .. "/" .. script .. ".mjs" }
  if self.env.PRISM_URL then -- whose verdicts are headers
    argv = { "node", "--max-http-header-size=1000000", "--import", home() .. "/validated.mjs", argv[2] }
  end
  local result, err = proc.run { argv = argv, env = self.env, timeout = SCRIPT_SECONDS }
  result = result or { stdout = err.details.stdout, stderr = tostring(err) }
  local results, done = parse(result.stdout)
  local is_whole = result.status == 0 and done ~= nil and done > 0
  results[#results + 1] = {
    name = script .. ": to the end", ok = is_whole,
    detail = not is_whole and "it ended early: " .. text.truncate(result.stderr, SAID_MAX) or nil,
  }
  return results
end


return M
