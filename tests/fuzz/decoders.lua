-- Damaged recordings through every registered decoder: `perilune run tests/fuzz/decoders.lua COUNT SEED [FIRST]`, from the
-- root of the repository. No input may make a decoder throw, stall, break the contract of its events, or hide what it could
-- not read. Input N of a seed is always the same, so `1 SEED N` repeats a finding alone.
local clock = require "perilune.sys.clock"
local contract = require "perilune.testing.events"
local frames = require "tests.support.frames"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local FIXTURES, SHARED = "tests/fixtures/", "../shared/fixtures/"
local COUNT, SEED = math.tointeger(tonumber(arg[1])) or 20000, math.tointeger(tonumber(arg[2])) or 1
local FIRST = math.tointeger(tonumber(arg[3])) or 1

local WINDOW_FRAMES_MAX = 12
local INPUT_SECONDS_MAX = 1
local YIELD_INPUTS = 1000 -- a task that computes for very long without a break is interrupted
local FINDINGS_SHOWN_MAX = 20
local DEPTHS = { 100, 127, 128, 129, 1000, 50000 }

-- Where the recordings of a wire format are: our own folders, and the names of the format in the shared collection.
local sources = {
  { module = "openai_chat", folders = { "openai", "compatible" }, apis = { ["chat.completions"] = true } },
  { module = "openai_responses", folders = { "responses" }, apis = { responses = true } },
  { module = "anthropic", folders = { "anthropic" }, apis = { ["anthropic.messages"] = true } },
  { module = "gemini", folders = { "gemini" }, apis = { ["gemini.generateContent"] = true, ["gemini.streamGenerateContent"] = true } },
  { module = "ollama", folders = { "ollama" }, apis = { ["ollama.chat"] = true } },
  { module = "cohere", folders = { "cohere" }, apis = { ["cohere.chat"] = true } },
}

local random_state = 0


-- Where the generator begins for an input: well mixed (SplitMix64), so that neighbours have nothing in common.
local function seed_of(number)
  local z = SEED * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03
  z = (z ~ z >> 30) * 0xBF58476D1CE4E5B9
  z = (z ~ z >> 27) * 0x94D049BB133111EB
  return z ~ z >> 31
end


-- 1 to limit; a small generator, the same everywhere.
local function random(limit)
  random_state = random_state * 6364136223846793005 + 1442695040888963407
  return (random_state >> 33) % limit + 1
end


local function pick(list)
  return list[random(#list)]
end


-- Damage to the bytes of a frame, or of a whole body

local values = {
  "null", "true", "{}", "[]", '""', '"x"', "0", "-1", "1.5", "1e999", "-0", "9223372036854775808", "123456789012345678901234567890",
  '[{"type":"text","text":5}]', '{"a":[null]}', '"\\ud800"', "[[],{}]",
}

local junk = { "\0", "\255\254", "\xC3", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\u{2028}", "data: ", "\n\n", "[DONE]", "\\u0000", '"', "}" }

local function put(text, at, piece, skipped)
  return text:sub(1, at - 1) .. piece .. text:sub(at + (skipped or 0))
end


local function replace_value(text, pattern)
  local first, last = text:find(pattern, random(#text))
  return first and put(text, first + 2, pick(values), last - first - 1) or text
end


local damages = {
  function(text)
    return put(text, random(#text), string.char(random(256) - 1), 1)
  end,
  function(text)
    return put(text, random(#text), pick(junk))
  end,
  function(text) -- a piece is missing
    return put(text, random(#text), "", random(40))
  end,
  function(text) -- a piece comes twice
    local at = random(#text)
    return put(text, at, text:sub(at, at + random(200)))
  end,
  function(text) -- cut off
    return text:sub(1, random(#text))
  end,
  function(text)
    return replace_value(text, '":%s*[^,{}%[%]\n]+')
  end,
  function(text)
    return replace_value(text, random(2) == 1 and '":%s*%b{}' or '":%s*%b[]')
  end,
  function(text) -- two keys change places
    local names = {}
    for name in text:gmatch('"([%a_]+)":') do
      names[#names + 1] = name
    end
    return #names > 0 and (text:gsub('"' .. pick(names) .. '":', '"' .. pick(names) .. '":', 1)) or text
  end,
  function(text) -- nested deeply
    local depth = random(16) == 1 and pick(DEPTHS) or random(130)
    local first, last = text:find('":%s*[^,{}%[%]\n]+', random(#text))
    return first and put(text, first + 2, ("["):rep(depth) .. ("]"):rep(depth - random(2) + 1), last - first - 1) or text
  end,
}


local function damage(text)
  return #text > 0 and pick(damages)(text) or pick(junk)
end


-- Damage to the order of frames

local orders = {
  function(list)
    table.remove(list, random(#list))
  end,
  function(list)
    table.insert(list, random(#list), list[random(#list)])
  end,
  function(list)
    local a, b = random(#list), random(#list)
    list[a], list[b] = list[b], list[a]
  end,
  function(list)
    local at = random(#list)
    list[at] = { data = list[at].data, event = pick { "error", "ping", "", "message_stop" } }
  end,
  function(list, other)
    table.insert(list, random(#list), pick(other.frames))
  end,
}


-- The beginning of an answer, a window of its middle, and its end.
local function window(all)
  local list, count = {}, #all
  if count <= WINDOW_FRAMES_MAX then
    return table.move(all, 1, count, 1, list)
  end
  local from, length = random(count), random(WINDOW_FRAMES_MAX - 3)
  list[1] = all[1]
  table.move(all, from, math.min(from + length, count), 2, list)
  list[#list + 1], list[#list + 2] = all[count - 1], all[count]
  return list
end


local function damage_frames(recording, other)
  local list = window(recording.frames)
  for _ = 1, random(4) - 1 do
    if #list > 0 then
      pick(orders)(list, other)
    end
  end
  for _ = 1, random(3) do
    if #list > 0 then
      local at = random(#list)
      list[at] = { data = damage(list[at].data), event = list[at].event }
    end
  end
  return list
end


-- The bytes of the body are damaged, the end of one spliced to the beginning of another, and then it is cut.
local function damage_body(recording, other, kind)
  local body = recording.small
  if random(4) == 1 then
    body = body:sub(1, random(#body)) .. other.small:sub(random(#other.small))
  end
  for _ = 1, random(3) do
    body = damage(body)
  end
  return frames.split(body, kind)
end


-- What there is to damage and to feed

local function new_recording(body, kind)
  local cut = frames.split(body, kind)
  return #cut > 0 and { frames = cut, small = body:sub(1, 6000) } or nil
end


local function read_own(source, kind)
  for _, folder in ipairs(source.folders) do
    for _, name in ipairs(assert(fs.list(FIXTURES .. folder))) do
      source.recordings[#source.recordings + 1] = new_recording(frames.read(FIXTURES .. folder .. "/" .. name), kind)
    end
  end
end


local function read_shared(source, kind)
  local readme = frames.read(SHARED .. "README.md") or ""
  for provider, api, case in readme:gmatch("\n| (%S+) | (%S+) | [^|]+ | [^|]+ | [^|]+ | [^|]+ | (%S+) |") do
    local body = source.apis[api] and frames.read(SHARED .. provider .. "/" .. case .. "/response.body")
    source.recordings[#source.recordings + 1] = body and new_recording(body, kind)
  end
end


-- Every decoder that the registry knows, once, with the recordings of its format; those of all formats where it is a new one.
local function list_decoders()
  local by_decoder, list, all = {}, {}, {}
  for _, source in ipairs(sources) do
    local module = require("perilune.model.provider." .. source.module)
    source.recordings = {}
    read_own(source, module.frame)
    read_shared(source, module.frame)
    by_decoder[module.decoder] = source.recordings
    table.move(source.recordings, 1, #source.recordings, #all + 1, all)
  end
  local known = {}
  local function add(name, provider)
    if not known[provider.decoder] then
      known[provider.decoder] = true
      list[#list + 1] = {
        name = name, decoder = provider.decoder, frame = provider.frame, count = 0,
        recordings = by_decoder[provider.decoder] or all,
      }
    end
  end
  for _, provider in ipairs(providers.list()) do
    add(provider.name, provider)
    for _, api in ipairs(tables.sorted_keys(provider.apis)) do
      add(provider.name .. " " .. api, provider.apis[api])
    end
  end
  return list, all
end


-- What must hold

-- What could not be read must be shown.
local function check_error(event)
  local err = event and event.type == "error" and event.error
  if err and err.kind == "bad_response" and err.message:find("JSON", 1, true) then
    local details = type(err.details) == "table" and err.details or {}
    return type(details.excerpt) ~= "string" and details.body == nil and "the bytes that are not JSON are not shown" or nil
  end
end


local function feed(target, list)
  local decoder = target.decoder { status = random(8) == 1 and 500 or 200, request = {}, target = { name = "p", model = "m" } }
  local events = frames.feed(decoder, list)
  local late = #decoder:feed(list[1] and list[1].data or "{}") + #decoder:finish()
  return events, late
end


local function describe(err)
  return debug.traceback("it threw " .. tostring(err), 2)
end


local function problem_of(target, list)
  local ok, events, late = xpcall(feed, describe, target, list)
  if not ok then
    return events
  elseif late > 0 then
    return late .. " events after the end"
  end
  local problem = contract.problem(events) or check_error(events[#events])
  if not problem and random(16) == 1 then
    local text, err = json.encode(events)
    problem = not text and "its events are no JSON: " .. err.message or nil
  end
  return problem
end


local function run_one(number, decoders, all)
  random_state = seed_of(number)
  local target = pick(decoders)
  local recording, other = pick(random(8) == 1 and all or target.recordings), pick(all)
  local list = random(6) == 1 and damage_body(recording, other, target.frame) or damage_frames(recording, other)
  local started = clock.mono()
  local problem = problem_of(target, list)
  local seconds = clock.mono() - started
  target.count = target.count + 1
  if not problem and seconds > INPUT_SECONDS_MAX then
    problem = ("it took %.1f seconds"):format(seconds)
  end
  return problem and target.name .. ": " .. problem, seconds
end


local function main()
  local decoders, all = list_decoders()
  local started, slowest, slowest_number, findings = clock.mono(), 0, FIRST, 0
  for number = FIRST, FIRST + COUNT - 1 do
    local problem, seconds = run_one(number, decoders, all)
    if number % YIELD_INPUTS == 0 then
      task.yield()
    end
    if seconds > slowest then
      slowest, slowest_number = seconds, number
    end
    if problem then
      findings = findings + 1
      if findings <= FINDINGS_SHOWN_MAX then
        print(("input %d: %s"):format(number, problem))
      end
    end
  end
  for _, target in ipairs(decoders) do
    print(("%-20s %d inputs from %d recordings"):format(target.name, target.count, #target.recordings))
  end
  print(("%d inputs, seed %d, %.1f s, slowest %.1f ms (input %d), %d findings"):format(
    COUNT, SEED, clock.mono() - started, slowest * 1000, slowest_number, findings))
  return findings == 0
end

if not main() then
  os.exit(1)
end
