-- /v1/credits: what the caller's account has, what happened to it, what was used. Amounts are micro-credits, and credits as text.
local accounts = require "perilune.store.accounts"
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local lists = require "perilune.serve.lists"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"
local tables = require "perilune.std.tables"

local DAY = 86400
local DAYS, DAYS_MAX = 30, 400


-- The account of the caller; the local caller may say which.
local function account_of(exchange)
  local key = exchange.key
  local ref = key.account or exchange:query("account")
  if not ref then
    problem.invalid("account", "Without a key, say which account: ?account=NAME")
  end
  local account, err = accounts.get(exchange.server.db, ref)
  if not account then
    if errors.is(err, "not_found") then
      problem.not_found("account", ref)
    end
    error(err, 0)
  end
  return account
end


local function amount(value)
  return { micro_credits = value, credits = credits.text(value) }
end


-- The bands, and what they cost.
local function bands_of(settings)
  local own = settings.credits or {}
  local list = json.array()
  for _, name in ipairs(tables.sorted_keys(own.bands or {})) do
    local band = own.bands[name]
    list[#list + 1] = {
      name = name, models = json.array(table.move(band.models or {}, 1, #(band.models or {}), 1, {})), input = band.input or 0,
      output = band.output or 0, cached = band.cached or band.input or 0, request = band.request or 0,
    }
  end
  return list
end


local function balance(exchange)
  local account = account_of(exchange)
  local tier = account.tier and ((exchange.app.settings.credits or {}).tiers or {})[account.tier] or {}
  exchange:reply(200, {
    object = "credits.balance", account = account.id, name = account.name, is_prepaid = account.is_prepaid,
    tier = account.tier or json.null, allowance = tier.allowance or json.null,
    resets_at = account.resets_at and math.floor(account.resets_at) or json.null,
    balance = amount(account.balance), held = amount(account.held), available = amount(account.balance - account.held),
    bands = bands_of(exchange.app.settings),
  })
end


local function entry(row)
  return {
    id = ("txn_%d"):format(row.no), object = "credits.transaction", kind = row.kind, request_id = row.request_id,
    created_at = math.floor(row.created_at),
    micro_credits = row.amount, credits = credits.text(row.amount), note = row.note or json.null, model = row.model or json.null,
    provider = row.provider or json.null, key_id = row.key_id or json.null, band = row.band or json.null,
    prompt_tokens = row.prompt_tokens or json.null, completion_tokens = row.completion_tokens or json.null,
  }
end


-- The number of the transaction that the query names.
local function number_of(page, name)
  local id = page[name]
  return id and (math.tointeger(tonumber(id:match("^txn_(%d+)$")))
    or problem.invalid(name, ("'%s' is the id of a transaction, like txn_12."):format(name)))
end


local function history(exchange)
  local account, page = account_of(exchange), lists.page(exchange)
  page.after, page.before = number_of(page, "after"), number_of(page, "before")
  local list, has_more = pages.read(page, function(is_up, lower, upper, limit)
    return credits.history(exchange.server.db, account.id, { is_up = is_up, lower = lower, upper = upper, limit = limit })
  end)
  for position, row in ipairs(errors.must(list, has_more)) do
    list[position] = entry(row)
  end
  exchange:reply(200, lists.body(list, has_more))
end


local function named_sums(list)
  for _, row in ipairs(list) do
    row.micro_credits, row.credits, row.amount = row.amount, credits.text(row.amount), nil
  end
  return json.array(list)
end


local function stats(exchange)
  local account = account_of(exchange)
  local days = exchange:query_integer("days", DAYS, 1, DAYS_MAX)
  local since, db = clock.wall() - days * DAY, exchange.server.db
  exchange:reply(200, {
    object = "credits.stats", account = account.id, since = math.floor(since), days = days,
    by_model = named_sums(errors.must(credits.stats(db, account.no, since, "model"))),
    by_day = named_sums(errors.must(credits.stats(db, account.no, since, "day"))),
  })
end


return {
  { "GET", "/v1/credits/balance", balance, family = "credits" },
  { "GET", "/v1/credits/history", history, family = "credits" },
  { "GET", "/v1/credits/stats", stats, family = "credits" },
}
