-- Runs that a request has asked for, made again from their rows: what was asked (runs.asked) says which assistant, with which changes.
-- Whoever goes on with such a run, after outputs came or after a crash, gets the same job.
local assistants = require "perilune.agent.assistant"
local definition = require "perilune.agent.definition"
local errors = require "perilune.std.errors"
local jobs = require "perilune.agent.job"
local log = require "perilune.sys.log"
local loop = require "perilune.agent.loop"
local registry = require "perilune.agent.registry"
local resumption = require "perilune.agent.resumption"
local proc = require "perilune.sys.proc"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local threads = require "perilune.store.threads"
local toolset = require "perilune.agent.toolset"

local M = {}


---@class perilune.serve.Asked what runs.asked holds, beside what a family wants to show again
---@field api string "assistants", "responses", "chat"
---@field model string what the client called whoever answers: it may have a rate of its own
---@field assistant? string the name or the id of the assistant; nil: one that is made for the request
---@field row? perilune.AssistantRow the row that it was then: a run keeps its assistant, whatever becomes of that
---@field overrides? table options of the assistant that are different, as data
---@field tools? table[] tools of the client: { name, description, parameters, strict }
---@field has_own_tools? boolean they stand in the place of the assistant's, whose functions answer those of their name
---@field instructions_after? string added to the assistant's own instructions
---@field hands_back? boolean
---@field budget? { tool_calls: integer? }
---@field is_kept? false nobody comes back for what a request has asked without storing it


-- The assistant's own instructions with more behind them.
local function joined(assistant, after)
  local own = assistant.instructions
  if type(own) == "function" then
    return function(context)
      return (own(context) or "") .. "\n\n" .. after
    end
  end
  return own and own ~= "" and own .. "\n\n" .. after or after
end


-- The rules of an assistant's history with other limits.
local function merged(rules, limits)
  local history = {}
  for _, fields in ipairs { rules, limits } do
    for name, value in pairs(fields) do
      history[name] = value
    end
  end
  return history
end


-- The tools that a request names; those that the assistant can call itself stay its own.
local function replaced(assistant, tools)
  local list = {}
  for position, one in ipairs(tools) do
    list[position] = assistant.tools[one.name] or one
  end
  return list
end


-- The assistant with changes and more tools.
local function changed(assistant, asked, changes, tools)
  if asked.instructions_after then
    changes.instructions = joined(assistant, asked.instructions_after)
  end
  if changes.history then
    changes.history = merged(assistant.options.history or {}, changes.history)
  end
  if next(changes) == nil and not tools[1] then
    return assistant
  end
  changes.more_tools = tools
  return assistant:with(changes)
end


---The assistant of what was asked.
---@param app perilune.App
---@param asked perilune.serve.Asked
---@return perilune.Assistant
---@return perilune.Assistant original as it is without what was asked
function M.assistant(app, asked)
  local changes, tools = {}, definition.outside_tools(asked.tools or {})
  for name, value in pairs(asked.overrides or {}) do
    changes[name] = value
  end
  if not asked.assistant then
    changes.name, changes.tools = asked.api, tools
    local made = assistants.new(changes)
    return made, made
  end
  local assistant = asked.row and registry.of_row(app, asked.row) or registry.find(app, asked.assistant)
  if asked.has_own_tools then
    changes.tools, tools = replaced(assistant, tools), {}
  end
  return changed(assistant, asked, changes, tools), assistant
end


-- What a request says of the assistant that it names alone, and not of those that this one hands over to.
local of_the_first = { model = true, fallbacks = true, instructions = true, tool_choice = true }


-- An assistant that the first one hands over to, with what the request says of every answer, and the client's tools.
local function adapted(other, first, asked)
  local changes, tools = {}, {}
  for name, value in pairs(asked.overrides or {}) do
    changes[name] = not of_the_first[name] and value or nil
  end
  for _, one in ipairs(definition.outside_tools(asked.tools or {})) do
    local own = first.tools[one.name]
    tools[#tools + 1] = not (own and own.run) and not toolset.has(other, one.name) and one or nil
  end
  return changed(other, asked, changes, tools)
end


---The job of a run: a new one, or one that is gone on with.
---@param app perilune.App
---@param thread { id: string }
---@param asked perilune.serve.Asked
---@param options perilune.RunOptions
---@return perilune.Job
function M.job(app, thread, asked, options)
  local first, original = M.assistant(app, asked)
  local made = { [original] = first }
  options.asked, options.hands_back, options.budget = asked, asked.hands_back, asked.budget
  function options.adapt(other)
    made[other] = made[other] or adapted(other, first, asked)
    return made[other]
  end
  return jobs.new(app, thread, first, nil, options)
end


---What goes on with a run that nobody owns: for jobs.run, jobs.stream and jobs.start.
---@param id string
---@return fun(job: perilune.Job): table
function M.take_over(id)
  return function(job)
    return loop.take_over(job, id)
  end
end


-- A run that is gone on with without a request is paid by the account it belongs to.
local function job_of_row(server, row)
  local thread, options = { id = row.thread_id }, {
    account = row.account,
    wrap = function(model, name)
      return server:bill_account(row, model, name)
    end,
  }
  if row.asked then
    return M.job(server.app, thread, row.asked, options)
  elseif row.account then -- an assistant that another run has called as a tool
    return jobs.new(server.app, thread, registry.find(server.app, row.assistant), nil, options)
  end
end


---Does a run end with the process that answers it? Its client keeps the conversation himself, or wants nothing kept.
---@param row perilune.RunRow
---@return boolean
function M.is_passing(row)
  local asked = row.asked
  return asked ~= nil and (asked.api == "chat" or asked.is_kept == false)
end


-- Has its client gone with the process that answered? Where a person has decided about a call since, somebody else waits for it.
local function is_abandoned(server, row)
  local has_owner = row.lease_owner and proc.is_alive(row.lease_owner)
  return M.is_passing(row) and row.status == "running" and not has_owner and not errors.must(steps.was_decided(server.db, row))
end


local function end_abandoned(server)
  for _, row in ipairs(errors.must(runs.list_open(server.db))) do
    if is_abandoned(server, row) then
      errors.must(runs.interrupt(server.db, row))
      if row.asked.is_kept == false then
        errors.must(threads.delete(server.db, row.thread_id))
      end
    end
  end
end


---Goes on with every run whose process ended, where somebody may come back for it.
---@param server perilune.Server
function M.recover(server)
  end_abandoned(server)
  resumption.recover(server.app, function(row)
    return job_of_row(server, row)
  end)
end


---Ends the runs that have waited for outputs too long.
---@param server perilune.Server
function M.expire(server)
  local count, err = runs.expire(server.db, proc.is_alive)
  if not count then
    log.write("error", "serve", "runs that waited too long could not be ended: " .. errors.wrap(err).message)
  end
end


return M
