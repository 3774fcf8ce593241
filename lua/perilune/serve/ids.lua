-- Names of things over HTTP. A response is a run, a conversation a thread: they share the part after the prefix. Messages, items and
-- steps are numbered, and are named after what they are part of.
local M = {}


-- The same name with another prefix; nil when it has not this one.
local function renamed(id, from, to)
  local suffix = id:match("^" .. from .. "_(.+)$")
  return suffix and to .. "_" .. suffix
end


local function suffix_of(id)
  return id:match("^%a+_(.+)$") or id
end


---@param id string "resp_..."
---@return string? "run_..."
function M.run_of(id)
  return renamed(id, "resp", "run")
end


---@param id string "run_..."
---@return string
function M.response_of(id)
  return renamed(id, "run", "resp") or id
end


---@param id string "conv_..."
---@return string? "thread_..."
function M.thread_of(id)
  return renamed(id, "conv", "thread")
end


---@param id string "thread_..."
---@return string
function M.conversation_of(id)
  return renamed(id, "thread", "conv") or id
end


-- The number at the end of an id that was made for this owner.
local function number_in(id, prefix, owner)
  local head, digits = id:match("^(.*)_(%d+)$")
  if head ~= prefix .. "_" .. suffix_of(owner) or #digits > 9 or digits:find("^0") then
    return nil
  end
  return math.tointeger(tonumber(digits))
end


---The name of a message.
---@param thread_id string
---@param seq integer
---@return string "msg_..."
function M.message(thread_id, seq)
  return ("msg_%s_%d"):format(suffix_of(thread_id), seq)
end


---The number of a message in its thread.
---@param id string
---@param thread_id string
---@return integer? seq nil: no message of this thread is called so
function M.message_seq(id, thread_id)
  return number_in(id, "msg", thread_id)
end


---The name of a step of a run.
---@param run_id string
---@param seq integer
---@return string "step_..."
function M.step(run_id, seq)
  return ("step_%s_%d"):format(suffix_of(run_id), seq)
end


---@param id string
---@param run_id string
---@return integer? seq
function M.step_seq(id, run_id)
  return number_in(id, "step", run_id)
end


---The name of an item of a conversation: part n of a message.
---@param kind string "msg", "fc", "fco", "rs"
---@param thread_id string
---@param seq integer
---@param n integer
---@return string
function M.item(kind, thread_id, seq, n)
  return ("%s_%s_%d_%d"):format(kind, suffix_of(thread_id), seq, n)
end


---What an item's name says.
---@param id string
---@param thread_id string
---@return { kind: string, seq: integer, n: integer }?
function M.parse_item(id, thread_id)
  local kind, suffix, seq, n = id:match("^(%a+)_(.+)_(%d+)_(%d+)$")
  if suffix ~= suffix_of(thread_id) or #seq > 9 or #n > 9 then
    return nil
  end
  return { kind = kind, seq = math.tointeger(tonumber(seq)), n = math.tointeger(tonumber(n)) }
end


---The run that a request has begun, if it has.
---@param request_id string
---@return string
function M.run_of_request(request_id)
  return (request_id:gsub("^req", "run"))
end


return M
