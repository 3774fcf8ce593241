local accounts = require "perilune.store.accounts"
local credits = require "perilune.store.credits"
local holds = require "perilune.serve.holds"
local stores = require "perilune.store"

describe("a hold", function()
  local db, account

  before_each(function()
    db = assert(stores.open ":memory:")
    account = assert(accounts.open(db, "customer", { is_prepaid = true }))
    assert(credits.grant(db, account, 10))
    assert(holds.take(db, "req_a", account.no, 6))
  end)

  after_each(function()
    db:close()
  end)

  local function settle(amount)
    return holds.settle(db, {
      request_id = "req_a", account = account.id, account_no = account.no, held = 6, amount = amount, model = "x/y", outcome = "ok",
      usage = { prompt_tokens = 1, completion_tokens = 2, total_tokens = 3 },
    })
  end

  -- The open hold, as a sweep finds it hours later, or after the clock has jumped.
  local function aged()
    local hold = assert(db:read "hold_list_open")[1]
    hold.expires_at = 0
    return hold
  end

  it("is left alone while its answer is given, however long that takes, and can then be settled", function()
    assert.is_true(holds.is_served(aged()))
    assert.are.equal(0, credits.expire(db, function() return holds.is_served(aged()) end))
    assert(settle(4))
    assert.are.equal(6, assert(accounts.get(db, "customer")).balance)
  end)

  it("is let go when it could not be settled, and its time is over", function()
    assert.is_nil((settle(11))) -- more than there is
    assert.is_true(holds.is_served(assert(db:read "hold_list_open")[1]))
    assert.is_false(holds.is_served(aged()))
  end)

  it("is let go when its process is gone", function()
    local hold = aged()
    hold.owner, hold.expires_at = "another-boot:1:1", math.maxinteger
    assert.is_false(holds.is_served(hold))
    assert(settle(1))
  end)

  it("is none where the credits are not there", function()
    local _, err = holds.take(db, "req_b", account.no, 5)
    assert.are.equal("insufficient_quota", err.code)
    assert(settle(1))
  end)
end)
