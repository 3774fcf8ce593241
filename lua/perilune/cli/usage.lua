-- perilune usage: tokens and cost, from the rows of every attempt.
local clock = require "perilune.sys.clock"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local usage = require "perilune.store.usage"

local M = {
  usage = "usage [OPTION...]",
  summary = "Shows what was used and what it cost. A cost of `unknown` means that a price is not known.",
  options = {
    { names = { "--by" }, key = "by", value = "WHAT", help = "model (default), provider or day" },
    { names = { "--days" }, key = "days", value = "N", type = "number", min = 0, help = "the last N days (30)" },
  },
  examples = { "", "--by day --days 7", "--json" },
}

local columns = {
  model = { { "PROVIDER", "provider" }, { "MODEL", "model" } },
  provider = { { "PROVIDER", "provider" } },
  day = { { "DAY", "day" } },
}


function M.run(values, words, app)
  options.at_most("usage", words, 0)
  local by, days = values.by or "model", values.days or 30
  if not columns[by] then
    options.fail("usage: --by is model, provider or day, not '%s'", by)
  end
  local rows, err = usage.summary(app:database(), { by = by, since = clock.wall() - days * 86400 })
  if not rows then
    error(err, 0)
  elseif values.json then
    output.json(json.array(rows))
    return 0
  end
  local shown = table.move(columns[by], 1, #columns[by], 1, {})
  for _, column in ipairs {
    { "REQUESTS", "attempts" }, { "PROMPT", "prompt_tokens" }, { "COMPLETION", "completion_tokens" },
    { "CACHED", "cached_tokens" },
    { "COST", function(row)
      return output.money(row.cost_nano) .. (row.cost_nano and row.unpriced > 0 and (" + %d unknown"):format(row.unpriced) or "")
    end },
  } do
    shown[#shown + 1] = column
  end
  output.table(rows, shown)
  return 0
end


return M
