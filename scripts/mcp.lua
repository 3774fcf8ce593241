-- The tools of an MCP server for an assistant. Any server will do ({ "npx", "-y", "@modelcontextprotocol/server-filesystem", "." },
-- or url = "https://..."); so that this runs anywhere, the server is this file itself, run with the argument "server".
local perilune = require "perilune"
local json = perilune.json

local function answer(request)
  if request.method == "initialize" then
    local about = { name = "moon", version = "1" }
    return { protocolVersion = request.params.protocolVersion, capabilities = { tools = {} }, serverInfo = about }
  elseif request.method == "tools/list" then
    local schema = { type = "object", properties = { day = { type = "string" } }, required = { "day" } }
    return { tools = { { name = "phase", description = "The phase of the moon on a day", inputSchema = schema } } }
  end
  return { content = { { type = "text", text = "Waxing gibbous on " .. request.params.arguments.day } } }
end

if arg[1] == "server" then
  for line in io.lines() do
    local request = json.decode(line)
    if request.id then
      print(json.encode { jsonrpc = "2.0", id = request.id, result = answer(request) })
      io.flush()
    end
  end
  return
end

local server <close> = perilune.mcp { name = "moon", command = { "/proc/self/exe", "run", arg[0], "server" } }
local tools = server:tools()
for _, tool in ipairs(tools) do
  print(("%s: %s"):format(tool.name, tool.description))
end

local guide = perilune.assistant { name = "guide", tools = tools }
local run = perilune.thread("moon-watching"):run(guide, "Which moon phase is forecast for Friday?")
print(("%s: %s"):format(run.provider, run.content))
