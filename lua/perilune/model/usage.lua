-- Token counts in one shape (docs/model.md): prompt and completion are disjoint and complete, `raw` is what the
-- provider said. Numbers are never guessed here: an answer without counts has no usage.
local null = require("perilune.json").null

local M = {}


-- A count is a whole number that is not negative; anything else was not said.
local function count(value)
  if type(value) ~= "number" then
    return nil
  end
  local whole = math.tointeger(value)
  return whole and whole >= 0 and whole or nil
end


local function table_or_empty(value)
  return type(value) == "table" and value or {}
end


---Usage of a chat.completions answer; nil when there is none.
---@param raw any the provider's object
---@return perilune.Usage?
function M.from_openai(raw)
  if type(raw) ~= "table" then
    return nil
  end
  local prompt, completion = count(raw.prompt_tokens), count(raw.completion_tokens)
  if not prompt and not completion then
    return nil
  end
  prompt, completion = prompt or 0, completion or 0
  local read = table_or_empty(raw.prompt_tokens_details)
  local written = table_or_empty(raw.completion_tokens_details)
  local reasoning = count(written.reasoning_tokens)
  local cached = count(read.cached_tokens) or count(raw.prompt_cache_hit_tokens)
  -- xAI counts reasoning beside the completion; only its total tells.
  if reasoning and reasoning > 0 and count(raw.total_tokens) == prompt + completion + reasoning then
    completion = completion + reasoning
  end
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = {
      cached_tokens = cached and math.min(cached, prompt), -- some proxies report more cached tokens than were read
      cache_write_tokens = count(read.cache_write_tokens),
      audio_tokens = count(read.audio_tokens),
    },
    completion_tokens_details = {
      reasoning_tokens = reasoning,
      audio_tokens = count(written.audio_tokens),
      accepted_prediction_tokens = count(written.accepted_prediction_tokens),
      rejected_prediction_tokens = count(written.rejected_prediction_tokens),
    },
    raw = raw,
  }
end


---Usage of an Anthropic message, whose three input buckets are disjoint; nil when there is none.
---@param raw any
---@return perilune.Usage?
function M.from_anthropic(raw)
  if type(raw) ~= "table" then
    return nil
  end
  local uncached, completion = count(raw.input_tokens), count(raw.output_tokens)
  if not uncached and not completion then
    return nil
  end
  local cached, written = count(raw.cache_read_input_tokens), count(raw.cache_creation_input_tokens)
  local prompt = (uncached or 0) + (cached or 0) + (written or 0)
  completion = completion or 0
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = { cached_tokens = cached, cache_write_tokens = written },
    completion_tokens_details = { reasoning_tokens = count(table_or_empty(raw.output_tokens_details).thinking_tokens) },
    service_tier = type(raw.service_tier) == "string" and raw.service_tier or nil,
    raw = raw,
  }
end


---Usage of a Responses answer; nil when there is none. Cached and reasoning tokens are parts of the two numbers.
---@param raw any
---@return perilune.Usage?
function M.from_responses(raw)
  if type(raw) ~= "table" then
    return nil
  end
  local prompt, completion = count(raw.input_tokens), count(raw.output_tokens)
  if not prompt and not completion then
    return nil
  end
  prompt, completion = prompt or 0, completion or 0
  local read, written = table_or_empty(raw.input_tokens_details), table_or_empty(raw.output_tokens_details)
  local cached = count(read.cached_tokens)
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = {
      cached_tokens = cached and math.min(cached, prompt),
      cache_write_tokens = count(read.cache_write_tokens),
    },
    completion_tokens_details = { reasoning_tokens = count(written.reasoning_tokens) },
    raw = raw,
  }
end


-- Gemini lists its counts by modality: the audio of them.
local function audio_count(details)
  for _, detail in ipairs(table_or_empty(details)) do
    if type(detail) == "table" and detail.modality == "AUDIO" then
      return count(detail.tokenCount)
    end
  end
end


---Usage of a Gemini answer; nil when there is none. What its own tools read and what it thought stand beside the two
---numbers and are added.
---@param raw any
---@return perilune.Usage?
function M.from_gemini(raw)
  if type(raw) ~= "table" then
    return nil
  end
  local read, written = count(raw.promptTokenCount), count(raw.candidatesTokenCount)
  if not read and not written then
    return nil
  end
  local thoughts = count(raw.thoughtsTokenCount)
  local prompt = (read or 0) + (count(raw.toolUsePromptTokenCount) or 0)
  local completion = (written or 0) + (thoughts or 0)
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = {
      cached_tokens = count(raw.cachedContentTokenCount), audio_tokens = audio_count(raw.promptTokensDetails),
    },
    completion_tokens_details = { reasoning_tokens = thoughts, audio_tokens = audio_count(raw.candidatesTokensDetails) },
    raw = raw,
  }
end


-- The fields of Ollama's last line that are about the work and not the answer.
local work_fields = {
  "done", "done_reason", "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
  "eval_duration",
}


---Usage of an answer of Ollama; nil when there is none. A prompt that was read before is not counted again by old servers.
---@param last any the last line of the answer
---@return perilune.Usage?
function M.from_ollama(last)
  if type(last) ~= "table" then
    return nil
  end
  local prompt, completion = count(last.prompt_eval_count), count(last.eval_count)
  if not prompt and not completion then
    return nil
  end
  prompt, completion = prompt or 0, completion or 0
  local raw = {}
  for _, name in ipairs(work_fields) do
    raw[name] = last[name]
  end
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = {},
    completion_tokens_details = {},
    raw = raw,
  }
end


---Usage of an answer of Cohere; nil when there is none. `tokens` is what was read and written; `billed_units`, which leaves
---out what Cohere adds to a prompt, stands in where nothing else is said.
---@param raw any
---@return perilune.Usage?
function M.from_cohere(raw)
  if type(raw) ~= "table" then
    return nil
  end
  local counted = type(raw.tokens) == "table" and raw.tokens or table_or_empty(raw.billed_units)
  local prompt, completion = count(counted.input_tokens), count(counted.output_tokens)
  if not prompt and not completion then
    return nil
  end
  prompt, completion = prompt or 0, completion or 0
  local cached = count(raw.cached_tokens)
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = { cached_tokens = cached and math.min(cached, prompt) },
    completion_tokens_details = { reasoning_tokens = count(counted.reasoning_tokens) },
    raw = raw,
  }
end


---Counts made here, for answers that bring none.
---@param prompt integer
---@param completion integer
---@return perilune.Usage
function M.estimate(prompt, completion)
  return {
    prompt_tokens = prompt,
    completion_tokens = completion,
    total_tokens = prompt + completion,
    prompt_tokens_details = {},
    completion_tokens_details = {},
    estimated = true,
  }
end


---The tokens of an answer in parts that do not overlap: `input`, `cache_read`, `cache_write` and `audio_input` are the prompt,
---`output` and `audio_output` the completion. Only `cache_write_1h` (within `cache_write`) and `reasoning` (within `output`)
---say more about another part. A part is never larger than what is left of its whole.
---@param usage perilune.Usage
---@return perilune.UsageBuckets
function M.buckets(usage)
  local read, written = usage.prompt_tokens_details or {}, usage.completion_tokens_details or {}
  local creation = table_or_empty(table_or_empty(usage.raw).cache_creation)
  local prompt, completion = usage.prompt_tokens, usage.completion_tokens
  local function take(value, from)
    return math.min(count(value) or 0, from)
  end
  local cache_read = take(read.cached_tokens, prompt)
  local cache_write = take(read.cache_write_tokens, prompt - cache_read)
  local audio_input = take(read.audio_tokens, prompt - cache_read - cache_write)
  local audio_output = take(written.audio_tokens, completion)
  local output = completion - audio_output
  return {
    input = prompt - cache_read - cache_write - audio_input,
    cache_read = cache_read,
    cache_write = cache_write,
    cache_write_1h = take(creation.ephemeral_1h_input_tokens, cache_write),
    audio_input = audio_input,
    output = output,
    reasoning = take(written.reasoning_tokens, output),
    audio_output = audio_output,
  }
end


---Lays later numbers over earlier ones, field by field; null never overwrites, and what has no name is no field. Neither
---table is changed.
---@param earlier table?
---@param later any
---@return table?
function M.overlay(earlier, later)
  if type(later) ~= "table" then
    return earlier
  end
  local merged = {}
  for key, value in pairs(earlier or {}) do
    merged[key] = value
  end
  for key, value in pairs(later) do
    if type(key) == "string" and (value ~= null or merged[key] == nil) then
      merged[key] = value
    end
  end
  return merged
end


local function add_numbers(into, numbers)
  for name, value in pairs(numbers) do
    if math.type(value) == "integer" then
      into[name] = (into[name] or 0) + value
    end
  end
end


---The usage of several answers together. `raw` and `cost` belong to one answer and are left out.
---@param sum perilune.Usage? what has been added up so far; changed in place
---@param usage perilune.Usage?
---@return perilune.Usage? sum
function M.add(sum, usage)
  if not usage then
    return sum
  end
  sum = sum or { prompt_tokens = 0, completion_tokens = 0, total_tokens = 0, prompt_tokens_details = {}, completion_tokens_details = {} }
  for _, name in ipairs { "prompt_tokens", "completion_tokens", "total_tokens" } do
    sum[name] = sum[name] + usage[name]
  end
  add_numbers(sum.prompt_tokens_details, usage.prompt_tokens_details or {})
  add_numbers(sum.completion_tokens_details, usage.completion_tokens_details or {})
  sum.estimated = sum.estimated or usage.estimated
  return sum
end


---@class perilune.Usage
---@field prompt_tokens integer everything read, cached parts included
---@field completion_tokens integer everything written, reasoning included
---@field total_tokens integer
---@field prompt_tokens_details table `cached_tokens?, cache_write_tokens?, audio_tokens?`
---@field completion_tokens_details table `reasoning_tokens?, audio_tokens?, accepted_…?, rejected_prediction_tokens?`
---@field estimated? boolean counted here, not reported by the provider
---@field service_tier? string the provider's word for how the request was served: "default", "flex", "priority"
---@field cost? integer nano-dollars, set by the meter where it is known
---@field raw? table the provider's object, unchanged

---@class perilune.UsageBuckets
---@field input integer read as text, not from a cache
---@field cache_read integer
---@field cache_write integer
---@field cache_write_1h integer of `cache_write`, what is kept for an hour
---@field audio_input integer
---@field output integer written as text, reasoning included
---@field reasoning integer of `output`
---@field audio_output integer

return M
