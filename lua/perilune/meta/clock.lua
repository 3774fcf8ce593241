---@meta perilune.sys.clock

--- The host's clock. Times are seconds; only `mono` is fit for measuring, because the wall clock may jump.
---@class perilune.sys.clock
local clock = {}

---Seconds since 1970-01-01 UTC, with microseconds.
---@return number seconds
function clock.wall() end

---Seconds from an arbitrary start; never goes back.
---@return number seconds
function clock.mono() end

---A time as `2026-01-02T03:04:05Z`.
---@param seconds? number wall-clock time; default now
---@return string
function clock.iso(seconds) end

---Reads any of the three forms of an HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`).
---@param text string
---@return integer? seconds wall-clock time
---@return perilune.Error? err
function clock.parse_http_date(text) end

---For tests: moves both clocks of the host forward, so that timers that are due by then run.
---@param seconds number
function clock.advance(seconds) end

return clock
