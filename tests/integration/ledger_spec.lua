-- Credits over HTTP: what a balance covers is served, nothing is charged twice, and a server that is killed owes nobody anything.
local accounts = require "perilune.store.accounts"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local kit = require "tests.support.server"
local proc = require "perilune.sys.proc"
local programs = require "tests.support.program"
local replay = require "tests.support.replay"
local stores = require "perilune.store"
local task = require "perilune.sys.task"
local testing = require "perilune.testing"

local CREDIT = credits.CREDIT
local KILLS = math.tointeger(tonumber(proc.env "KILLS")) or 12
local KILLS_A_TEST = 100 -- a test ends within three minutes

-- Every request to the offline model costs one credit, whatever it says.
local flat = { bands = { flat = { models = { "offline/*" }, request = 1 } } }

local question = { model = "offline/demo", messages = { { role = "user", content = "Hello" } } }


-- A key of a prepaid account with so many credits.
local function new_key(db, amount, options)
  options = options or {}
  options.name, options.is_prepaid = "customer", true
  local text = assert(keys.create(db, options))
  local account = assert(accounts.get(db, "customer"))
  assert(credits.grant(db, account, amount))
  return { authorization = "Bearer " .. text }
end


local function balance(db)
  local account = assert(accounts.get(db, "customer"))
  return { account.balance, account.held }
end


-- The charges of the account by outcome.
local function charges(db)
  local account = assert(accounts.get(db, "customer"))
  return assert(credits.stats(db, account.no, 0, "model"))
end


describe("a server with prepaid accounts", function()
  it("serves exactly as many of 1,000 requests at once as the balance covers", function()
    local server <close> = kit.start { settings = { credits = flat } }
    server.headers = new_key(server.server.db, 100 * CREDIT)
    local served, refused = 0, 0
    local group <close> = task.group()
    for _ = 1, 1000 do
      group:spawn(function()
        local answer = server:post("/v1/chat/completions", question)
        if answer.status == 200 then
          served = served + 1
        else
          local headers = answer.headers
          assert.are.same({ 429, "insufficient_quota", "false", nil },
            { answer.status, answer.body.error.code, headers["x-should-retry"], headers["retry-after"] })
          refused = refused + 1
        end
      end)
    end
    group:wait()
    assert.are.same({ 100, 900 }, { served, refused })
    assert.are.same({ 0, 0 }, balance(server.server.db))
  end)

  it("charges a streamed answer before it says that it is done", function()
    local server <close> = kit.start { settings = { credits = flat } }
    server.headers = new_key(server.server.db, 2 * CREDIT)
    local events = server:events("/v1/chat/completions", { model = "offline/demo", stream = true, messages = question.messages })
    assert.are.equal("[DONE]", events[#events].data)
    assert.are.same({ 1 * CREDIT, 0 }, balance(server.server.db))
  end)

  it("charges nothing for an answer that did not come", function()
    local server <close> = kit.start {
      settings = { credits = { bands = { all = { models = { "*" }, request = 1 } } } },
      define = function(perilune)
        local model = testing.model { { error = { kind = "server", message = "no" } }, repeat_last = true }
        perilune.assistant { name = "broken", model = model }
      end,
    }
    server.headers = new_key(server.server.db, 2 * CREDIT)
    local answer = server:post("/v1/chat/completions", { model = "assistant/broken", messages = question.messages })
    assert.are.equal(502, answer.status)
    assert.are.same({ 2 * CREDIT, 0 }, balance(server.server.db))
    assert.are.equal(0, charges(server.server.db)[1].amount)
  end)

  it("makes an answer shorter when the balance covers no longer one, and refuses what it covers nothing of", function()
    local asked
    local server <close> = kit.start {
      settings = { credits = { bands = { all = { models = { "*" }, output = 1000 } } } },
      define = function(perilune)
        local model = testing.model { function(request)
          asked = request.max_tokens
          return "ok"
        end, function() return "again" end }
        perilune.assistant { name = "frugal", model = model, max_tokens = 100000 }
      end,
    }
    local db = server.server.db
    server.headers = new_key(db, CREDIT // 2) -- 0.5 credits: 500 tokens
    local answer = server:post("/v1/chat/completions", { model = "assistant/frugal", messages = question.messages })
    assert.are.equal(200, answer.status, answer.text)
    assert.are.equal(500, asked)
    assert(credits.grant(db, assert(accounts.get(db, "customer")), -balance(db)[1]))
    answer = server:post("/v1/chat/completions", { model = "assistant/frugal", messages = question.messages })
    assert.are.same({ 429, "insufficient_quota" }, { answer.status, answer.body.error.code })
  end)

  it("answers a request with the same Idempotency-Key once, and charges it once", function()
    local server <close> = kit.start { settings = { credits = flat } }
    server.headers = new_key(server.server.db, 5 * CREDIT)
    local same = { ["idempotency-key"] = "order-1" }
    local answers = {}
    local group <close> = task.group()
    for n = 1, 3 do
      group:spawn(function()
        answers[n] = server:post("/v1/chat/completions", question, same)
      end)
    end
    group:wait()
    for n = 1, 3 do
      assert.are.same({ 200, answers[1].text }, { answers[n].status, answers[n].text })
    end
    assert.are.same({ 4 * CREDIT, 0 }, balance(server.server.db))
    local other = server:post("/v1/chat/completions", { model = "offline/demo", messages = { { role = "user", content = "Bye" } } }, same)
    assert.are.same({ 422, "idempotency_key_reused" }, { other.status, other.body.error.code })
    local again = server:events("/v1/chat/completions", question, same)
    assert.are.equal(200, again.status)
  end)

  it("serves nobody who pays while the books cannot be written, and goes on when they can", function()
    local server <close> = kit.start { settings = { credits = flat } }
    local db = server.server.db
    server.headers = new_key(db, 2 * CREDIT)
    assert.are.equal(200, server:post("/v1/chat/completions", question).status)
    server.server.db = setmetatable({}, { __index = function(_, name)
      return function(_, ...)
        if name == "write" then
          return nil, errors.new { kind = "database", code = "full", message = "the disk is full" }
        end
        return db[name](db, ...)
      end
    end })
    local answer = server:post("/v1/chat/completions", question)
    assert.are.same({ 503, "storage_unavailable" }, { answer.status, answer.body.error.code })
    assert.are.equal(200, server:get("/v1/credits/balance").status)
    server.server.db = db
    assert.are.equal(200, server:post("/v1/chat/completions", question).status)
    assert.are.same({ 0, 0 }, balance(db))
  end)

  it("knows the price of a model that is named without its provider", function()
    local upstream <close> = replay.serve { replay.whole(replay.text("Good morning.")) }
    local server <close> = kit.start { settings = { env = function(name)
      return ({ OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = upstream.url })[name]
    end } }
    server.headers = new_key(server.server.db, 100 * CREDIT)
    local answer = server:post("/v1/chat/completions", { model = "gpt-4o-mini", messages = question.messages })
    assert.are.equal(200, answer.status, answer.text)
    assert.is_true(balance(server.server.db)[1] < 100 * CREDIT)
  end)

  it("shows the account to its key", function()
    local server <close> = kit.start { settings = { credits = flat } }
    server.headers = new_key(server.server.db, 3 * CREDIT)
    server:post("/v1/chat/completions", question)
    local shown = server:get("/v1/credits/balance").body
    assert.are.same({ "2", "0", true }, { shown.balance.credits, shown.held.credits, shown.is_prepaid })
    local history = server:get("/v1/credits/history?limit=1").body
    assert.are.same({ "charge", "-1", true }, { history.data[1].kind, history.data[1].credits, history.has_more })
    history = server:get("/v1/credits/history?after=" .. history.last_id).body
    assert.are.same({ "grant", "3", false }, { history.data[1].kind, history.data[1].credits, history.has_more })
    local oldest = server:get("/v1/credits/history?limit=1&order=asc").body
    assert.are.same({ "grant", true }, { oldest.data[1].kind, oldest.has_more })
    local newest = server:get("/v1/credits/history?order=asc&after=" .. oldest.last_id).body.data
    assert.are.same({ 1, "charge" }, { #newest, newest[1].kind })
    assert.are.same(oldest.data, server:get("/v1/credits/history?order=asc&before=" .. newest[1].id).body.data)
    assert.are.equal("before", server:get "/v1/credits/history?before=x".body.error.param)
    local stats = server:get("/v1/credits/stats").body
    assert.are.same({ "offline/demo", 1, "1" }, { stats.by_model[1].model, stats.by_model[1].requests, stats.by_model[1].credits })
  end)
end)


-- Asks until the server is gone; counts what was answered.
local function customer(url, headers, answered)
  while true do
    local handle <close> = assert(fetch.open {
      method = "POST", url = url .. "/v1/chat/completions", headers = headers, body = json.encode(question), total = 20,
    })
    local head = handle:head()
    local text = ""
    repeat
      local piece, err = handle:next()
      text = text .. (piece or "")
      if err then
        return
      end
    until not piece
    if not head or not json.decode(text) then
      return
    end
    if head.status == 200 then
      answered.count = answered.count + 1
    elseif head.status == 429 then
      return
    else
      error(text)
    end
  end
end


-- One life of the server: customers ask, and after a while it is killed.
local function live(program, headers, answered, seconds)
  local child <close> = program:start { "serve", "--listen", "0", "--log-level", "error" }
  local url = programs.read_until(child, "/v1\n"):match("(http://[%d.:]+)/v1")
  local group <close> = task.group()
  for _ = 1, 8 do
    group:spawn(customer, url, headers, answered)
  end
  task.sleep(seconds)
  assert(child:kill("KILL"))
  programs.ending_of(child)
  group:wait()
end


-- Kills it so many times, with one database.
local function kill(rounds)
  local program <close> = programs.new()
  program:file("perilune.lua", 'return { credits = { bands = { flat = { models = { "offline/*" }, request = 1 } } } }')
  local db <close> = assert(stores.open(program.db))
  local headers = new_key(db, 1000000 * CREDIT)
  headers["content-type"] = "application/json"
  local answered = { count = 0 }
  for round = 1, rounds do
    live(program, headers, answered, 0.02 + round % 7 * 0.013)
    local check = program:run { "db", "check" }
    assert.are.same({ 0, "ok\n" }, { check.status, check.stdout })
  end
  assert(credits.expire(db, function(hold)
    return proc.is_alive(hold.owner)
  end))
  local charged = 0
  for _, row in ipairs(charges(db)) do
    charged = charged + row.amount // CREDIT
  end
  local left = balance(db)
  assert.are.equal(0, left[2])
  assert.are.equal(1000000 - charged, left[1] // CREDIT)
  assert.is_true(answered.count > 0)
  -- who got an answer has paid for it; of each life at most the eight that were under way had paid and got none
  assert.is_true(charged >= answered.count and charged <= answered.count + 8 * rounds,
    ("%d answers, %d charges"):format(answered.count, charged))
end


describe("a server that is killed at any moment", function()
  for first = 1, KILLS, KILLS_A_TEST do
    local rounds = math.min(KILLS_A_TEST, KILLS - first + 1)
    it(("leaves right books: nobody pays twice, nothing is held for ever (kills %d to %d)"):format(first, first + rounds - 1), function()
      kill(rounds)
    end)
  end
end)
