-- Tool calls as items of a response. Those of the client's tools are function_call items. What the server's own tools did are mcp_call
-- items, which carry their output: from that type clients know that there is nothing left for them to do.
local json = require "perilune.json"

local M = {}

local SERVER_LABEL = "perilune"


---@return table calls what an encoder knows of calls
function M.none()
  return { by_index = {}, by_id = {} }
end


---Another answer begins: its calls are counted anew.
---@param encoder perilune.serve.ResponseEncoder
function M.forget(encoder)
  encoder.calls.by_index = {}
end


local function is_client(encoder, name)
  local tools = encoder.identity.client_tools
  return not tools or tools[name] == true
end


---A call begins.
---@param encoder perilune.serve.ResponseEncoder
---@param event table
---@return table call
function M.start(encoder, event)
  encoder:close_item()
  local call
  if is_client(encoder, event.name) then
    call = encoder:add_item("fc", {
      type = "function_call", call_id = event.id, name = event.name, arguments = "", status = "in_progress",
    })
    call.is_client, call.kind = true, "function_call_arguments"
  else
    call = encoder:add_item("mcp", {
      type = "mcp_call", server_label = SERVER_LABEL, name = event.name, arguments = "", status = "in_progress",
    })
    call.kind = "mcp_call_arguments"
    encoder:emit_about(call, "mcp_call.in_progress", {})
  end
  call.is_open, call.has_pieces = true, false
  encoder.calls.by_index[event.index], encoder.calls.by_id[event.id] = call, call
  return call
end


---@param encoder perilune.serve.ResponseEncoder
---@param event table
function M.delta(encoder, event)
  local call = encoder.calls.by_index[event.index]
  if call and not call.is_written then
    call.has_pieces = true
    encoder:emit_about(call, call.kind .. ".delta", { delta = event.arguments })
  end
end


---A call is complete: a client's ends here, one of the server's with its result.
---@param encoder perilune.serve.ResponseEncoder
---@param event table
function M.complete(encoder, event)
  local call = encoder.calls.by_index[event.index]
  if not call or call.is_written then
    call = M.start(encoder, event)
  end
  call.is_written, call.item.arguments = true, event.arguments
  if not call.has_pieces then
    encoder:emit_about(call, call.kind .. ".delta", { delta = event.arguments })
  end
  encoder:emit_about(call, call.kind .. ".done", { arguments = event.arguments, name = call.is_client and event.name or nil })
  if call.is_client then
    call.is_open = false
    encoder:end_item(call)
  end
end


---What a call came to. A client's has a result only where the server had to refuse it.
---@param encoder perilune.serve.ResponseEncoder
---@param event table
function M.result(encoder, event)
  local call = encoder.calls.by_id[event.id]
  if not call then
    return
  end
  encoder.calls.by_id[event.id] = nil
  local content = type(event.content) == "string" and event.content or json.encode(event.content)
  if call.is_client then
    encoder:close_item()
    return encoder:end_item(encoder:add_item("fco", {
      type = "function_call_output", call_id = event.id, output = content, status = "completed",
    }))
  elseif not call.is_open then
    return
  end
  call.is_open = false
  if event.is_error then
    call.item.error = { type = "mcp_tool_execution_error", content = json.array { { type = "text", text = content } } }
  else
    call.item.output = content
  end
  encoder:emit_about(call, event.is_error and "mcp_call.failed" or "mcp_call.completed", {})
  encoder:end_item(call, event.is_error and "failed" or "completed")
end


---A picture that the model has made.
---@param encoder perilune.serve.ResponseEncoder
---@param event table
function M.image(encoder, event)
  if not event.data then
    return -- the document has no place for an address
  end
  encoder:close_item()
  local entry = encoder:add_item("ig", { type = "image_generation_call", status = "in_progress", result = json.null })
  entry.item.result = event.data
  encoder:emit_about(entry, "image_generation_call.completed", {})
  encoder:end_item(entry)
end


---Ends what nobody will end any more, in the order in which it began.
---@param encoder perilune.serve.ResponseEncoder
function M.give_up(encoder)
  local open = {}
  for _, call in pairs(encoder.calls.by_id) do
    open[#open + 1] = call.is_open and call or nil
  end
  table.sort(open, function(a, b)
    return a.position < b.position
  end)
  for _, call in ipairs(open) do
    call.is_open = false
    encoder:end_item(call, "incomplete")
  end
  encoder.calls = M.none()
end


return M
