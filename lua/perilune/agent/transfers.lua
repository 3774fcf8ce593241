-- Tools that hand a conversation over: `transfer_to_…` and the name of an assistant. They have no function of their own, the loop does it.
local tool = require "perilune.tool"

local M = {}


---How the tool is called that hands over to an assistant.
---@param assistant perilune.Assistant
---@return string
function M.name(assistant)
  return (("transfer_to_" .. assistant.name):gsub("[^%w_-]", "_"):sub(1, 64))
end


---@param assistant perilune.Assistant
---@return perilune.Tool
function M.tool(assistant)
  return tool.define {
    name = M.name(assistant),
    description = ("Hand the conversation over to the assistant %s.%s"):format(
      assistant.name, assistant.description and " " .. assistant.description or ""),
    parameters = { reason = { type = "string", description = "why, in one sentence", optional = true } },
    idempotent = true,
    run = function()
      return ("Transferred to %s. Continue the conversation as %s."):format(assistant.name, assistant.name)
    end,
  }
end


return M
