-- Images out: one call over whoever draws. A vendor that draws one image a request is asked as often as images are wanted, side
-- by side. `:save` writes an image to a file, and fetches it first when the answer is an address.
local check = require "perilune.std.check"
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local exchange = require "perilune.model.exchange"
local family = require "perilune.model.family"
local fetch = require "perilune.net.fetch"
local fs = require "perilune.sys.fs"
local media = require "perilune.std.media"
local secrets = require "perilune.net.secrets"
local task = require "perilune.sys.task"
local usages = require "perilune.model.usage"

local M = {}

---Time limit of one request and of fetching one image, in seconds: drawing is slow.
M.TIMEOUT = 300

local COUNT_MAX = 10
local FETCH_BYTES_MAX = 64 << 20

---The options and their types.
M.options = {
  prompt = "string", model = "string", n = "integer", size = "string", response_format = "string", quality = "string",
  style = "string", background = "string", output_format = "string", seed = "integer", user = "string", timeout = "number",
  provider_specific_params = "table",
}

local formats = { url = true, b64_json = true }

local image_methods, result_methods = {}, {}


---@class perilune.Image
---@field url? string where it can be fetched, for a while
---@field b64_json? string the image itself, base64
---@field media_type? string
---@field revised_prompt? string

---@class perilune.Images
---@field created integer
---@field data perilune.Image[]
---@field provider string
---@field model string
---@field usage? perilune.Usage
---@field attempts table[] who was asked before and failed


-- The bytes of an image that is an address.
local function download(image)
  local settings = getmetatable(image).settings
  local response, err = fetch.request(image.url, {
    timeout = M.TIMEOUT, body_bytes = FETCH_BYTES_MAX, proxy = exchange.proxy(image.url, settings), ca_file = settings.ca_file,
    verify_ssl = settings.verify_ssl,
  })
  if not response then
    return nil, err
  elseif response.status ~= 200 then
    return media.refuse(("the image cannot be fetched: HTTP %d (%s)"):format(response.status, secrets.hide_in_url(image.url)))
  end
  return response.body
end


local function bytes_of(image)
  if image.b64_json then
    return media.bytes(image.b64_json)
  end
  return download(image)
end


---The image itself; fetched, when it is an address. Raises when it cannot be had.
---@return string
function image_methods:bytes()
  local bytes, err = bytes_of(self)
  if not bytes then
    error(err, 0)
  end
  return bytes
end


---Writes it to a file. Raises when that fails.
---@param path string
---@return string path
function image_methods:save(path)
  check.string("image:save: path", path)
  local written, err = fs.write(path, self:bytes())
  if not written then
    error(err, 0)
  end
  return path
end


---Writes the first image to a file.
---@param path string
---@return string path
function result_methods:save(path)
  return self.data[1]:save(path)
end


local result_metatable = { __name = "perilune.Images", __index = result_methods }


local function refuse(problem, ...)
  return nil, errors.new { kind = "configuration", message = "image: " .. problem:format(...), retryable = false }
end


---Checks what is asked for; returns it unchanged.
---@param request table
---@return table? request
---@return perilune.Error?
function M.check(request)
  if type(request.prompt) ~= "string" or not request.prompt:find("%S") then
    return refuse("'prompt' is missing: say what to draw")
  elseif request.n and (request.n < 1 or request.n > COUNT_MAX) then
    return refuse("'n' is 1 to %d, not %d", COUNT_MAX, request.n)
  elseif request.size and request.size ~= "auto" and not request.size:find("^[1-9]%d*x[1-9]%d*$") then
    return refuse("'size' is like \"1024x1024\", or \"auto\", not '%s'", request.size)
  elseif request.response_format and not formats[request.response_format] then
    return refuse("'response_format' is \"url\" or \"b64_json\", not '%s'", request.response_format)
  end
  return request
end


-- One request to the provider.
local function ask(request, target, drawer, settings)
  if drawer.answer then
    return drawer.answer(request)
  end
  local http, err = drawer.encode(request, target)
  return exchange.run(http, err, target, drawer.decode, { settings = settings, timeout = request.timeout or M.TIMEOUT })
end


-- As many requests as images, at the same time; the first error is the error of all.
local function ask_each(request, target, drawer, settings)
  local single, parts, failed = {}, {}, nil
  for option, value in pairs(request) do
    single[option] = option ~= "n" and value or nil
  end
  do
    local group <close> = task.group()
    for position = 1, request.n or 1 do
      group:spawn(function()
        local part, err = ask(single, target, drawer, settings)
        parts[position], failed = part, failed or err
      end)
    end
  end
  if failed then
    return nil, failed
  end
  local joined = { data = {} }
  for _, part in ipairs(parts) do
    table.move(part.data, 1, #part.data, #joined.data + 1, joined.data)
    joined.created = joined.created or part.created
    joined.usage = usages.add(joined.usage, part.usage)
  end
  return joined
end


-- Who asked for data gets data, also from those who only give addresses.
local function as_data(image)
  local bytes, err = bytes_of(image)
  if not bytes then
    return nil, err
  end
  local part
  part, err = media.part(bytes, { kind = "image" })
  if not part then
    return nil, err
  end
  image.url, image.b64_json, image.media_type = nil, part.data, part.media_type
  return true
end


local function finish(result, request, target, settings)
  local metatable = { __name = "perilune.Image", __index = image_methods, settings = settings }
  for _, image in ipairs(result.data) do
    setmetatable(image, metatable)
    if image.url and request.response_format == "b64_json" then
      local is_data, err = as_data(image)
      if not is_data then
        return nil, err
      end
    end
  end
  result.created = result.created or math.floor(clock.wall())
  result.provider, result.model = target.name, target.model
  exchange.priced(result.usage, target, settings.prices)
  return setmetatable(result, result_metatable)
end


-- These say something of the one who was asked, not of what was asked for: another may draw it.
local goes_on = {
  connection = true, timeout = true, tls = true, authentication = true, permission = true, quota = true, rate_limit = true,
  overloaded = true, server = true, bad_response = true, not_found = true, model_not_found = true, empty_response = true,
}


local function draw(candidate, request, settings)
  local target = candidate.target
  local result, err = (target.quirks.one_each and ask_each or ask)(request, target, candidate.model, settings)
  if not result then
    return nil, err
  end
  return finish(result, request, target, settings)
end


local function all_failed(attempts, last)
  local parts, is_retryable, maybe_billed = {}, false, false
  for position, attempt in ipairs(attempts) do
    local err = attempt.error
    parts[position] = ("%s/%s: %s"):format(attempt.provider, attempt.model, tostring(err))
    is_retryable, maybe_billed = is_retryable or err.retryable or false, maybe_billed or err.maybe_billed or false
  end
  return errors.new {
    kind = "all_failed", message = "All image providers failed. Errors: " .. table.concat(parts, "; "), cause = last,
    status = last.status, retryable = is_retryable, maybe_billed = maybe_billed,
  }
end


-- The attempts hold the error itself, so what has the attempts is another.
local function copy(err)
  local other = {}
  for name, value in pairs(err) do
    other[name] = value
  end
  return errors.new(other)
end


-- One after the other. Drawing costs money: nobody is asked twice.
local function draw_by_any(order, request, settings)
  local attempts = {}
  for position, candidate in ipairs(order) do
    local target, started = candidate.target, clock.mono()
    local result, err = draw(candidate, request, settings)
    if result then
      result.attempts = attempts
      return result
    end
    attempts[position] = {
      type = "attempt", reason = "failed", provider = target.name, model = target.model, error = err, status = err.status,
      duration_ms = math.floor((clock.mono() - started) * 1000 + 0.5),
    }
    local may_go_on = err.retryable or goes_on[err.kind]
    if not may_go_on or not order[position + 1] then
      local final = position > 1 and may_go_on and all_failed(attempts, err) or copy(err)
      final.attempts = attempts
      return nil, final
    end
  end
end


---Draws images. Without a provider's name the next one that draws is asked when one fails.
---@param options { prompt: string, model: string?, n: integer?, size: string?, response_format: "url"|"b64_json"|nil }
---@param settings perilune.Settings
---@return perilune.Images?
---@return perilune.Error?
function M.generate(options, settings)
  local request, err = M.check(options)
  if not request then
    return nil, err
  end
  local plan
  plan, err = family.plan("images", request.model, settings)
  if not plan then
    return nil, err
  end
  return draw_by_any(plan:order(), request, settings)
end


return M
