-- Compares a collected Response with the normalised truth of a recording (expect.json), field by field, with rules
-- and no exceptions: null, absent and (for texts and lists) empty mean the same. For the wire formats that it knows the
-- provider's own count is compared name by name; for any other the canonical one is (`total_tokens` only where it is said).
local json = require "perilune.json"
local tables = require "perilune.std.tables"

local M = {}

-- How the truth's names of counts are called by the provider; the first one that is there counts. The truth does not
-- know cache_write_tokens of chat.completions and responses; `usage_raw` covers it.
local raw_names = {
  ["chat.completions"] = {
    input_tokens = { "prompt_tokens" },
    output_tokens = { "completion_tokens" },
    total_tokens = { "total_tokens" },
    cached_tokens = { "prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens" },
    reasoning_tokens = { "completion_tokens_details.reasoning_tokens" },
  },
  ["anthropic.messages"] = {
    input_tokens = { "input_tokens" },
    output_tokens = { "output_tokens" },
    cached_tokens = { "cache_read_input_tokens" },
    cache_write_tokens = { "cache_creation_input_tokens" },
    reasoning_tokens = { "output_tokens_details.thinking_tokens" },
  },
  ["ollama.chat"] = {
    input_tokens = { "prompt_eval_count" },
    output_tokens = { "eval_count" },
  },
  ["cohere.chat"] = {
    input_tokens = { "tokens.input_tokens" },
    output_tokens = { "tokens.output_tokens" },
    cached_tokens = { "cached_tokens" },
    reasoning_tokens = { "tokens.reasoning_tokens" },
  },
  ["responses"] = {
    input_tokens = { "input_tokens" },
    output_tokens = { "output_tokens" },
    total_tokens = { "total_tokens" },
    cached_tokens = { "input_tokens_details.cached_tokens" },
    reasoning_tokens = { "output_tokens_details.reasoning_tokens" },
  },
  ["gemini.generateContent"] = {
    input_tokens = { "promptTokenCount" },
    output_tokens = { "candidatesTokenCount" },
    total_tokens = { "totalTokenCount" },
    cached_tokens = { "cachedContentTokenCount" },
    reasoning_tokens = { "thoughtsTokenCount" },
  },
}
raw_names["gemini.streamGenerateContent"] = raw_names["gemini.generateContent"]
raw_names["openai.vector_stores"] = raw_names["chat.completions"]

-- Items that are not server items: they are content kept for the way back.
local is_content = {
  text = true, thinking = true, tool_use = true,
  ["reasoning.text"] = true, ["reasoning.summary"] = true, ["reasoning.encrypted"] = true,
  tool_plan = true, citation = true,
  message = true, reasoning = true, function_call = true, custom_tool_call = true,
  functionCall = true, inlineData = true, groundingMetadata = true, urlContextMetadata = true, citationMetadata = true,
}


local function said(value)
  if value ~= json.null then
    return value
  end
end


local function show(value)
  return value == nil and "nothing" or (json.encode(value) or tostring(value))
end


local function differ(differences, field, expected, actual)
  if show(expected) ~= show(actual) then
    differences[#differences + 1] = ("%s: expected %s, got %s"):format(field, show(expected), show(actual))
  end
end


local function at_path(value, path)
  for name in path:gmatch("[^.]+") do
    value = type(value) == "table" and said(value[name]) or nil
  end
  return value
end


local function raw_count(raw, names)
  for _, name in ipairs(names) do
    local value = at_path(raw, name)
    if value ~= nil then
      return value
    end
  end
end


local function compare_calls(differences, response, expected)
  differ(differences, "number of tool calls", #expected, #response.tool_calls)
  for position, call in ipairs(expected) do
    local got, where = response.tool_calls[position] or {}, "tool call " .. position
    if said(call.id) then
      differ(differences, where .. " id", call.id, got.id)
    else -- the provider gave none: we make one
      differ(differences, where .. " has an id", true, (got.id or "") ~= "")
    end
    differ(differences, where .. " name", call.name, got.name)
    if call.custom then -- its input is plain text: it becomes an object
      differ(differences, where .. " arguments", { input = call.input }, (json.decode(got.arguments or "")))
    elseif call.arguments_raw then
      differ(differences, where .. " arguments", call.arguments_raw, got.arguments)
    else
      differ(differences, where .. " arguments", call.arguments, (json.decode(got.arguments or "")))
    end
  end
end


-- The canonical numbers must follow from the provider's own by the rule of docs/model.md.
local function compare_canonical(differences, usage, expected, api)
  local input, output = expected.input_tokens or 0, expected.output_tokens or 0
  local cached, reasoning = expected.cached_tokens, expected.reasoning_tokens
  if api == "anthropic.messages" then
    input = input + (cached or 0) + (expected.cache_write_tokens or 0)
  elseif api:find("^gemini") then
    input, output = input + (usage.raw.toolUsePromptTokenCount or 0), output + (reasoning or 0)
    differ(differences, "usage.raw total", expected.total_tokens, input + output)
  elseif reasoning and reasoning > 0 and expected.total_tokens == input + output + reasoning then
    output = output + reasoning
  end
  differ(differences, "usage.prompt_tokens", input, usage.prompt_tokens)
  differ(differences, "usage.completion_tokens", output, usage.completion_tokens)
  differ(differences, "usage.total_tokens", input + output, usage.total_tokens)
  differ(differences, "usage cached", cached and math.min(cached, input), usage.prompt_tokens_details.cached_tokens)
  differ(differences, "usage reasoning", reasoning, usage.completion_tokens_details.reasoning_tokens)
end


-- The usage of a wire format of somebody's own: the truth says it in canonical numbers.
local function compare_plain(differences, usage, expected)
  differ(differences, "usage.prompt_tokens", expected.input_tokens, usage.prompt_tokens)
  differ(differences, "usage.completion_tokens", expected.output_tokens, usage.completion_tokens)
  differ(differences, "usage.total_tokens", said(expected.total_tokens) or usage.total_tokens, usage.total_tokens)
  differ(differences, "usage cached", said(expected.cached_tokens), (usage.prompt_tokens_details or {}).cached_tokens)
  differ(differences, "usage reasoning", said(expected.reasoning_tokens),
    (usage.completion_tokens_details or {}).reasoning_tokens)
end


local function compare_usage(differences, response, expect, api)
  local expected, usage = said(expect.usage), response.usage
  if not expected or not usage then
    differ(differences, "has usage", expected ~= nil, usage ~= nil)
    return
  elseif not raw_names[api] then
    return compare_plain(differences, usage, expected)
  end
  differ(differences, "usage.raw", expect.usage_raw, usage.raw)
  for name, names in pairs(raw_names[api]) do
    differ(differences, "usage.raw " .. name, expected[name], raw_count(usage.raw, names))
  end
  compare_canonical(differences, usage, expected, api)
end


-- A prompt that was blocked has no answer: for us that is an error, with the provider's word as its code.
local function compare_blocked(differences, err, reason)
  differ(differences, "error.kind", "content_filter", err and err.kind)
  differ(differences, "error.code", reason, err and err.code)
end


local function compare_error(differences, response, expect)
  local expected, err = said(expect.error), response.error
  if said(expect.block_reason) then
    return compare_blocked(differences, err, expect.block_reason)
  end
  if not expected or not err then
    differ(differences, "has an error", expected ~= nil, err ~= nil)
    return
  end
  for _, field in ipairs { "status", "type", "code", "message" } do
    differ(differences, "error." .. field, said(expected[field]), err[field])
  end
end


-- A part of Gemini's has no type: the field that is not said of every part tells.
local function part_kind(part)
  for _, name in ipairs(tables.sorted_keys(part)) do
    if name ~= "text" and name ~= "thought" and name ~= "thoughtSignature" then
      return name
    end
  end
end


local function server_items(response)
  local types = {}
  for _, item in ipairs(response.provider_items and response.provider_items.items or {}) do
    local kind = item.type or part_kind(item)
    if kind and not is_content[kind] then
      types[#types + 1] = kind
    end
  end
  return types
end


local function tool_plan(response)
  for _, item in ipairs(response.provider_items and response.provider_items.items or {}) do
    if item.type == "tool_plan" then
      return item.tool_plan
    end
  end
end


---Compares; an empty list means that everything is as it should be.
---@param response perilune.Response
---@param expect table expect.json
---@param api? string the wire format, as the recordings call it: "chat.completions", "anthropic.messages", ...
---@return string[] differences
function M.compare(response, expect, api)
  local differences = {}
  differ(differences, "text", said(expect.text) or "", response.content)
  differ(differences, "reasoning", said(expect.reasoning) or nil, response.reasoning)
  differ(differences, "refusal", said(expect.refusal), response.refusal)
  differ(differences, "finish_reason", said(expect.finish_reason), response.finish_reason_raw)
  differ(differences, "model", said(expect.model), response.model)
  differ(differences, "stop_sequence", said(expect.stop_sequence), response.stop_sequence)
  local details = response.stop_details or {}
  differ(differences, "incomplete_reason", said(expect.incomplete_reason), details.reason)
  differ(differences, "finish_message", said(expect.finish_message), details.message)
  differ(differences, "tool_plan", said(expect.tool_plan), tool_plan(response))
  differ(differences, "server items", said(expect.server_items) or {}, server_items(response))
  compare_calls(differences, response, said(expect.tool_calls) or {})
  compare_usage(differences, response, expect, api)
  compare_error(differences, response, expect)
  table.sort(differences)
  return differences
end


return M
