-- Accounts: whose keys, things and credits belong together.
local errors = require "perilune.std.errors"
local rows = require "perilune.store.rows"
local token = require "perilune.sys.token"

local M = {}

local NAME_BYTES_MAX = 256

local time_columns = { "resets_at", "created_at" }


---@class perilune.AccountRow amounts are micro-credits
---@field no integer
---@field id string
---@field name string
---@field is_prepaid boolean false: counted, never refused
---@field tier? string
---@field resets_at? number
---@field balance integer
---@field held integer
---@field created_at number

local function decode(row)
  row.is_prepaid = row.is_prepaid == 1
  return rows.decode(row, {}, time_columns)
end


---@param db perilune.Database
---@param ref string id or name
---@return perilune.AccountRow|nil
---@return perilune.Error?
function M.get(db, ref)
  local list, err = db:read("account_get", { ref = ref })
  local row
  row, err = rows.one(list, err, "account", ref)
  return row and decode(row), err
end


---The account of that name; made when there is none.
---@param db perilune.Database
---@param name string
---@param options? { is_prepaid: boolean?, tier: string?, resets_at: number? } of a new one
---@return perilune.AccountRow|nil
---@return perilune.Error?
function M.open(db, name, options)
  if name == "" or #name > NAME_BYTES_MAX or name:find("%c") or not utf8.len(name) then
    return nil, errors.new {
      kind = "configuration", message = ("the name of an account is 1 to %d bytes of text"):format(NAME_BYTES_MAX),
    }
  end
  options = options or {}
  local results, err = db:write {
    { "account_create", {
      id = token.id("acct"), name = name, is_prepaid = options.is_prepaid or false, tier = options.tier,
      resets_at = rows.milliseconds(options.resets_at), now = rows.now(),
    } },
    { "account_get", { ref = name }, expect = 1 },
  }
  if not results then
    return nil, err
  end
  return decode(results[2][1])
end


---@param db perilune.Database
---@return perilune.AccountRow[]|nil
---@return perilune.Error?
function M.list(db)
  local list, err = db:read("account_list")
  return rows.each(list, err, decode)
end


---Those whose allowance is due.
---@param db perilune.Database
---@return perilune.AccountRow[]|nil
---@return perilune.Error?
function M.list_due(db)
  local list, err = db:read("account_list_due", { now = rows.now() })
  return rows.each(list, err, decode)
end


---Changes how an account pays.
---@param db perilune.Database
---@param account perilune.AccountRow with other values
---@return true|nil
---@return perilune.Error?
function M.change(db, account)
  local results, err = db:write { { "account_change", {
    id = account.id, is_prepaid = account.is_prepaid, tier = account.tier, resets_at = rows.milliseconds(account.resets_at),
  }, expect = 1 } }
  if results then
    return true
  elseif err.code ~= "expectation" and account.is_prepaid and account.balance < account.held then
    err = errors.new {
      kind = "conflict", code = "balance", cause = err,
      message = ("the account '%s' owes credits: grant it at least as many before it is prepaid"):format(account.name),
    }
  end
  return nil, err
end


return M
