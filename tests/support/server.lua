-- A server inside a test: the real routes and the real database, on a port of its own, and a client that is no more than HTTP.
--
--   local server <close> = kit.start { settings = {...} }
--   local answer = server:post("/v1/chat/completions", { model = "offline/demo", messages = {...} })
local accounts = require "perilune.store.accounts"
local apps = require "perilune.app"
local credits = require "perilune.store.credits"
local fetch = require "perilune.sys.fetch"
local hooks = require "perilune.agent.hooks"
local json = require "perilune.json"
local keys = require "perilune.store.keys"
local servers = require "perilune.serve"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __index = methods }


-- Serves until the signal comes; the task of a server.
local function serve(server, stop, ready)
  server:run(function()
    ready:wake()
    stop:wait()
  end)
end


---The settings of a server whose only provider is that one, as OpenAI.
---@param upstream { url: string }
---@param more? table
---@return table
function M.asking(upstream, more)
  local settings = { max_retries = 0, env = function(name)
    return ({ OPENAI_API_KEY = "a-key", OPENAI_BASE_URL = upstream.url .. "/v1" })[name]
  end }
  for name, value in pairs(more or {}) do
    settings[name] = value
  end
  return settings
end


---@param options? { settings: table?, app: table?, db: string? } settings: those of the application
---@return table server own it with `<close>`
function M.start(options)
  options = options or {}
  local app = options.app
  if not app then
    local settings = { db = options.db or ":memory:", env = function() end }
    for name, value in pairs(options.settings or {}) do
      settings[name] = value
    end
    app = apps.new(settings)
    app.version = "test"
  end
  require("perilune").use(app)
  app.is_serving = true
  app.hooks = app.hooks or hooks.none()
  if options.define then
    options.define(require "perilune")
  end
  local server = servers.new(app)
  server:listen { port = 0 }
  local self = setmetatable({
    server = server, app = app, owns_app = options.app == nil, stop = task.signal(), url = "http://127.0.0.1:" .. server.listener:port(),
    headers = {},
  }, metatable)
  local ready = task.signal()
  self.task = task.spawn(serve, server, self.stop, ready)
  if not server.is_ready then
    ready:wait()
  end
  return self
end


---A client of a server that runs in another process.
---@param url string
---@return table client
function M.client(url)
  return setmetatable({ url = url, headers = {} }, { __index = methods })
end


-- One exchange: status, headers (lower case), and the body as it came.
local function exchange(self, method, path, body, headers, frame)
  local all = { ["content-type"] = body and "application/json" or nil }
  for _, list in ipairs { self.headers, headers or {} } do
    for name, value in pairs(list) do
      all[name] = value
    end
  end
  local handle <close> = assert(fetch.open {
    method = method, url = self.url .. path, headers = all, body = type(body) == "table" and json.encode(body) or body,
    frame = frame or "bytes", idle = 20, first_byte = 20,
  })
  local head = assert(handle:head())
  local pieces = {}
  while true do
    local data, name = handle:next()
    if not data then
      if name then
        pieces.error = name
      end
      break
    end
    pieces[#pieces + 1] = frame and { data = data, event = name } or data
  end
  return head, pieces
end


---@param method string
---@param path string
---@param body? table|string
---@param headers? table<string, string>
---@return { status: integer, headers: table<string, string>, body: any, text: string }
function methods:request(method, path, body, headers)
  local head, pieces = exchange(self, method, path, body, headers)
  local text = table.concat(pieces)
  local value = json.decode(text)
  return { status = head.status, headers = head.headers, body = value, text = text, error = pieces.error }
end


function methods:get(path, headers)
  return self:request("GET", path, nil, headers)
end


function methods:post(path, body, headers)
  return self:request("POST", path, body or {}, headers)
end


function methods:delete(path, headers)
  return self:request("DELETE", path, nil, headers)
end


---A stream of events: `{ event =, data = }`, data decoded unless it is "[DONE]".
---@return { event: string?, data: any }[] events with `.status` and `.headers`
function methods:events(path, body, headers, method)
  local head, pieces = exchange(self, method or "POST", path, body, headers, "sse")
  local events = { status = head.status, headers = head.headers, error = pieces.error }
  for position, piece in ipairs(pieces) do
    local value = json.decode(piece.data)
    events[position] = { event = piece.event, data = value == nil and piece.data or value }
  end
  return events
end


---Signs in with a key of the account "customer", which pays.
---@param amount integer micro-credits that it has
---@param options? table of the key
function methods:sign_in(amount, options)
  local db = self.server.db
  options = options or {}
  options.name, options.is_prepaid = "customer", true
  self.headers = { authorization = "Bearer " .. assert(keys.create(db, options)) }
  assert(credits.grant(db, assert(accounts.get(db, "customer")), amount))
end


---What the customer has; nothing of it may be held.
---@return integer micro-credits
function methods:balance()
  local account = assert(accounts.get(self.server.db, "customer"))
  assert(account.held == 0, "something is held")
  return account.balance
end


---Stops the server and waits for its end.
function methods:close()
  if self.task then
    self.stop:wake()
    local work = self.task
    self.task = nil
    work:wait()
    require("perilune").use(nil)
    if self.owns_app then
      self.app:close()
    end
  end
end


metatable.__close = methods.close

return M
