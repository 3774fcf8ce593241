-- A webhook that starts a run: `HOOK_SECRET=... perilune serve scripts/webhook.lua`. The sender signs what it sends; the same delivery
-- twice is one run, because its id is the thread's key.
local perilune = require "perilune"
local token = require "perilune.sys.token"

local triage = perilune.assistant {
  name = "triage",
  instructions = "Say in one line what this issue is about, and who should look at it.",
}

local function is_signed(request)
  local expected = "sha256=" .. token.hmac_sha256(perilune.env "HOOK_SECRET" or "no secret is set", request.body)
  return token.equal(request.headers["x-hub-signature-256"] or "", expected)
end

perilune.route("POST /hooks/issues", function(request)
  if not is_signed(request) then
    return { status = 401, body = { error = "the signature is wrong" } }
  end
  local issue = request:json()
  local thread = perilune.thread("issue-" .. (request.headers["x-delivery"] or request.id))
  if #thread:messages { limit = 1 } > 0 then
    return { status = 200, body = { thread = thread.id, known = true } }
  end
  local run = thread:start(triage, ("%s\n\n%s"):format(issue.title, issue.body or ""))
  return { status = 202, body = { thread = thread.id, run = run.id } }
end)
