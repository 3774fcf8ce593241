-- Providers of one's own: a vendor that speaks chat.completions is data, another wire format is two functions. Both are asked
-- on a toy server here; files in ./providers that return such a provider are found by themselves (docs/providers.md).
local failure = require "perilune.model.provider.failure"
local perilune = require "perilune"

local server <close> = assert(require("perilune.sys.serve").listen {})
local address = "http://127.0.0.1:" .. server:port()
perilune.spawn(function()
  for request in server.accept, server do
    local is_oracle = request:path() == "/oracle"
    request:reply { body = is_oracle and '{"answer":"Two functions are enough."}'
      or '{"choices":[{"message":{"content":"Data is enough."},"finish_reason":"stop"}]}' }
  end
end)

perilune.provider.register(perilune.provider.compatible { name = "acme", base_url = address, models = { "acme-large" } })

local function decoder(options)
  local is_over = false
  local function read(_, line) -- the whole answer is one line of JSON
    local said, was_over = perilune.json.decode(line or ""), is_over
    is_over = true
    if was_over then
      return {}
    elseif options.status == 200 and type(said) == "table" and type(said.answer) == "string" then
      return { { type = "start" }, { type = "text", text = said.answer }, { type = "stop", reason = "stop" } }
    end
    return { { type = "error", error = failure.from_bytes(line, "this is no answer", options) } }
  end
  return { feed = read, finish = read }
end

perilune.provider.register(perilune.provider.new {
  api = 1, name = "oracle", base_url = address, frame = "lines", decoder = decoder, encode = function(request, target)
    return { method = "POST", url = target.base_url .. "/oracle", headers = {}, body = perilune.json.encode(request.messages) }
  end,
})
print(perilune.client({ model = "acme/acme-large" }):chat("Is data enough?").content)
print(perilune.client({ model = "oracle/any" }):chat("Are two functions enough?").content)
