-- perilune keys: who may call a server.
local accounts = require "perilune.store.accounts"
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"

local M = {
  usage = "keys create NAME | list | revoke KEY | rotate KEY",
  summary = [[
Makes, lists, revokes and replaces keys of `perilune serve`. A key's text is printed once, when it is made; what is kept is a digest.
KEY is the id (the part after pl_live_) or the name. Keys of one account share its threads, assistants and credits.]],
  options = {
    {
      names = { "--account" }, key = "account", value = "NAME", of = { "create" },
      help = "the account (by default one of the key's name)",
    },
    { names = { "--prepaid" }, key = "prepaid", of = { "create" }, help = "of a new account, refuse what its credits do not cover" },
    {
      names = { "--tier" }, key = "tier", value = "NAME", of = { "create" },
      help = "of a new account, its tier (credits.tiers); implies --prepaid",
    },
    {
      names = { "--models" }, key = "models", value = "LIST", of = { "create" },
      help = "only these models: openai/*,assistant/forecaster",
    },
    { names = { "--routes" }, key = "routes", value = "LIST", of = { "create" }, help = "only these families: chat,responses,models,…" },
    { names = { "--expires" }, key = "expires", value = "TIME", of = { "create" }, help = "how long it is valid: 30d, 12h" },
    { names = { "--requests" }, key = "requests", value = "N", type = "integer", min = 1, of = { "create" }, help = "requests a minute" },
    { names = { "--tokens" }, key = "tokens", value = "N", type = "integer", min = 1, of = { "create" }, help = "tokens a minute" },
    {
      names = { "--concurrency" }, key = "concurrency", value = "N", type = "integer", min = 1, of = { "create" },
      help = "requests at once",
    },
    { names = { "--grace" }, key = "grace", value = "TIME", of = { "rotate" }, help = "how long the old key is still valid (0s)" },
  },
  examples = {
    "create laptop", "create shop --account customers --models 'openai/*' --requests 60", "create guest --tier free --expires 30d", "list",
    "revoke laptop", "rotate laptop --grace 1h",
  },
}

local families = { "chat", "responses", "conversations", "embeddings", "images", "models", "assistants", "messages", "credits", "runs",
  "admin" }

local units = { s = 1, m = 60, h = 3600, d = 86400 }

local SECONDS_MAX = 36500 * units.d

local actions = {}


local function seconds_of(name, text, least)
  local number, unit = text:match("^(%d+)([smhd])$")
  if not number then
    options.fail("keys: %s is a number with s, m, h or d, like 30d, not '%s'", name, text)
  end
  local seconds = tonumber(number) * units[unit]
  if seconds < least or seconds > SECONDS_MAX then
    options.fail("keys: %s is %ds to %dd, not '%s'", name, least, SECONDS_MAX // units.d, text)
  end
  return math.tointeger(seconds)
end


local function list_of(name, text)
  if not text then
    return nil
  end
  local list = {}
  for word in text:gmatch("[^,%s]+") do
    list[#list + 1] = word
  end
  if not list[1] then
    options.fail("keys: %s is a list with commas and at least one word; without it a key is for all", name)
  end
  return list
end


local function check_routes(routes)
  for _, route in ipairs(routes or {}) do
    local is_known = false
    for _, family in ipairs(families) do
      is_known = is_known or family == route
    end
    if not is_known then
      options.fail("keys: --routes: '%s' is none of %s", route, table.concat(families, ", "))
    end
  end
  return routes
end


-- An account that is there stays as it is.
local function check_account(account, values)
  if values.tier and values.tier ~= account.tier then
    options.fail("keys: the account '%s' is there already, and its tier cannot be changed", account.name)
  elseif values.prepaid ~= nil and values.prepaid ~= account.is_prepaid then
    options.fail("keys: the account '%s' is there already, and is %s: 'perilune credits grant' changes that", account.name,
      account.is_prepaid and "prepaid" or "not prepaid")
  end
  return account
end


-- The account of that name, or a new one; of a tier it begins with its allowance.
local function open_account(values, name, app)
  local tier = values.tier and ((app.settings.credits or {}).tiers or {})[values.tier]
  if values.tier and not tier then
    options.fail("keys: there is no tier '%s' in the configuration (credits.tiers)", values.tier)
  end
  local db = app:database()
  local account, err = accounts.get(db, name)
  if account then
    return check_account(account, values)
  elseif not errors.is(err, "not_found") then
    error(err, 0)
  end
  account = errors.must(accounts.open(db, name, {
    is_prepaid = values.prepaid == true or tier ~= nil, tier = values.tier, resets_at = tier and clock.wall() or nil,
  }))
  if tier and tier.allowance then
    errors.must(credits.reset(db, account, math.tointeger(tier.allowance * credits.CREDIT // 1)))
  end
  return account
end


local function shown(row)
  return {
    id = row.id, name = row.name, account = row.account_name, account_id = row.account, tier = row.tier, is_prepaid = row.is_prepaid,
    scopes = row.scopes, limits = row.limits, replaces = row.replaces, created_at = row.created_at, expires_at = row.expires_at,
    revoked_at = row.revoked_at,
  }
end


-- The one time that a key is seen.
local function print_key(values, text, row)
  if values.json then
    local data = shown(row)
    data.key = text
    return output.json(data)
  end
  output.write(text .. "\n")
  if not values.quiet then
    output.note(("this is the only time that the key is shown; it belongs to the account '%s'"):format(row.account_name))
  end
end


function actions.create(values, name, app)
  local scopes = { models = list_of("--models", values.models), routes = check_routes(list_of("--routes", values.routes)) }
  local expires_at = values.expires and clock.wall() + seconds_of("--expires", values.expires, 1)
  local account = open_account(values, values.account or name, app)
  local text, row = keys.create(app:database(), {
    name = name, account = account.name, expires_at = expires_at, scopes = scopes,
    limits = { requests = values.requests, tokens = values.tokens, concurrency = values.concurrency },
  })
  if not text then
    error(row, 0)
  end
  print_key(values, text, row)
end


-- A key ends once: when it is revoked, or expires, whichever is sooner.
local function state_of(row)
  local ends_at = math.min(row.revoked_at or math.huge, row.expires_at or math.huge)
  if ends_at == math.huge then
    return "valid"
  elseif ends_at > clock.wall() then
    return "until " .. clock.iso(ends_at)
  end
  return ends_at == row.revoked_at and "revoked" or "expired"
end


function actions.list(values, _, app)
  local list = errors.must(keys.list(app:database()))
  if values.json then
    for position, row in ipairs(list) do
      list[position] = shown(row)
    end
    return output.json(json.array(list))
  end
  output.table(list, {
    { "ID", "id" }, { "NAME", "name" }, { "ACCOUNT", "account_name" }, { "STATE", state_of },
    { "MODELS", function(row) return row.scopes.models and table.concat(row.scopes.models, ",") or "all" end },
    { "ROUTES", function(row) return row.scopes.routes and table.concat(row.scopes.routes, ",") or "all" end },
    { "CREATED", function(row) return clock.iso(row.created_at) end },
  })
end


function actions.revoke(values, ref, app)
  local row = errors.must(keys.revoke(app:database(), ref))
  if values.json then
    output.json(shown(row))
  elseif not values.quiet then
    output.note(("the key '%s' (%s) is refused from now on"):format(row.name, row.id))
  end
end


function actions.rotate(values, ref, app)
  local text, row = keys.rotate(app:database(), ref, values.grace and seconds_of("--grace", values.grace, 0) or 0)
  if not text then
    error(row, 0)
  end
  print_key(values, text, row)
end


function M.run(values, words, app)
  local name = words[1] or "list"
  local action = actions[name]
  if not action then
    options.fail("keys: unknown action '%s'; it is create, list, revoke or rotate", name)
  end
  options.only("keys", M.options, values, name)
  options.at_most("keys", words, name == "list" and 1 or 2)
  if name ~= "list" and not words[2] then
    options.fail("keys: which one? (perilune keys %s %s)", name, name == "create" and "NAME" or "KEY")
  end
  action(values, words[2], app)
  return 0
end


return M
