-- A run as a timeline: a line for each step, with a bar that says when it began and how long it took; below it the attempts that say
-- more than the step, and what a call waits for. Pure functions: rows in, lines out.
local clock = require "perilune.sys.clock"
local output = require "perilune.cli.output"

local M = {}

M.WIDTH_MIN = 40
M.WIDTH_MAX = 200

-- A narrower terminal has marks instead of words for what became of a step.
local WORDS_WIDTH = 80
local BAR_MIN = 10
local NAME_MAX = 40

local colors = { red = 31, green = 32, yellow = 33, blue = 34, magenta = 35, cyan = 36, dim = 2 }
local kind_colors = { model = "blue", tool = "cyan", summary = "magenta" }
local status_colors = {
  done = "green", failed = "red", unknown = "yellow", waiting = "yellow", completed = "green", cancelled = "yellow", running = "cyan",
  waiting_tool = "yellow", waiting_approval = "yellow", incomplete = "yellow", expired = "red",
}
local marks = { done = "✓", failed = "✗", unknown = "?", waiting = "!", decided = "!", running = ">", started = ">" }

local waits = {
  approval = "waits for approval",
  output = "waits for its output",
  outcome = "nobody knows whether this had its effect; approve makes it again, reject does not",
}


---@class perilune.Timeline
---@field run perilune.RunRow
---@field thread? string the thread's key or id
---@field steps perilune.StepRow[]
---@field attempts perilune.AttemptRow[]
---@field now number seconds
---@field is_left? boolean the run could go on, and no process does

-- Text

-- What came from outside must not move the cursor.
local function plain(text)
  return (tostring(text):gsub("%c", " "):gsub("\xC2[\x80-\x9F]", " "))
end


local function length(text)
  return utf8.len(text) or #text
end


local function cut(text, width)
  text = plain(text)
  if length(text) <= width then
    return text
  end
  local stop = utf8.len(text) and utf8.offset(text, width) or width
  return text:sub(1, stop - 1) .. "…"
end


local function pad(text, width)
  return text .. (" "):rep(width - length(text))
end


local function pad_left(text, width)
  return (" "):rep(width - length(text)) .. text
end


local function painter(has_color)
  return function(color, text)
    return has_color and color and ("\27[%dm%s\27[0m"):format(colors[color], text) or text
  end
end


---How long, in a few characters.
---@param seconds number
---@return string
function M.duration(seconds)
  if seconds < 0.9995 then
    return ("%d ms"):format(math.floor(seconds * 1000 + 0.5))
  elseif seconds < 59.995 then
    return ("%.2f s"):format(seconds)
  end
  local whole = math.floor(seconds + 0.5)
  if whole < 3600 then
    return ("%dm%02ds"):format(whole // 60, whole % 60)
  elseif whole < 86400 then
    return ("%dh%02dm"):format(whole // 3600, whole % 3600 // 60)
  end
  return ("%dd%02dh"):format(whole // 86400, whole % 86400 // 3600)
end


-- Steps

local function status_of(step, attempts, run)
  local result, last = step.result, attempts[#attempts]
  if step.status == "finished" then
    return type(result) == "table" and result.is_error and "failed" or "done"
  elseif step.status == "started" then
    return run.finished_at and "started" or "running"
  elseif step.status == "waiting" then
    return step.decision and "decided" or "waiting"
  end
  return last and last.outcome ~= "ok" and "failed" or "unknown"
end


-- Tokens and cost of a step; an unknown price makes the sum unknown.
local function sums(attempts)
  local tokens, cost, is_known = nil, 0, true
  for _, attempt in ipairs(attempts) do
    if attempt.prompt_tokens or attempt.completion_tokens then
      tokens = (tokens or 0) + (attempt.prompt_tokens or 0) + (attempt.completion_tokens or 0)
    end
    is_known = is_known and (attempt.cost_nano ~= nil or attempt.outcome ~= "ok")
    cost = cost + (attempt.cost_nano or 0)
  end
  return tokens and tostring(tokens) or "-", tokens and output.money(is_known and cost or nil) or "-"
end


-- A line of the table for each step, still as cells.
local function make_lines(data)
  local lines, by_step = {}, {}
  for _, attempt in ipairs(data.attempts) do
    local seq = attempt.step_seq or 0
    by_step[seq] = by_step[seq] or {}
    table.insert(by_step[seq], attempt)
  end
  for position, step in ipairs(data.steps) do
    local attempts = by_step[step.seq] or {}
    local line = {
      step = step, attempts = attempts, seq = tostring(step.seq), kind = step.kind, name = plain(step.name or "-"),
      status = status_of(step, attempts, data.run), from = step.started_at, to = step.finished_at or data.run.finished_at or data.now,
    }
    line.time = M.duration(math.max(0, line.to - line.from))
    line.tokens, line.cost = sums(attempts)
    lines[position] = line
  end
  return lines
end


local headings = { seq = "#", kind = "KIND", name = "NAME", status = "STATUS", time = "TIME", tokens = "TOKENS", cost = "COST" }


-- How wide each column is; what the others leave is the bar's.
local function layout(lines, width)
  local widths = { has_words = width >= WORDS_WIDTH }
  for column, heading in pairs(headings) do
    widths[column] = #heading
    for _, line in ipairs(lines) do
      widths[column] = math.max(widths[column], length(line[column]))
    end
  end
  widths.status = widths.has_words and widths.status or 1
  local rest = width - (widths.seq + widths.kind + widths.status + widths.time + widths.tokens + widths.cost + 7)
  widths.name = math.max(1, math.min(widths.name, NAME_MAX, rest - BAR_MIN))
  widths.bar = math.max(1, rest - widths.name)
  return widths
end


local function bar(line, first, last, width, paint)
  local span = math.max(last - first, 0.001)
  local from = math.min(width - 1, math.max(0, math.floor((line.from - first) / span * width)))
  local to = math.min(width, math.max(from + 1, math.floor((line.to - first) / span * width + 0.5)))
  local color = line.status == "failed" and "red" or kind_colors[line.kind]
  local block = (line.status == "waiting" or line.status == "decided") and "░" or "█"
  return (" "):rep(from) .. paint(color, block:rep(to - from)) .. (" "):rep(width - to)
end


local function row(widths, line, middle, paint)
  local status = widths.has_words and line.status or marks[line.status] or ""
  return table.concat({
    pad_left(line.seq, widths.seq), pad(line.kind, widths.kind), pad(cut(line.name, widths.name), widths.name),
    paint(status_colors[line.status], pad(status, widths.status)), middle, pad_left(line.time, widths.time),
    pad_left(line.tokens, widths.tokens), pad_left(line.cost, widths.cost),
  }, " ")
end


-- What stands below a step

local function attempt_line(attempt, indent, width, paint)
  local is_good = attempt.outcome == "ok"
  local said = ("%s %s/%s %s%s"):format(is_good and "✓" or "✗", attempt.provider, attempt.model,
    attempt.status and attempt.status .. " " or "", attempt.outcome)
  if attempt.duration_ms then
    said = said .. ", " .. M.duration(attempt.duration_ms / 1000)
  end
  if type(attempt.error) == "table" and attempt.error.message then
    said = said .. ": " .. attempt.error.message
  end
  return indent .. paint(is_good and "dim" or "red", cut(said, width - #indent))
end


local function decision_text(decision)
  if decision.kind == "reject" then
    return "rejected" .. (decision.reason and ": " .. decision.reason or "")
  end
  return decision.kind == "approve" and "approved" or "its output is there"
end


local function add_details(list, line, indent, width, paint)
  local step, attempts = line.step, line.attempts
  local only = attempts[1]
  if #attempts > 1 or only and (only.outcome ~= "ok" or only.provider .. "/" .. only.model ~= step.name) then
    for _, attempt in ipairs(attempts) do
      list[#list + 1] = attempt_line(attempt, indent, width, paint)
    end
  end
  if line.status == "waiting" then
    list[#list + 1] = indent .. paint("yellow", cut(waits[step.waits_for], width - #indent))
    list[#list + 1] = indent .. cut(("%s %s(%s)"):format(step.call_id, step.name, step.input or ""), width - #indent)
  elseif step.decision then
    list[#list + 1] = indent .. paint("dim", cut(decision_text(step.decision), width - #indent))
  end
end


-- The whole

-- Facts side by side, as many as a line takes.
local function wrap(facts, width)
  local list = {}
  for _, fact in ipairs(facts) do
    local last = list[#list]
    if last and length(last) + 2 + length(fact) <= width then
      list[#list] = last .. "  " .. fact
    else
      list[#list + 1] = cut(fact, width)
    end
  end
  return list
end


local function add_head(list, data, width, paint)
  local run = data.run
  list[1] = ("%s  %s"):format(run.id, paint(status_colors[run.status] or "red", run.status))
  local facts = { clock.iso(run.created_at), data.thread and "thread " .. plain(data.thread) or nil }
  facts[#facts + 1] = run.assistant and "assistant " .. plain(run.assistant) or nil
  facts[#facts + 1] = run.model and plain(run.model) or nil
  facts[#facts + 1] = M.duration(math.max(0, (run.finished_at or data.now) - (run.started_at or run.created_at)))
  if run.usage then
    facts[#facts + 1] = ("%d tokens"):format(run.usage.total_tokens)
    facts[#facts + 1] = "cost " .. output.money(run.cost_nano)
  end
  facts[#facts + 1] = run.crashes > 0 and ("crashes: %d"):format(run.crashes) or nil
  facts[#facts + 1] = run.parent and "called by " .. run.parent or nil
  for _, line in ipairs(wrap(facts, width)) do
    list[#list + 1] = line
  end
end


-- What to do about it; commands are never cut.
local function add_end(list, data, paint)
  local run, waiting = data.run, {}
  for _, step in ipairs(data.steps) do
    if not run.finished_at and step.status == "waiting" and not step.decision then
      waiting[step.waits_for == "output" and "output" or "approval"] = step
    end
  end
  if waiting.approval then
    list[#list + 1] = ("decide: perilune runs approve %s [CALL...]"):format(run.id)
    list[#list + 1] = ("        perilune runs reject %s CALL [--reason TEXT]"):format(run.id)
  end
  if waiting.output then
    list[#list + 1] = ("answer: perilune runs submit %s CALL OUTPUT"):format(run.id)
  end
  if data.is_left then
    list[#list + 1] = paint("yellow", "no process goes on with this:") .. (" perilune runs resume %s"):format(run.id)
  elseif run.cancel_at and not run.finished_at then
    list[#list + 1] = paint("yellow", "asked to end")
  end
  if run.error then
    list[#list + 1] = paint("red", plain(("error: %s: %s"):format(run.error.code or run.error.kind, run.error.message)))
  end
end


---@param data perilune.Timeline
---@param options { width: integer, has_color: boolean? }
---@return string[]
function M.lines(data, options)
  local width = math.min(M.WIDTH_MAX, math.max(M.WIDTH_MIN, options.width))
  local paint, list, lines = painter(options.has_color), {}, make_lines(data)
  add_head(list, data, width, paint)
  if lines[1] then
    local widths = layout(lines, width)
    local indent = (" "):rep(widths.seq + 1 + widths.kind + 1)
    local first, last = data.run.started_at or data.run.created_at, data.run.finished_at or data.now
    for _, line in ipairs(lines) do
      first, last = math.min(first, line.from), math.max(last, line.to)
    end
    local head = {}
    for column, heading in pairs(headings) do
      head[column] = heading
    end
    head.status = widths.has_words and "STATUS" or ""
    list[#list + 1] = ""
    list[#list + 1] = row(widths, head, (" "):rep(widths.bar), paint)
    for _, line in ipairs(lines) do
      list[#list + 1] = row(widths, line, bar(line, first, last, widths.bar, paint), paint)
      add_details(list, line, indent, width, paint)
    end
    list[#list + 1] = ""
  end
  add_end(list, data, paint)
  return list
end


return M
