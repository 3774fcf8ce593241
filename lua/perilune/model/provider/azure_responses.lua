-- The Responses format at Azure OpenAI: there is only the address without a version, {base}/openai/v1, and the key goes in a
-- header of its own. The format itself is in openai_responses.
local errors = require "perilune.std.errors"
local openai_responses = require "perilune.model.provider.openai_responses"
local wire = require "perilune.model.provider.wire"

local M = {}

M.frame = openai_responses.frame
M.decoder = openai_responses.decoder
M.default_api = "responses"
M.quirks = { system_role = "developer", openai_models = true }
M.known_quirks = openai_responses.known_quirks


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
  local http, err = openai_responses.encode(request, target)
  if not http then
    return nil, err
  end
  local root = target.base_url:gsub("%?.*$", ""):gsub("/+$", ""):gsub("/openai/v1$", ""):gsub("/openai$", "")
  http.url = wire.join(root, "openai/v1/responses")
  if target.api_key and http.headers.authorization == "Bearer " .. target.api_key then
    http.headers.authorization, http.headers["api-key"] = nil, target.api_key
  end
  return http
end


return M
