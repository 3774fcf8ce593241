-- Azure OpenAI: chat.completions at an address of your own, where the model is the name of a deployment. The address
-- decides which of its two forms is spoken: one that ends in /openai/v1 takes the model in the body and no version;
-- every other one has the deployment in its path and a version after it.
local errors = require "perilune.std.errors"
local openai_chat = require "perilune.model.provider.openai_chat"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = openai_chat.frame
M.decoder = openai_chat.decoder

---The version of the API that is asked for when nobody says one.
M.API_VERSION = "2024-10-21"

---The flags of a target: those of chat.completions, and `api_version`.
M.known_quirks = { api_version = "version of the API, like \"2024-10-21\"" }
for quirk, meaning in pairs(openai_chat.known_quirks) do
  M.known_quirks[quirk] = meaning
end


-- A version in the address itself wins over the flag, the flag over the default.
local function address(target)
  local base, query = target.base_url:match("^([^?]*)%??(.*)$")
  base = base:gsub("/+$", "")
  local version = (target.quirks or {}).api_version
  if not base:find("/openai/v1$") then
    version = version or M.API_VERSION
    if not base:find("/openai/deployments/[^/]+$") then
      base = wire.join(base:gsub("/openai$", ""), "openai/deployments/" .. wire.escape(target.model))
    end
  end
  if query == "" and version then
    query = "api-version=" .. wire.escape(version)
  end
  return wire.join(base, "chat/completions") .. (query ~= "" and "?" .. query or "")
end


---Writes the HTTP request.
---@param request perilune.Request
---@param target perilune.Target
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.encode(request, target)
  if not target.base_url then
    return nil, errors.new {
      kind = "configuration", retryable = false, provider = target.name, model = target.model,
      message = "azure has no address of its own: set AZURE_BASE_URL, like https://NAME.openai.azure.com",
    }
  end
  local http, err = openai_chat.encode(request, target)
  if not http then
    return nil, err
  end
  http.url = address(target)
  if target.api_key and http.headers.authorization == "Bearer " .. target.api_key then
    http.headers.authorization, http.headers["api-key"] = nil, target.api_key
  end
  return http
end


return M
