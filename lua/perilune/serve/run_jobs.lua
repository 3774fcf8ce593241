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
local runs = require "perilune.store.runs"

local M = {}


---@class perilune.serve.Asked what runs.asked holds, beside what a family wants to show again
---@field api string "assistants", "responses", "chat"
---@field model string what the client called whoever answers: it may have a rate of its own
---@field assistant? string the name or the id of the assistant; nil: one that is made for the request
---@field overrides? table options of the assistant that are different, as data
---@field tools? table[] tools of the client: { name, description, parameters, strict }
---@field has_own_tools? boolean they stand in the place of the assistant's, whose functions answer those of their name
---@field instructions_after? string added to the assistant's own instructions
---@field hands_back? boolean


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
  for position, one in ipairs(tools) do
    tools[position] = assistant.tools[one.name] or one
  end
  return tools
end


---The assistant of what was asked.
---@param app perilune.App
---@param asked perilune.serve.Asked
---@return perilune.Assistant
function M.assistant(app, asked)
  local changes = {}
  for name, value in pairs(asked.overrides or {}) do
    changes[name] = value
  end
  local tools = definition.outside_tools(asked.tools or {})
  if not asked.assistant then
    changes.name, changes.tools = asked.api, tools
    return assistants.new(changes)
  end
  local assistant = registry.find(app, asked.assistant)
  if asked.instructions_after then
    changes.instructions = joined(assistant, asked.instructions_after)
  end
  if next(changes) == nil and not tools[1] and not asked.has_own_tools then
    return assistant
  end
  if changes.history then
    changes.history = merged(assistant.options.history or {}, changes.history)
  end
  if asked.has_own_tools then
    changes.tools = replaced(assistant, tools)
  else
    changes.more_tools = tools
  end
  return assistant:with(changes)
end


---The job of a run: a new one, or one that is gone on with.
---@param app perilune.App
---@param thread { id: string }
---@param asked perilune.serve.Asked
---@param options perilune.RunOptions
---@return perilune.Job
function M.job(app, thread, asked, options)
  options.asked, options.hands_back = asked, asked.hands_back
  return jobs.new(app, thread, M.assistant(app, asked), nil, options)
end


---What goes on with a run that nobody owns: for jobs.run, jobs.stream and jobs.start.
---@param id string
---@return fun(job: perilune.Job): table
function M.take_over(id)
  return function(job)
    return loop.take_over(job, id)
  end
end


-- Who pays for a run that is gone on with without a request: the account it belongs to.
local function job_of_row(server, row)
  local asked = row.asked
  if not asked then
    return nil
  end
  return M.job(server.app, { id = row.thread_id }, asked, {
    account = row.account,
    wrap = function(model, name)
      return server:bill_account(row, model, name)
    end,
  })
end


---Goes on with every run whose process ended.
---@param server perilune.Server
function M.recover(server)
  resumption.recover(server.app, function(row)
    return job_of_row(server, row)
  end)
end


---Ends the runs that have waited for outputs too long.
---@param server perilune.Server
function M.expire(server)
  local count, err = runs.expire(server.db)
  if not count then
    log.write("error", "serve", "runs that waited too long could not be ended: " .. errors.wrap(err).message)
  end
end


return M
