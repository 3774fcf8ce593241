-- The kit's cases about what a provider sends: its fields, and `encode`, which is a pure function. Nothing is sent.
local errors = require "perilune.std.errors"
local json = require "perilune.json"

local M = {}

local MODEL = "kit-model"
local KEY = "kit-key-0123456789"
local BASE_URL = "http://127.0.0.1:9/kit"
local IMAGE = "a2l0LWltYWdl"

local weather = {
  name = "kit_weather", description = "kit-description",
  parameters = {
    type = "object", required = { "city" },
    properties = { city = { type = "string", description = "kit-parameter" } },
  },
}


-- A target at an address where nobody listens.
local function target_of(provider)
  return {
    provider = provider, name = provider.name, model = MODEL, base_url = BASE_URL .. "/v1", api_key = provider.key and KEY,
    headers = {}, quirks = provider.quirks,
  }
end


local function question(is_streamed)
  return { messages = { { role = "user", content = "kit-question" } }, stream = is_streamed }
end


-- A conversation in which a tool was called.
local function conversation()
  return {
    messages = {
      { role = "system", content = "kit-instructions" },
      { role = "user", content = "kit-question" },
      {
        role = "assistant", content = "kit-thought",
        tool_calls = { { id = "kitcall01", name = "kit_weather", arguments = '{"city":"kit-paris"}' } },
      },
      { role = "tool", tool_call_id = "kitcall01", name = "kit_weather", content = "kit-sunny" },
      { role = "user", content = "kit-follow-up" },
    },
    tools = { weather }, tool_choice = "auto", max_tokens = 7701, stream = true,
  }
end


-- The HTTP request; or nil, why there is none, and whether the provider says so itself.
local function encode(provider, request)
  local http, err = provider.encode(request, target_of(provider))
  if http == nil and errors.is(err) then
    return nil, "encode refuses: " .. err.message, true
  elseif type(http) ~= "table" then
    return nil, ("encode must return a table, or nil and an error object, not %s and %s"):format(type(http), type(err))
  end
  return http
end


local function missing(http, words)
  local sent, lost = http.url .. "\n" .. http.body, {}
  for _, word in ipairs(words) do
    if not sent:find(word, 1, true) then
      lost[#lost + 1] = word
    end
  end
  return #lost > 0 and "not in what is sent: " .. table.concat(lost, ", ") or nil
end


local function fields(provider)
  for position, model in ipairs(provider.models) do
    if type(model) ~= "string" then
      return "failed", ("models[%d] must be a string, not a %s"):format(position, type(model))
    end
  end
  if provider.key and not provider.key:find("^[A-Z_][A-Z0-9_]*$") then
    return "failed", ("key is the name of an environment variable (ACME_API_KEY), not '%s'"):format(provider.key)
  elseif provider.base_url and not provider.base_url:find("^https?://[^/%s]+") then
    return "failed", ("base_url must begin with http:// or https://, not '%s'"):format(provider.base_url)
  end
end


local function decoder(provider)
  local first, second = provider.decoder { status = 200 }, provider.decoder { status = 200 }
  if type(first) ~= "table" and type(first) ~= "userdata" then
    return "failed", "decoder must return an object, not " .. type(first)
  elseif first == second then
    return "failed", "decoder must return a new object for every answer"
  end
  for _, method in ipairs { "feed", "finish" } do
    if type(first[method]) ~= "function" then
      return "failed", ("its decoders have no method '%s'"):format(method)
    end
  end
end


local function address(provider)
  local http, why = encode(provider, question(true))
  if not http then
    return "failed", why
  end
  for _, field in ipairs { "method", "url", "body" } do
    if type(http[field]) ~= "string" then
      return "failed", ("'%s' must be a string, not %s"):format(field, type(http[field]))
    end
  end
  if http.url:find("[%s%c]") or not http.url:find("^https?://[^/]+/") then
    return "failed", "the address is not valid: " .. http.url
  elseif http.url:sub(1, #BASE_URL) ~= BASE_URL then
    return "failed", ("the address does not begin with the target's base_url: %s"):format(http.url)
  end
  for name, value in pairs(http.headers or {}) do
    if type(name) ~= "string" or type(value) ~= "string" or value:find("[\r\n]") then
      return "failed", ("the header '%s' must be a string without line ends"):format(tostring(name))
    end
  end
end


local function pure(provider)
  local texts = {}
  for round = 1, 2 do
    local request = conversation()
    local before = assert(json.encode(request))
    local http, why = encode(provider, request)
    if not http then
      return "failed", why
    elseif json.encode(request) ~= before then
      return "failed", "encode changes the request it is given"
    end
    texts[round] = assert(json.encode { http.method, http.url, http.headers or {}, http.body })
  end
  if texts[1] ~= texts[2] then
    return "failed", "the same request gives other bytes the second time"
  end
end


local function key(provider)
  if not provider.key then
    return "skipped", "it needs no key"
  end
  local http, why = encode(provider, question(true))
  if not http then
    return "failed", why
  elseif http.body:find(KEY, 1, true) then
    return "failed", "the key is in the body"
  end
  for _, value in pairs(http.headers or {}) do
    if value:find(KEY, 1, true) then
      return
    end
  end
  return "failed", http.url:find(KEY, 1, true) and "the key is in the address, which proxies and servers log"
    or "no header carries the key"
end


local function messages(provider)
  local request = conversation()
  request.tools, request.tool_choice = nil, nil
  request.messages = { request.messages[1], request.messages[2], { role = "assistant", content = "kit-thought" }, request.messages[5] }
  local http, why = encode(provider, request)
  if not http then
    return "failed", why
  end
  local problem = missing(http, { MODEL, "kit-instructions", "kit-question", "kit-thought", "kit-follow-up", "7701" })
  return problem and "failed", problem
end


local function tool_turn(provider)
  local http, why, is_refusal = encode(provider, conversation())
  if not http then
    return is_refusal and "skipped" or "failed", why
  end
  local problem = missing(http, { "kit_weather", "kit-description", "kit-parameter", "kit-paris", "kit-sunny" })
  return problem and "failed", problem
end


local function whole(provider)
  local sent = {}
  for position, is_streamed in ipairs { true, false } do
    local http, why = encode(provider, question(is_streamed))
    if not http then
      return "failed", why
    end
    sent[position] = assert(json.encode { http.url, http.headers or {}, http.body })
  end
  return sent[1] == sent[2] and "skipped", "both are asked for in the same way: right where the vendor knows only one"
end


-- Media that a format cannot carry are refused; they must not be lost silently.
local function media(provider)
  local http, err = provider.encode({ messages = { {
    role = "user",
    content = { { type = "text", text = "kit-question" }, { type = "image", data = IMAGE, media_type = "image/png" } },
  } } }, target_of(provider))
  if http then
    return missing(http, { IMAGE }) and "failed", "an image is neither sent nor refused"
  elseif not errors.is(err, "media") then
    return "failed", ("an image that cannot be sent is an error of kind 'media', not %s"):format(tostring(err))
  end
end


---The cases, in order; each is a function of the provider that returns a result and why, or nothing when it is right.
---@return { name: string, run: fun(provider: perilune.Provider): string?, string? }[]
function M.cases()
  return {
    { name = "fields", run = fields },
    { name = "a decoder for every answer", run = decoder },
    { name = "encode: address and headers", run = address },
    { name = "encode: same request, same bytes", run = pure },
    { name = "encode: the key stays in the headers", run = key },
    { name = "encode: messages and options", run = messages },
    { name = "encode: tools and their results", run = tool_turn },
    { name = "encode: streamed and whole", run = whole },
    { name = "encode: media are sent or refused", run = media },
  }
end


return M
