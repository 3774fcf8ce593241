-- Keys of the API: pl_live_<id>_<secret>_<checksum>. The text is shown once; what is kept is the HMAC-SHA-256 of its secret under the
-- database's pepper. A checksum that is wrong is refused without looking anything up. Slow hashes are for passwords: the secret has 190 bits.
local accounts = require "perilune.store.accounts"
local clock = require "perilune.sys.clock"
local crc32 = require "perilune.std.crc32"
local errors = require "perilune.std.errors"
local log = require "perilune.sys.log"
local rows = require "perilune.store.rows"
local token = require "perilune.sys.token"

local M = {}

M.PREFIX = "pl_live_"

local ID_DIGITS, SECRET_DIGITS, SUM_DIGITS = 8, 32, 6
local PEPPER = "key_pepper"

local ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

local json_columns = { "scopes", "limits" }
local time_columns = { "created_at", "expires_at", "revoked_at" }


---@class perilune.KeyRow
---@field id string what may be shown of it
---@field name string
---@field account string
---@field account_no integer
---@field account_name string
---@field scopes { models: string[]?, routes: string[]? }
---@field limits { requests: integer?, tokens: integer?, concurrency: integer? } requests and tokens a minute
---@field replaces? string
---@field is_prepaid boolean
---@field tier? string
---@field created_at number
---@field expires_at? number
---@field revoked_at? number

-- Random digits of the alphabet; bytes that would make some more likely than others are thrown away.
local function random_digits(n)
  local digits = {}
  while #digits < n do
    local bytes = token.random(n)
    for position = 1, n do
      local byte = bytes:byte(position)
      if byte < 248 and #digits < n then
        local at = byte % 62 + 1
        digits[#digits + 1] = ALPHABET:sub(at, at)
      end
    end
  end
  return table.concat(digits)
end


-- The checksum of a text, in digits of the alphabet.
local function checksum(text)
  local crc, digits = crc32(text), {}
  for position = SUM_DIGITS, 1, -1 do
    local at = crc % 62 + 1
    digits[position] = ALPHABET:sub(at, at)
    crc = crc // 62
  end
  return table.concat(digits)
end


---The parts of a key's text; nil when it is none, or mistyped.
---@param text string
---@return { id: string, secret: string }?
function M.parse(text)
  local body, id, secret, sum = text:match("^(pl_live_(%w+)_(%w+))_(%w+)$")
  if not body or #id ~= ID_DIGITS or #secret ~= SECRET_DIGITS or #sum ~= SUM_DIGITS or not token.equal(sum, checksum(body)) then
    return nil
  end
  return { id = id, secret = secret }
end


local peppers = setmetatable({}, { __mode = "k" })


-- The pepper of a database; made by the first who needs it.
local function pepper_of(db)
  if not peppers[db] then
    local list, err = db:read("secret_get", { name = PEPPER })
    if list and not list[1] then
      local results
      results, err = db:write {
        { "secret_create", { name = PEPPER, value = token.base64(token.random(32)), now = rows.now() } },
        { "secret_get", { name = PEPPER }, expect = 1 },
      }
      list = results and results[2]
    end
    if not list then
      return nil, err
    end
    peppers[db] = list[1].value
  end
  return peppers[db]
end


local function decode(row)
  row.is_prepaid = row.is_prepaid == 1
  return rows.decode(row, json_columns, time_columns)
end


---@class perilune.NewKey
---@field name string
---@field account? string its name; by default one of the key's name
---@field is_prepaid? boolean of an account that is made
---@field tier? string of an account that is made
---@field resets_at? number of an account that is made
---@field scopes? { models: string[]?, routes: string[]? }
---@field limits? { requests: integer?, tokens: integer?, concurrency: integer? }
---@field expires_at? number
---@field replaces? string

---Makes a key. Its text is nowhere else.
---@param db perilune.Database
---@param options perilune.NewKey
---@return string|nil text
---@return perilune.KeyRow|perilune.Error row
function M.create(db, options)
  local pepper, err = pepper_of(db)
  if not pepper then
    return nil, err
  end
  local account
  account, err = accounts.open(db, options.account or options.name, options)
  if not account then
    return nil, err
  end
  local id, secret = random_digits(ID_DIGITS), random_digits(SECRET_DIGITS)
  local body = M.PREFIX .. id .. "_" .. secret
  local text = body .. "_" .. checksum(body)
  log.secret(text)
  log.secret(secret)
  local results
  results, err = db:write {
    { "key_create", {
      id = id, account_id = account.id, name = options.name, digest = token.hmac_sha256(pepper, secret),
      scopes = rows.encode(options.scopes or {}), limits = rows.encode(options.limits or {}), replaces = options.replaces,
      expires_at = rows.milliseconds(options.expires_at), now = rows.now(),
    }, expect = 1 },
    { "key_find", { id = id }, expect = 1 },
  }
  if not results then
    return nil, err
  end
  local row = decode(results[2][1])
  row.digest = nil
  return text, row
end


local function refuse(message)
  return nil, errors.new { kind = "authentication", code = "invalid_api_key", message = message }
end


---The key of a text.
---@param db perilune.Database
---@param text string
---@return perilune.KeyRow|nil
---@return perilune.Error? err of kind `authentication`: no such key, expired, or revoked
function M.find(db, text)
  local parts = M.parse(text)
  if not parts then
    return refuse("The key is not valid: it is mistyped, or it is none of this server's.")
  end
  local pepper, err = pepper_of(db)
  local list
  if pepper then
    list, err = db:read("key_find", { id = parts.id })
  end
  if not list then
    return nil, err
  end
  local row = list[1]
  local is_right = token.equal(row and row.digest or ("0"):rep(64), token.hmac_sha256(pepper, parts.secret))
  if not row or not is_right then
    return refuse("The key is not valid: it is none of this server's.")
  end
  row.digest = nil
  row = decode(row)
  local now = clock.wall()
  if row.revoked_at and row.revoked_at <= now then
    return refuse(("The key %s%s… was revoked."):format(M.PREFIX, row.id))
  elseif row.expires_at and row.expires_at <= now then
    return refuse(("The key %s%s… has expired."):format(M.PREFIX, row.id))
  end
  return row
end


---Has any key been made?
---@param db perilune.Database
---@return boolean|nil
---@return perilune.Error?
function M.any(db)
  local list, err = db:read("key_any")
  if not list then
    return nil, err
  end
  return list[1].found == 1
end


---The oldest first.
---@param db perilune.Database
---@return perilune.KeyRow[]|nil
---@return perilune.Error?
function M.list(db)
  local list, err = db:read("key_list")
  return rows.each(list, err, decode)
end


-- A key by its id; one that is not revoked also by its name, when only one has it.
local function named(db, ref)
  local list, err = M.list(db)
  if not list then
    return nil, err
  end
  local found
  for _, row in ipairs(list) do
    if row.id == ref then
      return row
    elseif row.name == ref and not row.revoked_at then
      if found then
        return nil, errors.new {
          kind = "conflict", code = "key", message = ("several keys are called '%s': say which by its id (perilune keys list)"):format(ref),
        }
      end
      found = row
    end
  end
  if not found then
    return nil, errors.new { kind = "not_found", code = "key", message = ("there is no key '%s' (perilune keys list)"):format(ref) }
  end
  return found
end


---From then on a key is refused.
---@param db perilune.Database
---@param ref string id or name
---@param at? number wall-clock time; default now
---@return perilune.KeyRow|nil
---@return perilune.Error?
function M.revoke(db, ref, at)
  local row, err = named(db, ref)
  if not row then
    return nil, err
  end
  local done
  done, err = db:write { { "key_revoke", { id = row.id, at = at and rows.milliseconds(at) or rows.now() }, expect = 1 } }
  if not done then
    return nil, err
  end
  row.revoked_at = at or clock.wall()
  return row
end


local function has_ended(key)
  local now = clock.wall()
  return (key.revoked_at or math.huge) <= now or (key.expires_at or math.huge) <= now
end


---A new key with the same account, scopes and limits; the old one is revoked, at once or a while later. One that has ended stays so.
---@param db perilune.Database
---@param ref string id or name
---@param grace_seconds? number
---@return string|nil text
---@return perilune.KeyRow|perilune.Error row
function M.rotate(db, ref, grace_seconds)
  local old, err = named(db, ref)
  if not old then
    return nil, err
  elseif has_ended(old) then
    return nil, errors.new {
      kind = "conflict", code = "key",
      message = ("the key '%s' was revoked, or has expired: make a new one (perilune keys create)"):format(ref),
    }
  end
  local text, row = M.create(db, {
    name = old.name, account = old.account_name, scopes = old.scopes, limits = old.limits, expires_at = old.expires_at, replaces = old.id,
  })
  if not text then
    return nil, row
  end
  local done
  done, err = M.revoke(db, old.id, (grace_seconds or 0) > 0 and clock.wall() + grace_seconds or nil)
  if not done then
    return nil, err
  end
  return text, row
end


return M
