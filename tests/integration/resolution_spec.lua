-- Which model answers, over real HTTP: lists that are asked for once, names that are read, servers of this machine, images that
-- the next one draws.
local apps = require "perilune.app"
local clients = require "perilune.client"
local json = require "perilune.json"
local png = require "perilune.model.provider.offline_png"
local programs = require "tests.support.program"
local providers = require "perilune.model.provider"
local replay = require "tests.support.replay"
local resolve = require "perilune.model.resolve"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local reply = replay.reply
local PICTURE = token.base64(png.draw(3))
local DRAWN = reply(200, { created = 1763000000, data = { { b64_json = PICTURE } } })


-- Settings with these variables; nobody else is asked, whom another spec has registered.
local function settings(variables, more)
  more = more or {}
  more.env = function(name) return variables[name] end
  more.exclude = more.exclude or {}
  for _, found in ipairs(providers.list()) do
    more.exclude[#more.exclude + 1] = found.source ~= "built in" and found.name or nil
  end
  more.listed = more.listed or {}
  return more
end


-- A key and the address of a server for each of these.
local function at(servers)
  local variables = {}
  for name, server in pairs(servers) do
    variables[name:upper() .. "_API_KEY"] = "sk-of-" .. name
    variables[name:upper() .. "_BASE_URL"] = server.url .. "/v1"
  end
  return variables
end


local function models(...)
  local data = {}
  for position, id in ipairs { ... } do
    data[position] = { id = id }
  end
  return reply(200, { data = data })
end


-- The paths that a server was asked for.
local function paths(server)
  local list = {}
  for position, request in ipairs(server.requests) do
    list[position] = request.path
  end
  return table.concat(list, " ")
end


local function labels(plan)
  local list = {}
  for position, candidate in ipairs(plan:order()) do
    list[position] = candidate.target.name .. "/" .. candidate.target.model
  end
  return list
end


local function error_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok, "it raised nothing")
  return err
end


describe("a bare name that no built-in list has", function()
  it("is looked for in the lists of all who can be asked, at once, and they are asked once a process", function()
    local group <close> = task.group()
    local openai, groq, together
    -- None answers before all have been asked.
    local function after_all(answer)
      return function(request)
        for _, server in ipairs { openai, groq, together } do
          server:wait_requests(1)
        end
        answer(request)
      end
    end
    local one <close> = replay.serve { after_all(models("gpt-new", "gpt-4o")) }
    local two <close> = replay.serve { after_all(models "groq-new") }
    local three <close> = replay.serve { after_all(reply(503, { error = { message = "later" } })) }
    openai, groq, together = one, two, three
    local given = settings(at { openai = openai, groq = groq, together = together })
    local found = {}
    for _, name in ipairs { "gpt-new", "groq-new", "GROQ-NEW-typo" } do
      group:spawn(function()
        found[name] = labels(assert(resolve.plan({ name }, given)))[1]
      end)
    end
    group:wait()
    assert.are.same({ ["gpt-new"] = "openai/gpt-new", ["groq-new"] = "groq/groq-new", ["GROQ-NEW-typo"] = "groq/groq-new" }, found)
    assert.are.same({ "/v1/models", "/v1/models", "/v1/models" }, { paths(openai), paths(groq), paths(together) })
    assert.are.equal("Bearer sk-of-groq", groq.requests[1].headers.authorization)
  end)

  it("asks nobody when a built-in list has it, and nobody who is excluded or has no key", function()
    local openai <close> = replay.serve { models "gpt-new" }
    local groq <close> = replay.serve { models "gpt-new" }
    local variables = at { openai = openai, groq = groq }
    local given = settings(variables, { exclude = { "GROQ" } })
    assert.are.same({ "openai/gpt-4o" }, labels(assert(resolve.plan({ "gpt-4o" }, given))))
    assert.are.equal(0, #openai.requests)
    assert.are.same({ "openai/gpt-new" }, labels(assert(resolve.plan({ "gpt-new" }, given))))
    assert.are.equal(0, #groq.requests)
  end)

  it("has the very model elsewhere behind it, with failover to anybody", function()
    local openai <close> = replay.serve { models "gpt-new" }
    local groq <close> = replay.serve { models "gpt-new" }
    local given = settings(at { openai = openai, groq = groq }, { failover = "auto" })
    local order = labels(assert(resolve.plan({ "gpt-new" }, given)))
    assert.are.same({ "openai/gpt-new", "groq/gpt-new" }, order)
  end)

  it("is passed over as a fallback while a list cannot be read", function()
    local groq <close> = replay.serve { reply(503, {}) }
    local plan = assert(resolve.plan({ "offline/demo", "zzzz-0000-qqqq" }, settings(at { groq = groq })))
    assert.are.same({ "offline/demo" }, labels(plan))
    assert.are.same({ "skipped", "model_not_found" }, { plan.skipped[1].reason, plan.skipped[1].error.kind })
  end)
end)


describe("a server of this machine", function()
  local tags = reply(200, { models = { { model = "nomic-embed-text" }, { model = "llama3:8b" } } })

  it('is chosen for "auto" once its address is configured, with a model that talks', function()
    local ollama <close> = replay.serve { tags }
    local given = settings { OLLAMA_BASE_URL = ollama.url }
    for _ = 1, 5 do
      assert.are.same({ "ollama/llama3:8b" }, labels(assert(resolve.plan({ "auto" }, given))))
    end
    assert.are.same({ "ollama/llama3:8b" }, labels(assert(resolve.plan({}, given))))
    assert.are.same({ "ollama/llama3:8b" }, labels(assert(resolve.plan({ "llama3" }, given))))
    assert.are.equal("/api/tags", paths(ollama))
  end)

  it("that does not answer is told of, and not asked again at once", function()
    local ollama <close> = replay.serve { reply(500, {}), tags }
    local given = settings { OLLAMA_BASE_URL = ollama.url }
    for _ = 1, 3 do
      local plan, err = resolve.plan({ "auto" }, given)
      assert.is_nil(plan)
      assert.is_truthy(err.message:find("ollama (no list of models: ", 1, true), err.message)
    end
    assert.are.equal(1, #ollama.requests)
  end)

  it('has one of its models for "auto" when it is named', function()
    local vllm <close> = replay.serve { models "my-model" }
    local given = settings({}, { provider = "vllm", base_url = vllm.url .. "/v1", api_key = "sk-own" })
    assert.are.same({ "vllm/my-model" }, labels(assert(resolve.plan({ "auto" }, given))))
    assert.are.equal("Bearer sk-own", vllm.requests[1].headers.authorization)
    local closed = settings({}, { provider = "vllm", base_url = replay.closed_port() .. "/v1" })
    assert.are.equal("connection", select(2, resolve.plan({ "auto" }, closed)).kind)
  end)
end)


describe("perilune ask", function()
  local answer = reply(200, { choices = { { index = 0, message = { role = "assistant", content = "yes" }, finish_reason = "stop" } } })

  it("tells how a name is read, when it is asked to tell", function()
    local server <close> = replay.serve { models "gpt-4o", answer }
    local variables = at { openai = server }
    variables.PERILUNE_LOG_LEVEL = "info"
    local program <close> = programs.new(variables)
    local result = program:run { "ask", "--no-stream", "--model", "gpt-4o-mini-typo", "Well?", stdin = "" }
    assert.are.same({ 0, "yes\n" }, { result.status, result.stdout })
    assert.is_truthy(result.stderr:find("'gpt-4o-mini-typo' is read as openai/gpt-4o-mini", 1, true), result.stderr)
    assert.are.equal("gpt-4o-mini", server.requests[2].body.model)
  end)

  it('takes "auto" for any model that can be asked', function()
    local server <close> = replay.serve { answer }
    local program <close> = programs.new(at { groq = server })
    local result = program:run { "ask", "--no-stream", "--model", "auto", "Well?", stdin = "" }
    assert.are.same({ 0, "yes\n", "" }, { result.status, result.stdout, result.stderr })
    local asked = server.requests[1].body.model
    local is_listed = false
    for _, model in ipairs(providers.get("groq").models) do
      is_listed = is_listed or model == asked
    end
    assert.is_true(is_listed, asked)
  end)
end)


describe("images", function()
  local function client(servers, options, more)
    return clients.new(apps.new(settings(at(servers), more)), options)
  end

  it("are drawn by the next one when one fails, and what failed is told", function()
    local openai <close> = replay.serve { reply(503, { error = { message = "busy" } }) }
    local xai <close> = replay.serve { DRAWN }
    local images = client({ openai = openai, xai = xai }):image { prompt = "a crater", model = "gpt-image-1" }
    assert.are.same({ "xai", "grok-imagine-image", 1, 1 }, { images.provider, images.model, #openai.requests, #xai.requests })
    local attempt = images.attempts[1]
    assert.are.same({ 1, "attempt", "failed", "openai", "gpt-image-1", 503 },
      { #images.attempts, attempt.type, attempt.reason, attempt.provider, attempt.model, attempt.status })
    assert.is_truthy(json.encode(images.data[1]))
  end)

  it("that were maybe drawn already are asked of somebody else, never of the same again", function()
    local openai <close> = replay.serve { reply(200, "no image at all") }
    local xai <close> = replay.serve { reply(200, "neither") }
    local drawer = client { openai = openai, xai = xai }
    local err = error_of(drawer.image, drawer, { prompt = "a crater", model = "gpt-image-1" })
    assert.are.same({ "all_failed", 2, 1, 1 }, { err.kind, #err.attempts, #openai.requests, #xai.requests })
    assert.matches("^All image providers failed. Errors: openai/gpt%-image%-1: .*; xai/grok%-imagine%-image: ", err.message)
  end)

  it("that are refused stay refused", function()
    local openai <close> = replay.serve { reply(400, { error = { message = "no", code = "content_policy_violation" } }) }
    local xai <close> = replay.serve { DRAWN }
    local drawer = client { openai = openai, xai = xai }
    local err = error_of(drawer.image, drawer, { prompt = "a crater", model = "gpt-image-1" })
    assert.are.same({ "content_filter", "openai", 1, 0 }, { err.kind, err.provider, #err.attempts, #xai.requests })
  end)

  it("are nobody else's affair when the provider is named, or failover is off", function()
    local openai <close> = replay.serve { reply(503, {}) }
    local xai <close> = replay.serve { DRAWN }
    local servers = { openai = openai, xai = xai }
    for _, case in ipairs {
      { { image_provider = "OpenAI" } }, { {}, "openai/gpt-image-1" }, { { failover = "off" }, "gpt-image-1" },
      { { failover = "listed" }, "gpt-image-1" },
    } do
      local drawer = client(servers, case[1])
      local err = error_of(drawer.image, drawer, { prompt = "a crater", model = case[2] })
      assert.are.same({ "openai", 1 }, { err.provider, #err.attempts })
    end
    assert.are.same({ 4, 0 }, { #openai.requests, #xai.requests })
    local images = client(servers, { failover = "auto" }):image { prompt = "a crater", model = "openai/gpt-image-1" }
    assert.are.equal("xai", images.provider)
  end)

  it("without a model are drawn by anybody who is not excluded", function()
    local openai <close> = replay.serve { DRAWN }
    local xai <close> = replay.serve { DRAWN }
    local servers, drawn = { openai = openai, xai = xai }, {}
    local drawer = client(servers)
    for _ = 1, 40 do
      local name = drawer:image({ prompt = "a crater" }).provider
      drawn[name] = (drawn[name] or 0) + 1
    end
    assert.is_true(drawn.openai > 5 and drawn.xai > 5, "of 40 images openai drew " .. drawn.openai)
    for _ = 1, 10 do
      assert.are.equal("xai", client(servers, { exclude_images = { "OPENAI" } }):image({ prompt = "a crater" }).provider)
    end
    drawer = client(servers, { exclude_images = { "openai", "xai" } })
    assert.are.equal("no_provider", error_of(drawer.image, drawer, { prompt = "a crater" }).code)
  end)

  it("are drawn by a model whose name is nearly right", function()
    local openai <close> = replay.serve { models "gpt-image-x", DRAWN }
    local drawer = client { openai = openai }
    assert.are.equal("gpt-image-1", drawer:image({ prompt = "a crater", model = "GPT-Image-1" }).model)
    assert.are.equal("gpt-image-x", drawer:image({ prompt = "a crater", model = "gpt-image-x" }).model)
  end)
end)


describe("vectors", function()
  it("are made by the same model every time, and by nobody else when it fails", function()
    local openai <close> = replay.serve { reply(503, {}) }
    local mistral <close> = replay.serve { reply(200, { data = { { index = 0, embedding = { 1, 0 } } } }) }
    local client = clients.new(apps.new(settings(at { openai = openai, mistral = mistral })))
    for _ = 1, 5 do
      assert.are.equal("openai", error_of(client.embed, client, { input = "a" }).provider)
    end
    assert.are.equal(0, #mistral.requests)
    assert.are.equal("mistral-embed", client:embed({ input = "a", model = "Mistral-embed" }).model)
  end)
end)
