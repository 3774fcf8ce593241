-- All routes of a server: the host's families, one module each, and those of the scripts.
local hooks = require "perilune.agent.hooks"
local routers = require "perilune.serve.router"

local M = {}

local families = { "chat", "completions", "credits", "messages", "models", "embeddings", "images", "capabilities", "providers",
  "responses", "conversations", "assistants", "threads", "thread_messages", "runs", "steps", "run_events", "operations" }


---@param app perilune.App
---@return table router
function M.router(app)
  local router = routers.new()
  for _, family in ipairs(families) do
    router:add_all(require("perilune.serve.routes." .. family))
  end
  local scripted = require "perilune.serve.routes.scripted"
  for _, route in ipairs(hooks.of(app).routes) do
    router:add(route.method, route.path, scripted.route(route))
  end
  return router
end


return M
