-- Credits: a double-entry ledger of whole micro-credits. What a request may cost is held before it is sent, in one conditional statement, and
-- settled, given back or expired exactly once. Every function is one batch.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"
local token = require "perilune.sys.token"
local usage = require "perilune.store.usage"

local M = {}

---Micro-credits in a credit.
M.CREDIT = 1000000

local GRANTS, REVENUE, OVERRUN = "house:grants", "house:revenue", "house:overrun"

local DAY = 86400
local LIST_MAX = 100


-- The two statements of a transaction.
local function add_transaction(batch, kind, request_id, note, payer, payee, amount, now)
  batch[#batch + 1] = { "transaction_add", { kind = kind, request_id = request_id, note = note, now = now }, expect = 1 }
  batch[#batch + 1] = { "entries_add", { kind = kind, request_id = request_id, payer = payer, payee = payee, amount = amount }, expect = 2 }
end


local function written(db, batch)
  local results, err = db:write(batch)
  if not results then
    return nil, err
  end
  return true
end


---Gives an account credits, or takes some back.
---@param db perilune.Database
---@param account perilune.AccountRow
---@param amount integer micro-credits; below 0: a correction
---@param note? string
---@return true|nil
---@return perilune.Error?
function M.grant(db, account, amount, note)
  if amount == 0 then
    return true
  end
  local batch = { { "account_credit", { account_no = account.no, amount = amount }, expect = 1 } }
  local kind = amount > 0 and "grant" or "correction"
  local payer, payee = GRANTS, account.id
  if amount < 0 then
    payer, payee = payee, payer
  end
  add_transaction(batch, kind, token.id("grant"), note, payer, payee, math.abs(amount), rows.now())
  local done, err = written(db, batch)
  if not done and amount < 0 and err.kind ~= "database" then
    err = errors.new {
      kind = "quota", code = "insufficient_credits", cause = err,
      message = ("the account '%s' has not so many credits that are free"):format(account.name),
    }
  end
  return done, err
end


---@class perilune.NewHold
---@field request_id string
---@field account_no integer
---@field amount integer micro-credits
---@field owner string this process
---@field seconds number until it may be released while its process lives

---Sets credits aside. Of all who ask at once those are served whose sum is covered.
---@param db perilune.Database
---@param hold perilune.NewHold
---@return true|nil
---@return perilune.Error? err of kind `quota` when they are not there
function M.hold(db, hold)
  local now = rows.now()
  local results, err = db:write {
    relaxed = true, -- a hold that a power cut takes was of a request that it took too
    { "hold_take", { account_no = hold.account_no, amount = hold.amount }, expect = 1 },
    { "hold_add", {
      request_id = hold.request_id, account_no = hold.account_no, amount = hold.amount, owner = hold.owner, now = now,
      expires_at = now + rows.milliseconds(hold.seconds),
    }, expect = 1 },
  }
  if results then
    return true
  elseif err.code == "expectation" then
    return nil, errors.new {
      kind = "quota", code = "insufficient_quota", cause = err, retryable = false,
      message = "The account of this key has not enough credits for this request.",
    }
  end
  return nil, err
end


---@class perilune.Settlement
---@field request_id string
---@field account string
---@field account_no integer
---@field held? integer what was held; nil: nothing, the account is not prepaid
---@field amount integer what is charged, at most what was held
---@field overrun? integer what it came to above that: the house's
---@field key_id? string
---@field run_id? string
---@field model string
---@field provider? string
---@field band? string
---@field rate? table
---@field outcome string
---@field usage? perilune.Usage
---@field attempts? perilune.AttemptRow[] stored along

local function add_money(batch, one, now)
  if one.held then
    local state = (one.outcome == "ok" or one.amount > 0) and "settled" or "voided"
    batch[#batch + 1] = { "hold_end", { request_id = one.request_id, state = state, now = now }, expect = 1 }
  end
  if one.held or one.amount > 0 then
    batch[#batch + 1] = { "account_settle", { account_no = one.account_no, held = one.held or 0, amount = one.amount }, expect = 1 }
  end
  if one.amount > 0 then
    add_transaction(batch, "charge", one.request_id, nil, one.account, REVENUE, one.amount, now)
  end
  if one.overrun and one.overrun > 0 then
    add_transaction(batch, "overrun", one.request_id, nil, OVERRUN, REVENUE, one.overrun, now)
  end
end


---Ends a request: its hold, its charge, its usage and its attempts, all or nothing.
---@param db perilune.Database
---@param one perilune.Settlement
---@return true|nil
---@return perilune.Error?
function M.settle(db, one)
  local batch, now, used = {}, rows.now(), one.usage or {}
  local rate, err = rows.encode(one.rate)
  if err then
    return nil, err
  end
  add_money(batch, one, now)
  batch[#batch + 1] = { "charge_add", {
    request_id = one.request_id, account_no = one.account_no, key_id = one.key_id, run_id = one.run_id, model = one.model,
    provider = one.provider, band = one.band, rate = rate, outcome = one.outcome, prompt_tokens = used.prompt_tokens,
    completion_tokens = used.completion_tokens, cached_tokens = (used.prompt_tokens_details or {}).cached_tokens,
    estimated = used.estimated or false, amount = one.amount, now = now,
  }, expect = 1 }
  local added
  added, err = usage.add_calls(batch, nil, one.attempts or {}, nil, one.request_id)
  if not added then
    return nil, err
  end
  return written(db, batch)
end


---Attempts of a request that nobody pays for.
---@param db perilune.Database
---@param request_id string
---@param attempts perilune.AttemptRow[]
---@return true|nil
---@return perilune.Error?
function M.note_attempts(db, request_id, attempts)
  local batch = {}
  local added, err = usage.add_calls(batch, nil, attempts, nil, request_id)
  if not added then
    return nil, err
  elseif not batch[1] then
    return true
  end
  batch.relaxed = true
  return written(db, batch)
end


-- Gives back what an open hold holds; somebody else may have ended it meanwhile.
local function release(db, hold, state)
  local now = rows.now()
  local results, err = db:write {
    { "hold_end", { request_id = hold.request_id, state = state, now = now }, expect = 1 },
    { "hold_release", { request_id = hold.request_id }, expect = 1 },
    { "charge_add_interrupted", { request_id = hold.request_id, outcome = "interrupted", now = now }, expect = 1 },
  }
  if not results and err.code ~= "expectation" then
    return nil, err
  end
  return results ~= nil
end


---Gives back the holds that nobody will settle.
---@param db perilune.Database
---@param is_served fun(hold: { request_id: string, owner: string, expires_at: integer }): boolean
---@return integer|nil count
---@return perilune.Error?
function M.expire(db, is_served)
  local list, err = db:read("hold_list_open")
  if not list then
    return nil, err
  end
  local count = 0
  for _, hold in ipairs(list) do
    if not is_served(hold) then
      local done
      done, err = release(db, hold, "expired")
      if done == nil then
        return nil, err
      end
      count = count + (done and 1 or 0)
    end
  end
  return count
end


-- A month later, on the same day where that month has it.
local function next_month(seconds)
  local year, month, day, rest = clock.iso(seconds):match("^(%d+)-(%d+)-(%d+)(.*)$")
  year, month, day = tonumber(year), tonumber(month) + 1, tonumber(day)
  if month > 12 then
    year, month = year + 1, 1
  end
  local lengths = { 31, (year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0) and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  return M.time_of(("%04d-%02d-%02d%s"):format(year, month, math.min(day, lengths[month]), rest))
end


---Seconds since 1970 of "2026-01-31T00:00:00Z" (Howard Hinnant's days_from_civil).
---@param iso string
---@return integer
function M.time_of(iso)
  local year, month, day, hour, minute, second = iso:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$")
  year, month, day = math.tointeger(tonumber(year)), math.tointeger(tonumber(month)), math.tointeger(tonumber(day))
  year = month <= 2 and year - 1 or year
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  local days = era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
  return days * DAY + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end


---When an allowance that begins now is due again.
---@param from? number default now
---@return integer
function M.next_reset(from)
  return next_month(from or clock.wall())
end


---Gives an account the allowance of its tier, when that is due: a balance below it is raised to it, one above it stays.
---@param db perilune.Database
---@param account perilune.AccountRow
---@param allowance integer micro-credits
---@return boolean|nil done false: it was not due, or somebody else has done it
---@return perilune.Error?
function M.reset(db, account, allowance)
  local now = clock.wall()
  if not account.resets_at or rows.milliseconds(account.resets_at) > rows.milliseconds(now) then -- as it was rounded when it was stored
    return false
  end
  local following = account.resets_at
  repeat
    following = next_month(following)
  until following > now
  local was = rows.milliseconds(account.resets_at)
  local batch = { { "account_reset", { account_no = account.no, was = was, resets_at = rows.milliseconds(following) }, expect = 1 } }
  local amount = allowance - account.balance
  if amount > 0 then
    batch[2] = { "account_credit", { account_no = account.no, amount = amount }, expect = 1 }
    add_transaction(batch, "reset", ("reset_%s_%d"):format(account.id, was), nil, GRANTS, account.id, amount, rows.now())
  end
  local done, err = written(db, batch)
  if not done and err.code == "expectation" then
    return false
  end
  return done, err
end


---@class perilune.LedgerRow
---@field no integer
---@field kind string
---@field request_id string
---@field amount integer micro-credits; what was paid is below 0
---@field created_at number

---What happened to a balance, the newest first unless `is_up`.
---@param db perilune.Database
---@param account string its id
---@param options? { is_up: boolean?, lower: integer?, upper: integer?, limit: integer? } between these two transactions
---@return perilune.LedgerRow[]|nil
---@return perilune.Error?
function M.history(db, account, options)
  options = options or {}
  local list, err = db:read(options.is_up and "ledger_page_up" or "ledger_page_down", {
    account = account, lower = options.lower, upper = options.upper, limit = options.limit or LIST_MAX,
  })
  return rows.each(list, err, function(row)
    return rows.decode(row, {}, { "created_at" })
  end)
end


local function name_day(row)
  if row.day_number then
    row.day, row.day_number = clock.iso(row.day_number * DAY):sub(1, 10), nil
  end
  return row
end


---What was used and charged.
---@param db perilune.Database
---@param account_no integer
---@param since number
---@param by "model"|"day"
---@return table[]|nil
---@return perilune.Error?
function M.stats(db, account_no, since, by)
  local list, err = db:read(by == "day" and "charges_by_day" or "charges_by_model", {
    account_no = account_no, since = rows.milliseconds(since),
  })
  return rows.each(list, err, name_day)
end


---Credits as people write them: "12.5".
---@param amount integer micro-credits
---@return string
function M.text(amount)
  local sign = amount < 0 and "-" or ""
  amount = math.abs(amount)
  local decimals = ("%06d"):format(amount % M.CREDIT):gsub("0+$", "")
  return ("%s%d%s"):format(sign, amount // M.CREDIT, decimals ~= "" and "." .. decimals or "")
end


---Micro-credits of what people write: "12.5"; nil when it is no number of credits, or has more than six decimals.
---@param text string
---@return integer?
function M.parse(text)
  local sign, whole, decimals = text:match("^(%-?)(%d+)%.?(%d*)$")
  if not whole or #whole > 12 or #decimals > 6 then
    return nil
  end
  local amount = math.tointeger(tonumber(whole)) * M.CREDIT + math.tointeger(tonumber((decimals .. "000000"):sub(1, 6)))
  return sign == "-" and -amount or amount
end


return M
