-- Is anybody there? Every provider that can be asked is asked for its list of models, which costs nothing, and how that went is told.
-- What requests have taught this process is perilune.health(); this is for one that has not asked anything yet.
local catalogue = require "perilune.model.catalogue"
local clock = require "perilune.sys.clock"
local configured = require "perilune.model.configured"
local task = require "perilune.sys.task"

local M = {}


---@class perilune.Probe
---@field provider string
---@field base_url? string
---@field state "ok"|"failed"|"no key"|"not asked" not asked: it has no list that could be asked for
---@field has_key? boolean it needs a key
---@field is_local? boolean it needs no key, and nobody has said where it is: it may well not run
---@field ms? integer how long it took
---@field models? integer how many it listed
---@field error? string why not
---@field kind? string of that error

-- Asks one provider.
local function probe(found, settings)
  local row = { provider = found.name, base_url = configured.shown_url(found, settings), has_key = found.key ~= nil or nil }
  row.is_local = not found.key and not configured.is_url_said(found, settings) or nil
  if found == configured.offline then
    row.state, row.models, row.ms = "ok", #found.models, 0
  elseif found.key and not settings.env(found.key) then
    row.state, row.error = "no key", found.key .. " is not set"
  elseif not found.catalogue then
    row.state = "not asked"
  else
    local started = clock.mono()
    local lists, problems = catalogue.ask({ { found = found, settings = configured.for_others(settings) } }, {}, true)
    local list, err = lists[found.name], problems[found.name]
    row.ms = math.floor((clock.mono() - started) * 1000 + 0.5)
    row.state = list and "ok" or "failed"
    row.models, row.kind, row.error = list and #list, err and err.kind, err and tostring(err)
  end
  return row
end


---Asks every provider, side by side.
---@param settings perilune.Settings
---@return perilune.Probe[]
function M.all(settings)
  local rows = {}
  local group <close> = task.group()
  for position, found in ipairs(configured.providers()) do
    group:spawn(function()
      rows[position] = probe(found, settings)
    end)
  end
  group:wait()
  return rows
end


return M
