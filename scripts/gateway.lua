-- A gateway: no assistants, only models with failover, behind names of your own. `perilune serve scripts/gateway.lua`, and clients ask
-- for "fast" or "clever"; every other model is there under its own name.
local perilune = require "perilune"

perilune.alias("fast", { "groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini", "offline/demo" })
perilune.alias("clever", { "anthropic/claude-sonnet-4-5", "openai/gpt-4o", "offline/demo" })

-- Who takes part in every request: here, nobody may ask for more than a page.
perilune.on("request", function(request)
  local body = request:body()
  if request.path == "/v1/chat/completions" then
    body.max_tokens = math.min(body.max_tokens or 1000, 1000)
  end
end)

perilune.on("response", function(answered)
  perilune.log.debug("answered", { model = answered.model, provider = answered.provider, seconds = answered.seconds })
end)
