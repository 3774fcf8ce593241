-- The registry of providers: what is known, by name, and the contract every provider must keep. It holds data only:
-- keys are names of environment variables, read elsewhere; which provider is used is decided elsewhere.
local anthropic = require "perilune.model.provider.anthropic"
local anthropic_media = require "perilune.model.provider.anthropic_media"
local azure = require "perilune.model.provider.azure"
local azure_responses = require "perilune.model.provider.azure_responses"
local cohere = require "perilune.model.provider.cohere"
local cohere_media = require "perilune.model.provider.cohere_media"
local compatible = require "perilune.model.provider.compatible"
local families = require "perilune.model.provider.families"
local gemini = require "perilune.model.provider.gemini"
local gemini_media = require "perilune.model.provider.gemini_media"
local ollama = require "perilune.model.provider.ollama"
local ollama_media = require "perilune.model.provider.ollama_media"
local shape = require "perilune.model.shape"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}

---The version of the contract.
M.API = 1

local fields = {
  name = "string", api = "number", frame = "string", encode = "function", decoder = "function", base_url = "string",
  key = "string", models = "table", quirks = "table", known_quirks = "table", images = "table", embeddings = "table",
  catalogue = "table", default_api = "string", apis = "table",
}

-- What the other wire formats of a vendor take from the first one when they do not say it themselves.
local inherited = { "name", "base_url", "key", "models" }

local needed = { "name", "frame", "encode", "decoder" }

local frames = { sse = true, lines = true, json = true, bytes = true }

-- Names that belong to models without HTTP.
local reserved = { offline = true, auto = true }

local by_name, order = {}, {}


-- Wrong fields, wrong types, missing fields.
local function check_fields(where, spec)
  local is_right, err = shape.check_known(where, "field", spec, fields)
  if not is_right then
    return nil, err
  end
  for _, field in ipairs(tables.sorted_keys(spec)) do
    local expected = fields[field]
    if type(spec[field]) ~= expected then
      return shape.refuse(where, "field '%s' must be a %s, not a %s", field, expected, type(spec[field]))
    end
  end
  for _, field in ipairs(needed) do
    if spec[field] == nil then
      return shape.refuse(where, "field '%s' is missing", field)
    end
  end
  return true
end


-- The other wire formats of a vendor, by the name that people type (`api = "chat"`): each becomes a provider of its own.
local function make_apis(where, spec)
  local apis = {}
  for _, api in ipairs(tables.sorted_keys(spec.apis or {})) do
    if type(spec.apis[api]) ~= "table" then
      return shape.refuse(where, "api '%s' must be a table, not a %s", api, type(spec.apis[api]))
    end
    local other = {}
    for _, field in ipairs(inherited) do
      other[field] = spec[field]
    end
    for field, value in pairs(spec.apis[api]) do
      other[field] = value
    end
    local provider, err = M.new(other)
    if not provider then
      return nil, err
    end
    apis[api] = provider
  end
  return apis
end


---Checks a provider against the contract; returns it, with what may be left out filled in.
---@param spec table
---@return perilune.Provider?
---@return perilune.Error?
function M.new(spec)
  local where = "provider " .. tostring(type(spec) == "table" and spec.name or "?")
  if type(spec) ~= "table" then
    return shape.refuse(where, "must be a table, not a %s", type(spec))
  end
  local is_right, err = check_fields(where, spec)
  if not is_right then
    return nil, err
  end
  if not spec.name:find("^[a-z][a-z0-9_-]*$") then
    return shape.refuse(where, "a name is lower-case letters, digits, '-' and '_'")
  elseif not frames[spec.frame] then
    return shape.refuse(where, "frame must be one of bytes, json, lines, sse, not '%s'", spec.frame)
  elseif (spec.api or M.API) ~= M.API then
    return shape.refuse(where, "made for version %s of the provider contract; this host has %d", spec.api, M.API)
  end
  if spec.known_quirks then
    is_right, err = shape.check_known(where, "quirk", spec.quirks or {}, spec.known_quirks)
    if not is_right then
      return nil, err
    end
  end
  is_right, err = families.check(where, spec)
  if not is_right then
    return nil, err
  end
  local apis
  apis, err = make_apis(where, spec)
  if not apis then
    return nil, err
  end
  local provider = { api = M.API, models = {}, quirks = {} }
  for field, value in pairs(spec) do
    provider[field] = value
  end
  provider.apis = apis
  return provider
end


---A provider of the chat.completions family, out of data alone (scripts: `perilune.provider.compatible`).
---@param spec table `name, base_url, key?, models?, quirks?`
---@return perilune.Provider?
---@return perilune.Error?
function M.compatible(spec)
  if type(spec) == "table" and type(spec.base_url) ~= "string" then
    return shape.refuse("provider " .. tostring(spec.name), "field 'base_url' is missing")
  end
  return M.new(type(spec) == "table" and compatible.new(spec) or spec)
end


-- The wire formats of a vendor without what they took from the first one.
local function own_apis(base)
  local apis = {}
  for api, other in pairs(base.apis) do
    local spec = {}
    for field in pairs(fields) do
      spec[field] = other[field]
    end
    for _, field in ipairs(inherited) do
      if spec[field] == base[field] then
        spec[field] = nil
      end
    end
    apis[api] = spec
  end
  return apis
end


---A provider like a known one, with other fields: `quirks` are added to those it has, every other field replaces. A name
---must be given. A key belongs to an address: with a new `base_url` the old key is not sent, unless `key` says so.
---@param name string the known provider
---@param changes table fields of a provider
---@return perilune.Provider?
---@return perilune.Error?
function M.extend(name, changes)
  local base = type(name) == "string" and by_name[name:lower()]
  if not base then
    local nearest = type(name) == "string" and text.suggest(name, tables.sorted_keys(by_name))
    return shape.refuse("provider.extend", "there is no provider '%s'%s", tostring(name),
      nearest and (", did you mean '" .. nearest .. "'?") or "")
  elseif type(changes) ~= "table" then
    return shape.refuse("provider.extend", "the changes must be a table, not a %s", type(changes))
  end
  local spec = {}
  for field in pairs(fields) do
    spec[field] = base[field]
  end
  spec.apis, spec.name = own_apis(base), nil
  if changes.base_url then
    spec.key = nil
  end
  for field, value in pairs(changes) do
    spec[field] = value
  end
  if type(changes.quirks) == "table" then
    spec.quirks = {}
    for _, from in ipairs { base.quirks, changes.quirks } do
      for quirk, value in pairs(from) do
        spec.quirks[quirk] = value
      end
    end
  end
  return M.new(spec)
end


---Makes a provider known. A name can be taken once; only the same file, read again, replaces what it gave before.
---@param spec table a provider
---@param source? string where it comes from: "built in" or a file
---@return perilune.Provider?
---@return perilune.Error?
function M.register(spec, source)
  local provider, err = M.new(spec)
  if not provider then
    return nil, err
  end
  local known = by_name[provider.name]
  if reserved[provider.name] then
    return shape.refuse("provider " .. provider.name, "this name is taken (built in)")
  elseif known and not (source and known.source == source) then
    return shape.refuse("provider " .. provider.name, "this name is taken (%s)", known.source)
  end
  provider.source = source or "a script"
  by_name[provider.name] = provider
  for position, other in ipairs(order) do
    if other == known then
      order[position] = provider
      return provider
    end
  end
  order[#order + 1] = provider
  return provider
end


---The provider of that name; case does not matter.
---@param name string
---@return perilune.Provider?
function M.get(name)
  return by_name[name:lower()]
end


---All providers, in the order they became known.
---@return perilune.Provider[]
function M.list()
  return table.move(order, 1, #order, 1, {})
end


-- The wire format that was asked for by name; without a name the vendor's first one.
local function choose_api(provider, api)
  if not api or api == provider.default_api then
    return provider
  elseif provider.apis[api] then
    return provider.apis[api]
  end
  local known = tables.sorted_keys(provider.apis)
  known[#known + 1] = provider.default_api
  local list = #known > 0 and "it has " .. table.concat(known, ", ") or "it has one wire format"
  return shape.refuse("provider " .. provider.name, "there is no api '%s'; %s", tostring(api), list)
end


---Something that can be called: a provider with a model, a key and an address. Data only.
---@param provider perilune.Provider
---@param options { model: string, api: string?, api_key: string?, base_url: string?, headers: table?, quirks: table? }
---@return perilune.Target?
---@return perilune.Error?
function M.target(provider, options)
  local err
  provider, err = choose_api(provider, options.api)
  if not provider then
    return nil, err
  end
  local quirks = {}
  for _, from in ipairs { provider.quirks, options.quirks or {} } do
    for quirk, value in pairs(from) do
      quirks[quirk] = value
    end
  end
  return {
    provider = provider,
    name = provider.name,
    model = options.model,
    base_url = options.base_url or provider.base_url,
    api_key = options.api_key,
    headers = options.headers or {},
    quirks = quirks,
  }
end


local builtin = {
  compatible.new {
    name = "openai", base_url = "https://api.openai.com/v1", key = "OPENAI_API_KEY",
    quirks = { system_role = "developer", openai_models = true },
    responses = { system_role = "developer", openai_models = true },
    images = { models = { "gpt-image-1", "gpt-image-1-mini" } },
    embeddings = { models = { "text-embedding-3-small", "text-embedding-3-large" } },
    models = {
      "gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5", "gpt-5-mini", "gpt-5-nano",
      "gpt-5.4", "gpt-5.4-mini", "o4-mini", "o3",
    },
  },
  {
    name = "anthropic", base_url = "https://api.anthropic.com", key = "ANTHROPIC_API_KEY",
    frame = anthropic.frame, encode = anthropic.encode, decoder = anthropic.decoder,
    known_quirks = anthropic.known_quirks, default_api = "messages", catalogue = anthropic_media.catalogue,
    models = {
      "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-5", "claude-opus-5",
      "claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5",
    },
  },
  {
    name = "azure", key = "AZURE_OPENAI_API_KEY", -- its address is the user's own: AZURE_BASE_URL
    frame = azure.frame, encode = azure.encode, decoder = azure.decoder, default_api = "chat",
    known_quirks = azure.known_quirks, quirks = { system_role = "developer", openai_models = true },
    apis = { responses = azure_responses },
  },
  {
    name = "gemini", base_url = "https://generativelanguage.googleapis.com/v1beta", key = "GEMINI_API_KEY",
    frame = gemini.frame, encode = gemini.encode, decoder = gemini.decoder, default_api = "native",
    known_quirks = gemini.known_quirks,
    images = gemini_media.images, embeddings = gemini_media.embeddings, catalogue = gemini_media.catalogue,
    models = {
      "gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-3-flash-preview", "gemini-3.1-pro-preview",
      "gemini-3.5-flash",
    },
  },
  {
    name = "vertex", key = "VERTEX_ACCESS_TOKEN", -- its address has a project and a region: VERTEX_BASE_URL, or two quirks
    frame = gemini.frame, encode = gemini.encode, decoder = gemini.decoder, default_api = "native",
    known_quirks = gemini.known_quirks, quirks = { bearer = true },
  },
  {
    name = "cohere", base_url = "https://api.cohere.com/v2", key = "COHERE_API_KEY",
    frame = cohere.frame, encode = cohere.encode, decoder = cohere.decoder, default_api = "native",
    known_quirks = cohere.known_quirks, embeddings = cohere_media.embeddings, catalogue = cohere_media.catalogue,
    models = { "command-a-plus-05-2026", "command-a-03-2025", "command-r7b-12-2024" },
  },
  {
    name = "ollama", base_url = "http://127.0.0.1:11434",
    frame = ollama.frame, encode = ollama.encode, decoder = ollama.decoder, default_api = "native",
    known_quirks = ollama.known_quirks, quirks = { num_ctx = 8192 }, apis = { chat = ollama.chat },
    embeddings = ollama_media.embeddings, catalogue = ollama_media.catalogue,
  },
}

for _, spec in ipairs(compatible.vendors) do
  builtin[#builtin + 1] = compatible.new(spec)
end

for _, spec in ipairs(builtin) do
  assert(M.register(spec, "built in"))
end


---@class perilune.Provider
---@field name string lower case, unique
---@field frame "sse"|"lines"|"json"|"bytes" how the body is cut
---@field encode fun(request: perilune.Request, target: perilune.Target): perilune.HttpRequest?, perilune.Error?
---@field decoder fun(options: table?): perilune.Decoder a new object per answer
---@field base_url? string
---@field key? string name of the environment variable that holds the key; nil when none is needed
---@field models string[] a few known ids
---@field quirks table flags of the vendor's dialect
---@field known_quirks? table<string, string> the flags there are; others are refused
---@field default_api? string what people call this wire format: "chat", "messages", "native"
---@field apis table<string, perilune.Provider> the vendor's other wire formats, by name
---@field images? perilune.ImageFamily
---@field embeddings? perilune.EmbeddingFamily
---@field catalogue? perilune.CatalogueFamily the list of its models
---@field source? string where a registered one comes from: "built in", a file, "a script"

---@class perilune.Decoder
---@field feed fun(self: perilune.Decoder, data: string, event_name: string?): table[]
---@field finish fun(self: perilune.Decoder): table[]

---@class perilune.Target
---@field provider perilune.Provider
---@field name string
---@field model string
---@field base_url string
---@field api_key? string
---@field headers table<string, string>
---@field quirks table

---@class perilune.HttpRequest
---@field method string
---@field url string
---@field headers table<string, string>
---@field body string

return M
