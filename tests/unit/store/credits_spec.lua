-- The ledger: what holds, settles and gives back; and that whatever happens in whatever order, every balance is the sum of its entries.
local accounts = require "perilune.store.accounts"
local credits = require "perilune.store.credits"
local stores = require "perilune.store"
local task = require "perilune.sys.task"

local CREDIT = credits.CREDIT
local OPERATIONS = 5000

local function always() return true end
local function never() return false end


local function new_account(db, amount)
  local account = assert(accounts.open(db, "customer", { is_prepaid = true }))
  assert(credits.grant(db, account, amount))
  return assert(accounts.get(db, "customer"))
end


local function hold(db, account, id, amount, owner, seconds)
  return credits.hold(db, { request_id = id, account_no = account.no, amount = amount, owner = owner or "me", seconds = seconds or 3600 })
end


local function settle(db, account, id, held, amount, overrun)
  return credits.settle(db, {
    request_id = id, account = account.id, account_no = account.no, held = held, amount = amount, overrun = overrun, model = "x/y",
    outcome = "ok", usage = { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 },
  })
end


-- What `perilune db check` says.
local function problems(db)
  local found = {}
  for _, name in ipairs { "sums", "balances", "holds", "negative", "charges", "settled" } do
    for _, row in ipairs(assert(db:read("check_ledger_" .. name))) do
      found[#found + 1] = row.problem
    end
  end
  return found
end


local function state(db)
  local account = assert(accounts.get(db, "customer"))
  return account.balance, account.held
end


describe("the ledger", function()
  local db

  before_each(function()
    db = assert(stores.open ":memory:")
  end)

  after_each(function()
    assert.are.same({}, problems(db))
    db:close()
  end)

  it("gives credits, and takes back what is free, as transactions of two entries", function()
    local account = new_account(db, 5 * CREDIT)
    assert(credits.grant(db, account, -2 * CREDIT, "a mistake"))
    assert.are.same({ 3 * CREDIT, 0 }, { state(db) })
    local _, err = credits.grant(db, account, -4 * CREDIT)
    assert.are.equal("insufficient_credits", err.code)
    local history = assert(credits.history(db, account.id))
    assert.are.same({ "correction", -2 * CREDIT, "a mistake" }, { history[1].kind, history[1].amount, history[1].note })
    assert.are.same({ "grant", 5 * CREDIT }, { history[2].kind, history[2].amount })
    local oldest = assert(credits.history(db, account.id, { is_up = true, upper = history[1].no }))
    assert.are.same({ history[2] }, oldest)
  end)

  it("holds what is there, and no more", function()
    local account = new_account(db, 10)
    assert(hold(db, account, "a", 6))
    local _, err = hold(db, account, "b", 5)
    assert.are.same({ "quota", "insufficient_quota" }, { err.kind, err.code })
    assert(hold(db, account, "c", 4))
    assert.are.same({ 10, 10 }, { state(db) })
  end)

  it("settles a hold once, at most for what was held; what it came to above that is the house's", function()
    local account = new_account(db, 10)
    assert(hold(db, account, "a", 6))
    assert(settle(db, account, "a", 6, 6, 3))
    local _, err = settle(db, account, "a", 6, 1)
    assert.are.equal("expectation", err.code)
    assert.are.same({ 4, 0 }, { state(db) })
    local house = assert(credits.history(db, "house:overrun"))
    assert.are.same({ "overrun", -3 }, { house[1].kind, house[1].amount })
  end)

  it("gives a hold back when the answer came to nothing", function()
    local account = new_account(db, 10)
    assert(hold(db, account, "a", 6))
    assert(credits.settle(db, {
      request_id = "a", account = account.id, account_no = account.no, held = 6, amount = 0, model = "x/y", outcome = "server",
    }))
    assert.are.same({ 10, 0 }, { state(db) })
    assert.are.same({}, (assert(db:read "hold_list_open")))
  end)

  it("lets go of holds that nobody will settle, and of no others", function()
    local account = new_account(db, 30)
    assert(hold(db, account, "dead", 6, "dead:1:1"))
    assert(hold(db, account, "left", 6, "dead:1:2"))
    assert(hold(db, account, "open", 6))
    assert.are.equal(2, credits.expire(db, function(one) return one.owner == "me" end))
    assert.are.same({ 30, 6 }, { state(db) })
    assert.are.equal(0, credits.expire(db, always))
    assert.are.equal(1, credits.expire(db, never))
    assert.are.same({ 30, 0 }, { state(db) })
    assert.are.same({}, credits.stats(db, account.no, 0, "model"), "nobody knows what was asked")
  end)

  it("raises a balance to the allowance when that is due, once, and leaves a larger one", function()
    local account = assert(accounts.open(db, "customer", { is_prepaid = true, tier = "free", resets_at = 86400 }))
    assert.is_true(credits.reset(db, account, 100))
    assert.are.same({ 100, 0 }, { state(db) })
    assert.is_false(credits.reset(db, account, 100), "whoever saw the same date comes second")
    account = assert(accounts.get(db, "customer"))
    assert.is_true(account.resets_at > require("perilune.sys.clock").wall())
    assert(credits.grant(db, account, 50))
    account.resets_at = 86400
    assert(accounts.change(db, account))
    assert.is_true(credits.reset(db, assert(accounts.get(db, "customer")), 100))
    assert.are.same({ 150, 0 }, { state(db) })
  end)

  it("gives an allowance that is due this very moment", function()
    for n = 1, 100 do
      local now = require("perilune.sys.clock").wall()
      local account = assert(accounts.open(db, "customer " .. n, { is_prepaid = true, tier = "free", resets_at = now }))
      assert.is_true(credits.reset(db, account, 100))
    end
  end)

  it("moves the date by a month, to the same day where there is one", function()
    for _, pair in ipairs { { "2026-01-15T10:20:30Z", "2026-02-15T10:20:30Z" }, { "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z" },
      { "2027-12-31T23:59:59Z", "2028-01-31T23:59:59Z" }, { "2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z" } } do
      assert.are.equal(pair[2], require("perilune.sys.clock").iso(credits.next_reset(credits.time_of(pair[1]))))
    end
  end)

  it("reads and writes credits as text exactly", function()
    for text, amount in pairs { ["1"] = 1000000, ["0.000001"] = 1, ["-2.5"] = -2500000, ["123456.789"] = 123456789000, ["0"] = 0 } do
      assert.are.equal(amount, credits.parse(text))
      assert.are.equal(text, credits.text(amount))
    end
    assert.are.same({}, { credits.parse "1.0000001", credits.parse "x", credits.parse "1e3", credits.parse "" })
  end)

  it("covers exactly as many of 1,000 requests at once as the balance does", function()
    local account = new_account(db, 100 * CREDIT)
    local served, refused, lowest = 0, 0, math.huge
    local group <close> = task.group()
    for n = 1, 1000 do
      group:spawn(function()
        local id = "req_" .. n
        local done, err = hold(db, account, id, CREDIT)
        if done then
          served = served + 1
          assert(settle(db, account, id, CREDIT, CREDIT))
        else
          refused = refused + 1
          assert.are.equal("quota", err.kind)
        end
      end)
    end
    group:spawn(function()
      while served + refused < 1000 do
        assert.are.same({}, problems(db))
        lowest = math.min(lowest, (state(db)))
      end
    end)
    group:wait()
    assert.are.same({ 100, 900 }, { served, refused })
    assert.is_true(lowest >= 0)
    assert.are.same({ 0, 0 }, { state(db) })
  end)
end)


-- A generator of numbers of its own: the same seed, the same history.
local function generator(seed)
  return function(n)
    seed = (seed * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
    return (seed >> 33) % n + 1
  end
end


-- The same in numbers alone: what the database must agree with.
local function new_model()
  return { balance = 0, open = {}, count = 0 }
end


local function held_of(model)
  local sum = 0
  for _, amount in pairs(model.open) do
    sum = sum + amount
  end
  return sum
end


local operations = {}


function operations.grant(db, account, model, any)
  local amount = any(1000)
  assert(credits.grant(db, account, amount))
  model.balance = model.balance + amount
end


function operations.take_back(db, account, model, any)
  local amount = any(1000)
  local done = credits.grant(db, account, -amount)
  assert.are.equal(model.balance - held_of(model) >= amount, done == true)
  model.balance = model.balance - (done and amount or 0)
end


function operations.hold(db, account, model, any)
  local amount = any(300)
  model.count = model.count + 1
  local id = "req_" .. model.count
  local done = hold(db, account, id, amount, any(2) == 1 and "me" or "dead")
  assert.are.equal(model.balance - held_of(model) >= amount, done == true)
  model.open[id] = done and amount or nil
end


-- One of those that are open, the first by name.
local function any_open(model)
  local first
  for id in pairs(model.open) do
    first = (not first or id < first) and id or first
  end
  return first
end


function operations.settle(db, account, model, any)
  local id = any_open(model)
  if id then
    local held = model.open[id]
    local amount = any(held + 1) - 1
    assert(settle(db, account, id, held, amount, any(10) == 1 and 7 or nil))
    model.balance, model.open[id] = model.balance - amount, nil
  end
end


function operations.settle_again(db, account, model, any)
  if model.count > 0 then
    local id = "req_" .. any(model.count)
    if not model.open[id] then
      assert.is_nil((settle(db, account, id, 1, 1)))
    end
  end
end


function operations.expire(db, _, model)
  local before = assert(db:read("hold_list_open"))
  assert(credits.expire(db, function(one) return one.owner == "me" end))
  for _, one in ipairs(before) do
    if one.owner == "dead" then
      model.open[one.request_id] = nil
    end
  end
end


describe("any history of the ledger", function()
  it("agrees with plain arithmetic, and never goes below zero", function()
    local seed = math.tointeger(tonumber(require("perilune.sys.proc").env "SEED")) or 20261121
    local any, model = generator(seed), new_model()
    local names = { "grant", "hold", "hold", "hold", "settle", "settle", "settle_again", "expire", "take_back" }
    local db <close> = assert(stores.open ":memory:")
    local account = assert(accounts.open(db, "customer", { is_prepaid = true }))
    for number = 1, OPERATIONS do
      operations[names[any(#names)]](db, account, model, any)
      if number % 100 == 0 then
        local now = assert(accounts.get(db, "customer"))
        assert.are.same({ model.balance, held_of(model) }, { now.balance, now.held }, "seed " .. seed .. ", operation " .. number)
        assert.are.same({}, problems(db))
      end
    end
  end)
end)
