-- What a server counts, as Prometheus reads it. Names and buckets of what concerns models are OpenTelemetry's for generative AI
-- (gen_ai.client.token.usage, gen_ai.server.request.duration, gen_ai.server.time_to_first_token, gen_ai.server.time_per_output_token).
local clock = require "perilune.sys.clock"
local failover = require "perilune.sys.failover"
local tables = require "perilune.std.tables"
local task = require "perilune.sys.task"

local M = {}

local methods = {}
local metatable = { __name = "perilune.serve.metrics", __index = methods }

-- Series of one metric: names of models come from clients, and must not fill the memory.
local SERIES_MAX = 1000

local TOKENS = { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864 }
local DURATIONS = { 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92 }
local FIRST_TOKEN = { 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0 }
local PER_TOKEN = { 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5 }

local definitions = {
  { "perilune_http_requests_total", "counter", "Answered requests by route, method and status." },
  { "perilune_http_request_duration_seconds", "histogram", "From the request to the end of its answer.", DURATIONS },
  { "gen_ai_client_token_usage", "histogram", "Tokens of one answer, by type (input, output).", TOKENS },
  { "gen_ai_server_request_duration_seconds", "histogram", "From the question to the end of the answer.", DURATIONS },
  { "gen_ai_server_time_to_first_token_seconds", "histogram", "From the question to the first content.", FIRST_TOKEN },
  { "gen_ai_server_time_per_output_token_seconds", "histogram", "After the first content, for each token.", PER_TOKEN },
}


---@return table metrics
function M.new()
  local self = { started = clock.wall(), series = {}, found = {}, counts = {}, buckets = {} }
  for _, one in ipairs(definitions) do
    self.found[one[1]] = {}
    self.series[one[1]], self.counts[one[1]], self.buckets[one[1]] = {}, 0, one[4]
  end
  return setmetatable(self, metatable)
end


local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }


-- The labels as they are written: the key of a series.
local function labels_of(names, values)
  local parts = {}
  for position, name in ipairs(names) do
    parts[position] = ('%s="%s"'):format(name, (tostring(values[position]):gsub('[\\"\n]', escapes)))
  end
  return table.concat(parts, ",")
end


-- A new series; of too many, one for all others.
local function new_series(self, metric, names, values)
  local all, labels = self.series[metric], labels_of(names, values)
  if self.counts[metric] >= SERIES_MAX then
    local others = {}
    for position in ipairs(values) do
      others[position] = "other"
    end
    labels = labels_of(names, others)
  end
  if not all[labels] then
    all[labels], self.counts[metric] = { count = 0, sum = 0 }, self.counts[metric] + 1
  end
  return all[labels]
end


-- The series of these values. It is found value by value: this is done several times for every request.
local function series_of(self, metric, names, values)
  local node, last = self.found[metric], #values
  for position = 1, last - 1 do
    local following = node[values[position]]
    if not following then
      if self.counts[metric] >= SERIES_MAX then
        return new_series(self, metric, names, values)
      end
      following = {}
      node[values[position]] = following
    end
    node = following
  end
  local series = node[values[last]]
  if not series then
    series = new_series(self, metric, names, values)
    if self.counts[metric] < SERIES_MAX then
      node[values[last]] = series
    end
  end
  return series
end


local function observe(self, metric, names, values, value)
  local series, bounds = series_of(self, metric, names, values), self.buckets[metric]
  series.count, series.sum = series.count + 1, series.sum + value
  for position = 1, #bounds do
    if value <= bounds[position] then
      series[position] = (series[position] or 0) + 1
      return
    end
  end
end


local http_labels = { "route", "method", "status" }
local route_labels = { "route", "method" }
local model_labels = { "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model" }
local token_labels = { "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type" }


---Counts an answered request.
---@param route string its pattern
---@param method string
---@param status integer
---@param seconds number
function methods:http(route, method, status, seconds)
  local series = series_of(self, "perilune_http_requests_total", http_labels, { route, method, status })
  series.count = series.count + 1
  observe(self, "perilune_http_request_duration_seconds", route_labels, { route, method }, seconds)
end


---@class perilune.serve.Answered what is known of an answer of a model
---@field operation string "chat", "embeddings", "generate_content"
---@field provider string
---@field model string
---@field seconds number
---@field first_content? number seconds
---@field usage? perilune.Usage

---Counts an answer of a model.
---@param answered perilune.serve.Answered
function methods:model(answered)
  local values = { answered.operation, answered.provider, answered.model }
  observe(self, "gen_ai_server_request_duration_seconds", model_labels, values, answered.seconds)
  local usage, first = answered.usage, answered.first_content
  if first then
    observe(self, "gen_ai_server_time_to_first_token_seconds", model_labels, values, first)
  end
  if usage then
    values[4] = "input"
    observe(self, "gen_ai_client_token_usage", token_labels, values, usage.prompt_tokens)
    values[4] = "output"
    observe(self, "gen_ai_client_token_usage", token_labels, values, usage.completion_tokens)
    values[4] = nil
    if first and usage.completion_tokens > 1 then
      observe(self, "gen_ai_server_time_per_output_token_seconds", model_labels, values,
        (answered.seconds - first) / (usage.completion_tokens - 1))
    end
  end
end


local function write_series(out, metric, bounds, labels, series)
  local lead = labels ~= "" and labels .. "," or ""
  if not bounds then
    out[#out + 1] = ("%s{%s} %d"):format(metric, labels, series.count)
    return
  end
  local below = 0
  for position, bound in ipairs(bounds) do
    below = below + (series[position] or 0)
    out[#out + 1] = ('%s_bucket{%sle="%s"} %d'):format(metric, lead, bound, below)
  end
  out[#out + 1] = ('%s_bucket{%sle="+Inf"} %d'):format(metric, lead, series.count)
  out[#out + 1] = ("%s_sum{%s} %.9g"):format(metric, labels, series.sum)
  out[#out + 1] = ("%s_count{%s} %d"):format(metric, labels, series.count)
end


local function gauge(out, name, help, value)
  out[#out + 1] = ("# HELP %s %s\n# TYPE %s gauge\n%s %.14g"):format(name, help, name, name, value)
end


local states = { closed = 0, cooling = 1, half_open = 2, parked = 3, open = 4 }


local function write_targets(out)
  out[#out + 1] = "# HELP perilune_target_state Targets: 0 closed, 1 cooling, 2 half open, 3 parked, 4 open."
  out[#out + 1] = "# TYPE perilune_target_state gauge"
  for _, one in ipairs(failover.health()) do
    local labels = labels_of({ "provider", "model", "credential" }, { one.provider, one.model, one.credential })
    out[#out + 1] = ("perilune_target_state{%s} %d"):format(labels, states[one.state])
  end
end


---Everything as text.
---@param server perilune.Server
---@return string
function methods:text(server)
  local out = {}
  for _, one in ipairs(definitions) do
    local name, kind, help, bounds = table.unpack(one)
    out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s"):format(name, help, name, kind)
    for _, labels in ipairs(tables.sorted_keys(self.series[name])) do
      write_series(out, name, bounds, labels, self.series[name][labels])
    end
  end
  local streams = 0
  for _ in pairs(server.streams) do
    streams = streams + 1
  end
  gauge(out, "perilune_requests_active", "Requests that are being answered.", server.active)
  gauge(out, "perilune_streams_active", "Streams of events that are open.", streams)
  gauge(out, "perilune_connections_open", "Connections of clients.", server.listener:connections())
  gauge(out, "perilune_tasks", "Tasks of the host.", (task.count()))
  gauge(out, "perilune_script_memory_bytes", "Memory of the scripts.", task.memory())
  gauge(out, "perilune_start_time_seconds", "When the process began to serve, since 1970.", self.started)
  write_targets(out)
  return table.concat(out, "\n") .. "\n"
end


return M
