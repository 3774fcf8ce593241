-- Assistants as a caller may see them: those of the scripts are for every key that may ask them, rows belong to the account that made
-- them. Over HTTP an assistant of a script is called "asst_" and its name; a row has an id of its own.
local assistants = require "perilune.store.assistants"
local clock = require "perilune.sys.clock"
local defined = require "perilune.agent.defined"
local errors = require "perilune.std.errors"
local lists = require "perilune.serve.lists"
local objects = require "perilune.serve.shape.assistants.objects"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"

local M = {}

local PREFIX = "asst_"
local ROW_ID_BYTES = #PREFIX + 26


---@class perilune.serve.FoundAssistant
---@field id string over HTTP
---@field ref string for agent/registry.find
---@field row? perilune.AssistantRow nil: a script has defined it
---@field defined? perilune.Assistant

local function of_script(exchange, name)
  local assistant = exchange:may_use("assistant/" .. name) and defined.get(name)
  return assistant and { id = PREFIX .. name, ref = name, defined = assistant } or nil
end


-- The name of a script's assistant is no row's, also where the key may not ask that: it has a price of its own (serve/names.lua).
local function of_row(exchange, ref)
  if defined.get(ref) or defined.get(ref:match("^" .. PREFIX .. "(.+)$") or "") then
    return nil
  end
  local row, err = assistants.get(exchange.server.db, ref, exchange.key.account)
  if row then
    return exchange:owns(row) and { id = row.id, ref = row.id, row = row } or nil
  elseif not errors.is(err, "not_found") then
    error(err, 0)
  end
end


---The assistant that a caller names: by its id, or by its name; nil when there is none that it may see.
---@param exchange perilune.Exchange
---@param id string
---@return perilune.serve.FoundAssistant?
function M.look(exchange, id)
  local name = id:match("^" .. PREFIX .. "(.+)$")
  return of_script(exchange, id) or name and of_script(exchange, name) or of_row(exchange, id) or name and of_row(exchange, name) or nil
end


---The same; raises 404.
---@param exchange perilune.Exchange
---@param id string
---@return perilune.serve.FoundAssistant
function M.find(exchange, id)
  return M.look(exchange, id) or problem.not_found("assistant", id)
end


---Its object.
---@param exchange perilune.Exchange
---@param found perilune.serve.FoundAssistant
---@return table
function M.show(exchange, found)
  local row, assistant = found.row, found.defined
  if assistant then
    return objects.assistant {
      id = found.id, created_at = clock.wall() - (clock.mono() - exchange.server.started), name = assistant.name,
      options = assistant.options, tools = assistant.tool_list, metadata = assistant.metadata,
    }
  end
  local definition = row.definition
  return objects.assistant {
    id = row.id, created_at = row.created_at, name = definition.label or row.name ~= row.id and row.name or nil, options = definition,
    tools = definition.tools or {}, metadata = row.metadata,
  }
end


-- Those of scripts, in the order of a list that goes up: they come before all rows.
local function scripted_between(exchange, is_up, lower, upper, limit)
  local list = {}
  for _, name in ipairs(defined.names()) do
    list[#list + 1] = of_script(exchange, name)
  end
  return pages.between(list, is_up, lower, upper, limit)
end


local function rows_between(exchange, is_up, lower, upper, limit)
  local db, account = exchange.server.db, exchange.key.account
  local list = errors.must(pages.assistants_between(db, account, is_up, lower, upper, limit))
  for position, row in ipairs(list) do
    list[position] = { id = row.id, ref = row.id, row = row }
  end
  return list
end


local function is_scripted(exchange, id)
  return id ~= nil and of_script(exchange, id:match("^" .. PREFIX .. "(.+)$") or "") ~= nil
end


---A page of what the caller may see; those of scripts are older than all rows. It may begin or end at one that was deleted.
---@param exchange perilune.Exchange
---@param page perilune.serve.Page
---@return perilune.serve.FoundAssistant[]
---@return boolean has_more
function M.list(exchange, page)
  lists.check_bounds(page, "an assistant", function(id)
    return is_scripted(exchange, id) or #id == ROW_ID_BYTES and id:find("^" .. PREFIX .. "[0-9a-z]+$")
  end)
  return pages.read(page, function(is_up, lower, upper, limit)
    local list = {}
    local is_low, is_high = is_scripted(exchange, lower), is_scripted(exchange, upper)
    local function scripts()
      return (lower == nil or is_low) and scripted_between(exchange, is_up, lower, is_high and upper or nil, limit - #list) or {}
    end
    local function rows()
      return is_high and {} or rows_between(exchange, is_up, not is_low and lower or nil, upper, limit - #list)
    end
    for _, read in ipairs(is_up and { scripts, rows } or { rows, scripts }) do
      local more = read()
      table.move(more, 1, #more, #list + 1, list)
    end
    return list
  end)
end


return M
