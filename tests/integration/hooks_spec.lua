-- Scripts that take part in a server, where they do it wrong: what they leave out opens nothing, and what they break is theirs alone.
local accounts = require "perilune.store.accounts"
local credits = require "perilune.store.credits"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local sse = require "perilune.serve.sse"
local task = require "perilune.sys.task"


-- A server whose script says so of every caller.
local function knowing(caller, settings)
  return kit.start { settings = settings, define = function(perilune)
    perilune.on("authenticate", function()
      return caller
    end)
  end }
end


describe("a caller whom a script knows", function()
  it("has an account, its name where none is said", function()
    local caller = { name = "mallory" }
    local server <close> = knowing(caller)
    local path = "/v1/conversations/" .. server:post("/v1/conversations", {}, {}).body.id
    assert.equal(200, server:get(path).status)
    caller.name = "eve"
    assert.equal(404, server:get(path).status)
  end)

  it("shares the account of that name, and what it pays with", function()
    local bands = { all = { models = { "*" }, request = 1 } }
    local server <close> = knowing({ name = "eve", account = "shop" }, { credits = { bands = bands } })
    local db = server.server.db
    assert(keys.create(db, { name = "till", account = "shop", is_prepaid = true }))
    local account = assert(accounts.get(db, "shop"))
    assert(credits.grant(db, account, 1.5 * credits.CREDIT // 1 | 0))
    local balance = server:get("/v1/credits/balance").body
    assert.same({ account.id, true }, { balance.account, balance.is_prepaid })
    local question = { model = "offline/demo", messages = { { role = "user", content = "Hi" } } }
    assert.equal(200, server:post("/v1/chat/completions", question).status)
    local answer = server:post("/v1/chat/completions", question)
    assert.same({ 429, "insufficient_quota" }, { answer.status, answer.body.error.code })
  end)

  it("is nobody when the script says it wrong", function()
    for _, caller in ipairs { true, 5, "bob", {}, { acount = "a", name = "b" }, { name = "a", models = "offline/*" }, { name = "" },
      { name = "a", limits = { requests = "5" } } } do
      local server <close> = knowing(caller)
      assert.equal(500, server:get("/v1/models").status)
    end
  end)
end)


describe("a hook of a script", function()
  it("sees the same path, whether it ends in / or not", function()
    local seen = {}
    local server <close> = kit.start { define = function(perilune)
      perilune.on("request", function(request)
        seen[#seen + 1] = request.path
      end)
    end }
    assert.same({ 200, 200 }, { server:get("/v1/models").status, server:get("/v1/models/").status })
    assert.same({ "/v1/models", "/v1/models" }, seen)
  end)
end)


describe("a route of a script", function()
  local function returning(value)
    return kit.start { define = function(perilune)
      perilune.route("GET /it", function()
        return value
      end)
    end }
  end

  it("that returns what is no answer is answered with 500", function()
    for _, value in ipairs { 42, true, print, { status = 99 }, { status = 200.5 }, { status = 204, body = "x" },
      { status = 200, body = 42 }, { status = 200, headers = { ["bad name"] = "x" } } } do
      local server <close> = returning(value)
      local answer = server:get "/it"
      assert.same({ 500, "internal_error" }, { answer.status, answer.body.error.code })
    end
  end)

  it("may return data with a status of its own", function()
    local server <close> = returning { status = "ok", uptime = 5 }
    local answer = server:get "/it"
    assert.same({ 200, { status = "ok", uptime = 5 } }, { answer.status, answer.body })
  end)

  it("that leaves its events open ends them with the request, and the server goes on", function()
    finally(function()
      sse.KEEP_ALIVE_SECONDS, sse.LOOK_SECONDS = 10, 1
    end)
    sse.KEEP_ALIVE_SECONDS, sse.LOOK_SECONDS = 0.01, 0.01
    local server <close> = kit.start { define = function(perilune)
      perilune.route("GET /events", function(request)
        local stream = request:events()
        stream:send { n = 1 }
      end)
    end }
    server:get "/events"
    task.sleep(0.05) -- several looks at the streams
    assert.same({ 200, nil }, { server:get("/health").status, next(server.server.streams) })
  end)

  it("that is stopped in the middle is over", function()
    local server <close> = kit.start { define = function(perilune)
      perilune.route("GET /yield", function()
        coroutine.yield()
      end)
    end }
    assert.has_error(function()
      server:get "/yield"
    end)
    assert.equal(0, server.server.active)
  end)
end)
