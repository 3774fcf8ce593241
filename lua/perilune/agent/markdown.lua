-- A thread as Markdown, for people: what was said, tool calls and results as fenced blocks, media as links or sizes. Pure functions.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"

local M = {}

local KIBIBYTE = 1024
local MONEY = 1e9


---How large, in a word or two: "34.5 KB".
---@param bytes integer
---@return string
function M.size(bytes)
  if bytes < KIBIBYTE then
    return ("%d bytes"):format(bytes)
  elseif bytes < KIBIBYTE * KIBIBYTE then
    return ("%.1f KB"):format(bytes / KIBIBYTE)
  end
  return ("%.1f MB"):format(bytes / KIBIBYTE / KIBIBYTE)
end


-- A block of text that nothing in it can end.
local function fenced(text, language)
  local longest = 2
  for ticks in text:gmatch("`+") do
    longest = math.max(longest, #ticks)
  end
  local fence = ("`"):rep(longest + 1)
  return ("%s%s\n%s\n%s"):format(fence, language or "", (text:gsub("\n$", "")), fence)
end


local function language_of(text)
  return text:find("^%s*[{%[]") and json.decode(text) ~= nil and "json" or ""
end


-- What somebody said, as it is; a fence that it left open (an answer that was cut) is closed.
local function closed(text)
  local open
  for line in text:gmatch("[^\n]+") do
    local fence = line:match("^ ? ? ?(```+)[^`]*$") or line:match("^ ? ? ?(~~~+)")
    if fence and not open then
      open = fence
    elseif fence and fence:sub(1, #open) == open and line:find("^ ? ? ?[`~]+%s*$") then
      open = nil
    end
  end
  return open and text .. "\n" .. open or text
end


local function base64_bytes(data)
  return #data * 3 // 4 - #data:match("=*$")
end


local function media(part)
  local url, data = part.url, part.data
  if url and url:sub(1, 5) == "data:" then
    data, url = url:match(",(.*)$") or "", nil
  end
  local name = part.name or part.type
  if url then
    return ("%s[%s](<%s>)"):format(part.type == "image" and "!" or "", name, url)
  end
  local facts = { part.name, part.media_type, M.size(base64_bytes(data or "")) }
  local known = {}
  for index = 1, 3 do
    known[#known + 1] = facts[index]
  end
  return ("[%s: %s]"):format(part.type, table.concat(known, ", "))
end


-- What a message says: its paragraphs.
local function paragraphs(message)
  local list = {}
  if type(message.content) == "string" and message.content ~= "" then
    list[1] = message.content
  end
  for _, part in ipairs(type(message.content) == "table" and message.content or {}) do
    list[#list + 1] = part.text or media(part)
  end
  return list
end


local function heading(stored)
  local message = stored.message
  local words = { "## ", message.role }
  if message.role == "tool" then
    words[2] = ("tool `%s`, result of `%s`"):format(message.name or "?", message.tool_call_id or "?")
  end
  words[#words + 1] = message.is_error and " (error)" or nil
  words[#words + 1] = stored.status == "partial" and " (partial)" or nil
  return table.concat(words)
end


---@param stored perilune.StoredMessage
---@return string
function M.message(stored)
  local message = stored.message
  local blocks = { heading(stored), ("<sub>%d, %s</sub>"):format(stored.seq, clock.iso(stored.created_at)) }
  if message.reasoning then
    blocks[#blocks + 1] = "> *thinking:* " .. message.reasoning:gsub("\n", "\n> ")
  end
  local said = table.concat(paragraphs(message), "\n\n")
  if message.role == "tool" then
    blocks[#blocks + 1] = fenced(said, language_of(said))
  elseif said ~= "" then
    blocks[#blocks + 1] = closed(said)
  end
  if message.refusal then
    blocks[#blocks + 1] = "*refused:* " .. closed(message.refusal)
  end
  for _, call in ipairs(message.tool_calls or {}) do
    blocks[#blocks + 1] = ("calls `%s` (`%s`):"):format(call.name, call.id)
    blocks[#blocks + 1] = fenced(call.arguments, "json")
  end
  return table.concat(blocks, "\n\n") .. "\n\n"
end


---How a run went, in a line.
---@param run perilune.RunRow
---@return string
function M.run(run)
  local facts = { ("run `%s`"):format(run.id), run.status }
  facts[#facts + 1] = run.assistant
  facts[#facts + 1] = run.model
  if run.finished_at and run.started_at then
    facts[#facts + 1] = ("%.1f s"):format(run.finished_at - run.started_at)
  end
  if run.usage then
    facts[#facts + 1] = ("%d tokens"):format(run.usage.total_tokens)
    facts[#facts + 1] = run.cost_nano and ("$%.6f"):format(run.cost_nano / MONEY) or "unknown cost"
  end
  if run.error then
    facts[#facts + 1] = tostring(run.error.message)
  end
  return ("*%s*\n\n"):format(table.concat(facts, " · "))
end


---What stands above the messages.
---@param thread perilune.ThreadRow
---@return string
function M.thread(thread)
  local name = (thread.title or thread.key or thread.id):gsub("%c", " ")
  local blocks = { "# " .. name, ("Thread `%s`%s, messages: %d, %s to %s"):format(
    thread.id, thread.key and (" (`%s`)"):format(thread.key) or "", thread.next_seq - 1, clock.iso(thread.created_at),
    clock.iso(thread.updated_at)) }
  if thread.metadata then
    blocks[#blocks + 1] = fenced(assert(json.encode(thread.metadata)), "json")
  end
  return table.concat(blocks, "\n\n") .. "\n\n"
end


return M
