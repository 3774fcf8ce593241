-- The file of a cassette, written: JSON lines, a head and then one line for each exchange, in the order they ended. A crash leaves a file
-- that can be read: lines are only ever added, and a last line that is not complete is passed over.
--
--   {"perilune_cassette":1,"recorded_at":"…","usual_model":"openai/gpt-4o-mini"}
--   {"kind":"answer","number":1,"request":{…},"steps":[[0,{"type":"start",…}],[312,{"type":"text",…}],…],"target":"openai/gpt-4o-mini"}
--   {"kind":"exchange","ms":41,"number":2,"request":{…},"response":{"body":"…","headers":{…},"status":200},"target":"GET http://…"}
--
-- `number` is the order in which they were asked: of equal requests the n-th gets the n-th recording. `cut` marks what was not
-- read to its end.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local fingerprint = require "perilune.model.fingerprint"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local M = {}

---Of the file.
M.VERSION = 1
M.FILE_BYTES_MAX = 256 << 20

local methods = {}
local metatable = { __name = "perilune.model.recorder", __index = methods }


---@class perilune.Recording one exchange
---@field kind "answer"|"exchange" of a model; of perilune.fetch and what is built on it
---@field target string "openai/gpt-4o-mini"; "GET https://…"
---@field request any what was asked (model/fingerprint.lua)
---@field number integer in the order they were asked
---@field cut? boolean nobody read it to its end
---@field steps? table[] of an answer: { milliseconds since it was asked, event }
---@field ms? integer of an exchange
---@field response? { status: integer, headers: table<string, string>, body: string?, base64: string? } of an exchange
---@field error? table why there is none

---@class perilune.Recorder
---@field path string
---@field count integer exchanges written so far

-- What is there may be replaced when it is a cassette, or nothing.
local function may_replace(path)
  local text, err = fs.read(path, { bytes = M.FILE_BYTES_MAX })
  if not text then
    return err.kind == "not_found" or nil, err
  elseif text == "" or text:find('^{"perilune_cassette":') then
    return true
  end
  return nil, errors.new {
    kind = "configuration", code = "no_cassette", message = ("%s is no cassette: it is not overwritten"):format(path),
  }
end


---Begins a file; a cassette that was there is replaced.
---@param path string
---@param usual_model string what answers when nobody names a model
---@return perilune.Recorder?
---@return perilune.Error?
function M.new(path, usual_model)
  local ok, err = may_replace(path)
  if ok then
    local head = { perilune_cassette = M.VERSION, recorded_at = clock.iso(), usual_model = usual_model }
    ok, err = fs.write(path, assert(json.encode(head)) .. "\n")
  end
  if not ok then
    return nil, err
  end
  return setmetatable({ path = path, count = 0, last_number = 0, open = {}, lines = {} }, metatable)
end


---An exchange begins.
---@param kind "answer"|"exchange"
---@param target string
---@param request any
---@return perilune.Recording
function methods:begin(kind, target, request)
  self.last_number = self.last_number + 1
  local recording = { kind = kind, target = log.redact(target), request = request, number = self.last_number }
  self.open[recording.number] = recording
  return recording
end


-- Adds the lines that wait, until there are none. After a failure nothing more is added: it would follow half a line.
local function write_lines(self)
  while self.lines[1] and not self.problem do
    local text = table.concat(self.lines)
    self.lines = {}
    local _, err = fs.append(self.path, text)
    self.problem = err
  end
  self.writer = nil
end


-- The steps without secrets that are spread over several.
local function redacted(steps)
  local events, kept = {}, {}
  for position, step in ipairs(steps) do
    events[position] = step[2]
  end
  local is_empty = fingerprint.redact_pieces(events)
  for position, step in ipairs(steps) do
    kept[#kept + 1] = not is_empty[position] and step or nil
  end
  return kept
end


---An exchange is over. It is written by a task of its own: whoever was answered does not wait for the disk.
---@param recording perilune.Recording
function methods:finish(recording)
  self.open[recording.number] = nil
  recording.steps = recording.steps and redacted(recording.steps)
  local line, err = json.encode(recording, { repair = true })
  if not line then
    self.problem = self.problem or err
    return
  end
  self.lines[#self.lines + 1] = line .. "\n"
  self.count = self.count + 1
  self.writer = self.writer or task.spawn(write_lines, self)
end


---Ends the file: what is still under way is marked as cut. Waits until all is written.
---@return integer? count how many exchanges it has
---@return perilune.Error? err why it is not complete
function methods:close()
  for _, number in ipairs(tables.sorted_keys(self.open)) do
    self.open[number].cut = true
    self:finish(self.open[number])
  end
  if self.writer then
    self.writer:wait()
  end
  if self.problem then
    return nil, self.problem
  end
  return self.count
end


return M
