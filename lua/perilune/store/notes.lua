-- Notes: messages and runs never change; what is said of them later stands beside them. Metadata, and which parts of a message, or
-- that a run, are not shown any more. What is deleted stays in the database until its thread goes, but nobody is sent it again.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local rows = require "perilune.store.rows"

local M = {}

-- Others delete parts of the same message meanwhile: how often that is believed.
local DELETE_TRIES = 5

---All of a message.
M.WHOLE = "message"

-- How a message that is deleted as a whole is stored, for the statements that leave it out.
local WHOLE_JSON = '["message"]'


---@class perilune.MessageNote
---@field seq integer
---@field metadata? table
---@field deleted? string[] parts: "content", "reasoning", "call:<id>"; { "message" }: all of it

local function decode(row)
  return rows.decode(row, { "metadata", "deleted" }, {})
end


---What is said of a message.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param seq integer
---@return perilune.MessageNote|nil
---@return perilune.Error? err not_found: there is no such message
function M.get(db, thread, seq)
  local list, err = db:read("message_note_get", { thread_id = rows.id(thread), seq = seq })
  local row
  row, err = rows.one(list, err, "message", tostring(seq))
  if not row then
    return nil, err
  end
  return decode(row)
end


---Puts other metadata in the place of a message's.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param seq integer
---@param metadata table|nil
---@return true|nil
---@return perilune.Error?
function M.set_metadata(db, thread, seq, metadata)
  local encoded, err = rows.encode(metadata)
  if err then
    return nil, err
  end
  local results
  results, err = db:write { { "message_note_metadata", { thread_id = rows.id(thread), seq = seq, metadata = encoded }, expect = 1 } }
  if results then
    return true
  elseif err.code == "expectation" then
    return rows.missing("message", tostring(seq))
  end
  return nil, err
end


---The statement that gives metadata to the message that its batch has just appended.
---@param thread_id string
---@param metadata table
---@return perilune.StoreCall|nil
---@return perilune.Error?
function M.of_last_call(thread_id, metadata)
  local encoded, err = rows.encode(metadata)
  if not encoded then
    return nil, err
  end
  return { "message_note_of_last", { thread_id = thread_id, metadata = encoded }, expect = 1 }
end


-- The list with one part more; nil when it is in it already.
local function with_part(deleted, part)
  if part == M.WHOLE then
    return deleted[1] ~= M.WHOLE and { M.WHOLE } or nil
  end
  for _, known in ipairs(deleted) do
    if known == part or known == M.WHOLE then
      return nil
    end
  end
  local more = table.move(deleted, 1, #deleted, 1, {})
  more[#more + 1] = part
  return more
end


---Deletes a part of a message, or all of it; what is deleted already stays so.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param seq integer
---@param part string "content", "reasoning", "call:<id>", or "message"
---@return true|nil
---@return perilune.Error?
function M.delete_part(db, thread, seq, part)
  local id, problem = rows.id(thread), nil
  for _ = 1, DELETE_TRIES do
    local note, err = M.get(db, id, seq)
    if not note then
      return nil, err
    end
    local before = note.deleted or {}
    local deleted = with_part(before, part)
    if not deleted then
      return true
    end
    local done
    done, problem = db:write {
      { "message_note_delete", {
        thread_id = id, seq = seq, seen = note.deleted and json.encode(before) or "", deleted = json.encode(deleted),
      }, expect = 1 },
      { "message_note_summaries", { thread_id = id, seq = seq } },
    }
    if done then
      return true
    elseif problem.code ~= "expectation" then
      return nil, problem
    end
  end
  return nil, errors.new {
    kind = "conflict", code = "changed", cause = problem, message = ("message %d of %s is being changed by somebody else"):format(seq, id),
  }
end


---Is all of a message deleted?
---@param deleted string? as the row has it
---@return boolean
function M.is_whole(deleted)
  return deleted == WHOLE_JSON
end


---What is left of a message; the message itself is not changed.
---@param message perilune.Message
---@param deleted string[]
---@return perilune.Message
function M.without(message, deleted)
  local left, gone = {}, {}
  for name, value in pairs(message) do
    left[name] = value
  end
  for _, part in ipairs(deleted) do
    gone[part] = true
  end
  left.content = not gone.content and message.content or nil
  left.refusal = not gone.content and message.refusal or nil
  left.reasoning = not gone.reasoning and message.reasoning or nil
  left.provider_items = nil -- they are the whole answer once more, in a form that nobody here can cut
  local calls = {}
  for _, call in ipairs(message.tool_calls or {}) do
    calls[#calls + 1] = not gone["call:" .. call.id] and call or nil
  end
  left.tool_calls = calls[1] and calls or nil
  return left
end


---What is said of a run.
---@param db perilune.Database
---@param run_id string
---@return { metadata: table?, deleted_at: number? }|nil
---@return perilune.Error?
function M.run(db, run_id)
  local list, err = db:read("run_note_get", { run_id = run_id })
  if not list then
    return nil, err
  elseif not list[1] then
    return {}
  end
  return rows.decode(list[1], { "metadata" }, { "deleted_at" })
end


---Gives a run other metadata, or says that it is deleted: it is not shown any more.
---@param db perilune.Database
---@param run_id string
---@param changes { metadata: table?, deleted: boolean? }
---@return true|nil
---@return perilune.Error?
function M.set_run(db, run_id, changes)
  local metadata, err = rows.encode(changes.metadata)
  if err then
    return nil, err
  end
  local results
  results, err = db:write { { "run_note_set", {
    run_id = run_id, has_metadata = changes.metadata ~= nil, metadata = metadata, deleted_at = changes.deleted and rows.now() or nil,
  }, expect = 1 } }
  if results then
    return true
  elseif err.code == "expectation" then
    return rows.missing("run", run_id)
  end
  return nil, err
end


return M
