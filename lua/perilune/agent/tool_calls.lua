-- The tool calls of one answer: which may begin, which wait for a person, what comes of them. A call is an item
-- { call, seq, state, waits_for?, decision?, message?, err? }, whose state goes from "waiting" or "ready" to "done". Nothing begins
-- before the step that says so is stored.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"
local tool = require "perilune.tool"

local M = {}

---Calls of one answer that are made; the others are refused, and the model is told.
M.CALLS_MAX = 64


local function unknown_tool(name, list)
  local names = {}
  for position, one in ipairs(list) do
    names[position] = one.name
  end
  local text = ("there is no tool called '%s'; the tools are: %s"):format(name, table.concat(names, ", "))
  return { is_error = true, content = "Error: " .. text, error = errors.new { kind = "tool", code = "unknown", message = text } }
end


local function refusal(text, code)
  return { is_error = true, content = "Error: " .. text, error = errors.new { kind = "tool", code = code, message = text } }
end


-- How models call the wrapper around several calls that they were trained with and nobody has given them.
local wrappers = { ["multi_tool_use.parallel"] = true, multi_tool_use_parallel = true, parallel = true }


-- The calls in a wrapper; nil when it holds none.
local function wrapped(call)
  local arguments = json.decode(call.arguments)
  local uses = type(arguments) == "table" and arguments.tool_uses
  local calls = {}
  for position, use in ipairs(type(uses) == "table" and uses or {}) do
    local name = type(use) == "table" and (use.recipient_name or use.name)
    if type(name) ~= "string" then
      return nil
    end
    calls[position] = {
      id = ("%s_%d"):format(call.id, position), name = name:gsub("^functions%.", ""),
      arguments = type(use.parameters) == "table" and assert(json.encode(use.parameters)) or "{}",
    }
  end
  return calls[1] and calls
end


---The calls of an answer, with those that a model has wrapped into one of `multi_tool_use.parallel`, a tool that nobody gave it, in
---its place.
---@param calls table[]
---@param toolset perilune.Toolset
---@return table[]
function M.unwrap(calls, toolset)
  local all = {}
  for _, call in ipairs(calls) do
    local inner = wrappers[call.name] and not toolset.by_name[call.name] and wrapped(call) or { call }
    table.move(inner, 1, #inner, #all + 1, all)
  end
  return all
end


-- Must a person agree? What the tool says holds, then what the assistant says.
local function wants_approval(turn, found, call)
  local rule = found.approval
  if rule == nil then
    rule = turn.assistant.approval
    if type(rule) == "table" then
      rule = rule[call.name]
    end
  end
  if type(rule) == "function" then
    local arguments = tool.parse_arguments(found, call.arguments)
    return arguments ~= nil and rule(arguments, { call = call, run = turn.row, thread = turn.job.thread }) == true
  end
  return (rule == "always" or rule == true) and tool.parse_arguments(found, call.arguments) ~= nil
end


-- What a call waits for before it can begin; nil: nothing.
local function waits_for(turn, call)
  local found = turn.toolset.by_name[call.name]
  if not found then
    return nil
  elseif wants_approval(turn, found, call) then
    return "approval"
  elseif not found.run and tool.parse_arguments(found, call.arguments) then
    return "output"
  end
end


---The steps of the calls of an answer, as they are stored: begun, or waiting.
---@param turn table
---@param calls table[]
---@return perilune.NewStep[]
function M.steps(turn, calls)
  local steps = {}
  for position, call in ipairs(calls) do
    local found = turn.toolset.by_name[call.name]
    steps[position] = {
      kind = "tool", name = call.name, call_id = call.id, input = call.arguments, idempotent = found ~= nil and found.idempotent,
      waits_for = waits_for(turn, call),
    }
  end
  return steps
end


---The items of calls whose steps are stored.
---@param calls table[]
---@param steps perilune.NewStep[]
---@param seqs integer[]
---@return table[]
function M.items(calls, steps, seqs)
  local items = {}
  for position, call in ipairs(calls) do
    local step = steps[position]
    items[position] = {
      call = call, position = position, seq = seqs[position], idempotent = step.idempotent, waits_for = step.waits_for,
      state = step.waits_for and "waiting" or "ready",
    }
  end
  return items
end


---The idempotency key of a call: the same, however often it is made.
---@param run_id string
---@param seq integer of its step
---@return string
function M.key(run_id, seq)
  return token.sha256(run_id .. ":" .. seq):sub(1, 32)
end


---The key of the thread on which an assistant answers that is called as a tool.
---@param key string of the call
---@return string
function M.thread_key(key)
  return "call " .. key
end


local function context_of(turn, item)
  local row, call = turn.row, item.call
  return {
    thread = turn.job.thread, run = row, call_id = call.id, assistant = turn.assistant, turn = turn,
    cancel = turn.job.token, is_approved = true, -- what needs a person's word does not get here without it
    idempotency_key = M.key(row.id, item.seq),
    emit = function(event)
      turn:emit(event)
    end,
    log = function(text)
      log.write("info", "tool", ("%s: %s"):format(call.name, text))
    end,
  }
end


-- What a call comes to: the guard of tools first, then the tool.
local function result_of(turn, item)
  local call = item.call
  local found = turn.toolset.by_name[call.name]
  if item.position > M.CALLS_MAX then
    return refusal(("more than %d calls at once: make it again, if it is still needed"):format(M.CALLS_MAX), "too_many")
  elseif not found then
    return unknown_tool(call.name, turn.toolset.list)
  elseif not found.run then -- its arguments are wrong, else it would have waited
    local _, err = tool.parse_arguments(found, call.arguments)
    return refusal(err and err.message or "the tool is answered from outside", "arguments")
  end
  for _, guard in ipairs(turn.assistant.guardrails.tools) do
    local why = guard(call, { run = turn.row, thread = turn.job.thread, assistant = turn.assistant })
    if why then
      return refusal(("the call is not allowed: %s"):format(tostring(why)), "guardrail")
    end
  end
  return tool.call(found, call.arguments, context_of(turn, item))
end


-- A result that was cut is stored whole, and the model is told where.
local function keep_whole(result)
  if not result.whole then
    return nil
  end
  local id = token.id("result")
  result.content = ("%s\nRead on with read_result {\"id\": \"%s\", \"offset\": %d}."):format(result.content, id, result.shown_bytes)
  return { { id = id, body = result.whole } }
end


---Stores what a call came to; the last one of a batch also says that the next model call begins.
---@param turn table
---@param item table
---@param result perilune.ToolResult
function M.finish(turn, item, result)
  local call = item.call
  local kept = keep_whole(result)
  local message = {
    role = "tool", tool_call_id = call.id, name = call.name, content = result.content, is_error = result.is_error or nil,
  }
  item.message, item.err = message, result.error
  turn.has_results = turn.has_results or kept ~= nil
  local transfer = turn.toolset.transfers[call.name] and not result.is_error and call.name or nil
  turn:show { type = "tool_result", id = call.id, name = call.name, content = result.content, is_error = result.is_error or nil }
  turn.steps = turn.steps + 1
  local following = turn:step_after(item)
  local seqs = turn:advance {
    finished = { {
      seq = item.seq, message = message,
      result = {
        is_error = result.is_error, code = result.error and result.error.code, transfer = transfer, has_whole = kept ~= nil or nil,
      },
    } },
    results = kept, started = following,
  }
  turn.model_seq = following and seqs[1] or turn.model_seq
  item.state = "done" -- not before it is stored: who is last begins the next call of the model
end


---Runs the functions side by side, at most `limit` at a time.
---@param items any[]
---@param limit integer
---@param f fun(item: any)
function M.side_by_side(items, limit, f)
  local following = 1
  local function work()
    while following <= #items do
      local item = items[following]
      following = following + 1
      f(item)
    end
  end
  if #items == 1 then
    return work()
  end
  local group <close> = task.group()
  for _ = 1, math.min(#items, limit) do
    group:spawn(work)
  end
  group:wait()
end


local function select(items, is_meant)
  local selected = {}
  for _, item in ipairs(items) do
    selected[#selected + 1] = is_meant(item) and item or nil
  end
  return selected
end


---The calls that nobody has decided about.
---@param items table[]
---@return table[]
function M.waiting(items)
  return select(items, function(item)
    return item.state == "waiting" and not item.decision
  end)
end


-- Asks whoever is there, one call after the other.
local function ask_person(turn, items)
  local person = turn.job.person
  for _, item in ipairs(person and M.waiting(items) or {}) do
    item.decision = person(item.call, item.waits_for)
  end
end


-- Calls that were decided about: those that may begin become ready; the others are done.
local function carry_out(turn, items)
  local begun = {}
  for _, item in ipairs(items) do
    local decision = item.state == "waiting" and item.decision
    if decision and decision.kind == "approve" then
      item.state = "ready"
      begun[#begun + 1] = item.seq
    elseif decision and decision.kind == "output" then
      local content = type(decision.output) == "string" and decision.output or assert(json.encode(decision.output))
      M.finish(turn, item, { content = content, is_error = false })
    elseif decision then
      local reason = decision.reason and ": " .. decision.reason or ""
      M.finish(turn, item, item.waits_for == "outcome"
        and refusal("it is not known whether this call had its effect, and it is not made again" .. reason, "outcome_unknown")
        or refusal("the user did not allow this call" .. reason, "rejected"))
    end
  end
  if begun[1] then
    turn:advance { begun = begun }
  end
end


---Does what can be done: decisions are carried out, calls that may begin are made, side by side.
---@param turn table
---@param items table[]
function M.work_off(turn, items)
  ask_person(turn, items)
  carry_out(turn, items)
  local ready = select(items, function(item)
    return item.state == "ready"
  end)
  M.side_by_side(ready, turn.assistant.tool_concurrency, function(item)
    M.finish(turn, item, result_of(turn, item))
  end)
end


return M
