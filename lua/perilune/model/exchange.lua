-- One whole exchange with a provider that is no conversation: images, embeddings, lists of models. It retries nothing; errors
-- name the target like those of model/call.
local errors = require "perilune.std.errors"
local fetch = require "perilune.net.fetch"
local log = require "perilune.sys.log"
local prices = require "perilune.model.prices"
local retry_after = require "perilune.model.retry_after"

local M = {}


local function describe(err, target, headers)
  err = errors.wrap(err)
  err.provider, err.model = err.provider or target.name, err.model or target.model
  err.message = log.redact(err.message) -- some providers repeat the key
  if headers then
    err.request_id = err.request_id or headers["x-request-id"] or headers["request-id"]
    err.retry_after = retry_after.of(err, headers)
  end
  return err
end


---Sends what a family encoded and decodes the answer.
---@param http perilune.HttpRequest?
---@param encode_error perilune.Error? why there is no request
---@param target perilune.Target
---@param decode fun(status: integer, body: string): table?, perilune.Error?
---@param options { settings: perilune.Settings, timeout: number }
---@return table? result
---@return perilune.Error?
function M.run(http, encode_error, target, decode, options)
  if not http then
    return nil, describe(encode_error, target)
  end
  local settings = options.settings
  local response, err = fetch.request(http.url, {
    method = http.method, headers = http.headers, body = http.body, timeout = options.timeout,
    connect = settings.timeouts and settings.timeouts.connect, proxy = M.proxy(http.url, settings), ca_file = settings.ca_file,
    verify_ssl = settings.verify_ssl,
  })
  if not response then
    err.retryable = err.kind == "connection" or err.kind == "timeout"
    return nil, describe(err, target)
  end
  local result
  result, err = decode(response.status, response.body)
  if not result then
    return nil, describe(err, target, response.headers)
  end
  return result
end


---The proxy for an address.
---@param url string
---@param settings perilune.Settings
---@return string?
function M.proxy(url, settings)
  return settings.proxy or url:find("^https:") and settings.https_proxy or nil
end


---Adds what it cost to a usage, where the price is known.
---@param usage perilune.Usage?
---@param target perilune.Target
---@param own_prices table<string, perilune.OwnPrice>?
---@return perilune.Usage?
function M.priced(usage, target, own_prices)
  if usage then
    usage.cost = prices.cost(target.name, target.model, usage, own_prices)
  end
  return usage
end


return M
