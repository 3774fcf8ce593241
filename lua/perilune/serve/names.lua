-- What clients call models, and what they mean. A label is a word of the operator's: "auto", "assistant/NAME", or an alias of a script; it
-- is taken as it is. Any other name is read as some provider's model ("gpt4o mini" as openai/gpt-4o-mini), and what it is read as is what
-- a key may ask and what has a price: what a client happened to write is neither.
local choice = require "perilune.model.choice"
local defined = require "perilune.agent.defined"
local hooks = require "perilune.agent.hooks"
local problem = require "perilune.serve.problem"

local M = {}


---Is a name a word of the operator's? Vectors and images know no aliases and no assistants.
---@param app perilune.App
---@param family perilune.Family
---@param name string
---@return boolean
function M.is_label(app, family, name)
  return name == "auto" or family == "models" and (name:find("^assistant/.") ~= nil or hooks.of(app).aliases[name] ~= nil)
end


---The name that may have a rate of its own: "auto", an alias, or "assistant/NAME" of a script. Assistants that clients make are not the
---operator's: they cost what their models cost.
---@param app perilune.App
---@param name string as the client called it
---@return string?
function M.label(app, name)
  local assistant = name:match("^assistant/(.+)$")
  if not assistant then
    return M.is_label(app, "models", name) and name or nil
  end
  local scripted = defined.get(assistant) or defined.get(assistant:match("^asst_(.+)$") or "")
  return scripted and "assistant/" .. scripted.name or nil
end


---What a name is read as: "provider/model"; a label as it is. Raises 404 when nobody has anything like it.
---@param app perilune.App
---@param family perilune.Family
---@param name string
---@return string
function M.full(app, family, name)
  if M.is_label(app, family, name) then
    return name
  end
  app:discover()
  local chosen, err = choice.find(family, name, app.settings)
  if chosen then
    return chosen.found.name .. "/" .. chosen.model
  elseif err.kind ~= "configuration" then
    error(err, 0)
  end
  error(problem.new {
    status = 404, type = "invalid_request_error", code = "model_not_found", param = "model", message = err.message, is_retryable = false,
  }, 0)
end


---"provider/model" of whom a model asks first; nil where chance says it.
---@param model table
---@return string?
function M.of(model)
  local plan = model.plan
  if not plan or plan.choices then
    return nil
  elseif plan.wanted then -- cannot be asked; others step in for it
    return plan.wanted.name .. "/" .. plan.wanted.model
  end
  local target = plan.listed[1] and plan.listed[1].target
  return target and target.name .. "/" .. target.model
end


---Does a pattern, with `*` for anything, fit a model? One with a `/` is compared with the full name, one without with the model's own too.
---@param pattern string
---@param full string "provider/model", or a label
---@return boolean
function M.fits(pattern, full)
  local lua_pattern = "^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
  if full:find(lua_pattern) then
    return true
  end
  local own = not pattern:find("/", 1, true) and full:match("^[^/]+/(.+)$")
  return own and own:find(lua_pattern) ~= nil or false
end


return M
