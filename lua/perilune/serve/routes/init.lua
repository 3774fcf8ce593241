-- All routes of a server: the host's families, one module each, and those of the scripts, which take the place of none of the host's:
-- they are open to everybody.
local check = require "perilune.std.check"
local hooks = require "perilune.agent.hooks"
local routers = require "perilune.serve.router"

local M = {}

local families = { "chat", "completions", "credits", "messages", "models", "embeddings", "images", "capabilities", "providers",
  "responses", "conversations", "assistants", "threads", "thread_messages", "runs", "steps", "run_events", "operations" }

-- Whose call to blame for a route: nobody's, the message names it.
local NOBODY = 1000


---@param app perilune.App
---@return table router
function M.router(app)
  local router = routers.new()
  for _, family in ipairs(families) do
    router:add_all(require("perilune.serve.routes." .. family))
  end
  local scripted = require "perilune.serve.routes.scripted"
  for _, route in ipairs(hooks.of(app).routes) do
    local taken = router:add(route.method, route.path, scripted.route(route))
    if taken then
      check.fail(("perilune.route: '%s %s': the server has this route already, %s"):format(route.method, route.path, taken.pattern), NOBODY)
    end
  end
  return router
end


return M
