-- A gateway: no assistants, only models with failover, behind names of your own. `perilune serve scripts/gateway.lua`, and clients ask
-- for "fast" or "clever"; every other model is there under its own name.
local perilune = require "perilune"
local json = require "perilune.json"

perilune.alias("fast", { "groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini", "offline/demo" })
perilune.alias("clever", { "anthropic/claude-sonnet-4-5", "openai/gpt-4o", "offline/demo" })

-- Who takes part in every request: here, nobody may ask a model for more than a page, by any name that it has.
local PAGE = 1000 -- tokens
local fields = {
  ["/v1/chat/completions"] = { "max_tokens", "max_completion_tokens" }, ["/v1/completions"] = { "max_tokens" },
  ["/v1/messages"] = { "max_tokens" }, ["/v1/responses"] = { "max_output_tokens" },
}

perilune.on("request", function(request)
  local names, is_said = fields[request.path], false
  for _, name in ipairs(names or {}) do
    local asked = request:body()[name]
    is_said = is_said or asked ~= nil and asked ~= json.null
    request:body()[name] = math.type(asked) and math.min(asked, PAGE) or asked -- the server refuses what is no number
  end
  if names and not is_said then
    request:body()[names[1]] = PAGE
  end
end)

perilune.on("response", function(answered)
  perilune.log.debug("answered", { model = answered.model, provider = answered.provider, seconds = answered.seconds })
end)
