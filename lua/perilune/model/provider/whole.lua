-- Exchanges that are one JSON document each way: images, embeddings, lists of models. What their formats share.
local errors = require "perilune.std.errors"
local failure = require "perilune.model.provider.failure"
local json = require "perilune.json"
local wire = require "perilune.model.provider.wire"

local M = {}

local REPAIR = { repair = true }


---The headers of a request that carries its key as a bearer.
---@param target table
---@return table<string, string>
function M.bearer(target)
  return { authorization = target.api_key and "Bearer " .. target.api_key or nil }
end


---A request that asks for a document.
---@param url string
---@param headers table<string, string>
---@param target table
---@return perilune.HttpRequest
function M.get(url, headers, target)
  headers.accept = "application/json"
  return { method = "GET", url = url, headers = wire.headers(headers, target) }
end


---A request that sends a document; `params` is laid over it last.
---@param url string
---@param headers table<string, string>
---@param target table
---@param body table
---@param params? table
---@return perilune.HttpRequest?
---@return perilune.Error?
function M.post(url, headers, target, body, params)
  for name, value in pairs(params or {}) do
    body[name] = value
  end
  local bytes, err = json.encode(body)
  if not bytes then
    return nil, err
  end
  headers["content-type"], headers.accept = "application/json", "application/json"
  return { method = "POST", url = url, headers = wire.headers(headers, target), body = bytes }
end


---The document of an answer; what is none, or says that something failed, is an error.
---@param status integer
---@param body string
---@return table? root
---@return perilune.Error?
function M.read(status, body)
  local root = json.decode(body, REPAIR)
  local context = { status = status }
  if type(root) ~= "table" then
    return nil, failure.from_bytes(body, body:find("%S") and "the answer is not JSON" or "an empty answer", context)
  elseif status >= 400 or failure.is_error(root) then
    return nil, failure.from_body(root, context)
  end
  return root
end


---`nil, err` for a document without what was asked for.
---@param what string
---@param root table
---@return nil
---@return perilune.Error
function M.missing(what, root)
  return nil, errors.new {
    kind = "bad_response", message = "the answer has no " .. what, retryable = true, maybe_billed = true, details = { body = root },
  }
end


---A text that is there, or nil.
---@param value any
---@return string?
function M.text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


---A whole number above 0, or nil.
---@param value any
---@return integer?
function M.count(value)
  local whole = type(value) == "number" and math.tointeger(value)
  return whole and whole > 0 and whole or nil
end


---A list, or an empty one.
---@param value any
---@return any[]
function M.list(value)
  return type(value) == "table" and value or {}
end


---Is it a list of numbers?
---@param value any
---@return boolean
function M.is_vector(value)
  if type(value) ~= "table" or #value == 0 then
    return false
  end
  for _, number in ipairs(value) do
    if type(number) ~= "number" then
      return false
    end
  end
  return true
end


return M
