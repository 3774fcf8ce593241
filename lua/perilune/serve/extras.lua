-- Fields of a chat completion that are no option here. Vendors have more of them than anybody knows, and they go on to the provider as
-- they are. But who comes with a key has limits (which models, how much), and some of these fields would change what was allowed or
-- paid for: another model, more answers, more tokens, searches. Of such a caller only fields go on that say how words are chosen or shown,
-- and those that the configuration names (serve.extra_fields). The others are left out, and the log says so: clients add fields of their
-- own, and no server refuses them.
local auth = require "perilune.serve.auth"
local log = require "perilune.sys.log"
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"

local M = {}

-- Fields of OpenAI's that concern its own service: nothing here understands them, and other vendors refuse them.
local ignored = tables.set { "store", "metadata", "service_tier", "safety_identifier" }

local harmless = tables.set {
  "audio", "chat_template_kwargs", "dry_allowed_length", "dry_base", "dry_multiplier", "dry_penalty_last_n", "dry_sequence_breakers",
  "dynatemp_exponent", "dynatemp_range", "grammar", "guided_choice", "guided_grammar", "guided_json", "guided_regex", "ignore_eos",
  "include_reasoning", "length_penalty", "logit_bias", "min_p", "min_tokens", "mirostat", "mirostat_eta", "mirostat_tau", "modalities",
  "no_repeat_ngram_size", "prediction", "prompt_cache_key", "reasoning_format", "reasoning_split", "repeat_last_n", "repeat_penalty",
  "repetition_penalty", "safe_prompt", "skip_special_tokens", "tfs_z", "thinking", "top_a", "top_k", "typical_p", "verbosity",
  "xtc_probability", "xtc_threshold",
}


local function is_allowed(exchange, name)
  if ignored[name] then
    return false
  end
  return exchange.key == auth.LOCAL or harmless[name] or exchange.server.extra_fields[name]
end


---What of these fields goes on to the provider.
---@param exchange perilune.Exchange
---@param fields? table<string, any>
---@return table<string, any>? passed nil: none
function M.passed(exchange, fields)
  local passed = {}
  for name, value in pairs(fields or {}) do
    if type(name) ~= "string" then
      problem.invalid("provider_specific_params", "'provider_specific_params' must be an object.")
    elseif is_allowed(exchange, name) then
      passed[name] = value
    elseif not ignored[name] then
      log.write("info", "serve", ("%s the field '%s' is not passed on for a key (serve.extra_fields)"):format(exchange.id, name:sub(1, 80)))
    end
  end
  return next(passed) ~= nil and passed or nil
end


return M
