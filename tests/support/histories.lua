-- Random threads as a database may hold them: parallel calls, results lost, doubled, late and in any order, interrupted answers, runs
-- whose last rows were lost in a crash, ids that come again, summaries, and rules for how much of it goes into a request. Everything
-- in them says where it comes from: a user says "u7" in row 7, an answer of row 8 thinks "m8", its first call has the arguments
-- "8.1" and the result "r8.1".
local json = require "perilune.json"
local stream = require "perilune.model.stream"

local M = {}

local thread = {}
thread.__index = thread


function thread:chance(percent)
  return self.random(100) <= percent
end


function thread:add(message, status)
  self.rows[#self.rows + 1] = { seq = #self.rows + 1, role = message.role, status = status or "complete", message = message }
end


function thread:say()
  self:add { role = "user", content = ("u%d"):format(#self.rows + 1) .. (" word"):rep(self.random(8) - 1) }
end


-- Ids as models give them: unique, counted in each answer, or whatever.
local ids = {
  function(_, mark) return "id_" .. mark:gsub("%.", "_") end,
  function(_, mark) return "call_" .. mark:match("%.(.*)") end,
  function(self) return ({ "a", "b", "a_2", "call", "" })[self.random(5)] end,
}


function thread:answer(calls_max)
  local seq = #self.rows + 1
  local message = { role = "assistant", reasoning = "m" .. seq }
  if self:chance(70) then
    message.content = "word " .. ("word "):rep(self.random(10) - 1)
  elseif self:chance(20) then
    message.content = self:chance(50) and "" or " \n"
  end
  if self:chance(20) then
    message.provider_items = { provider = "p", model = "m", items = { { of = "m" .. seq } } }
  end
  local calls = {}
  for position = 1, self.random(calls_max + 1) - 1 do
    local mark = ("%d.%d"):format(seq, position)
    calls[position] = { id = ids[self.id_style](self, mark), name = "f", arguments = mark }
  end
  message.tool_calls = (#calls > 0 or self:chance(5)) and calls or nil
  return message
end


function thread:add_results(calls)
  local order = {}
  for position, call in ipairs(calls) do
    table.insert(order, self.random(position), call)
  end
  for _, call in ipairs(order) do
    local result = { role = "tool", tool_call_id = call.id, name = "f", content = "r" .. call.arguments }
    for _ = 1, self:chance(8) and 2 or self:chance(8) and 0 or 1 do
      if self:chance(8) then
        table.insert(self.late, result)
      else
        self:add(result)
      end
    end
  end
end


-- A run: question, calls, answer, any of it interrupted or missing.
function thread:run()
  self:say()
  for _ = 1, self.random(4) - 1 do
    local message = self:answer(4)
    if self:chance(8) then
      return self:add(message, "partial")
    end
    self:add(message)
    self:add_results(message.tool_calls or {})
  end
  if self:chance(80) then
    self:add(self:answer(0))
  end
end


local strange = {
  function(self) self:add { role = "system", content = "Be kind." } end,
  function(self) self:add { role = "developer", content = "Be brief." } end,
  function(self) self:add { role = "narrator", content = "Meanwhile" } end,
  function(self) self:add { role = "assistant", content = "Hello!", reasoning = "m" .. #self.rows + 1 } end,
  function(self) self:add { role = "tool", tool_call_id = "nobody's", content = "r0.0" } end,
  function(self) self:add { role = "assistant" } end,
}


local function fill(self)
  for _ = 1, self.random(6) - 1 do
    if self:chance(15) then
      strange[self.random(#strange)](self)
    end
    self:run()
    if self:chance(15) then -- a crash: the last rows were never written
      for _ = 1, self.random(math.min(8, #self.rows)) do
        self.rows[#self.rows] = nil
      end
      self.late = {}
    end
    if self.late[1] and self:chance(50) then
      self:add(table.remove(self.late))
    end
  end
end


-- The rows as they are read, newest first.
function thread:read(statement, params)
  if statement == "summary_latest" then
    local summary = self.summary
    return summary and { { upto_seq = summary.upto_seq, body = summary.body, created_at = 0 } } or {}
  end
  assert(statement == "message_list_down", statement)
  local list, newest = {}, math.min(#self.rows, params.before - 1)
  for seq = newest, math.max(1, newest - params.limit + 1), -1 do
    local row = self.rows[seq]
    row.body = row.body or assert(json.encode(row.message))
    list[#list + 1] = { seq = seq, role = row.role, status = row.status, body = row.body, created_at = 0 }
  end
  return list
end


-- What a user's function gives: a text, nonsense that is valid, or more than fits.
local functions = {
  function() return "so far, so good" end,
  function()
    return {
      { role = "tool", tool_call_id = "x", content = "r0.0" }, { role = "user", content = "so far" },
      { role = "assistant", tool_calls = { { id = "x", name = "f", arguments = "{}" } } },
    }
  end,
  function(list) return list end,
}


local function rules_of(self)
  local kind = self.random(3)
  return {
    messages = kind ~= 2 and self.random(14) or nil, tokens = kind ~= 1 and self.random(250) or nil, keep = self.random(3),
    compaction = ({ "window", "window", "summary", functions[self.random(#functions)] })[self.random(4)],
  }
end


local failure = { type = "error", error = { kind = "server", message = "down" } }


---@param random fun(limit: integer): integer
---@return table case { rows, read, rules, assistant, summary?, last_user?, model }
function M.new(random)
  local self = setmetatable({ random = random, rows = {}, late = {}, id_style = random(3) }, thread)
  fill(self)
  for _, row in ipairs(self.rows) do
    self.last_user = row.role == "user" and row.seq or self.last_user
  end
  if self.last_user and self:chance(30) then
    self.summary = { upto_seq = self.random(self.last_user) - 1, body = "before" .. (" word"):rep(self.random(10) - 1) }
  end
  self.assistant = { history = rules_of(self), fallbacks = {}, request = {} }
  local works = self:chance(80)
  local text = { type = "text", text = "short" .. (" word"):rep(self.random(200)) }
  self.model = { stream = function()
    return stream.from_list(works and { text, { type = "stop", reason = "stop" } } or { failure })
  end }
  return self
end


return M
