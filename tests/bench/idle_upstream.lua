-- idle_upstream.lua COMMAND...: an upstream that sends the head and the first event of every answer and then nothing more.
-- Runs the command with BASE_URL and OPENAI_BASE_URL pointing here, passes its output on, and ends with it.
local json = require "perilune.json"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"
local serve = require "perilune.sys.serve"

local first = "data: " .. json.encode {
  id = "chatcmpl-123", object = "chat.completion.chunk", created = 1694268190, model = "idle",
  choices = { { index = 0, delta = { role = "assistant", content = "first" }, finish_reason = json.null } },
} .. "\n\n"


local function answer(request)
  local owned <close> = request
  owned:start { status = 200, headers = { ["content-type"] = "text/event-stream" } }
  owned:write(first)
  while owned:gone() == "half_closed" do end
end


local function accept(server)
  for request in function() return server:accept() end do
    perilune.spawn(answer, request)
  end
end


local server <close> = assert(serve.listen {})
perilune.spawn(accept, server)
local url = ("http://127.0.0.1:%d/v1"):format(server:port())
local result = assert(proc.run {
  argv = arg, timeout = 60,
  env = { PATH = proc.env "PATH", HOME = proc.env "HOME", OPENAI_API_KEY = "x", OPENAI_BASE_URL = url, BASE_URL = url },
})
proc.write(1, result.stdout)
proc.write(2, result.stderr)
os.exit(result.status or 1)
