-- Providers of one's own from outside: files in folders, `perilune providers`, `perilune models`, the conformance kit.
local fs = require "perilune.sys.fs"
local has = require "tests.support.has"
local json = require "perilune.json"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"
local toy = require "tests.support.toy"

local KEY = "acme-key-0123456789"

local acme = [[
return require("perilune").provider.compatible {
  name = "acme", base_url = "http://127.0.0.1:9/v1", key = "ACME_API_KEY", models = { "acme-large" },
  quirks = { max_tokens_field = "max_completion_tokens" },
}
]]


-- A program whose folder has these files.
local function with(files, env)
  local program = programs.new(env)
  for name, text in pairs(files) do
    assert(fs.mkdir(program.folder .. "/" .. (name:match("^(.*)/") or ".")))
    program:file(name, text)
  end
  return program
end


local function by_name(rows, field)
  local found = {}
  for _, row in ipairs(rows) do
    found[row[field or "name"]] = row
  end
  return found
end


local function data_of(program, words)
  local result = program:run(words)
  return assert(json.decode(result.stdout), result.stderr), result
end


describe("provider files", function()
  it("are asked by the name they give, with the key and the dialect they say", function()
    local server <close> = replay.serve { replay.whole(replay.text "Hello from Acme.") }
    local program <close> = with({ ["providers/acme.lua"] = acme }, { ACME_API_KEY = KEY, ACME_BASE_URL = server.url .. "/v1" })
    local result = program:run { "ask", "--model", "acme/acme-large", "--max-tokens", "9", "Hello" }
    assert.are.same({ 0, "", "Hello from Acme.\n" }, { result.status, result.stderr, result.stdout })
    local seen = server.requests[1]
    assert.are.equal("/v1/chat/completions", seen.path)
    assert.are.equal("Bearer " .. KEY, seen.headers.authorization)
    assert.are.equal(9, seen.body.max_completion_tokens)
  end)

  it("are found in the user's configuration folder, and by the bare name of a model", function()
    local server <close> = replay.serve { replay.whole(replay.text "Hello.") }
    local program <close> = with({ [".config/perilune/providers/acme.lua"] = acme }, {
      ACME_API_KEY = KEY, ACME_BASE_URL = server.url,
    })
    local result = program:run { "ask", "--model", "acme-large", "Hello" }
    assert.are.same({ 0, "Hello.\n" }, { result.status, result.stdout }, result.stderr)
  end)

  it("that are broken are told of once, and stop nothing", function()
    local program <close> = with { ["providers/bad.lua"] = "return nothing.at_all", ["providers/worse.lua"] = "return = 1" }
    local result = program:run { "run", "-e", [[
      local perilune = require "perilune"
      local client = perilune.client()
      local answers = perilune.gather {
        function() return client:chat("one").provider end, function() return client:chat("two").provider end,
      }
      print(table.concat(answers, " "))
    ]] }
    assert.are.same({ 0, "offline offline\n" }, { result.status, result.stdout }, result.stderr)
    assert.are.equal(2, select(2, result.stderr:gsub("\n", "\n")))
    has(result.stderr, "providers/bad.lua is skipped: line 1: ")
    has(result.stderr, "providers/worse.lua is skipped: line 1: unexpected symbol near '='")
  end)
end)


describe("perilune providers", function()
  local files = {
    ["providers/acme.lua"] = acme, ["providers/bad.lua"] = "return nothing.at_all",
    [".config/perilune/providers/gateway.lua"] = [[
      return require("perilune").provider.extend("openai", { name = "gateway", base_url = "http://me:secret@127.0.0.1:9" })
    ]],
  }

  it("says of every provider what is configured and where it comes from, and of broken files why", function()
    local program <close> = with(files, { ACME_API_KEY = KEY })
    local data, result = data_of(program, { "providers", "--json" })
    assert.are.same({ 0, "" }, { result.status, result.stderr })
    local rows = by_name(data.providers)
    assert.are.same({
      name = "acme", kinds = { "chat" }, apis = { "chat" }, base_url = "http://127.0.0.1:9/v1", key = "ACME_API_KEY",
      is_key_set = true, models = { "acme-large" }, source = "providers/acme.lua",
    }, rows.acme)
    assert.are.equal("http://127.0.0.1:9", rows.gateway.base_url)
    assert.is_nil(rows.gateway.key)
    assert.are.equal(program.folder .. "/.config/perilune/providers/gateway.lua", rows.gateway.source)
    assert.are.same({ "chat", "responses" }, rows.openai.apis)
    assert.is_false(rows.openai.is_key_set)
    assert.are.equal("built in", rows.offline.source)
    assert.are.equal(1, #data.broken)
    assert.are.equal("providers/bad.lua", data.broken[1].file)
    has(data.broken[1].error, "line 1: ")
  end)

  it("prints a table, what was skipped on standard error, and never a key", function()
    local program <close> = with(files, { ACME_API_KEY = KEY })
    local result = program:run { "providers" }
    assert.are.equal(0, result.status)
    assert.is_truthy(result.stdout:find("acme +chat +http://127.0.0.1:9/v1 +ACME_API_KEY %(set%) +1 +providers/acme.lua"))
    assert.is_truthy(result.stdout:find("openai +chat, responses +https://api.openai.com/v1 +OPENAI_API_KEY %(not set%)"))
    has(result.stderr, "skipped: providers/bad.lua: line 1: ")
    for _, text in ipairs { result.stdout, result.stderr, program:run({ "providers", "--json" }).stdout } do
      assert.is_nil(text:find(KEY, 1, true))
      assert.is_nil(text:find("secret", 1, true))
    end
  end)

  it("--health says who answers, who does not, and why", function()
    local lists = replay.reply(200, { object = "list", data = { { id = "a" }, { id = "b" } } })
    local server <close> = replay.serve { openai = lists, groq = replay.reply(401, { error = { message = "wrong key" } }) }
    local program <close> = with({}, {
      OPENAI_API_KEY = KEY, OPENAI_BASE_URL = server.url .. "/openai", GROQ_API_KEY = KEY, GROQ_BASE_URL = server.url .. "/groq",
      OLLAMA_BASE_URL = replay.closed_port(),
    })
    local data, result = data_of(program, { "providers", "--health", "--json" })
    assert.are.equal(1, result.status) -- groq has a key and does not answer
    local rows = by_name(data.providers, "provider")
    assert.are.same({ "ok", 2 }, { rows.openai.state, rows.openai.models })
    assert.are.equal("failed", rows.groq.state)
    has(rows.groq.error, "wrong key")
    has(rows.ollama.error, "connection: ")
    assert.are.same({ "no key", "MISTRAL_API_KEY is not set" }, { rows.mistral.state, rows.mistral.error })
    assert.are.equal("ok", rows.offline.state)
    has(program:run({ "providers", "--health" }).stdout, "groq")
  end)

  it("is there for scripts, with filters", function()
    local program <close> = with(files)
    local result = program:run { "run", "-e", [[
      local perilune = require "perilune"
      local all, free = perilune.providers(), perilune.providers { kind = "chat", free = true }
      local names = {}
      for _, row in ipairs(free) do
        names[row.name] = true
        assert(row.key == nil)
      end
      print(#all > #free, names.gateway, names.offline, names.ollama, names.acme, names.openai)
    ]] }
    assert.are.same({ 0, "true\ttrue\ttrue\ttrue\tnil\tnil\n" }, { result.status, result.stdout }, result.stderr)
  end)

  it("knows no other subcommand", function()
    local program <close> = programs.new()
    local result = program:run { "providers", "tset", "x.lua" }
    assert.are.same({ 2, "" }, { result.status, result.stdout })
    has(result.stderr, "'tset' is not a subcommand, did you mean 'test'?")
    assert.are.equal(2, program:run({ "providers", "test" }).status)
  end)
end)


describe("perilune providers test", function()
  it("passes a vendor that is data, without recordings, a key or a network", function()
    local program <close> = with { ["acme.lua"] = acme }
    local data, result = data_of(program, { "providers", "test", "acme.lua", "--json" })
    assert.are.same({ 0, "" }, { result.status, result.stderr })
    assert.are.same({ "acme", 0, 0 }, { data.provider, data.failed, data.skipped })
    assert.are.equal(#data.results, data.passed)
    assert.are.equal("load", data.results[1].case)
  end)

  it("prints why a case fails, and exits with 1", function()
    local program <close> = with { ["acme.lua"] = acme:gsub("return (.*)}%s*$", [[
      local made = %1}
      local encode = made.encode
      made.encode = function(request, target)
        local http = encode(request, target)
        http.body = http.body:gsub("}$", ',"key":"' .. (target.api_key or "") .. '"}')
        return http
      end
      return made]]) }
    local result = program:run { "providers", "test", "acme.lua" }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stdout:find("encode: the key stays in the headers +failed +the key is in the body"))
    assert.is_truthy(result.stdout:find("parallel tools +passed"))
    has(result.stderr, "1 failed")
  end)

  it("says what is wrong with a file that does not load", function()
    local program <close> = with { ["acme.lua"] = acme:gsub("quirks", "quirk") }
    local result = program:run { "providers", "test", "acme.lua" }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stdout:find("load +failed +provider acme: unknown field 'quirk', did you mean 'quirks'?"))
  end)

  it("reads recordings of a wire format of one's own", function()
    local program <close> = with { ["toy.lua"] = [[
      package.path = ]] .. ("%q"):format(programs.path "?.lua") .. [[ .. ";" .. package.path
      return require("perilune").provider.new(require("tests.support.toy").spec())
    ]] }
    toy.record(program.folder .. "/recordings")
    local data, result = data_of(program, { "providers", "test", "toy.lua", "--fixtures", "recordings", "--json" })
    assert.are.same({ 0, 0, 0 }, { result.status, data.failed, data.skipped }, result.stdout)
    assert.are.equal("passed", by_name(data.results, "case")["errors/tired"].result)
    program:file("recordings/text/expect.json", '{"text":"something else","finish_reason":"full stop"}')
    data, result = data_of(program, { "providers", "test", "toy.lua", "--fixtures", "recordings", "--case", "text", "--json" })
    assert.are.equal(1, result.status)
    has(data.results[2].why, 'text: expected "something else", got "Grüße 🌙"')
  end)

  it("sends one small request with --live, when the key is set", function()
    local server <close> = replay.serve { replay.whole(replay.text "OK") }
    local program <close> = with({ ["acme.lua"] = acme }, { ACME_BASE_URL = server.url })
    local words = { "providers", "test", "acme.lua", "--live", "--case", "live", "--json" }
    local row = data_of(program, words).results[2]
    assert.are.same({ case = "live", result = "skipped", why = "ACME_API_KEY is not set" }, row)
    assert.are.equal(0, #server.requests)
    program.env.ACME_API_KEY = KEY
    assert.are.same({ case = "live", result = "passed" }, data_of(program, words).results[2])
    assert.are.equal(1, #server.requests)
    assert.are.equal("acme-large", server.requests[1].body.model)
  end)

  it("says what the vendor answered to --live, without the key", function()
    local refusal = { error = { message = "Incorrect API key: " .. KEY, code = "invalid_api_key" } }
    local server <close> = replay.serve { replay.reply(401, refusal) }
    local program <close> = with({ ["acme.lua"] = acme }, { ACME_BASE_URL = server.url, ACME_API_KEY = KEY })
    local data, result = data_of(program, { "providers", "test", "acme.lua", "--live", "--case", "live", "--json" })
    assert.are.same({ 1, "authentication: Incorrect API key: [redacted]" }, { result.status, data.results[2].why })
  end)

  it("tests a known provider by its name, in the wire format that is asked for", function()
    local program <close> = programs.new()
    local data = data_of(program, { "providers", "test", "ollama", "--api", "chat", "--json" })
    assert.are.same({ "ollama", 0 }, { data.provider, data.failed })
    data = data_of(program, { "providers", "test", "ollama", "--api", "chatt", "--json" })
    has(data.results[1].why, "there is no api 'chatt'; it has chat, native")
  end)
end)


describe("perilune models", function()
  it("lists the models of every provider with the prices that are known", function()
    local program <close> = with { ["providers/acme.lua"] = acme }
    local rows = by_name(data_of(program, { "models", "--json" }), "model")
    assert.are.equal("acme", rows["acme-large"].provider)
    assert.is_nil(rows["acme-large"].price)
    local price = rows["gpt-4o-mini"].price
    assert.are.same({ 150000000, 75000000, 600000000 }, { price.input, price.cached, price.output })
    assert.is_truthy(price.date:find("^%d%d%d%d%-%d%d%-%d%d$"))
    assert.are.equal(0, rows.demo.price.output)
  end)

  it("prints dollars, and a dash for what is not known", function()
    local program <close> = with { ["providers/acme.lua"] = acme }
    local shown = program:run({ "models" }).stdout
    assert.is_truthy(shown:find("openai +gpt%-4o%-mini +%$0%.15 +%$0%.075 +%$0%.60 +%d"))
    assert.is_truthy(shown:find("acme +acme%-large +%- +%- +%- +%-\n"))
  end)

  it("lists those of one provider, whatever the case of its name", function()
    local program <close> = programs.new()
    for _, row in ipairs(data_of(program, { "models", "--provider", "Groq", "--json" })) do
      assert.are.equal("groq", row.provider)
    end
    local result = program:run { "models", "--provider", "groc" }
    assert.are.same({ 2, "" }, { result.status, result.stdout })
    has(result.stderr, "there is no provider 'groc', did you mean 'groq'?")
    assert.are.equal("[]\n", program:run({ "models", "--provider", "lmstudio", "--json" }).stdout)
  end)
end)
