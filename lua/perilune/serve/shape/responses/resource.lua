-- The resource `response`: all of its fields, always, as OpenAI's document and Open Responses want them. Pure.
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local M = {}

local null = json.null

-- Our kinds of errors in the few words that a failed response has for them; every other kind is a server_error.
local codes = {
  rate_limit = "rate_limit_exceeded", quota = "rate_limit_exceeded", content_filter = "invalid_prompt", context_length = "invalid_prompt",
  media = "invalid_prompt", api = "invalid_prompt",
}


---@class perilune.serve.ResponseIdentity what a response is from its beginning
---@field id string "resp_..."
---@field created_at integer
---@field model string as it was asked for
---@field echo table the fields that are shown again
---@field conversation? string "conv_..."
---@field client_tools? table<string, true> the other tools are the server's; nil: all are the client's

---@class perilune.serve.ResponseState what has become of it
---@field status "queued"|"in_progress"|"completed"|"incomplete"|"failed"|"cancelled"
---@field output table[]
---@field usage? perilune.Usage
---@field error? { kind: string, message: string }
---@field reason? "max_output_tokens"|"content_filter" of an incomplete one
---@field ended_at? integer


---What was used; the document knows no response without it, so it is 0 until it is known.
---@param usage perilune.Usage?
---@return table
function M.usage(usage)
  usage = usage or { prompt_tokens = 0, completion_tokens = 0, total_tokens = 0 }
  local prompt, completion = usage.prompt_tokens_details or {}, usage.completion_tokens_details or {}
  return {
    input_tokens = usage.prompt_tokens, output_tokens = usage.completion_tokens, total_tokens = usage.total_tokens,
    input_tokens_details = { cached_tokens = prompt.cached_tokens or 0, cache_write_tokens = prompt.cache_write_tokens or 0 },
    output_tokens_details = { reasoning_tokens = completion.reasoning_tokens or 0 },
  }
end


---@param identity perilune.serve.ResponseIdentity
---@param state perilune.serve.ResponseState
---@return table
function M.encode(identity, state)
  local err = state.error
  local resource = {
    id = identity.id, object = "response", created_at = identity.created_at, status = state.status, model = identity.model,
    output = json.array(state.output), usage = M.usage(state.usage),
    error = state.status == "failed" and { code = codes[err.kind] or "server_error", message = problem.words(err) } or null,
    incomplete_details = state.reason and { reason = state.reason } or null,
    completed_at = state.status == "completed" and state.ended_at or null,
    conversation = identity.conversation and { id = identity.conversation } or null,
  }
  for name, value in pairs(identity.echo) do
    resource[name] = value
  end
  return resource
end


return M
