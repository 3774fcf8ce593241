-- A client for production: repetitions with a growing pause, at most 10 requests at once and 10 a second, a circuit breaker for each
-- target; every question can be cancelled, has an id, and is counted.
local perilune = require "perilune"

local client = perilune.client.builder()
  :model("offline/demo")
  :timeout(30)
  :production_ready() -- 3 attempts, 1 s to 30 s apart; 10 at once, 10 a second after a burst of 15; breaker 5 / 30 s / 2
  :build()

local token, handle = perilune.cancel_pair()
local questions = {}
for number = 1, 12 do
  questions[number] = function()
    local answer = client:chat("Question " .. number, { request_id = "question-" .. number, cancel = token })
    return answer.stats.client_request_id
  end
end
print(#perilune.gather(questions) .. " questions answered")

handle:cancel()
local _, err = perilune.try(client.chat, client, "One more?", { cancel = token })
print(err.kind, handle.state, handle.reason)

local stats = client:stats()
print(("%d requests, success rate %.2f, p95 below a second: %s"):format(
  stats.requests, stats.success_rate, stats.latency.p95 < 1000))
for _, target in ipairs(perilune.health()) do
  print(("%s/%s is %s"):format(target.provider, target.model, target.state))
end
