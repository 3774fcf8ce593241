-- The built-in model `offline/demo`: a pure function from a request to events. It needs no network and no key, says
-- plainly what it is, calls tools for real and remembers the conversation, so that the first command and every test
-- work anywhere. It understands nothing: it compares words.
local fill = require "perilune.model.provider.offline_fill"
local json = require "perilune.json"
local message = require "perilune.model.message"
local usage = require "perilune.model.usage"
local wire = require "perilune.model.provider.wire"

local M = {}

M.name = "offline"
M.models = { "demo" }

-- How much of an earlier message is repeated.
local QUOTE_BYTES_MAX = 200

-- Words that say nothing about what a tool does.
local empty_words = {}
for word in ("a an and any are as at be by can could current do does for from get give has have how i in is it its me"
  .. " my of on or please s t that the this to was what when where which will with would you your"):gmatch("%S+") do
  empty_words[word] = true
end

local memory_phrases = { "before", "earlier", "remember", "what did i", "previous", "last time", "so far" }


-- The words of a text as a set: lower case, names like get_weather and getWeather taken apart, plurals cut.
local function word_set(text)
  local set = {}
  for word in text:gsub("(%l)(%u)", "%1 %2"):lower():gmatch("%w+") do
    if not empty_words[word] then
      set[#word > 3 and word:gsub("s$", "") or word] = true
    end
  end
  return set
end


local function shared_words(words, tool)
  local count = 0
  for word in pairs(word_set(tool.name .. " " .. (tool.description or ""))) do
    count = count + (words[word] and 1 or 0)
  end
  return count
end


-- The tool that shares most words with the question; the first of equals.
local function pick_tool(tools, question)
  local words, best, best_count = word_set(question), nil, 0
  for _, tool in ipairs(tools) do
    local count = shared_words(words, tool)
    if count > best_count then
      best, best_count = tool, count
    end
  end
  return best
end


local function choose_tool(request, question)
  local tools, choice = request.tools or {}, request.tool_choice
  if choice == "none" or #tools == 0 then
    return nil
  elseif type(choice) == "table" then
    for _, tool in ipairs(tools) do
      if tool.name == choice.name then
        return tool
      end
    end
  end
  return pick_tool(tools, question) or choice == "required" and tools[1] or nil
end


local function quote(text)
  text = text:gsub("%s+", " ")
  if #text > QUOTE_BYTES_MAX then
    text = text:sub(1, (utf8.offset(text, 0, QUOTE_BYTES_MAX) or QUOTE_BYTES_MAX) - 1) .. "…"
  end
  return '"' .. text .. '"'
end


-- What the conversation holds: the user's messages, and the tool results that came after the last of them.
local function read_conversation(request)
  local said, results = {}, {}
  for _, one in ipairs(request.messages or {}) do
    if one.role == "user" then
      said[#said + 1] = message.text(one)
      results = {}
    elseif one.role == "tool" then
      results[#results + 1] = one
    end
  end
  return said, results
end


local function asks_about_before(question)
  local lower = question:lower()
  for _, phrase in ipairs(memory_phrases) do
    if lower:find(phrase, 1, true) then
      return true
    end
  end
  return false
end


local function recount(said)
  local quoted = {}
  for position = 1, #said - 1 do
    quoted[position] = ("%d. %s"):format(position, quote(said[position]))
  end
  return "Earlier in this conversation you said: " .. table.concat(quoted, " ")
end


local function report(results)
  local parts = {}
  for position, result in ipairs(results) do
    local name, content = result.name or "the tool", message.text(result)
    parts[position] = ("%s %s: %s"):format(name, result.is_error and "failed" or "answered", content)
  end
  return table.concat(parts, ". ") .. ". (I am the offline model; I only repeat what the tools say.)"
end


local function greet(said)
  local count = #said
  local greeting = "I am the offline model: no network, no key, no knowledge. "
  return greeting .. ("You said %s. This is message %d of our conversation."):format(quote(said[count] or ""), count)
end


local function count_words(text)
  return select(2, text:gsub("%S+", ""))
end


local function count_prompt(request)
  local count = 0
  for _, one in ipairs(request.messages or {}) do
    count = count + count_words(message.text(one))
    for _, call in ipairs(one.tool_calls or {}) do
      count = count + count_words(call.arguments)
    end
  end
  return count
end


local function push_text(events, text)
  for word in text:gmatch("%S+%s*") do
    events[#events + 1] = { type = "text", text = word }
  end
  return count_words(text), "stop"
end


local function push_call(events, request, tool, question)
  local arguments = json.encode(fill.fill(tool.parameters or { type = "object" }, question))
  local id = "call_" .. wire.short_id(("%d\0%s\0%s"):format(#request.messages, tool.name, arguments))
  events[#events + 1] = { type = "tool_call_start", index = 0, id = id, name = tool.name }
  events[#events + 1] = { type = "tool_call_delta", index = 0, arguments = arguments }
  events[#events + 1] = { type = "tool_call", index = 0, id = id, name = tool.name, arguments = arguments }
  return count_words(arguments), "tool_calls"
end


-- JSON for a request that wants JSON: a value of its schema, filled like the arguments of a tool.
local function structured(request, question)
  local format = request.response_format
  if type(format) ~= "table" or format.type ~= "json_schema" and format.type ~= "json_object" then
    return nil
  end
  local wrapped = type(format.json_schema) == "table" and format.json_schema.schema
  return json.encode(wrapped and fill.fill(wrapped, question) or { answer = question })
end


-- Appends the content; returns how many words it has and why it stopped.
local function push_content(events, request)
  local said, results = read_conversation(request)
  local question = said[#said] or ""
  local is_about_before = #said > 1 and asks_about_before(question)
  local is_forced = type(request.tool_choice) == "table" or request.tool_choice == "required"
  if #results == 0 and (is_forced or not is_about_before) then
    local tool = choose_tool(request, question)
    if tool then
      return push_call(events, request, tool, question)
    end
  end
  local document = structured(request, question)
  if document then
    return push_text(events, document)
  elseif #results > 0 then
    return push_text(events, report(results))
  end
  return push_text(events, is_about_before and recount(said) or greet(said))
end


---Answers a request. The same request always gets the same answer.
---@param request perilune.Request
---@return table[] events
function M.answer(request)
  local prompt_tokens = count_prompt(request)
  local seed = ("%d\0%d"):format(#(request.messages or {}), prompt_tokens)
  local events = { { type = "start", model = "demo", provider = M.name, id = "offline-" .. wire.short_id(seed) } }
  local completion_tokens, reason = push_content(events, request)
  events[#events + 1] = { type = "usage", usage = usage.estimate(prompt_tokens, completion_tokens) }
  events[#events + 1] = { type = "stop", reason = reason, raw = reason }
  return events
end


return M
