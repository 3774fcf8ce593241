-- When a run must end although its model would go on: its steps, its budget, going round in circles, or because its definition says so.
-- The limits are those of the assistant that was asked, whoever is at work. Looked at before a model is asked and before a batch of tools
-- begins, never in the middle.
local M = {}

---The same calls with the same results this often in a row are a circle.
M.CIRCLE_ROUNDS = 3

---The words for limits: of a run that ends as incomplete.
M.words = {
  max_steps = true, loop = true, budget_tokens = true, budget_cost = true, budget_seconds = true, budget_tool_calls = true,
}

local NANO = 1e9


---A word for the limit that is reached; nil when the run may go on.
---@param turn table the run
---@param planned_calls? integer tool calls that would begin
---@return string?
function M.reached(turn, planned_calls)
  local budget, usage = turn.budget, turn.usage
  if turn.asked >= turn.job.assistant.max_steps and not planned_calls then
    return "max_steps"
  elseif turn.rounds_alike >= M.CIRCLE_ROUNDS then
    return "loop"
  elseif budget.tokens and usage and usage.total_tokens >= budget.tokens then
    return "budget_tokens"
  elseif budget.cost and turn.cost >= budget.cost * NANO then
    return "budget_cost"
  elseif budget.seconds and turn:seconds() >= budget.seconds then
    return "budget_seconds"
  elseif budget.tool_calls and turn.called + (planned_calls or 0) > budget.tool_calls then
    return "budget_tool_calls"
  end
end


---Could the batch of tools at hand close a circle? That is seen when all of it is done.
---@param turn table
---@return boolean
function M.is_nearly_a_circle(turn)
  return turn.rounds_alike >= M.CIRCLE_ROUNDS - 1
end


---Notes a batch of tools that is done, so that a circle is seen.
---@param turn table
---@param pending table[] with call and message
function M.note_round(turn, pending)
  local parts = {}
  for position, item in ipairs(pending) do
    parts[position] = table.concat({ item.call.name, item.call.arguments, item.message and tostring(item.message.content) or "" }, "\0")
  end
  local signature = table.concat(parts, "\1")
  turn.rounds_alike = signature == turn.last_round and turn.rounds_alike + 1 or 1
  turn.last_round = signature
end


return M
