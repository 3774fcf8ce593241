-- perilune credits: what accounts have.
local accounts = require "perilune.store.accounts"
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local pages = require "perilune.store.pages"

local M = {
  usage = "credits balance [ACCOUNT] | grant ACCOUNT AMOUNT | history ACCOUNT",
  summary = [[
Shows what accounts have, gives them credits (a negative amount takes some back), and shows what happened to them. An account that is
given credits is prepaid from then on: what they do not cover is refused.]],
  options = {
    { names = { "--note" }, key = "note", value = "TEXT", of = { "grant" }, help = "why" },
    { names = { "--postpaid" }, key = "postpaid", of = { "grant" }, help = "count only; refuse nothing" },
    {
      names = { "--limit", "-n" }, key = "limit", value = "N", type = "integer", min = 1, max = 100, of = { "history" },
      help = "how many (20)",
    },
    { names = { "--after" }, key = "after", value = "NO", type = "integer", min = 1, of = { "history" }, help = "older rows than this" },
    { names = { "--before" }, key = "before", value = "NO", type = "integer", min = 1, of = { "history" }, help = "newer rows than this" },
  },
  examples = {
    "balance", "grant laptop 100 --note 'for November'", "grant laptop -2.5", "history laptop",
    "history laptop -n 100 --after 4711",
  },
}

local LIMIT = 20

local actions = {}


local function account_named(app, name)
  return errors.must(accounts.get(app:database(), name))
end


local function shown(account)
  return {
    id = account.id, name = account.name, tier = account.tier, is_prepaid = account.is_prepaid, resets_at = account.resets_at,
    balance = account.balance, held = account.held, available = account.balance - account.held,
  }
end


function actions.balance(values, words, app)
  local list = words[2] and { account_named(app, words[2]) } or errors.must(accounts.list(app:database()))
  if values.json then
    for position, account in ipairs(list) do
      list[position] = shown(account)
    end
    return output.json(words[2] and list[1] or json.array(list))
  end
  output.table(list, {
    { "ACCOUNT", "name" }, { "BALANCE", function(one) return credits.text(one.balance) end },
    { "HELD", function(one) return credits.text(one.held) end }, { "TIER", "tier" },
    { "PAYS", function(one) return one.is_prepaid and "prepaid" or "counted only" end },
    { "RESETS", function(one) return one.resets_at and clock.iso(one.resets_at) end },
  })
end


function actions.grant(values, words, app)
  if not words[3] then
    options.fail("credits: how many? (perilune credits grant ACCOUNT AMOUNT)")
  end
  local amount = credits.parse(words[3])
  if not amount then
    options.fail("credits: '%s' is no number of credits, like 100 or 2.5 (at most six decimals)", words[3])
  end
  local db, account = app:database(), account_named(app, words[2])
  errors.must(credits.grant(db, account, amount, values.note))
  account = account_named(app, words[2])
  local is_prepaid = not values.postpaid and (account.is_prepaid or amount > 0)
  if account.is_prepaid ~= is_prepaid then
    account.is_prepaid = is_prepaid
    errors.must(accounts.change(db, account))
  end
  if values.json then
    output.json(shown(account))
  elseif not values.quiet then
    output.note(("%s has %s credits"):format(account.name, credits.text(account.balance)))
  end
end


function actions.history(values, words, app)
  if not words[2] then
    options.fail("credits: whose? (perilune credits history ACCOUNT)")
  end
  local account = account_named(app, words[2])
  local page = { order = "desc", limit = values.limit or LIMIT, after = values.after, before = values.before }
  local list = errors.must(pages.read(page, function(is_up, lower, upper, limit)
    return credits.history(app:database(), account.id, { is_up = is_up, lower = lower, upper = upper, limit = limit })
  end))
  if values.json then
    return output.json(json.array(list))
  end
  output.table(list, {
    { "NO", "no" }, { "WHEN", function(row) return clock.iso(row.created_at) end }, { "WHAT", "kind" },
    { "CREDITS", function(row) return credits.text(row.amount) end }, { "MODEL", "model" },
    { "TOKENS", function(row) return row.prompt_tokens and ("%d+%d"):format(row.prompt_tokens, row.completion_tokens or 0) end },
    { "REQUEST", "request_id" }, { "NOTE", "note" },
  })
end


function M.run(values, words, app)
  local name = words[1] or "balance"
  local action = actions[name]
  if not action then
    options.fail("credits: unknown action '%s'; it is balance, grant or history", name)
  elseif name == "grant" and not words[2] then
    options.fail("credits: whom? (perilune credits grant ACCOUNT AMOUNT)")
  end
  options.only("credits", M.options, values, name)
  options.at_most("credits", words, name == "grant" and 3 or 2)
  action(values, words, app)
  return 0
end


return M
