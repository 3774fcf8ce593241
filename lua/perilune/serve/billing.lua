-- The stage that pays: around every model that a key asks. What the answer may cost is held before anything is sent; when it has ended, and
-- before its end is shown, what it came to is settled. One question is charged once, whatever the number of attempts below.
--
-- An answer that came to nothing costs nothing. One that broke off, or whose client went away, costs its prompt and what had arrived: as
-- the provider counted it, or else counted here and marked as estimated. Never more than was held.
local accounts = require "perilune.store.accounts"
local clock = require "perilune.sys.clock"
local credits = require "perilune.store.credits"
local errors = require "perilune.std.errors"
local holds = require "perilune.serve.holds"
local pricing = require "perilune.serve.pricing"
local quota = require "perilune.serve.quota"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local tokens = require "perilune.model.tokens"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.billing", __index = methods }

local WRITE_SECONDS = 30
-- Others spend from the same account meanwhile: how often a smaller question is tried.
local HOLD_TRIES = 3
-- No answer has so many tokens: a count above it is a mistake.
local TOKENS_ABSURD = 50000000


---@class perilune.BillingOptions
---@field db perilune.Database
---@field key perilune.serve.Key
---@field charge_id fun(): string a name for each question
---@field name string "provider/model"
---@field asked string as the client calls it
---@field label? string the same where it may have a rate of its own (serve/names.lua)
---@field settings perilune.Settings
---@field run_id? string
---@field observe? fun(seen: table, event: table) see serve/observed.lua
---@field writes_attempts? boolean a run writes its own

---@param model table
---@param options perilune.BillingOptions
---@return table model
function M.new(model, options)
  return setmetatable({ model = model, options = options }, metatable)
end


local function clamped(request, max_tokens)
  if not max_tokens then
    return request
  end
  local copy = {}
  for name, value in pairs(request) do
    copy[name] = value
  end
  local field = request.max_completion_tokens and "max_completion_tokens" or "max_tokens"
  copy[field] = max_tokens
  return copy
end


---Gives an account its allowance, when it is due; true when there is more now.
---@param options { db: perilune.Database, settings: perilune.Settings }
---@param account perilune.AccountRow
---@return boolean
function M.reset_if_due(options, account)
  local tier = account.tier and ((options.settings.credits or {}).tiers or {})[account.tier]
  if not tier or not tier.allowance then
    return false
  end
  return errors.must(credits.reset(options.db, account, math.tointeger(tier.allowance * credits.CREDIT // 1)))
end


-- Holds what the request may cost; the request is made smaller when not all of it is covered.
local function hold(options, id, rate, request)
  local output_tokens = (options.settings.credits or {}).max_output_tokens or pricing.OUTPUT_TOKENS
  local amount, max_tokens = pricing.shape(rate, request, nil, output_tokens)
  local account_no = options.key.account_no
  local done, err = holds.take(options.db, id, account_no, amount)
  for _ = 1, HOLD_TRIES do
    if done then
      return amount, clamped(request, max_tokens)
    elseif err.kind ~= "quota" then
      error(err, 0)
    end
    local account = errors.must(accounts.get(options.db, options.key.account))
    if not M.reset_if_due(options, account) then
      amount, max_tokens = pricing.shape(rate, request, account.balance - account.held, output_tokens)
    end
    done, err = holds.take(options.db, id, account_no, amount)
  end
  if not done then
    error(err, 0)
  end
  return amount, clamped(request, max_tokens)
end


-- What is known of the answer while it comes.
local seen = {}
seen.__index = seen


function seen:note(event)
  local kind = event.type
  if kind == "text" or kind == "thinking" or kind == "refusal" then
    self.bytes = self.bytes + #event.text
  elseif kind == "tool_call_delta" then
    self.bytes = self.bytes + #event.arguments
  elseif kind == "tool_call" then
    self.calls = self.calls + 1
    self.bytes = math.max(self.bytes, #event.arguments)
  elseif kind == "image" or kind == "audio" then
    self.calls = self.calls + 1
  elseif kind == "start" then
    self.provider = event.provider
  elseif kind == "usage" then
    self.usage = event.usage
  elseif kind == "attempt_discarded" then
    self.bytes, self.calls, self.usage = 0, 0, nil
  end
end


-- What the answer used: as it was said, when that can be (a text has tokens), or counted here.
function seen:used()
  local said = self.usage
  local is_sound = said and said.prompt_tokens >= 0 and said.completion_tokens >= 0 and said.prompt_tokens <= TOKENS_ABSURD
    and said.completion_tokens <= TOKENS_ABSURD - said.prompt_tokens and (said.completion_tokens > 0 or self.bytes == 0)
  if is_sound then
    return said
  end
  return tokens.estimated(self.request.messages, self.bytes)
end


-- What is charged of an answer that ended so.
local function amount_of(self, outcome, usage)
  local has_content = self.bytes > 0 or self.calls > 0
  if outcome ~= "ok" and not has_content or usage.completion_tokens == 0 and not has_content then
    return 0
  end
  return pricing.charge(self.rate, usage)
end


-- Ends the question in the books; once.
local function settle(self, outcome)
  local options, key = self.options, self.options.key
  self.is_settled = true
  local attempts = options.writes_attempts and self.inner.rows or nil
  local has_answered = outcome == "ok" or self.bytes > 0 or self.calls > 0
  local usage = self.is_counted and self:used() or nil
  if usage and has_answered then
    quota.spend(key, usage.prompt_tokens + usage.completion_tokens)
  end
  if key.account_no == 0 then
    if attempts then
      errors.must(credits.note_attempts(options.db, self.id, attempts))
    end
    return
  end
  local amount = self.rate and amount_of(self, outcome, usage) or 0
  local charged = self.held and math.min(amount, self.held) or amount
  errors.must(holds.settle(options.db, {
    request_id = self.id, account = key.account, account_no = key.account_no, held = self.held, amount = charged,
    overrun = amount - charged, key_id = key.id, run_id = options.run_id, model = options.asked, provider = self.provider,
    band = self.rate and self.rate.band, rate = self.rate, outcome = outcome, usage = has_answered and usage or nil, attempts = attempts,
  }))
end


local function shielded(self, outcome)
  if not self.is_settled then
    task.shield(WRITE_SECONDS, settle, self, outcome)
  end
end


---@param request perilune.Request
---@param limits perilune.Limits?
---@return perilune.Stream
function methods:stream(request, limits)
  local options = self.options
  local key = options.key
  local state = setmetatable({
    options = options, id = options.charge_id(), request = request, bytes = 0, calls = 0, is_settled = false, started = clock.mono(),
    is_counted = key.account_no ~= 0 or key.limits.tokens ~= nil,
  }, seen)
  if key.account_no ~= 0 then
    state.rate = pricing.rate(options.settings, options.name, options.label)
    if key.is_prepaid then
      if not state.rate then
        pricing.refuse(options.asked)
      end
      state.held, request = hold(options, state.id, state.rate, request)
    end
  end
  local inner, observe = self.model:stream(request, limits), options.observe
  state.inner = inner
  local outer = stream.new(function()
    local event = inner:pull()
    if event then
      state:note(event)
      if event.type == "usage" and state.is_counted then
        event = { type = "usage", usage = state:used() } -- what is shown is what is charged
      end
      if observe then
        observe(state, event)
      end
      if event.type == "stop" then
        shielded(state, "ok")
      elseif event.type == "error" then
        shielded(state, event.error.kind)
      end
    end
    return event
  end, function()
    inner:close()
    shielded(state, "cancelled")
  end)
  outer.rows = inner.rows
  return outer
end


return M
