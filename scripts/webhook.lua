-- A webhook that starts a run: `HOOK_SECRET=... perilune serve scripts/webhook.lua`. The sender signs what it sends; the same delivery
-- twice is one run, because its id is the thread's key.
local perilune = require "perilune"
local token = require "perilune.sys.token"

local secret = perilune.env "HOOK_SECRET" or error "set HOOK_SECRET to what the sender signs its deliveries with"

local triage = perilune.assistant {
  name = "triage",
  instructions = "Say in one line what this issue is about, and who should look at it.",
}

local function is_signed(request)
  local expected = "sha256=" .. token.hmac_sha256(secret, request.body)
  return token.equal(request.headers["x-hub-signature-256"] or "", expected)
end

perilune.route("POST /hooks/issues", function(request)
  if not is_signed(request) then
    return { status = 401, body = { error = "the signature is wrong" } }
  end
  local issue = request:json()
  if type(issue) ~= "table" or type(issue.title) ~= "string" then
    return { status = 400, body = { error = "an issue has a title" } }
  end
  local thread = perilune.thread("issue-" .. (request.headers["x-delivery"] or request.id))
  if #thread:messages { limit = 1 } > 0 then
    return { status = 200, body = { thread = thread.id, known = true } }
  end
  local text = type(issue.body) == "string" and issue.body or "" -- it may be null
  local run, err = perilune.try(thread.start, thread, triage, issue.title .. "\n\n" .. text)
  if not run and not perilune.is_error(err, "conflict") then -- that is the same delivery, at the same time
    error(err)
  end
  return { status = 202, body = { thread = thread.id, run = run and run.id } }
end)
