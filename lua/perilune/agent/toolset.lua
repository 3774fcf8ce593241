-- The tools of a run at one moment: those of its assistant, one `transfer_to_…` for each assistant it may hand over to, and one that
-- reads on in results that were too long for a request.
local errors = require "perilune.std.errors"
local results = require "perilune.store.results"
local text = require "perilune.std.text"
local tool = require "perilune.tool"
local transfers = require "perilune.agent.transfers"

local M = {}

---How the tool is called that reads on in long results.
M.READER = "read_result"

local READ_BYTES_MAX = 32 * 1024


-- Reads on in a result of this thread.
local function reader(db, thread)
  return tool.define {
    name = M.READER,
    description = "Read more of a tool result that was cut, by its id.",
    parameters = { id = "string: the id of the result", offset = { type = "integer", description = "bytes to skip", optional = true } },
    idempotent = true,
    result_bytes = 2 * READ_BYTES_MAX,
    run = function(arguments)
      local body, err = results.get(db, arguments.id, thread)
      if not body then
        return nil, err
      end
      local offset = math.max(0, arguments.offset or 0)
      if offset >= #body then
        return nil, errors.new { kind = "tool", message = ("the result has %d bytes: offset %d is behind its end"):format(#body, offset) }
      end
      local piece = text.truncate(body:sub(offset + 1), READ_BYTES_MAX)
      local following = offset + #piece
      return piece .. (following < #body and ("\n[%d of %d bytes; go on with offset %d]"):format(following, #body, following) or "")
    end,
  }
end


---Is that the name of a tool that the host makes for an assistant?
---@param assistant perilune.Assistant
---@param name string
---@return boolean
function M.is_hosts(assistant, name)
  for _, other in ipairs(assistant.handoffs) do
    if transfers.name(other) == name then
      return true
    end
  end
  return name == M.READER
end


---Has an assistant a tool of that name, one of the host's included?
---@param assistant perilune.Assistant
---@param name string
---@return boolean
function M.has(assistant, name)
  return assistant.tools[name] ~= nil or M.is_hosts(assistant, name)
end


---@class perilune.Toolset
---@field list perilune.Tool[] as a request has them
---@field by_name table<string, perilune.Tool>
---@field transfers table<string, perilune.Assistant> by the name of the tool

---The tools of an assistant on a thread.
---@param assistant perilune.Assistant
---@param db perilune.Database
---@param thread { id: string }
---@param has_results boolean has a result been cut in this thread?
---@return perilune.Toolset
function M.of(assistant, db, thread, has_results)
  local set = { list = table.move(assistant.tool_list, 1, #assistant.tool_list, 1, {}), by_name = {}, transfers = {} }
  for _, other in ipairs(assistant.handoffs) do
    local transfer = transfers.tool(other)
    set.list[#set.list + 1] = transfer
    set.transfers[transfer.name] = other
  end
  if has_results and not assistant.tools[M.READER] then
    set.list[#set.list + 1] = reader(db, thread)
  end
  for _, one in ipairs(set.list) do
    set.by_name[one.name] = one
  end
  return set
end


return M
