-- stages.lua REQUESTS ROUNDS: what a whole answer costs this process in CPU time, one at a time over one connection: a bare fetch,
-- then stage upon stage around it: encoding and decoding (call), thinking and meter, failover with its breaker and limits. Blocks of
-- each take turns; a figure is the median of the rounds. One JSON line has the microseconds; `failover` is what that stage adds.
local apps = require "perilune.app"
local call = require "perilune.model.call"
local configured = require "perilune.model.configured"
local fetch = require "perilune.sys.fetch"
local json = require "perilune.json"
local meter = require "perilune.model.meter"
local proc = require "perilune.sys.proc"
local requests = require "perilune.model.request"
local thinking = require "perilune.model.thinking"

local requests_n, rounds = tonumber(arg[1]), tonumber(arg[2])
local app = apps.new { env = proc.env }
local target = assert(configured.target(configured.get "openai", "fast", app.settings))
local request = assert(requests.new("hi", { stream = false }))
local http = assert(target.provider.encode(request, target))


local function bare()
  local handle <close> = assert(fetch.open {
    method = http.method, url = http.url, headers = http.headers, body = http.body, frame = target.provider.frame,
  })
  assert(handle:head().status == 200)
  while handle:next() do end
end


local function asker(model)
  return function()
    local stream <close> = model:stream(request)
    while stream:pull() do end
  end
end


local function microseconds(f)
  local started = os.clock()
  for _ = 1, requests_n do
    f()
  end
  return (os.clock() - started) * 1e6 / requests_n
end


local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end


local called = call.new(target, app.settings)
local measured = {
  { name = "fetch", f = bare },
  { name = "call", f = asker(called) },
  { name = "meter", f = asker(meter.new(thinking.new(called), target)) },
  { name = "model", f = asker((app:model { "openai/fast" })) },
}
for round = 0, rounds do -- the first one only warms up
  for _, one in ipairs(measured) do
    one[round] = microseconds(one.f)
  end
end
local result = {}
for _, one in ipairs(measured) do
  result[one.name] = median(table.move(one, 1, rounds, 1, {}))
end
result.failover, result.stages = result.model - result.meter, result.model - result.fetch
print(json.encode(result))
