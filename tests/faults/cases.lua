-- Plays one line of docs/faults.md in all its variants, side by side, and says where what happened is not what stands there.
local ask = require "tests.faults.ask"
local failover = require "perilune.sys.failover"
local task = require "perilune.sys.task"
local tables = require "tests.faults.table"

local M = {}

-- What a question may take beside the limits and waits of its line, on a machine that is busy with other things.
local SLACK_SECONDS = 8
local PATIENCE_SECONDS = 20 -- then it hangs

-- Repetitions are at most a tenth of the requests of the last seconds; these let every variant repeat its own.
local REQUESTS_BEFORE = 500

local GOOD = "read good"

local positions = { "first", "second", "alone" }


---@class tests.faults.Variant
---@field is_streamed boolean
---@field position "first"|"second"|"alone" of the faulty provider
---@field is_split boolean what it sends goes out byte by byte
---@field maybe_billed boolean what may have been billed is asked again

local function can_split(script)
  return script:find("send") or script:find("reply") or script:find("%f[%w]good%f[%W]")
end


local function variants_of(row)
  local list = {}
  local function add(is_streamed, position, is_split, maybe_billed)
    list[#list + 1] = { is_streamed = is_streamed, position = position, is_split = is_split, maybe_billed = maybe_billed }
  end
  for _, is_streamed in ipairs { true, false } do
    local does = is_streamed and row.streamed or row.whole
    for _, position in ipairs(positions) do
      add(is_streamed, position, false, false)
      if row.is_sent_in_pieces then
        add(is_streamed, position, true, false)
      end
      if does.again == "maybe_billed" then
        add(is_streamed, position, false, true)
      end
    end
  end
  return list
end


local function title(variant)
  return ("%s, %s%s%s: "):format(variant.is_streamed and "streamed" or "whole", variant.position,
    variant.is_split and ", byte by byte" or "", variant.maybe_billed and ", whatever it costs" or "")
end


-- One variant while it is played.
local case = {}
case.__index = case


function case:expects(is_right, text, ...)
  if not is_right then
    self.problems[#self.problems + 1] = title(self.variant) .. text:format(...)
  end
end


-- The script of the faulty provider, as the server gets it.
function case:script()
  local script = tables.expand(self.row.plays.script, self.names):gsub("body (%S+)", "body " .. self.world.folder .. "/%1")
  if self.variant.is_split then
    script = "split 1 " .. script:gsub(" / ", " / split 1 ")
  end
  return script
end


function case:ask(urls)
  local row, settings = self.row, { retry = { maybe_billed = self.variant.maybe_billed or nil } }
  if row.limit then
    settings.timeouts = { [row.limit[1]] = row.limit[2] }
    if row.limit[1] == "first_byte" then
      settings.timeouts.first_byte_whole = row.limit[2]
    end
  end
  for name, value in pairs(self.world.settings or {}) do
    settings[name] = value
  end
  return (self.world.ask or ask.ask) {
    urls = urls, key = self.key, is_streamed = self.variant.is_streamed, settings = settings, is_warm = row.plays.warm,
    is_long = row.plays.long, has_tools = row.tools ~= nil,
  }
end


-- How often the faulty target is asked.
function case:count()
  return (self.does.again == true or self.does.again and self.variant.maybe_billed) and 2 or 1
end


-- Which error the faulty target gave, wherever it was told.
local function error_of_last(outcome, provider)
  local err = outcome.error
  if err and err.kind ~= "all_failed" then
    return err
  end
  local found
  for _, attempt in ipairs(err and err.attempts or outcome.attempts) do
    found = attempt.provider == provider and attempt.reason == "failed" and attempt.error or found
  end
  return found
end


function case:check_end(outcome)
  local does, variant = self.does, self.variant
  local has_other = variant.position == "first" and not self.row.plays.everywhere
  if does.becomes == "answer" then
    self:expects(not outcome.error, "ended in %s", outcome.error and outcome.error.message)
    self:expects(outcome.content == does.text, "answered %q", outcome.content)
    return self:expects(outcome.provider == self.provider, "%s answered", tostring(outcome.provider))
  end
  local err = error_of_last(outcome, self.provider) or {}
  local is_kind = err.kind == does.kind and (not does.code or err.code == does.code)
  self:expects(is_kind, "the error is %s %s: %s", err.kind, err.code, err.message)
  self:expects(self.row.tools or err.maybe_billed == (self.row.charged ~= "nothing"), "maybe_billed is %s", tostring(err.maybe_billed))
  if does.becomes == "next" and has_other then
    self:expects(not outcome.error, "ended in %s", outcome.error and outcome.error.message)
    self:expects(outcome.content == "one two three four", "answered %q", outcome.content)
    return self:expects(outcome.provider == "groq", "%s answered", tostring(outcome.provider))
  end
  self:expects(outcome.error, "there is no error")
  local is_alone = variant.position == "alone" and self:count() == 1 or does.becomes == "cut"
  self:expects((outcome.error or {}).kind == (is_alone and does.kind or outcome.error and outcome.error.kind), "it is %s", err.kind)
  self:expects(outcome.content == (does.becomes == "cut" and "one " or ""), "it said %q", outcome.content)
end


-- What was tried and given up: `retried` but for the last time.
function case:check_attempts(outcome)
  if self.does.becomes ~= "next" then
    return
  end
  local reasons = {}
  for _, attempt in ipairs(outcome.error and outcome.error.attempts or outcome.attempts) do
    if attempt.provider == self.provider then
      reasons[#reasons + 1] = attempt.reason
    end
  end
  local said = table.concat(reasons, " ")
  local is_alone = self.variant.position == "alone" and self:count() == 1
  self:expects(said == (self:count() == 2 and "retried failed" or "failed") or is_alone and said == "", "the attempts are '%s'", said)
end


-- One row for each request, and what it says of tokens.
function case:check_rows(outcome)
  local charged, count = self.row.charged, 0
  local tokens = tonumber(charged:match("^(%d+) tokens$"))
  local is_complete = tokens ~= nil or charged == "not said" -- an empty answer, too
  for _, row in ipairs(outcome.rows) do
    if row.provider == self.provider then
      count = count + 1
      local was_repeated = self.does.becomes == "answer" and count < self:count()
      self:expects(row.tokens == (not was_repeated and tokens or nil), "%s tokens are charged", tostring(row.tokens))
      self:expects((row.outcome == "ok") == (is_complete and not was_repeated), "the row says %s", row.outcome)
    end
  end
  self:expects(count == self:count(), "%d usage rows of it", count)
  local others = (self.variant.position == "second" or self.variant.position == "first" and self.does.becomes == "next") and 1 or 0
  others = self.row.plays.everywhere and others * self:count() or others
  self:expects(#outcome.rows == count + others, "%d usage rows in all", #outcome.rows)
end


function case:check_requests(port, other)
  port:sync()
  local requests, does = port:requests(), self.does
  if self.row.plays.script:find("^read %a") and not self.row.plays.warm and not self.row.tools then
    self:expects(#requests == self:count(), "it was asked %d times", #requests)
  end
  if does.after > 0 and requests[2] then
    self:expects(requests[2].at - requests[1].at >= does.after * 0.99, "asked again after %.3f s", requests[2].at - requests[1].at)
  end
  if other and self.variant.position == "first" and not self.row.plays.everywhere then
    self:expects(#other:requests() == (does.becomes == "next" and 1 or 0), "the other one was asked %d times", #other:requests())
  end
  if port.connections[1] and (self.row.plays.script:find("stall") or self.row.plays.script:find("repeat")) then
    port:wait_over()
  end
end


function case:check_tools(outcome)
  local tools, done = self.row.tools, outcome.tools
  self:expects(done.run == tools.run and done.wrong == tools.wrong, "%d ran, %d were wrong", done.run, done.wrong)
  local seen = {}
  for _, id in ipairs(done.ids) do
    self:expects(not seen[id], "the id %s came twice", id)
    seen[id] = true
  end
end


function case:check(outcome, port, other)
  local limit = self.row.limit and self.row.limit[2] or 0
  self:check_end(outcome)
  self:expects(not outcome.problem, "the events: %s", tostring(outcome.problem))
  if self.row.tools then
    self:check_tools(outcome)
  else
    self:check_attempts(outcome)
    self:check_rows(outcome)
  end
  if port then
    self:check_requests(port, other)
  end
  self:expects(outcome.seconds < limit * self:count() + self.does.after + SLACK_SECONDS, "it took %.1f s", outcome.seconds)
  self:expects(self.does.becomes == "answer" or outcome.seconds >= limit * 0.95, "it took only %.3f s", outcome.seconds)
end


-- Plays the variant.
function case:play()
  local world, position, plays = self.world, self.variant.position, self.row.plays
  local script = not world.url and self:script()
  local port <close> = script and world.server:play(script) or nil
  local faulty = world.url or plays.https and port.url:gsub("^http", "https") or port.url
  if position == "alone" then
    return self:check(self:ask { faulty }, port)
  end
  local other_script = plays.everywhere and script or position == "second" and "refuse" or tables.expand(GOOD, self.names)
  local other <close> = world.server:play(other_script)
  self:check(self:ask(position == "first" and { faulty, other.url } or { other.url, faulty }), port, other)
end


---@class tests.faults.World what the lines are played in
---@field server table
---@field folder string where the files of `body` are
---@field url? string of the faulty provider, where it is no port of the server
---@field settings? table of the application
---@field ask? fun(question: table): table another way to ask

---Plays a line; returns what is wrong, a text for each problem.
---@param row tests.faults.Row
---@param names { streamed: table, whole: table }
---@param world tests.faults.World
---@return string[] problems
function M.play(row, names, world)
  local problems = {}
  for _ = 1, REQUESTS_BEFORE do
    failover.note_request()
  end
  row.is_sent_in_pieces = can_split(tables.expand(row.plays.script, names.streamed)) ~= nil
  local group <close> = task.group()
  for number, variant in ipairs(variants_of(row)) do
    local one = setmetatable({
      row = row, variant = variant, world = world, problems = problems, key = ("key %s, variant %d"):format(row.name, number),
      names = variant.is_streamed and names.streamed or names.whole, does = variant.is_streamed and row.streamed or row.whole,
      provider = variant.position == "second" and "groq" or "openai",
    }, case)
    group:spawn(task.deadline, PATIENCE_SECONDS, one.play, one)
  end
  group:wait()
  return problems
end


return M
