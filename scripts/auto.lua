-- With model = "auto" any provider that can be asked (it needs no key, or has one) answers, and the others stand by. Here two are
-- found that speak chat.completions, on a toy server; one of them is down half of the time, and nobody notices.
local perilune = require "perilune"

local server <close> = assert(require("perilune.sys.serve").listen {})
local address, asked = "http://127.0.0.1:" .. server:port(), 0
perilune.spawn(function()
  for request in server.accept, server do
    asked = asked + 1
    if request:path():find("^/moody") and asked % 2 == 0 then
      request:reply { status = 503, body = '{"error":{"message":"not now"}}' }
    else
      request:reply { body = '{"choices":[{"message":{"content":"At your service."},"finish_reason":"stop"}]}' }
    end
  end
end)

for _, name in ipairs { "moody", "steady" } do
  perilune.provider.register(perilune.provider.compatible {
    name = name, base_url = address .. "/" .. name, models = { name .. "-large" },
  })
end

local client = perilune.client { model = "auto", exclude = { "offline" } }
for question = 1, 20 do
  assert(client:chat("Question " .. question).content == "At your service.")
end
local stats = client:stats()
print(("%d questions, %d answers"):format(stats.requests, stats.successes))
