-- Guardrails: functions of an assistant that look at what comes in and what goes out, and may refuse it. They run before anything
-- goes on; what they refuse is not shown to anybody.
local errors = require "perilune.std.errors"
local messages = require "perilune.store.messages"

local M = {}


local function refuse(where, why)
  error(errors.new {
    kind = "content_filter", code = "guardrail", message = ("a guardrail refuses the %s: %s"):format(where, tostring(why)),
    retryable = false,
  }, 0)
end


-- What the thread ends with, where the user has said it before the run.
local function said_last(job)
  if not job.assistant.guardrails.input[1] then
    return nil
  end
  local list = errors.must(messages.list(job.db, job.thread, { order = "desc", limit = 1 }))
  return list[1] and list[1].message.role == "user" and list[1].message.content or nil
end


---Looks at what the user says, before the model is asked and, where it comes with the run, before it is stored. Raises when a guardrail
---refuses it.
---@param job perilune.Job
function M.check_input(job)
  local input = job.input
  for _, message in ipairs(job.messages or {}) do
    input = message.role == "user" and message.content or input -- what the user said last
  end
  if input == nil and not job.messages then
    input = said_last(job)
  end
  if input == nil then
    return
  end
  for _, guard in ipairs(job.assistant.guardrails.input) do
    local why = guard(input, { thread = job.thread, assistant = job.assistant })
    if why then
      refuse("input", why)
    end
  end
end


---Looks at an answer before the run is completed. Raises when a guardrail refuses it; the answer is not stored then.
---@param turn table
---@param answer perilune.Response
---@param output? any
function M.check_output(turn, answer, output)
  for _, guard in ipairs(turn.assistant.guardrails.output) do
    local why = guard(output ~= nil and output or answer.content, { thread = turn.job.thread, run = turn.row, assistant = turn.assistant })
    if why then
      refuse("answer", why)
    end
  end
end


return M
