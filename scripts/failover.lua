-- Failover that explains itself: when a model cannot answer, the next one is asked, and `attempts` says what was tried and why it was
-- given up. The models here are scripted, so that they fail on cue; with real ones, write their names.
local perilune = require "perilune"

local function model(name, answer)
  return perilune.testing.model { answer, repeat_last = true, name = name, model_name = "large" }
end

local client = perilune.client {
  model = model("first", { fault = "overloaded" }),
  fallbacks = { model("second", { fault = "quota" }), model("third", "Here I am.") },
  retry = { max_attempts = 2, backoff = 0.01 },
}

local function tell(attempts)
  for _, attempt in ipairs(attempts) do
    print(("  %s/%s %s: %s"):format(attempt.provider, attempt.model, attempt.reason, attempt.error.kind))
  end
end

local answer = client:chat("Is anybody there?")
print(answer.content, "says " .. answer.provider .. ", after")
tell(answer.attempts)

local alone = perilune.client { model = model("first", { fault = "overloaded" }), fallbacks = { model("second", { fault = "quota" }) },
  max_retries = 0 }
local _, err = perilune.try(alone.chat, alone, "And now?")
print(err.kind, "because of")
tell(err.attempts)
