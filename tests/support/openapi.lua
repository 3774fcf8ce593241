-- A mock of OpenAI's API that checks every request against OpenAI's published document, for specs that send through the
-- real client. The mock is an npm package in a cache folder outside the repository; a small server in between keeps what the
-- mock said of each request and answers the client properly, which the mock cannot.
local fetch = require "perilune.net.fetch"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local ports = require "tests.support.ports"
local proc = require "perilune.sys.proc"
local replay = require "perilune.testing.replay"
local task = require "perilune.sys.task"

local M = {}

local PACKAGE, VERSION = "@stdy/cli", "0.22.2"
local DOCUMENT = "../shared/wire/openai-openapi.transformed.yml"
local NODE_MIN = 20
local INSTALL_SECONDS, START_SECONDS, START_TRIES = 120, 30, 3
local POLL_SECONDS = 0.05

local methods = {}
local metatable = { __name = "tests.openapi", __index = methods }


-- The output of a program; nil when it cannot be run or fails.
local function output_of(argv, seconds)
  local result = proc.run { argv = argv, timeout = seconds or 10 }
  return result and result.status == 0 and result.stdout or nil
end


local function cache_folder()
  local root = proc.env "XDG_CACHE_HOME"
  return (root and root ~= "" and root or (proc.env "HOME" or ".") .. "/.cache") .. "/perilune-conformance"
end


-- The mock's program, installed when it is not there.
local function install()
  local folder = cache_folder()
  local home = folder .. "/node_modules/" .. PACKAGE
  local text = fs.read(home .. "/package.json")
  if not text or json.decode(text).version ~= VERSION then
    assert(fs.mkdir(folder))
    local argv = { "npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE .. "@" .. VERSION }
    if not output_of(argv, INSTALL_SECONDS) then
      return nil
    end
  end
  return home .. "/steady.js"
end


---What is missing for these tests; nil when nothing is.
---@return string?
function M.missing()
  local version = output_of { "node", "--version" }
  if tonumber(version and version:match("^v(%d+)") or 0) < NODE_MIN then
    return ("node %d or newer"):format(NODE_MIN)
  elseif not output_of { "npm", "--version" } then
    return "npm"
  elseif not fs.stat(DOCUMENT) then
    return DOCUMENT
  end
  return not install() and ("the npm package %s %s"):format(PACKAGE, VERSION) or nil
end


local function wait_until_ready(url)
  while not fetch.request(url .. "/models", { timeout = 1 }) do
    task.sleep(POLL_SECONDS)
  end
end


---Starts the mock; raises when it does not answer in time. Close it in a teardown.
---@return table mock `url`
function M.start()
  local problem
  for _ = 1, START_TRIES do
    local port = ports.free()
    local child = assert(proc.start {
      argv = { "node", install(), "--host", "127.0.0.1", "-p", tostring(port), "-q", "--no-color", DOCUMENT },
    })
    local self = setmetatable({ child = child, url = "http://127.0.0.1:" .. port }, metatable)
    local is_ready, err = pcall(task.deadline, START_SECONDS, wait_until_ready, self.url)
    if is_ready then
      return self
    end
    self:close()
    problem = err
  end
  error(problem, 0)
end


function methods:close()
  self.child:close()
end


-- Answers that a client takes, by the path that was asked.
local answers = {
  ["/chat/completions"] = {
    id = "chatcmpl-1", object = "chat.completion", created = 1, model = "m",
    choices = { { index = 0, message = { role = "assistant", content = "Yes." }, finish_reason = "stop" } },
    usage = { prompt_tokens = 1, completion_tokens = 1, total_tokens = 2 },
  },
  ["/responses"] = {
    id = "resp_1", object = "response", status = "completed", model = "m",
    output = { {
      type = "message", id = "msg_1", role = "assistant", status = "completed",
      content = { { type = "output_text", text = "Yes.", annotations = json.array {} } },
    } },
    usage = { input_tokens = 1, output_tokens = 1, total_tokens = 2 },
  },
  ["/images/generations"] = { created = 1, data = { { b64_json = "iVBORw0KGgo=" } } },
  ["/embeddings"] = {
    object = "list", model = "m", data = { { object = "embedding", index = 0, embedding = { 0.5, 0.25 } } },
    usage = { prompt_tokens = 1, total_tokens = 1 },
  },
}


-- Shows a request to the mock and keeps what it says of it. It only warns of what matches no variant of a schema: every
-- problem that it names counts.
local function judge(mock, request)
  local said = assert(fetch.request(mock.url .. request:path(), {
    method = request:method(), body = request:body(), timeout = START_SECONDS,
    headers = { ["content-type"] = request:header "content-type", authorization = request:header "authorization" },
  }))
  local problems = {}
  for position = 1, tonumber(said.headers["x-steady-error-count"]) do
    local prefix = ("x-steady-error-%d-"):format(position)
    problems[position] = ("%s: %s"):format(said.headers[prefix .. "path"], said.headers[prefix .. "message"])
  end
  return { path = request:path(), status = said.status, problems = problems, body = json.decode(request:body()) }
end


---A server in front of the mock, for one test. Own it with `<close>`.
---@return perilune.testing.Replay server
---@return { path: string, status: integer, problems: string[], body: table }[] verdicts of the requests, in their order
function methods:serve()
  local verdicts = {}
  return replay.serve { function(request)
    verdicts[#verdicts + 1] = judge(self, request)
    replay.reply(200, answers[request:path()])(request)
  end }, verdicts
end


return M
