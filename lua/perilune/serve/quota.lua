-- How much a key may do at a time: requests and tokens a minute, as buckets that fill evenly, and requests at once. Kept in memory: a
-- server that starts anew has full buckets. And how often an address may try keys that are wrong.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"

local M = {}

local MINUTE = 60

-- Wrong keys a second from one address, and for how long more are refused without a look.
local WRONG_MAX = 10
local WRONG_SECONDS = 5
local ADDRESSES_MAX = 10000

local states = {}


---@class perilune.Quota
---@field key perilune.serve.Key
---@field active integer
---@field requests? perilune.Bucket
---@field tokens? perilune.Bucket

---@class perilune.Bucket
---@field limit integer a minute, and how much it holds
---@field level number
---@field at number

local function new_bucket(limit)
  return limit and { limit = limit, level = limit, at = clock.mono() } or nil
end


local function fill(bucket)
  local now = clock.mono()
  bucket.level = math.min(bucket.limit, bucket.level + (now - bucket.at) * bucket.limit / MINUTE)
  bucket.at = now
  return bucket
end


local function same(bucket, limit)
  return (bucket and bucket.limit) == limit
end


local function state_of(key)
  local state, limits = states[key.id], key.limits
  if not state or not same(state.requests, limits.requests) or not same(state.tokens, limits.tokens) then
    state = { active = state and state.active or 0, requests = new_bucket(limits.requests), tokens = new_bucket(limits.tokens) }
    states[key.id] = state
  end
  return state
end


local function refuse(what, limit, seconds)
  return nil, errors.new {
    kind = "rate_limit", code = "rate_limit_exceeded", retry_after = seconds,
    message = ("This key may use %d %s; try again in %.1f s."):format(limit, what, seconds),
  }
end


---@class perilune.Ticket
---@field state table
local ticket = {}
ticket.__index = ticket


---The request has ended.
function ticket:leave()
  if self.has_left then
    return
  end
  self.has_left = true
  self.state.active = self.state.active - 1
end


---A model has answered a key, in a request or after it.
---@param key perilune.serve.Key
---@param tokens integer
function M.spend(key, tokens)
  local bucket = key.limits.tokens and state_of(key).tokens
  if bucket then
    fill(bucket)
    bucket.level = bucket.level - tokens -- may go below 0: then the next ones wait longer
  end
end


local is_free = { leave = function() end }


---Lets a request of a key begin.
---@param key perilune.serve.Key
---@return perilune.Ticket?
---@return perilune.Error? err of kind `rate_limit` with `retry_after`
function M.enter(key)
  local limits = key.limits
  if not limits.requests and not limits.tokens and not limits.concurrency then
    return is_free
  end
  local state = state_of(key)
  local requests, tokens = state.requests and fill(state.requests), state.tokens and fill(state.tokens)
  if limits.concurrency and state.active >= limits.concurrency then
    return refuse("requests at once", limits.concurrency, 1)
  elseif requests and requests.level < 1 then
    return refuse("requests a minute", requests.limit, (1 - requests.level) * MINUTE / requests.limit)
  elseif tokens and tokens.level < 1 then
    return refuse("tokens a minute", tokens.limit, (1 - tokens.level) * MINUTE / tokens.limit)
  end
  if requests then
    requests.level = requests.level - 1
  end
  state.active = state.active + 1
  return setmetatable({ state = state }, ticket)
end


-- "1s", "6m0s", "120ms": OpenAI's spelling.
local function duration(seconds)
  if seconds < 1 then
    return ("%dms"):format(math.ceil(seconds * 1000))
  end
  seconds = math.ceil(seconds)
  if seconds < MINUTE then
    return ("%ds"):format(seconds)
  end
  return ("%dm%ds"):format(seconds // MINUTE, seconds % MINUTE)
end


local NOTHING = {}


---What the headers say about the limits of a key.
---@param key perilune.serve.Key
---@return table<string, string>
function M.headers(key)
  if not key.limits.requests and not key.limits.tokens then
    return NOTHING
  end
  local state, headers = state_of(key), {}
  for _, name in ipairs { "requests", "tokens" } do
    local bucket = state[name] and fill(state[name])
    if bucket then
      headers["x-ratelimit-limit-" .. name] = tostring(bucket.limit)
      headers["x-ratelimit-remaining-" .. name] = tostring(math.max(0, math.floor(bucket.level)))
      headers["x-ratelimit-reset-" .. name] = duration((bucket.limit - bucket.level) * MINUTE / bucket.limit)
    end
  end
  return headers
end


-- Wrong keys by address.
local wrong, wrong_count = {}, 0


---Remembers that a wrong key came from an address.
---@param address string
function M.refused(address)
  local now = clock.mono()
  local one = wrong[address]
  if not one then
    if wrong_count >= ADDRESSES_MAX then
      wrong, wrong_count = {}, 0
    end
    one = { count = 0, since = now }
    wrong[address], wrong_count = one, wrong_count + 1
  elseif now - one.since > 1 then
    one.count, one.since = 0, now
  end
  one.count = one.count + 1
  if one.count > WRONG_MAX then
    one.until_at = now + WRONG_SECONDS
  end
end


---May keys from this address be looked at?
---@param address string
---@return boolean
function M.may_try(address)
  local one = wrong[address]
  return not one or not one.until_at or clock.mono() >= one.until_at
end


---For tests: forgets everything.
function M.forget()
  states, wrong, wrong_count = {}, {}, 0
end


return M
