local call = require "perilune.model.call"
local frames = require "tests.support.frames"
local json = require "perilune.json"
local providers = require "perilune.model.provider"
local rate_limits = require "perilune.model.rate_limits"
local replay = require "tests.support.replay"
local requests = require "perilune.model.request"
local tables = require "perilune.std.tables"

local FOLDER = "../shared/fixtures/"
local NOW = 1767919838 -- 2026-01-09T00:50:38Z


local function parse(headers)
  return rate_limits.parse(headers, NOW)
end


local function reset(text)
  local limits = parse { ["x-ratelimit-reset-requests"] = text }
  return limits and limits.requests.reset_seconds
end


-- The answer of one request whose headers are these.
local function ask(headers, body, status)
  headers["content-type"] = "application/json"
  local server <close> = replay.serve { replay.whole(replay.recording(body, { status = status, headers = headers })) }
  local target = providers.target(providers.get "openai", { model = "m", api_key = "k", base_url = server.url })
  local stream <close> = call.new(target):stream(assert(requests.new("Hello", { stream = false })))
  while stream:next() do end
  return stream:so_far()
end


describe("rate limits", function()
  it("are nil when nothing is said", function()
    assert.is_nil(parse {})
    assert.is_nil(parse { ["content-type"] = "text/plain", ["retry-after"] = "3", ["x-ratelimit-tokens-query-cost"] = "263" })
    assert.is_nil(parse { ["x-ratelimit-limit-requests"] = "many", ["x-ratelimit-reset-tokens"] = "soon" })
  end)

  it("are read as OpenAI and Groq write them", function()
    assert.are.same({
      requests = { limit = 1000, remaining = 939, reset_seconds = 5270.4 },
      tokens = { limit = 8000, remaining = 7022, reset_seconds = 7.335 },
      input_images = { limit = 250000, remaining = 249999, reset_seconds = 0 },
    }, parse {
      ["x-ratelimit-limit-requests"] = "1000", ["x-ratelimit-remaining-requests"] = "939",
      ["x-ratelimit-reset-requests"] = "1h27m50.4s", ["x-ratelimit-limit-tokens"] = "8000",
      ["x-ratelimit-remaining-tokens"] = "7022", ["x-ratelimit-reset-tokens"] = "7.335s",
      ["x-ratelimit-limit-input-images"] = "250000", ["x-ratelimit-remaining-input-images"] = "249999",
      ["x-ratelimit-reset-input-images"] = "0s",
    })
  end)

  for text, seconds in pairs {
    ["6m0s"] = 360, ["12ms"] = 0.012, ["2m59.56s"] = 179.56, ["1d2h"] = 93600, ["7.5"] = 7.5, ["0"] = 0, ["120"] = 120,
    ["2026-01-09T00:50:45Z"] = 7, ["2026-01-09T00:50:45.5Z"] = 7.5, ["2026-01-09T01:50:45+01:00"] = 7,
    ["2026-01-08T23:50:45-01:00"] = 7, ["2024-10-16T05:02:55Z"] = 0, ["2026-03-01T00:50:38Z"] = 51 * 86400,
    ["1767919848000"] = 10, ["1767919848"] = 10, ["1754667660000"] = 0,
  } do
    it(("reset in %g seconds where it says %s"):format(seconds, text), function()
      assert.is_true(math.abs(seconds - reset(text)) < 1e-6, reset(text))
    end)
  end

  it("say nothing where a reset makes no sense", function()
    for _, text in ipairs { "", "-1", "soon", "5x", "m5", "1h soon", "2026-01-09", "2026-01-09T00:50:45 UTC", "nan" } do
      assert.is_nil(reset(text), text)
    end
  end)

  it("are read as Anthropic writes them", function()
    assert.are.same({
      requests = { limit = 4000, remaining = 3999, reset_seconds = 1 },
      tokens = { limit = 540000, remaining = 540000, reset_seconds = 0 },
      input_tokens = { limit = 450000, remaining = 450000 },
      output_tokens = { limit = 90000, remaining = 90000, reset_seconds = 22 },
    }, parse {
      ["anthropic-ratelimit-requests-limit"] = "4000", ["anthropic-ratelimit-requests-remaining"] = "3999",
      ["anthropic-ratelimit-requests-reset"] = "2026-01-09T00:50:39Z", ["anthropic-ratelimit-tokens-limit"] = "540000",
      ["anthropic-ratelimit-tokens-remaining"] = "540000", ["anthropic-ratelimit-tokens-reset"] = "2026-01-09T00:50:38Z",
      ["anthropic-ratelimit-input-tokens-limit"] = "450000", ["anthropic-ratelimit-input-tokens-remaining"] = "450000",
      ["anthropic-ratelimit-output-tokens-limit"] = "90000", ["anthropic-ratelimit-output-tokens-remaining"] = "90000",
      ["anthropic-ratelimit-output-tokens-reset"] = "2026-01-09T00:51:00Z",
    })
  end)

  it("are read as OpenRouter writes them", function()
    assert.are.same({ requests = { limit = 1, remaining = 0, reset_seconds = 22 } }, parse {
      ["x-ratelimit-limit"] = "1", ["x-ratelimit-remaining"] = "0", ["x-ratelimit-reset"] = "1767919860000",
    })
  end)

  it("are unknown where Azure says 0 or -1", function()
    assert.is_nil(parse { ["x-ratelimit-limit-tokens"] = "0", ["x-ratelimit-remaining-tokens"] = "-1" })
    assert.is_nil(parse { ["x-ratelimit-limit-tokens"] = "0", ["x-ratelimit-remaining-tokens"] = "0" })
    assert.are.same({ tokens = { remaining = 119984, reset_seconds = 0 } }, parse {
      ["x-ratelimit-limit-tokens"] = "-1", ["x-ratelimit-remaining-tokens"] = "119984", ["x-ratelimit-reset-tokens"] = "0",
    })
  end)

  it("are of the window that ends first, as Mistral writes them", function()
    assert.are.same({
      requests = { limit = 100, remaining = 99, window = "minute" },
      tokens = { limit = 100000, remaining = 99288, window = "minute" },
      size = { limit = 500000, remaining = 307190, window = "minute" },
    }, parse {
      ["x-ratelimit-limit-req-minute"] = "100", ["x-ratelimit-remaining-req-minute"] = "99",
      ["x-ratelimit-limit-tokens-minute"] = "100000", ["x-ratelimit-remaining-tokens-minute"] = "99288",
      ["x-ratelimit-tokens-query-cost"] = "263", ["x-ratelimitbysize-limit-minute"] = "500000",
      ["x-ratelimitbysize-limit-month"] = "1000000000", ["x-ratelimitbysize-remaining-minute"] = "307190",
      ["x-ratelimitbysize-remaining-month"] = "997278920",
    })
  end)

  it("count times from the date of the answer", function()
    local limits = rate_limits.parse {
      date = "Fri, 09 Jan 2026 00:50:38 GMT", ["anthropic-ratelimit-requests-reset"] = "2026-01-09T00:50:50Z",
    }
    assert.are.equal(12, limits.requests.reset_seconds)
  end)

  it("come with an answer and with an error", function()
    local body = '{"id":"i","model":"m","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    local answer = ask({ ["X-RateLimit-Remaining-Requests"] = "5", ["X-RateLimit-Reset-Requests"] = "1m2s" }, body)
    assert.are.equal("Hi", answer.content)
    assert.are.same({ requests = { remaining = 5, reset_seconds = 62 } }, answer.rate_limits)
    local failed = ask({ ["x-ratelimit-remaining"] = "0" }, '{"error":{"message":"slow down"}}', 429)
    assert.are.equal("rate_limit", failed.error.kind)
    assert.are.same({ requests = { remaining = 0 } }, failed.rate_limits)
    assert.is_nil(ask({}, body).rate_limits)
  end)
end)


-- How many of the numbers that the headers hold are found in the limits.
local function count_numbers(limits)
  local count = 0
  for _, kind in ipairs(tables.sorted_keys(limits or {})) do
    local entry = limits[kind]
    count = count + (entry.limit and 1 or 0) + (entry.remaining and 1 or 0) + (entry.reset_seconds and 1 or 0)
  end
  return count
end


describe("recorded rate limits", function()
  local readme = frames.read(FOLDER .. "README.md")
  if not readme then
    pending("need the recordings in " .. FOLDER)
    return
  end

  -- The numbers that the headers of an answer say; of two windows of one limit only one counts.
  local function count_said(headers)
    local count = 0
    for name in pairs(headers) do
      local is_limit = name:find("ratelimit", 1, true) and not name:find("query-cost", 1, true) and not name:find("-month", 1, true)
      count = count + (is_limit and 1 or 0)
    end
    return count
  end

  it("are all understood", function()
    local answers, limited = 0, 0
    local rows = readme:match("\n| anthropic |.*")
    for provider, case in rows:gmatch("\n| (%S+) | %S+ | [^|]+ | [^|]+ | [^|]+ | [^|]+ | (%S+) |") do
      local meta = json.decode(frames.read(("%s%s/%s/meta.json"):format(FOLDER, provider, case)))
      local limits = parse(meta.headers)
      assert.are.equal(count_said(meta.headers), count_numbers(limits), case)
      answers, limited = answers + 1, limited + (limits and 1 or 0)
    end
    assert.are.equal(157, answers)
    assert.are.equal(30, limited)
  end)
end)
