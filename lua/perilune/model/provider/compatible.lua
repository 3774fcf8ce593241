-- Vendors that speak chat.completions, as data: an address, the name of a key, a dialect. Adding one is adding a row.
-- Those that speak Responses too say so in `responses`, with the flags of that dialect; those that draw images or make
-- embeddings in `images` and `embeddings`, with the models that do and the flags of theirs.
local fireworks_media = require "perilune.model.provider.fireworks_media"
local openai_chat = require "perilune.model.provider.openai_chat"
local openai_media = require "perilune.model.provider.openai_media"
local openai_responses = require "perilune.model.provider.openai_responses"

local M = {}


-- A family of the vendor: what it says of it, laid over how the family works everywhere.
local function with_family(provider, name, said)
  if type(said) == "table" then
    local family = {}
    for _, from in ipairs { openai_media[name], said } do
      for field, value in pairs(from) do
        family[field] = value
      end
    end
    provider[name] = family
  end
end


---A provider out of data: the chat.completions format with a vendor's address and dialect.
---@param spec { name: string, base_url: string, key: string?, models: string[]?, quirks: table?, responses: table?, images: table?, embeddings: table? }
---@return perilune.Provider
function M.new(spec)
  local provider = {
    frame = openai_chat.frame, encode = openai_chat.encode, decoder = openai_chat.decoder, api = 1, default_api = "chat",
    catalogue = openai_media.catalogue,
  }
  for field, value in pairs(spec) do
    provider[field] = value
  end
  provider.known_quirks = openai_chat.known_quirks
  with_family(provider, "images", spec.images)
  with_family(provider, "embeddings", spec.embeddings)
  provider.responses = nil
  if type(spec.responses) == "table" then
    provider.apis = { responses = {
      frame = openai_responses.frame, encode = openai_responses.encode, decoder = openai_responses.decoder,
      known_quirks = openai_responses.known_quirks, quirks = spec.responses, default_api = "responses",
    } }
  end
  return provider
end


---The built-in vendors. Those without `key` are servers on this machine.
M.vendors = {
  {
    name = "groq", base_url = "https://api.groq.com/openai/v1", key = "GROQ_API_KEY",
    models = { "llama-3.3-70b-versatile", "llama-3.1-8b-instant", "openai/gpt-oss-120b", "openai/gpt-oss-20b" },
  },
  {
    name = "mistral", base_url = "https://api.mistral.ai/v1", key = "MISTRAL_API_KEY",
    models = { "mistral-small-latest", "mistral-medium-latest", "mistral-large-latest", "magistral-medium-latest" },
    quirks = {
      max_tokens_field = "max_tokens", no_stream_options = true, short_tool_call_ids = true, no_names = true,
      tool_choice_required = "any", rename = { seed = "random_seed" }, drop = { "user", "logprobs", "top_logprobs" },
    },
    embeddings = { models = { "mistral-embed" } },
  },
  {
    name = "deepseek", base_url = "https://api.deepseek.com", key = "DEEPSEEK_API_KEY",
    models = { "deepseek-chat", "deepseek-reasoner" },
    quirks = { max_tokens_field = "max_tokens", send_back_reasoning = "reasoning_content" },
    responses = {},
  },
  {
    name = "openrouter", base_url = "https://openrouter.ai/api/v1", key = "OPENROUTER_API_KEY",
    models = { "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "meta-llama/llama-3.3-70b-instruct" },
    quirks = { max_tokens_field = "max_tokens", reasoning_items = "reasoning_details" },
    responses = {}, embeddings = { models = {} },
  },
  {
    name = "xai", base_url = "https://api.x.ai/v1", key = "XAI_API_KEY",
    models = { "grok-4.3", "grok-4", "grok-3-mini" },
    responses = { encrypted_reasoning = true },
    images = { models = { "grok-imagine-image" }, quirks = { size = "ratio" } },
  },
  {
    name = "perplexity", base_url = "https://api.perplexity.ai", key = "PERPLEXITY_API_KEY",
    models = { "sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research" },
    quirks = {
      max_tokens_field = "max_tokens", no_stream_options = true, -- usage is in every chunk
      drop = { "n", "seed", "user", "logprobs", "top_logprobs", "metadata" },
    },
  },
  {
    name = "zai", base_url = "https://api.z.ai/api/paas/v4", key = "ZAI_API_KEY",
    models = { "glm-5.2", "glm-4.7", "glm-4.6", "glm-4.5-air" },
    quirks = {
      max_tokens_field = "max_tokens", tool_choices = { auto = true }, no_strict_tools = true,
      enable_thinking = "thinking", send_back_reasoning = "reasoning_content", rename = { user = "user_id" },
      drop = { "n", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "metadata" },
    },
    images = { models = { "glm-image", "cogview-4-250304" }, quirks = { no_response_format = true, one_each = true } },
  },
  {
    name = "moonshot", base_url = "https://api.moonshot.ai/v1", key = "MOONSHOT_API_KEY",
    models = { "kimi-k3", "kimi-k2.6", "kimi-k2.5" },
    quirks = {
      max_tokens_field = "max_completion_tokens", tool_choices = { auto = true, none = true }, no_strict_tools = true,
      enable_thinking = "thinking", send_back_reasoning = "reasoning_content",
      drop = { "seed", "user", "logprobs", "top_logprobs", "metadata" },
    },
  },
  {
    name = "together", base_url = "https://api.together.xyz/v1", key = "TOGETHER_API_KEY",
    models = { "openai/gpt-oss-120b", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "deepseek-ai/DeepSeek-V3.1" },
    quirks = { max_tokens_field = "max_tokens" },
    images = { models = { "black-forest-labs/FLUX.1-schnell" }, quirks = { size = "fields", data_word = "base64" } },
    embeddings = { models = { "intfloat/multilingual-e5-large-instruct" } },
  },
  {
    name = "fireworks", base_url = "https://api.fireworks.ai/inference/v1", key = "FIREWORKS_API_KEY",
    models = { "accounts/fireworks/models/gpt-oss-120b", "accounts/fireworks/models/deepseek-v3p2" },
    quirks = { max_tokens_field = "max_tokens" },
    images = fireworks_media.images, embeddings = { models = { "nomic-ai/nomic-embed-text-v1.5" } },
  },
  {
    name = "cerebras", base_url = "https://api.cerebras.ai/v1", key = "CEREBRAS_API_KEY",
    models = { "gpt-oss-120b", "llama-3.3-70b", "qwen-3-32b" },
    quirks = { max_tokens_field = "max_completion_tokens", drop = { "frequency_penalty", "presence_penalty", "metadata" } },
  },
  {
    name = "llamacpp", base_url = "http://127.0.0.1:8080/v1", models = {},
    quirks = { max_tokens_field = "max_tokens", enable_thinking = "chat_template_kwargs" },
    embeddings = { models = {} },
  },
  {
    name = "vllm", base_url = "http://127.0.0.1:8000/v1", models = {},
    quirks = { max_tokens_field = "max_tokens", enable_thinking = "chat_template_kwargs" },
    responses = {}, embeddings = { models = {} },
  },
  {
    name = "lmstudio", base_url = "http://127.0.0.1:1234/v1", models = {},
    quirks = { max_tokens_field = "max_tokens" },
    responses = {}, embeddings = { models = {} },
  },
}


return M
