-- Where a cassette goes in: from then on everything that these settings ask is recorded, or answered from the file, until it is taken out.
local cassette = require "perilune.model.cassette"
local check = require "perilune.std.check"
local errors = require "perilune.std.errors"
local fetch = require "perilune.net.fetch"
local log = require "perilune.sys.log"
local player = require "perilune.model.player"
local recorder = require "perilune.model.recorder"
local resolve = require "perilune.model.resolve"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.Cassette", __index = methods }

local WRITE_SECONDS = 30 -- the last lines are written although the script was cancelled meanwhile
local LISTED_MAX = 8

---What says which file, and what is done with it.
M.options = { record = "string", replay = "string", timing = "boolean" }


---Puts a cassette in; raises what is wrong with it. Own it with `<close>`.
---@param settings perilune.Settings `cassette` is set, and `model` to what answered when nobody named one
---@param options { record: string?, replay: string?, timing: boolean? } either file; timing: events come when they came then
---@return table cassette `:close()` takes it out
function M.insert(settings, options)
  if settings.cassette then
    error(errors.new { kind = "conflict", message = ("the cassette %s is in already"):format(settings.cassette.tape.path) }, 0)
  end
  local found, err
  if options.record then
    found, err = recorder.new(options.record, resolve.default(settings))
  else
    found, err = player.new(options.replay)
  end
  if not found then
    error(err, 0)
  end
  local inserted = { mode = options.record and "record" or "replay", tape = found, timing = options.timing }
  local self = setmetatable({ settings = settings, model = settings.model, inserted = inserted }, metatable)
  settings.cassette = inserted
  if options.replay then
    settings.model = found.usual_model or settings.model
  end
  fetch.guard(function(given, send)
    return cassette.exchange(inserted, given, send)
  end)
  return self
end


---Checks the options of `insert` at the line of whoever called the function that calls this.
---@param where string
---@param options table
function M.check(where, options)
  check.options(where, check.value(where .. ": options", options, "table"), M.options, 3)
  if (options.record == nil) == (options.replay == nil) then
    check.fail(where .. ": say either record = FILE or replay = FILE", 3)
  end
end


local function tell_unused(replayed)
  local list, parts = replayed:unused(), {}
  for position, recording in ipairs(list) do
    if position > LISTED_MAX then
      parts[position] = "…"
      break
    end
    parts[position] = ("number %d (%s)"):format(recording.number, recording.target)
  end
  if parts[1] then
    log.write("warn", "cassette", ("%s: %d of %d recordings were not asked for: %s"):format(replayed.path, #list,
      #replayed.recordings, table.concat(parts, ", ")))
  end
end


-- Takes it out; `failure` is why the script ended, when it failed: then there is more left than would be of use to say.
local function take_out(self, failure)
  local inserted = self.inserted
  self.inserted = nil
  if not inserted then
    return
  end
  self.settings.cassette, self.settings.model = nil, self.model
  fetch.guard(nil)
  local file = inserted.tape
  if inserted.mode == "replay" then
    return failure == nil and tell_unused(file)
  end
  local count, err = task.shield(WRITE_SECONDS, file.close, file)
  if count then
    log.write("info", "cassette", ("%d exchanges are recorded in %s"):format(count, file.path))
  elseif failure == nil then
    error(err, 0)
  else
    log.write("error", "cassette", ("%s is not complete: %s"):format(file.path, tostring(err)))
  end
end


---Takes the cassette out: a recording is complete when this returns, and what a replay did not use is told in a warning.
function methods:close()
  take_out(self)
end


metatable.__close = take_out

return M
