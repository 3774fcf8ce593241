-- Who may be at work in a run: the assistant that was asked, and those that it hands over to. What a request changes it changes of all
-- of them (perilune.RunOptions: adapt, which knows the one that was asked, too).
local M = {}


---The assistant of that name among one and those that it may hand over to, directly or not; nil: there is none.
---@param assistant perilune.Assistant
---@param name string
---@param seen? table<perilune.Assistant, true>
---@return perilune.Assistant?
function M.find(assistant, name, seen)
  if assistant.name == name then
    return assistant
  end
  seen = seen or {}
  seen[assistant] = true
  for _, other in ipairs(assistant.handoffs) do
    local found = not seen[other] and M.find(other, name, seen)
    if found then
      return found
    end
  end
end


---Who begins a job.
---@param job perilune.Job
---@return string name
---@return string model_name
function M.first(job)
  local other = job.at_work and job.at_work ~= job.assistant.name and M.find(job.assistant, job.at_work)
  if not other then
    return job.assistant.name, job.model_name
  end
  local _, model_name = job.model_of(job.adapt(other))
  return other.name, model_name
end


---Gives a turn to an assistant of its job: the one that was asked, or one that it hands over to.
---@param turn table
---@param other perilune.Assistant
function M.put_to_work(turn, other)
  local job = turn.job
  turn.assistant = other == job.assistant and other or job.adapt(other)
  if turn.assistant == job.assistant then
    turn.model, turn.model_name = job.model, job.model_name
  else
    turn.model, turn.model_name = job.model_of(turn.assistant)
  end
end


return M
