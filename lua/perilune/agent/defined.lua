-- The assistants that the scripts of this process have defined, by name. A name that is defined again means the new one.
--
-- Scripts that are loaded anew define a draft beside what there is: only the task that loads them sees it, until it takes the place of
-- the generation before, as a whole.
local log = require "perilune.sys.log"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local M = {}

local published = {}
local draft


---@class perilune.Draft what the scripts define that a task is loading
---@field task perilune.Task
---@field assistants table<string, perilune.Assistant>
---@field hooks perilune.Hooks

---The draft of the running task.
---@return perilune.Draft?
function M.draft()
  return draft and draft.task == task.current() and draft or nil
end


local function assistants()
  local own = M.draft()
  return own and own.assistants or published
end


---@param assistant perilune.Assistant
function M.add(assistant)
  local by_name = assistants()
  if by_name[assistant.name] then
    log.write("debug", "agent", ("the assistant '%s' is defined again"):format(assistant.name))
  end
  by_name[assistant.name] = assistant
end


---@param name string
---@return perilune.Assistant?
function M.get(name)
  return assistants()[name]
end


---@return string[]
function M.names()
  return tables.sorted_keys(assistants())
end


---Forgets all of them.
function M.clear()
  published = {}
end


---Begins a draft of the running task; there is one at a time.
---@param hooks perilune.Hooks
function M.begin(hooks)
  assert(not draft, "a draft is being loaded")
  draft = { task = task.current(), assistants = {}, hooks = hooks }
end


---Ends the draft: it takes the place of what was defined before, or is forgotten.
---@param is_complete boolean
function M.finish(is_complete)
  published = is_complete and draft.assistants or published
  draft = nil
end


return M
