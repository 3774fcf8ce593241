-- The conformance kit for providers: a battery of cases, each passed, failed (and why) or skipped (and why). A provider of the
-- chat.completions family gets answers that the kit makes; any format gets those that were recorded, given as a folder.
local answers = require "perilune.testing.chat_answers"
local call = require "perilune.model.call"
local decode = require "perilune.testing.conformance_decode"
local encode = require "perilune.testing.conformance_encode"
local errors = require "perilune.std.errors"
local openai_chat = require "perilune.model.provider.openai_chat"
local recordings = require "perilune.testing.recordings"
local task = require "perilune.sys.task"
local text = require "perilune.std.text"

local M = {}

local CASE_SECONDS = 60
local LIVE_TOKENS = 200 -- enough for a model that thinks before it says a word

---@class perilune.testing.Row
---@field case string
---@field result "passed"|"failed"|"skipped"
---@field why? string

---@class perilune.testing.KitOptions
---@field fixtures? string folder of recordings
---@field only? string the name of one case, to run it alone
---@field live? { target: perilune.Target?, settings: perilune.Settings?, why: string? } one tiny real request, or why there is none


-- Where a raise becomes a result: a case of the kit.
local function row_of(name, ok, result, why)
  if not ok then
    local err = errors.wrap(result)
    if err.kind == "cancelled" then
      error(err, 0)
    end
    result, why = "failed", "it raised: " .. (err.where and err.where .. ": " or "") .. err.message
  end
  return { case = name, result = result or "passed", why = result and why or nil }
end


-- One real request. What it may cost is bounded by its length.
local function ask_live(live)
  if not live.target then
    return "skipped", live.why
  end
  local request = { messages = { { role = "user", content = "Say OK." } }, max_tokens = LIVE_TOKENS, stream = true }
  local stream <close> = call.new(live.target, live.settings):stream(request)
  for _ in stream.next, stream do end -- luacheck: ignore 542
  local response = stream:so_far()
  if response.error then
    return "failed", ("%s: %s"):format(response.error.kind, response.error.message)
  elseif response.content == "" and not response.reasoning then
    return "failed", "the answer is empty"
  elseif not response.usage then
    return "failed", "the answer says no usage"
  end
end


local function cases_of(provider, options)
  local is_chat = provider.default_api == "chat" or provider.decoder == openai_chat.decoder
  local read = is_chat and answers.all() or {}
  if options.fixtures then
    local recorded = recordings.all(options.fixtures)
    table.move(recorded, 1, #recorded, #read + 1, read)
  end
  local cases = encode.cases()
  for _, case in ipairs(decode.cases(read)) do
    cases[#cases + 1] = case
  end
  if options.live then
    cases[#cases + 1] = { name = "live", run = function()
      return ask_live(options.live)
    end }
  end
  return cases
end


-- The case of that name, as a list.
local function select(cases, name)
  local names = {}
  for position, case in ipairs(cases) do
    if case.name == name then
      return { case }
    end
    names[position] = case.name
  end
  local nearest = text.suggest(name, names)
  error(errors.new {
    kind = "configuration", code = "usage",
    message = ("there is no case '%s'%s"):format(name, nearest and (", did you mean '" .. nearest .. "'?") or ""),
  }, 0)
end


---Runs the battery. Raises what is wrong with the recordings themselves.
---@param provider perilune.Provider
---@param options? perilune.testing.KitOptions
---@return perilune.testing.Row[]
function M.run(provider, options)
  options = options or {}
  local cases, rows = cases_of(provider, options), {}
  for position, case in ipairs(options.only and select(cases, options.only) or cases) do
    rows[position] = row_of(case.name, pcall(task.deadline, CASE_SECONDS, case.run, provider))
  end
  return rows
end


return M
