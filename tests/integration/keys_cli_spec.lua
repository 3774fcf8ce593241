-- perilune keys and perilune credits: as an operator types them, with wrong input too.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local programs = require "tests.support.program"


local function run(program, ...)
  local result = program:run { ... }
  return result.status, result.stdout, result.stderr
end


local function data(program, ...)
  local status, stdout, stderr = run(program, "--json", ...)
  assert.are.equal(0, status, stderr)
  return json.decode(stdout)
end


describe("perilune keys", function()
  it("makes a key that is shown once, lists it without its secret, and takes it back", function()
    local program <close> = programs.new()
    local status, text, note = run(program, "keys", "create", "shop", "--models", "openai/*,assistant/bob", "--routes", "chat,models",
      "--requests", "60", "--expires", "30d")
    assert.are.equal(0, status, note)
    assert.matches("^pl_live_%w+_%w+_%w+\n$", text)
    assert.is_truthy(note:find("only time", 1, true))
    local _, listed = run(program, "keys", "list")
    assert.is_truthy(listed:find("shop", 1, true))
    assert.is_nil(listed:find(text:match("_(%w+)_%w+\n$"), 1, true))
    local key = data(program, "keys", "list")[1]
    assert.are.same({ "shop", { "openai/*", "assistant/bob" }, { "chat", "models" }, 60 },
      { key.name, key.scopes.models, key.scopes.routes, key.limits.requests })
    assert.are.equal(0, (run(program, "keys", "revoke", "shop")))
    assert.is_truthy(select(2, run(program, "keys", "list")):find("revoked", 1, true))
    status, _, note = run(program, "keys", "revoke", "shop")
    assert.is_true(status ~= 0 and note:find("no key 'shop'", 1, true) ~= nil)
  end)

  it("replaces a key by one with the same account, scopes and limits", function()
    local program <close> = programs.new()
    local first = data(program, "keys", "create", "shop", "--account", "team", "--tokens", "500")
    local second = data(program, "keys", "rotate", first.id, "--grace", "1h")
    assert.are.same({ "team", { tokens = 500 }, first.id }, { second.account, second.limits, second.replaces })
    assert.is_truthy(select(2, run(program, "keys", "list")):find("until 20", 1, true))
  end)

  it("replaces none that has ended", function()
    local program <close> = programs.new()
    local first = data(program, "keys", "create", "shop")
    run(program, "keys", "revoke", "shop")
    local status, _, stderr = run(program, "keys", "rotate", first.id)
    assert.are.equal(1, status)
    assert.is_truthy(stderr:find("was revoked, or has expired", 1, true))
    assert.are.equal(1, #data(program, "keys", "list"))
  end)

  it("shows until when a key is valid: the sooner of its two ends", function()
    local program <close> = programs.new()
    for _, case in ipairs { { "sooner", "1h", "2d" }, { "later", "9d", "5h" } } do
      data(program, "keys", "create", case[1], "--expires", case[2])
      data(program, "keys", "rotate", case[1], "--grace", case[3])
    end
    local _, listed = run(program, "keys", "list")
    local keys = data(program, "keys", "list")
    for position, ending in ipairs { { keys[1], "expires_at" }, { keys[2], "expires_at" }, { keys[3], "revoked_at" } } do
      assert.is_truthy(listed:find("until " .. clock.iso(ending[1][ending[2]]), 1, true), position .. "\n" .. listed)
    end
  end)

  it("leaves an account that is there as it is, and says so", function()
    local program <close> = programs.new()
    program:file("perilune.lua", "return { credits = { tiers = { free = { allowance = 5 }, gold = { allowance = 50 } } } }")
    local team = data(program, "keys", "create", "shop", "--account", "team")
    data(program, "keys", "create", "guest", "--tier", "free")
    for words, problem in pairs {
      [{ "--account", "team", "--prepaid" }] = "'team' is there already, and is not prepaid: 'perilune credits grant' changes that",
      [{ "--account", "team", "--tier", "gold" }] = "'team' is there already, and its tier cannot be changed",
      [{ "--account", "guest", "--tier", "gold" }] = "'guest' is there already, and its tier cannot be changed",
      [{ "--account", "guest", "--no-prepaid" }] = "'guest' is there already, and is prepaid",
    } do
      local status, _, stderr = run(program, "keys", "create", "second", table.unpack(words))
      assert.are.same({ 2, true }, { status, stderr:find(problem, 1, true) ~= nil }, stderr)
    end
    run(program, "credits", "grant", "guest", "-2")
    data(program, "keys", "create", "second", "--account", "guest", "--tier", "free")
    data(program, "keys", "create", "third", "--account", team.account_id)
    local list = data(program, "credits", "balance")
    assert.are.same({ 2, "team", false, "guest", 3000000 },
      { #list, list[1].name, list[1].is_prepaid, list[2].name, list[2].balance })
    assert.are.equal(4, #data(program, "keys", "list"))
  end)

  it("says what is wrong with what it is given, and leaves nothing behind", function()
    local program <close> = programs.new()
    for _, case in ipairs {
      { { "keys", "create", "x", "--expires", "0s" }, 2, "--expires is 1s to 36500d" },
      { { "keys", "create", "x", "--expires", "99999999999999999999d" }, 2, "--expires is 1s to 36500d" },
      { { "keys", "create", "x", "--models", "" }, 2, "at least one word" },
      { { "keys", "create", "x", "--models", " , " }, 2, "at least one word" },
      { { "keys", "create", "x", "--routes", "" }, 2, "at least one word" },
      { { "keys", "rotate", "x", "--grace", "36501d" }, 2, "--grace is 0s to 36500d" },
      { { "keys", "create" }, 2, "which one" }, { { "keys", "make", "x" }, 2, "unknown action" },
      { { "keys", "create", "x", "--expires", "soon" }, 2, "like 30d" },
      { { "keys", "create", "x", "--routes", "chats" }, 2, "none of chat" },
      { { "keys", "create", "x", "--tier", "gold" }, 2, "no tier 'gold'" }, { { "keys", "rotate", "nobody" }, 1, "no key 'nobody'" },
      { { "keys", "create", "x", "--requests", "0" }, 2, "at least 1" },
    } do
      local status, _, stderr = run(program, table.unpack(case[1]))
      assert.are.equal(case[2], status, stderr)
      assert.is_truthy(stderr:find(case[3], 1, true), stderr)
    end
    assert.are.same({}, data(program, "credits", "balance"))
  end)
end)


describe("perilune credits", function()
  it("gives, shows and takes back, exactly", function()
    local program <close> = programs.new()
    run(program, "keys", "create", "shop")
    assert.are.equal("shop has 2.5 credits\n", select(3, run(program, "credits", "grant", "shop", "2.5", "--note", "welcome")))
    run(program, "credits", "grant", "shop", "-0.000001")
    local account = data(program, "credits", "balance", "shop")
    assert.are.same({ 2499999, 0, true }, { account.balance, account.held, account.is_prepaid })
    local history = data(program, "credits", "history", "shop")
    assert.are.same({ -1, "correction", 2500000, "welcome" }, { history[1].amount, history[1].kind, history[2].amount, history[2].note })
    assert.are.equal("ok\n", select(2, run(program, "db", "check")))
  end)

  it("shows what happened page by page, the newest first", function()
    local program <close> = programs.new()
    run(program, "keys", "create", "shop")
    for amount = 1, 4 do
      run(program, "credits", "grant", "shop", tostring(amount))
    end
    local function page(...)
      local amounts, list = {}, data(program, "credits", "history", "shop", ...)
      for position, row in ipairs(list) do
        amounts[position] = row.amount // 1000000
      end
      return amounts, list
    end
    local first, list = page("-n", "2")
    assert.are.same({ 4, 3 }, first)
    local second, older = page("-n", "2", "--after", tostring(list[2].no))
    assert.are.same({ 2, 1 }, second)
    assert.are.same({ 4, 3 }, (page("-n", "2", "--before", tostring(older[1].no))))
    assert.are.same({}, (page("--after", tostring(older[2].no))))
    assert.are.same({ 3 }, (page("--after", tostring(list[1].no), "--before", tostring(older[1].no))))
    assert.matches("^NO +WHEN", (select(2, run(program, "credits", "history", "shop"))))
  end)

  it("of a tier begin with its allowance", function()
    local program <close> = programs.new()
    program:file("perilune.lua", "return { credits = { tiers = { free = { allowance = 12.5 } } } }")
    run(program, "keys", "create", "guest", "--tier", "free")
    local account = data(program, "credits", "balance", "guest")
    assert.are.same({ 12500000, "free" }, { account.balance, account.tier })
    assert.is_true(account.resets_at > clock.wall() + 27 * 86400)
  end)

  it("that are no number, or of nobody, are refused", function()
    local program <close> = programs.new()
    run(program, "keys", "create", "shop", "--prepaid")
    for _, case in ipairs {
      { { "credits", "grant", "shop", "many" }, 2, "no number of credits" }, { { "credits", "grant", "shop" }, 2, "how many" },
      { { "credits", "grant", "nobody", "1" }, 1, "no account nobody" }, { { "credits", "grant", "shop", "-1" }, 5, "not so many credits" },
      { { "credits", "grant", "shop", "0.0000001" }, 2, "at most six decimals" }, { { "credits", "history" }, 2, "whose" },
    } do
      local status, _, stderr = run(program, table.unpack(case[1]))
      assert.are.equal(case[2], status, stderr)
      assert.is_truthy(stderr:find(case[3], 1, true), stderr)
    end
  end)
end)


describe("a configuration of credits", function()
  it("that makes no sense is refused when anything starts", function()
    for text, word in pairs {
      ["{ bands = { a = { inptu = 1 } } }"] = "did you mean 'input'", ["{ bands = { a = { input = -1 } } }"] = "between 0 and",
      ["{ tiers = { a = 5 } }"] = "must be a table", ["{ per_dollar = 'x' }"] = "number",
    } do
      local program <close> = programs.new()
      program:file("perilune.lua", ("return { credits = %s }"):format(text))
      local status, _, stderr = run(program, "keys", "list")
      assert.are.equal(3, status, stderr)
      assert.is_truthy(stderr:find(word, 1, true), stderr)
    end
  end)
end)
