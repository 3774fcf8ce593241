-- The objects of the Assistants family, made of our rows. All keys that OpenAI's document requires are always there. Pure.
local ids = require "perilune.serve.ids"
local json = require "perilune.json"
local problem = require "perilune.serve.problem"
local states = require "perilune.serve.states"

local M = {}

local null = json.null


---A value, or null.
---@generic T
---@param value T?
---@return T|userdata
local function or_null(value)
  if value == nil then
    return null
  end
  return value
end


---Whole seconds, or null.
---@param time number?
---@return integer|userdata
local function seconds(time)
  return time and math.floor(time) or null
end


M.seconds = seconds


---@param one string|{ name: string, description: string?, parameters: any, strict: boolean? } the name alone: a tool of this host
---@return table
function M.tool(one)
  if type(one) == "string" then
    return { type = "function", ["function"] = { name = one } }
  end
  return { type = "function", ["function"] = {
    name = one.name, description = one.description, parameters = one.parameters, strict = one.strict,
  } }
end


---@param list table[]
---@return table[]
function M.tools(list)
  local shown = json.array {}
  for position, one in ipairs(list) do
    shown[position] = M.tool(one)
  end
  return shown
end


---@class perilune.serve.AssistantView
---@field id string
---@field created_at number
---@field name? string
---@field options table of perilune.assistant
---@field tools table[]
---@field metadata? table

---@param view perilune.serve.AssistantView
---@return table
function M.assistant(view)
  local options = view.options
  return {
    id = view.id, object = "assistant", created_at = seconds(view.created_at), name = or_null(view.name),
    description = or_null(options.description), model = type(options.model) == "string" and options.model or "auto",
    instructions = type(options.instructions) == "string" and options.instructions or null, tools = M.tools(view.tools),
    tool_resources = null, metadata = view.metadata or {}, temperature = or_null(options.temperature), top_p = or_null(options.top_p),
    response_format = options.response_format or "auto", reasoning_effort = options.reasoning_effort,
  }
end


---@param row perilune.ThreadRow
---@return table
function M.thread(row)
  return {
    id = row.id, object = "thread", created_at = seconds(row.created_at), tool_resources = null, metadata = row.metadata or {},
  }
end


---@param what string "thread"
---@param id string
---@return table
function M.deleted(what, id)
  return { id = id, object = what .. ".deleted", deleted = true }
end


-- Messages

local function image_of(part)
  local url = part.url or ("data:%s;base64,%s"):format(part.media_type or "image/png", part.data)
  return { type = "image_url", image_url = { url = url, detail = part.detail or "auto" } }
end


---@param text string
---@return table
function M.text_part(text)
  return { type = "text", text = { value = text, annotations = json.array {} } }
end


local function content_of(message)
  local content, shown = message.content, json.array {}
  if type(content) == "string" and content ~= "" then
    shown[1] = M.text_part(content)
  end
  for _, part in ipairs(type(content) == "table" and content or {}) do
    if part.type == "text" then
      shown[#shown + 1] = M.text_part(part.text)
    elseif part.type == "image" then
      shown[#shown + 1] = image_of(part)
    else
      shown[#shown + 1] = M.text_part(("[%s%s]"):format(part.type, part.name and " " .. part.name or ""))
    end
  end
  if message.refusal and message.refusal ~= "" then
    shown[#shown + 1] = { type = "refusal", refusal = message.refusal }
  end
  return shown
end


---Is it shown as a message? Results of tools, and answers that do nothing but call some, are steps. A stream that has announced a
---message cannot take it back, so of an answer the smallest piece of text counts.
---@param message perilune.Message
---@return boolean
function M.is_said(message)
  if message.role ~= "assistant" then
    return message.role == "user"
  end
  local content = message.content
  return type(content) == "string" and content ~= "" or type(content) == "table" and content[1] ~= nil or (message.refusal or "") ~= ""
end


-- Why an answer was not finished, by the status of its run.
local reasons = { cancelled = "run_cancelled", expired = "run_expired" }


---@param thread_id string
---@param stored perilune.StoredMessage
---@param run? perilune.RunRow that said it
---@param is_cut? boolean the run allowed it no more tokens
---@return table
function M.message(thread_id, stored, run, is_cut)
  local is_whole = stored.status ~= "partial" and not is_cut
  local is_of_run = run ~= nil and stored.role == "assistant"
  return {
    id = ids.message(thread_id, stored.seq), object = "thread.message", created_at = seconds(stored.created_at), thread_id = thread_id,
    status = is_whole and "completed" or "incomplete",
    incomplete_details = is_whole and null or { reason = is_cut and "max_tokens" or reasons[run and run.status] or "run_failed" },
    completed_at = is_whole and seconds(stored.created_at) or null, incomplete_at = is_whole and null or seconds(stored.created_at),
    role = stored.role, content = content_of(stored.message), assistant_id = is_of_run and M.assistant_id(run) or null,
    run_id = is_of_run and run.id or null, attachments = json.array {}, metadata = stored.metadata or {},
  }
end


-- Runs

---The id of the assistant of a run.
---@param run perilune.RunRow
---@return string
function M.assistant_id(run)
  return run.asked and run.asked.assistant_id or "asst_" .. (run.assistant or "unknown")
end


local error_codes = {
  rate_limit = "rate_limit_exceeded", quota = "rate_limit_exceeded", content_filter = "invalid_prompt", context_length = "invalid_prompt",
}


---@param err table?
---@return table|userdata
function M.last_error(err)
  return err and { code = error_codes[err.kind] or "server_error", message = problem.words(err) } or null
end


local function required_action(calls)
  local list = json.array {}
  for position, call in ipairs(calls) do
    list[position] = { id = call.id, type = "function", ["function"] = { name = call.name, arguments = call.arguments } }
  end
  return { type = "submit_tool_outputs", submit_tool_outputs = { tool_calls = list } }
end


local function usage_of(usage)
  return usage and {
    prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens, total_tokens = usage.total_tokens,
  } or null
end


M.usage = usage_of


---@class perilune.serve.RunDetails what is not in the row of a run
---@field calls? table[] that wait
---@field reason? string why it is incomplete, also where its row says that it was completed
---@field status? string "queued", of one that has just begun

---@param run perilune.RunRow
---@param details? perilune.serve.RunDetails
---@return table
function M.run(run, details)
  details = details or {}
  local shown, state = (run.asked or {}).shown or {}, states.of(run)
  local status = details.status or details.reason and "incomplete" or state.run
  local function at(wanted)
    return status == wanted and seconds(run.finished_at) or null
  end
  return {
    id = run.id, object = "thread.run", created_at = seconds(run.created_at), thread_id = run.thread_id, assistant_id = M.assistant_id(run),
    status = status, required_action = status == "requires_action" and required_action(details.calls or {}) or null,
    last_error = status == "failed" and M.last_error(run.error) or null,
    expires_at = not state.is_terminal and seconds(run.expires_at) or null,
    started_at = status ~= "queued" and seconds(run.started_at) or null, cancelled_at = at "cancelled", failed_at = at "failed",
    completed_at = at "completed", incomplete_details = details.reason and { reason = details.reason } or null,
    model = shown.model or run.model or "", instructions = shown.instructions or "", tools = shown.tools or json.array {},
    metadata = run.metadata or {}, usage = state.is_terminal and usage_of(run.usage) or null, temperature = or_null(shown.temperature),
    top_p = or_null(shown.top_p), max_prompt_tokens = or_null(shown.max_prompt_tokens),
    max_completion_tokens = or_null(shown.max_completion_tokens),
    truncation_strategy = shown.truncation_strategy or { type = "auto", last_messages = null },
    tool_choice = shown.tool_choice or "auto", parallel_tool_calls = shown.parallel_tool_calls ~= false,
    response_format = shown.response_format or "auto",
  }
end


return M
