---@meta perilune.sys.failover

---What failover needs to know and must not ask Lua for: breakers, caps and the health of every endpoint of the process, the
---retry budget, delays, and Retry-After in all its spellings. Times are in seconds.
---@class perilune.sys.failover
local M = {}

---@class perilune.FailoverSettings
---@field failures? integer strikes in a row that open the breaker; default 5
---@field successes? integer good probes that close it; default 1
---@field open? number how long it stays open at first, 10 % more or less; default 5
---@field open_max? number it doubles up to this each time it opens again; default 60
---@field window? number half or more strikes in this time open it too; default 10
---@field window_requests? integer but not with fewer verdicts than this; default 10
---@field max_inflight? integer attempts at once, of the credential; default 64
---@field queue? integer how many may wait for one to end, of the credential; default 256

---One target as the process knows it.
---@class perilune.FailoverEndpoint
local endpoint = {}

---Begins an attempt; waits for a slot of the credential if there is none, the earliest deadline first.
---@param is_forced? boolean breaker, park and cooling are not asked; the cap still holds
---@param max_wait? number for a slot; default 60, and never longer than the task's own deadline
---@param pause? perilune.FailoverPause whoever wakes it ends the wait
---@return perilune.FailoverAttempt?
---@return "open"|"parked"|"cooling"|"queue_full"|"queue_timeout"|"interrupted"|nil why
---@return number? seconds until asking again makes sense
function endpoint:start(is_forced, max_wait, pause) end

---The credential, with all its models, is not asked for so long, at most a day. The later end of two holds. A forced attempt
---that succeeds ends it.
---@param seconds number
---@param reason string
function endpoint:park(seconds, reason) end

---This endpoint is not asked for so long, at most 60 s; otherwise as `park`.
---@param seconds number
---@param reason string
function endpoint:cool(seconds, reason) end

---@return perilune.Health
function endpoint:status() end

---One request to an endpoint, until its verdict; the first verdict holds, later ones are ignored. Closing or collecting it is
---`drop`.
---@class perilune.FailoverAttempt
local attempt = {}

---The first content has come; only the first call counts.
function attempt:content() end

---The answer is complete: good for the breaker, and its time is recorded.
function attempt:succeed() end

---The endpoint is to blame: a strike.
---@param reason string
function attempt:fail(reason) end

---No verdict: the client's mistake, a cancel, a lost race.
function attempt:drop() end

---@class perilune.Health
---@field provider string
---@field model string
---@field credential string the first 8 digits of its SHA-256; "" without one
---@field state "closed"|"open"|"half_open"|"parked"|"cooling"
---@field retry_in? number seconds until it is asked again
---@field requests integer
---@field successes integer
---@field failures integer
---@field inflight integer
---@field queued integer
---@field latency perilune.Percentiles of successful attempts; recent ones weigh more
---@field first_content perilune.Percentiles
---@field last_error? string
---@field last_error_at? number seconds since 1970

---@class perilune.Percentiles in seconds, within 4 %; with a count of 0 the others are absent
---@field count integer
---@field mean? number
---@field p50? number
---@field p95? number
---@field p99? number
---@field max? number

---The limits that a client sets itself.
---@class perilune.FailoverLimiter
local limiter = {}

---Waits for a slot, then for a token.
---@param max_wait? number default 60, and never longer than the task's own deadline
---@param pause? perilune.FailoverPause whoever wakes it ends the wait
---@return true?
---@return perilune.Error? err of kind `overloaded`, code `queue_full` or `queue_timeout`, with `retry_after`; or `cancelled`
function limiter:acquire(max_wait, pause) end

---Gives a slot back: once for every `acquire` that returned true.
function limiter:release() end

---A sleep that somebody else can end.
---@class perilune.FailoverPause
local pause = {}

---@param seconds number
---@return boolean is_woken false: the time is over; true: it was woken, since this call or since the last wait
function pause:wait(seconds) end

---Ends the wait that is under way, or else the next one.
function pause:wake() end

---@class perilune.FailoverHistogram
local histogram = {}

---@param seconds number
function histogram:add(seconds) end

---@return perilune.Percentiles
function histogram:summary() end

---The endpoint of that name; the same three strings give the same one in the whole process. The credential is hashed at once,
---never kept.
---@param provider string
---@param credential string "": none
---@param model string
---@param options? perilune.FailoverSettings they hold from now on; without, what holds stays
---@return perilune.FailoverEndpoint
function M.endpoint(provider, credential, model, options) end

---Everything that is known, sorted by provider, model and credential.
---@return perilune.Health[]
function M.health() end

---For tests: forgets all endpoints, and the retry budget.
function M.reset() end

---@param options { rate: number?, burst: integer?, max_inflight: integer?, queue: integer? } rate: requests a second; burst: default a
---second's worth; queue: how many may wait, default 256
---@return perilune.FailoverLimiter
function M.limiter(options) end

---@return perilune.FailoverPause
function M.pause() end

---Full jitter: uniform in 0 .. min(max, base * 2^(number - 1)).
---@param number integer of the attempt, from 1
---@param base number
---@param max number
---@return number seconds
function M.delay(number, base, max) end

---How long a provider asks us to stay away.
---@param text string
---@param kind "retry-after"|"retry-after-ms"|"reset"|"message"
---@return number? seconds 0 for what is past; nil: not understood
function M.retry_after(text, kind) end

---A logical request began: the retry budget is a share of these.
function M.note_request() end

---May a retry begin? `end_retry` must follow when it may.
---@return boolean
function M.begin_retry() end

function M.end_retry() end

---@return perilune.FailoverHistogram
function M.histogram() end

return M
