-- Attempts and what they add up to. An unknown price is nil and is counted as such, never taken for 0.
local clock = require "perilune.sys.clock"
local rows = require "perilune.store.rows"

local M = {}

local DAY = 86400

local statements = { model = "usage_by_model", provider = "usage_by_provider", day = "usage_by_day" }

local plain_columns = {
  "step_seq", "n", "provider", "model", "status", "outcome", "first_event_ms", "duration_ms", "prompt_tokens", "completion_tokens",
  "cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nano",
}
local json_columns = { "price", "error" }
local time_columns = { "started_at" }


---One HTTP request to one target, whatever became of it.
---@class perilune.AttemptRow
---@field step_seq? integer the step of the run it belongs to
---@field n? integer 1, 2, ... within the step
---@field provider string
---@field model string
---@field status? integer HTTP
---@field outcome string "ok", or the kind of the error
---@field started_at number
---@field first_event_ms? integer
---@field duration_ms? integer
---@field prompt_tokens? integer
---@field completion_tokens? integer
---@field cached_tokens? integer
---@field cache_write_tokens? integer
---@field reasoning_tokens? integer
---@field cost_nano? integer nano-dollars; nil: the price is not known
---@field price? any the price in force
---@field estimated? boolean tokens counted here, not by the provider
---@field error? any

---Adds the statements that store these attempts to a batch.
---@param batch perilune.StoreCall[]
---@param run_id string?
---@param attempts perilune.AttemptRow[]
---@param step_seq? integer for those that name none
---@param request_id? string of a request without a run
---@return true|nil
---@return perilune.Error?
function M.add_calls(batch, run_id, attempts, step_seq, request_id)
  for position, attempt in ipairs(attempts) do
    local params = {
      run_id = run_id, request_id = request_id, started_at = rows.milliseconds(attempt.started_at), estimated = attempt.estimated or false,
    }
    for _, name in ipairs(plain_columns) do
      params[name] = attempt[name]
    end
    for _, name in ipairs(json_columns) do
      local err
      params[name], err = rows.encode(attempt[name])
      if err then
        return nil, err
      end
    end
    params.step_seq = params.step_seq or step_seq
    params.n = params.n or position
    batch[#batch + 1] = { "attempt_add", params }
  end
  return true
end


local function decode(row)
  row.estimated = row.estimated == 1
  return rows.decode(row, json_columns, time_columns)
end


---The attempts of a run, in order.
---@param db perilune.Database
---@param run string|{ id: string }
---@return perilune.AttemptRow[]|nil
---@return perilune.Error?
function M.attempts(db, run)
  local list, err = db:read("attempt_list", { run_id = rows.id(run) })
  return rows.each(list, err, decode)
end


---@class perilune.UsageSum
---@field provider? string
---@field model? string
---@field day? string "2026-01-31", UTC
---@field attempts integer
---@field prompt_tokens integer
---@field completion_tokens integer
---@field cached_tokens integer
---@field reasoning_tokens integer
---@field cost_nano? integer of the attempts whose price is known; nil when there are none
---@field unpriced integer attempts whose price is not known

local function name_day(row)
  if row.day_number then
    row.day = clock.iso(row.day_number * DAY):sub(1, 10)
    row.day_number = nil
  end
  return row
end


---@param db perilune.Database
---@param options? { by: "model"|"provider"|"day"|nil, since: number? } by model of each provider; since: seconds
---@return perilune.UsageSum[]|nil
---@return perilune.Error?
function M.summary(db, options)
  options = options or {}
  local statement = statements[options.by or "model"]
  if not statement then
    error(("usage.summary: by = %q is not one of model, provider, day"):format(tostring(options.by)), 2)
  end
  local list, err = db:read(statement, { since = rows.milliseconds(options.since) or 0 })
  return rows.each(list, err, name_day)
end


return M
