-- The file of a cassette (model/recorder.lua), read: each recording answers once, the request that it was made of. A request that is
-- not in it is an error that says what is nearest.
local errors = require "perilune.std.errors"
local fingerprint = require "perilune.model.fingerprint"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local recorder = require "perilune.model.recorder"
local tables = require "perilune.std.tables"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.player", __index = methods }

local NAMES_MAX = 8 -- targets that an error lists

local is_error_kind = tables.set(errors.kinds)


local function refuse(code, message, ...)
  return nil, errors.new { kind = "configuration", code = code, message = message:format(...) }
end


---@class perilune.Player
---@field path string
---@field usual_model? string what answered when nobody named a model
---@field recordings perilune.Recording[] by number

local function is_step(step)
  local event = type(step) == "table" and step[2]
  return type(event) == "table" and type(step[1]) == "number" and type(event.type) == "string"
    and (event.type ~= "error" or type(event.error) == "table" and is_error_kind[event.error.kind] == true)
end


-- What is wrong with a line, if anything: people edit these files.
local function problem_of(value)
  if type(value) ~= "table" or math.type(value.number) ~= "integer" or type(value.target) ~= "string" then
    return "a recording has a number and a target"
  elseif value.kind == "answer" then
    for position, step in ipairs(type(value.steps) == "table" and value.steps or { false }) do
      if not is_step(step) then
        return ("step %d is not [milliseconds, event]"):format(position)
      end
    end
  elseif value.kind ~= "exchange" then
    return "a recording is an answer or an exchange"
  elseif value.error then
    return (type(value.error) ~= "table" or not is_error_kind[value.error.kind]) and "its error has no known kind" or nil
  elseif not value.cut and (type(value.response) ~= "table" or math.type(value.response.status) ~= "integer") then
    return "an exchange has a response with a status"
  end
end


local function read_head(path, line)
  local head = line and json.decode(line)
  local version = type(head) == "table" and head.perilune_cassette
  if not version then
    return refuse("no_cassette", "%s is no cassette: its first line is not {\"perilune_cassette\":%d}", path, recorder.VERSION)
  elseif version ~= recorder.VERSION then
    return refuse("no_cassette", "%s is a cassette of version %s, this program reads version %d", path, version, recorder.VERSION)
  end
  return head
end


-- The recordings of a file, in the order they were asked.
local function read_lines(path, text)
  local list, head, number = {}, nil, 0
  for line, ending in text:gmatch("([^\n]*)(\n?)") do
    number = number + 1
    local err
    if number == 1 then
      head, err = read_head(path, line)
    elseif line ~= "" then
      local value, broken = json.decode(line)
      local problem = value == nil and tostring(broken) or problem_of(value)
      if not problem then
        list[#list + 1] = value
      elseif ending == "" then
        log.write("warn", "cassette", ("%s: the last line is not complete: it is left out"):format(path))
      else
        head, err = refuse("no_cassette", "%s:%d: %s", path, number, problem)
      end
    end
    if not head then
      return nil, err
    end
  end
  table.sort(list, function(a, b)
    return a.number < b.number
  end)
  return list, head
end


local function key_of(kind, target, request)
  return ("%s %s %s"):format(kind, target, fingerprint.hash(request))
end


---Reads a file.
---@param path string
---@return perilune.Player?
---@return perilune.Error?
function M.new(path)
  local text, err = fs.read(path, { bytes = recorder.FILE_BYTES_MAX })
  if not text and err.kind == "not_found" then
    return refuse("no_cassette", "there is no cassette %s", path)
  elseif not text then
    return nil, err
  end
  local list, head = read_lines(path, text)
  if not list then
    return nil, head
  end
  local queues = {}
  for _, recording in ipairs(list) do
    local key = key_of(recording.kind, recording.target, recording.request)
    queues[key] = queues[key] or { next = 1 }
    table.insert(queues[key], recording)
  end
  return setmetatable({ path = path, usual_model = head.usual_model, recordings = list, queues = queues, used = {} }, metatable)
end


-- The targets that were recorded, as a text.
local function describe_targets(self)
  local counts, parts = {}, {}
  for _, recording in ipairs(self.recordings) do
    counts[recording.target] = (counts[recording.target] or 0) + 1
  end
  for position, target in ipairs(tables.sorted_keys(counts)) do
    if position > NAMES_MAX then
      parts[position] = "…"
      break
    end
    parts[position] = ("%s (%d)"):format(target, counts[target])
  end
  return parts[1] and "it has " .. table.concat(parts, ", ") or "it is empty"
end


-- Is it nearer: fewer values differ, the first of them later in its text, it was not used yet?
local function is_nearer(a, b)
  if a.count ~= b.count then
    return a.count < b.count
  elseif a.at ~= b.at then
    return a.at > b.at
  end
  return b.is_used and not a.is_used
end


-- The recording of this target that is nearest, and how it differs.
local function nearest(self, kind, target, request)
  local best, least
  for _, recording in ipairs(self.recordings) do
    if recording.kind == kind and recording.target == target then
      local difference = fingerprint.difference(recording.request, request)
      difference.is_used = self.used[recording]
      if not best or is_nearer(difference, least) then
        best, least = recording, difference
      end
    end
  end
  return best, least
end


-- The same request to another target; one that was not used yet, where there is one.
local function same_elsewhere(self, kind, target, request)
  local hash, used = fingerprint.hash(request), nil
  for _, recording in ipairs(self.recordings) do
    if recording.kind == kind and recording.target ~= target and fingerprint.hash(recording.request) == hash then
      if not self.used[recording] then
        return recording
      end
      used = recording
    end
  end
  return used
end


-- What is known about a request that has no recording, as the end of a sentence.
local function explain(self, kind, target, request, queue, elsewhere)
  if queue then
    local times = #queue == 1 and "once" or #queue .. " times"
    return ("it was recorded %s (the last is number %d), and asked once more"):format(times, queue[#queue].number)
  elseif elsewhere then
    return ("number %d is the same one to %s, and was used already"):format(elsewhere.number, elsewhere.target)
  end
  local best, difference = nearest(self, kind, target, request)
  if best then
    return ("the nearest is number %d%s, which differs at %s: recorded %s, asked %s"):format(best.number,
      difference.is_used and " (used already)" or "", difference.path, difference.recorded, difference.asked)
  end
  return describe_targets(self)
end


local function miss(self, kind, target, request, queue)
  local what = ("%s has no%s recording of this request to %s"):format(self.path, queue and " further" or "", target)
  local elsewhere = same_elsewhere(self, kind, target, request)
  if elsewhere and not self.used[elsewhere] then -- failover may ask there
    return refuse("cassette_elsewhere", "%s: number %d is the same one to %s", what, elsewhere.number, elsewhere.target)
  end
  return refuse("cassette_miss", "%s: %s. Nothing was sent; record it again, or ask what was recorded", what,
    explain(self, kind, target, request, queue, elsewhere))
end


---The next recording of this request; each is given once. An error says what is nearest, and where it differs.
---@param kind "answer"|"exchange"
---@param target string
---@param request any
---@return perilune.Recording?
---@return perilune.Error?
function methods:take(kind, target, request)
  target = log.redact(target)
  local queue = self.queues[key_of(kind, target, request)]
  local recording = queue and queue[queue.next]
  if not recording then
    return miss(self, kind, target, request, queue)
  end
  queue.next = queue.next + 1
  self.used[recording] = true
  return recording
end


---The recordings that nobody asked for.
---@return perilune.Recording[]
function methods:unused()
  local list = {}
  for _, recording in ipairs(self.recordings) do
    if not self.used[recording] then
      list[#list + 1] = recording
    end
  end
  return list
end


---Does it have an answer of this provider? (Who can be asked in a replay; nobody needs a key.)
---@param provider string
---@return boolean
function methods:has(provider)
  for _, recording in ipairs(self.recordings) do
    if recording.kind == "answer" and recording.target:sub(1, #provider + 1) == provider .. "/" then
      return true
    end
  end
  return false
end


---Who is asked next, as it was recorded: the targets of the answers that were not used yet, each once. (Where chance chose who
---answers, a replay goes the way of the recording.)
---@return { provider: string, model: string }[]
function methods:upcoming()
  local list, seen = {}, {}
  for _, recording in ipairs(self:unused()) do
    local target = recording.target
    if recording.kind == "answer" and not seen[target] then
      seen[target] = true
      local provider, model = target:match("^([^/]*)/(.*)$")
      list[#list + 1] = { provider = provider, model = model }
    end
  end
  return list
end


return M
