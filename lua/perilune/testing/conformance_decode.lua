-- The kit's cases about what a provider reads. Recorded answers come over HTTP from a server of this process, through the call
-- stage, as a vendor's would: whole, in pieces, cut off, stalled. Then damaged ones, without a network.
local call = require "perilune.model.call"
local events = require "perilune.testing.events"
local expectation = require "perilune.testing.expectation"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local mutation = require "perilune.testing.mutation"
local replay = require "perilune.testing.replay"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local M = {}

local TIMEOUTS = { total = 20 }
local STALLED = { total = 20, first_byte = 0.1, first_byte_whole = 0.1, idle = 0.1 }
local CUTS, CUTS_PER_ANSWER = 8, 12
local ROUNDS, SEED = 500, 20261121
local ASKED_FOR = "the-model-that-was-asked-for"

-- What an error must become by its status alone, and whether the same request may succeed later.
local statuses = {
  { status = 401, kinds = tables.set { "authentication" }, is_retryable = false },
  { status = 404, kinds = tables.set { "not_found", "model_not_found" }, is_retryable = false },
  { status = 429, kinds = tables.set { "rate_limit", "quota" }, is_retryable = true },
  { status = 500, kinds = tables.set { "server", "overloaded" }, is_retryable = true },
  { status = 503, kinds = tables.set { "server", "overloaded" }, is_retryable = true },
}

-- Bodies that no format knows: of a proxy, of nobody, of somebody else.
local strange_bodies = { '{"strange":"body"}', "<html><title>Bad gateway</title></html>", "", "null", "[]", '"text"', "{", "\0\255\254" }


---@class perilune.testing.Trial one answer, sent in one way
---@field name string
---@field answer perilune.testing.KitAnswer
---@field send perilune.testing.Answer

-- A target whose requests go to this address, whatever the provider makes of addresses: nothing leaves this machine.
local function loopback(provider, url)
  local here = setmetatable({
    encode = function()
      return { method = "POST", url = url, headers = { ["content-type"] = "application/json" }, body = "{}" }
    end,
  }, { __index = provider })
  return { provider = here, name = provider.name, model = ASKED_FOR, base_url = url, headers = {}, quirks = provider.quirks }
end


local function request_of(answer)
  return { messages = { { role = "user", content = "Hello" } }, stream = answer.is_streamed }
end


-- Asks once: the answer, and what is wrong with the order and the fields of its events.
local function ask(provider, url, answer, timeouts)
  local stream <close> = call.new(loopback(provider, url), { timeouts = timeouts }):stream(request_of(answer))
  local list = {}
  for event in stream.next, stream do
    list[#list + 1] = event
  end
  return stream:so_far(), events.problem(list, true)
end


-- Makes all trials side by side; `judge(trial, response, problem)` says what is wrong with one. Returns the first problem.
local function try(provider, trials, judge, timeouts)
  local answers, found = {}, {}
  for position, trial in ipairs(trials) do
    answers[tostring(position)] = trial.send
  end
  local server <close> = replay.serve(answers)
  local group <close> = task.group()
  for position, trial in ipairs(trials) do
    group:spawn(function()
      local response, problem = ask(provider, ("%s/%d"):format(server.url, position), trial.answer, timeouts or TIMEOUTS)
      problem = judge(trial, response, problem)
      found[position] = problem and ("%s: %s"):format(trial.name, problem)
    end)
  end
  group:wait()
  for position = 1, #trials do
    if found[position] then
      return found[position]
    end
  end
end


-- What differs from the truth about an answer, as one text; nil when nothing does.
local function differences(answer, response)
  local err = response.error
  if response.model == ASKED_FOR then
    response.model = nil -- the vendor did not say: the call stage did
  end
  local found = answer.expect and expectation.compare(response, answer.expect, answer.api) or {}
  if answer.kind and (not err or err.kind ~= answer.kind) then
    found[#found + 1] = ("error.kind: expected %s, got %s"):format(answer.kind, err and err.kind or "no error")
  end
  if answer.retry_after and (not err or err.retry_after ~= answer.retry_after) then
    found[#found + 1] = ("error.retry_after: expected %d, got %s"):format(answer.retry_after, err and err.retry_after or "nothing")
  end
  return #found > 0 and table.concat(found, "; ") or nil
end


-- The answer at once, and in the pieces in which it was recorded.
local function read_whole(provider, answer)
  local problem = try(provider, {
    { name = "at once", answer = answer, send = replay.whole(answer.recording) },
    { name = "as it was recorded", answer = answer, send = replay.recorded(answer.recording) },
  }, function(_, response, problem)
    return problem or differences(answer, response)
  end)
  return problem and "failed", problem
end


-- What an answer says, as one text: two readings of it must agree.
local function said(response)
  return assert(json.encode({
    response.content, response.reasoning or false, response.refusal or false, response.tool_calls, response.usage or false,
    response.finish_reason or false, response.model or false, response.error and response.error.message or false,
  }, { repair = true }))
end


local function splits_of(answer)
  local trials = {
    { name = answer.name .. ", at once", answer = answer, send = replay.whole(answer.recording) },
    { name = answer.name .. ", byte by byte", answer = answer, send = replay.bytes(answer.recording) },
  }
  for seed = 1, CUTS do
    local send = replay.cut(answer.recording, CUTS_PER_ANSWER, seed)
    trials[#trials + 1] = { name = ("%s, in pieces (%d)"):format(answer.name, seed), answer = answer, send = send }
  end
  return trials
end


-- Every answer byte by byte and cut at random places says what it says at once.
local function every_split(provider, answers)
  for _, answer in ipairs(answers) do
    local texts, trials = {}, splits_of(answer)
    local problem = try(provider, trials, function(trial, response, problem)
      texts[trial.name] = said(response)
      return problem
    end)
    local at_once = texts[trials[1].name]
    for _, trial in ipairs(trials) do
      local text = texts[trial.name]
      if not problem and text ~= at_once then
        problem = ("%s: it says %s, but at once %s"):format(trial.name, text, at_once)
      end
    end
    if problem then
      return "failed", problem
    end
  end
end


local function is_complete(answer)
  local is_error = answer.kind or answer.expect and (answer.expect.error or json.null) ~= json.null
  return answer.recording.status == 200 and not is_error
end


-- The answer ends too early: properly, as behind some proxies, or with the connection.
local function cuts_of(answer)
  local trials, recording = {}, answer.recording
  for quarter = 1, 3 do
    local bytes = #recording.body * quarter // 4
    local part = replay.recording(recording.body:sub(1, bytes), { headers = recording.headers })
    for how, send in pairs { ended = replay.whole(part), closed = replay.broken(recording, bytes) } do
      trials[#trials + 1] = { name = ("%s, %s after %d bytes"):format(answer.name, how, bytes), answer = answer, send = send }
    end
  end
  table.sort(trials, function(a, b)
    return a.name < b.name
  end)
  return trials
end


-- What was cut off must not pass for a whole answer, and nothing may be made up.
local function cut(provider, answers)
  for _, answer in ipairs(answers) do
    local full
    local problem = try(provider, { { name = answer.name, answer = answer, send = replay.whole(answer.recording) } },
      function(_, response, problem)
        full = response
        return problem
      end)
    problem = problem or try(provider, is_complete(answer) and cuts_of(answer) or {}, function(_, response, wrong)
      local is_less = response.content ~= full.content or #response.tool_calls < #full.tool_calls
      if wrong then
        return wrong
      elseif full.content:sub(1, #response.content) ~= response.content then
        return ("its text '%s' is no beginning of the whole one"):format(response.content)
      end
      return is_less and not response.error and "an answer that was cut off passes for a whole one" or nil
    end)
    if problem then
      return "failed", problem
    end
  end
end


-- A vendor that falls silent: before the head, and in the middle.
local function stall(provider, answers)
  local answer = answers[1]
  for _, other in ipairs(answers) do
    if other.is_streamed and is_complete(other) then
      answer = other
      break
    end
  end
  local problem = try(provider, {
    { name = "silence before the head", answer = answer, send = replay.stalled() },
    { name = "silence in the middle", answer = answer, send = replay.stalled(answer.recording, #answer.recording.body // 2) },
  }, function(_, response, problem)
    local err = response.error
    return problem or not (err and err.kind == "timeout") and ("it must end in an error of kind timeout, not %s")
      :format(err and err.kind or "in none") or nil
  end, STALLED)
  return problem and "failed", problem
end


local function status_errors(provider)
  local trials = {}
  for _, expected in ipairs(statuses) do
    for position, body in ipairs(strange_bodies) do
      trials[#trials + 1] = {
        name = ("status %d with strange body %d"):format(expected.status, position),
        answer = { is_streamed = true, expected = expected }, send = replay.reply(expected.status, body),
      }
    end
  end
  local problem = try(provider, trials, function(trial, response, problem)
    local err, expected = response.error, trial.answer.expected
    if problem or not err then
      return problem or "it must be an error"
    elseif not expected.kinds[err.kind] then
      return ("error.kind: expected %s, got %s"):format(table.concat(tables.sorted_keys(expected.kinds), " or "), err.kind)
    elseif err.status ~= expected.status then
      return ("error.status: expected %d, got %s"):format(expected.status, tostring(err.status))
    elseif (err.retryable == true) ~= expected.is_retryable then
      return ("error.retryable: expected %s"):format(tostring(expected.is_retryable))
    end
  end)
  return problem and "failed", problem
end


local function strange_answers(provider)
  local trials = {}
  for position, body in ipairs(strange_bodies) do
    trials[position] = { name = ("strange body %d"):format(position), answer = { is_streamed = true }, send = replay.reply(200, body) }
  end
  local problem = try(provider, trials, function(_, _, problem)
    return problem
  end)
  return problem and "failed", problem
end


-- The frames of an answer, cut by the host as the provider wants them.
local function frames_of(provider, answer)
  local server <close> = replay.serve { replay.whole(answer.recording) }
  local handle <close> = assert(fetch.open { url = server.url, frame = provider.frame })
  assert(handle:head())
  local frames = {}
  for data, event_name in handle.next, handle do
    frames[#frames + 1] = { data = data, event_name = event_name }
  end
  return frames
end


local function feed(decoder, frames)
  local list = {}
  for _, frame in ipairs(frames) do
    local found = decoder:feed(frame.data, frame.event_name)
    table.move(found, 1, #found, #list + 1, list)
  end
  local found = decoder:finish()
  return table.move(found, 1, #found, #list + 1, list)
end


local function after_the_end(provider, answers)
  for _, answer in ipairs(answers) do
    local decoder = provider.decoder { status = answer.recording.status, request = request_of(answer) }
    local frames = frames_of(provider, answer)
    feed(decoder, frames)
    if #feed(decoder, frames) > 0 then
      return "failed", answer.name .. ": a decoder that has finished must give no more events"
    end
  end
end


local function damaged(provider, answers)
  local corpus, random = {}, mutation.random(SEED)
  for position, answer in ipairs(answers) do
    corpus[position] = { answer = answer, frames = frames_of(provider, answer) }
  end
  for round = 1, ROUNDS do
    local chosen, frames = corpus[random(#corpus)], {}
    for position, frame in ipairs(chosen.frames) do
      local data = random(3) == 1 and mutation.mutate(random, frame.data) or frame.data
      frames[position] = { data = data, event_name = frame.event_name }
    end
    local decoder = provider.decoder { status = chosen.answer.recording.status, request = request_of(chosen.answer) }
    local problem = events.problem(feed(decoder, frames))
    if problem then
      return "failed", ("%s, damaged (round %d): %s"):format(chosen.answer.name, round, problem)
    end
    task.yield()
  end
end


---The cases, in order; each is a function of the provider that returns a result and why, or nothing when it is right.
---@param answers perilune.testing.KitAnswer[] the recordings, or none
---@return { name: string, run: fun(provider: perilune.Provider): string?, string? }[]
function M.cases(answers)
  local cases = {}
  for _, answer in ipairs(answers) do
    cases[#cases + 1] = { name = answer.name, run = function(provider)
      return read_whole(provider, answer)
    end }
  end
  for _, case in ipairs {
    { "every split", every_split }, { "cut", cut }, { "stall", stall }, { "nothing after the end", after_the_end },
    { "damaged frames", damaged },
  } do
    cases[#cases + 1] = { name = case[1], run = function(provider)
      if not answers[1] then
        return "skipped", "there are no recordings: give --fixtures DIR"
      end
      return case[2](provider, answers)
    end }
  end
  cases[#cases + 1] = { name = "errors by their status", run = status_errors }
  cases[#cases + 1] = { name = "strange answers", run = strange_answers }
  return cases
end


return M
