-- perilune providers: what is known, and the conformance kit for providers of one's own.
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local text = require "perilune.std.text"

local WHY_BYTES_MAX = 400 -- in the table; --json says all of it

local M = {
  usage = "providers [list] [OPTION...]\n       perilune providers test FILE [OPTION...]   (or the NAME of a known provider)",
  summary = [[
Lists the providers: built in, of ./providers/*.lua and of the folder perilune/providers of your configuration. `test`
runs the conformance kit on a provider file: every case passes, fails or is skipped, and says why. The exit code is 1
when one fails. Recordings are folders with response.body, meta.json and expect.json (docs/providers.md).]],
  options = {
    { names = { "--health" }, key = "health", of = { "list" }, help = "ask each provider for its list of models, and say how that went" },
    { names = { "--fixtures" }, key = "fixtures", value = "DIR", of = { "test" }, help = "recordings of the vendor's answers" },
    { names = { "--case" }, key = "case", value = "NAME", of = { "test" }, help = "this case alone" },
    { names = { "--api" }, key = "api", value = "NAME", of = { "test" }, help = "another wire format of the provider" },
    { names = { "--live" }, key = "live", of = { "test" }, help = "send one tiny real request, when the key is set" },
    { names = { "--model", "-m" }, key = "model", value = "NAME", of = { "test" }, help = "the model to ask, with --live" },
  },
  examples = { "", "--json", "--health", "test providers/acme.lua", "test providers/acme.lua --fixtures recordings --live" },
}

local columns = {
  { "NAME", "name" },
  { "API", function(row)
    return table.concat(row.apis, ", ")
  end },
  { "ADDRESS", "base_url" },
  { "KEY", function(row)
    return row.key and row.key .. (row.is_key_set and " (set)" or " (not set)")
  end },
  { "MODELS", function(row)
    return #row.models
  end },
  { "FROM", "source" },
}


local function list(values, app)
  local known = require "perilune.model.known"
  local found = require("perilune.model.discovery").load(app.settings.provider_folders)
  local rows = known.providers(app.settings)
  if values.json then
    output.json { providers = rows, broken = require("perilune.json").array(found.broken) }
    return 0
  end
  output.table(rows, columns)
  for _, broken in ipairs(found.broken) do
    output.note(("skipped: %s: %s"):format(broken.file, broken.error))
  end
  return 0
end


-- The exit code is 1 when one that has a key does not answer; a local server that does not run is no failure.
local function health(values, app)
  require("perilune.model.discovery").load(app.settings.provider_folders)
  local rows = require("perilune.model.probe").all(app.settings)
  if values.json then
    output.json { providers = rows }
  else
    output.table(rows, { { "NAME", "provider" }, { "STATE", "state" }, { "MS", "ms" }, { "MODELS", "models" }, { "ADDRESS", "base_url" },
      { "WHY", function(row)
        return row.error and text.truncate((row.error:gsub("%s+", " ")), WHY_BYTES_MAX) or ""
      end } })
  end
  for _, row in ipairs(rows) do
    if row.state == "failed" and row.has_key then
      return 1
    end
  end
  return 0
end


-- The provider to test: what the file returns, else a known one by its name, in the wire format that was asked for.
local function subject_of(name, values, app)
  local discovery, registry = require "perilune.model.discovery", require "perilune.model.provider"
  discovery.load(app.settings.provider_folders) -- a file may extend another one's provider
  local provider, err = not name:find("[./]") and registry.get(name)
  if not provider and not require("perilune.sys.fs").stat(name) then
    options.fail("providers test: '%s' is neither a file nor a known provider", name)
  end
  if not provider then
    provider, err = discovery.file(name)
    if not provider then
      return nil, err
    end
  end
  local target
  target, err = registry.target(provider, { model = "", api = values.api })
  return target and target.provider, err
end


-- What the live case asks: a target, or why there is none.
local function live_of(provider, values, app)
  local settings = app.settings
  local key = provider.key and settings.env(provider.key)
  local model = values.model or provider.models[1]
  if provider.key and not key then
    return { why = provider.key .. " is not set" }
  elseif not model then
    return { why = "the provider lists no model: --model NAME" }
  end
  local target, err = require("perilune.model.provider").target(provider, {
    model = model, api_key = key, base_url = require("perilune.model.resolve").base_url(provider, settings),
  })
  return { target = target, settings = settings, why = err and err.message }
end


local function results_of(name, values, app)
  local provider, err = subject_of(name, values, app)
  if not provider then
    return name, { { case = "load", result = "failed", why = err.message } }
  end
  local rows = require("perilune.testing.conformance").run(provider, {
    fixtures = values.fixtures, only = values.case, live = values.live and live_of(provider, values, app) or nil,
  })
  table.insert(rows, 1, { case = "load", result = "passed" })
  return provider.name, rows
end


local function test(name, values, app)
  local provider, rows = results_of(name, values, app)
  local counts = { passed = 0, failed = 0, skipped = 0 }
  for _, row in ipairs(rows) do
    counts[row.result] = counts[row.result] + 1
  end
  if values.json then
    output.json { provider = provider, results = rows, passed = counts.passed, failed = counts.failed, skipped = counts.skipped }
  else
    output.table(rows, { { "CASE", "case" }, { "RESULT", "result" }, { "WHY", function(row)
      return row.why and text.truncate((row.why:gsub("%s+", " ")), WHY_BYTES_MAX) or ""
    end } })
    output.note(("%s: %d passed, %d failed, %d skipped"):format(provider, counts.passed, counts.failed, counts.skipped))
  end
  return counts.failed > 0 and 1 or 0
end


function M.run(values, words, app)
  local name = words[1] or "list"
  if name ~= "list" and name ~= "test" then
    local nearest = text.suggest(name, { "list", "test" })
    options.fail("providers: '%s' is not a subcommand%s", name, nearest and ", did you mean '" .. nearest .. "'?" or "; it is list or test")
  end
  options.only("providers", M.options, values, name)
  options.at_most("providers", words, name == "list" and 1 or 2)
  if name == "test" and not words[2] then
    options.fail("providers test: one provider file (perilune providers test FILE)")
  elseif name == "test" then
    return test(words[2], values, app)
  end
  return (values.health and health or list)(values, app)
end


return M
