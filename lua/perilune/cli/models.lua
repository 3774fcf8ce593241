-- perilune models: the models that are known, and what they cost.
local known = require "perilune.model.known"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {
  usage = "models [OPTION...]",
  summary = [[
Lists the known models; others can be used as well, as provider/model. Prices are dollars per million tokens, as the
provider published them on that date; `-` means that a price is not known.]],
  options = {
    { names = { "--provider" }, key = "provider", value = "NAME", help = "the models of this provider" },
  },
  examples = { "", "--provider groq", "--json" },
}


-- Nano-dollars per million tokens as dollars: at least two decimals, no more than there are.
local function dollars(nano)
  return (("$%.4f"):format(nano / 1e9):gsub("(%.%d%d%d-)0+$", "%1"))
end


local function price(field)
  return function(row)
    return row.price and dollars(row.price[field])
  end
end


local columns = {
  { "PROVIDER", "provider" }, { "MODEL", "model" }, { "INPUT", price "input" }, { "CACHED", price "cached" },
  { "OUTPUT", price "output" },
  { "DATE", function(row)
    return row.price and row.price.date
  end },
}


-- The rows of one provider; a name that nobody has is a usage error.
local function select(rows, app, name)
  local names, selected = {}, {}
  for _, row in ipairs(known.providers(app.settings)) do
    names[row.name] = true
  end
  if not names[name:lower()] then
    local nearest = text.suggest(name, tables.sorted_keys(names))
    options.fail("models: there is no provider '%s'%s", name, nearest and (", did you mean '" .. nearest .. "'?") or "")
  end
  for _, row in ipairs(rows) do
    if row.provider == name:lower() then
      selected[#selected + 1] = row
    end
  end
  return selected
end


function M.run(values, words, app)
  options.at_most("models", words, 0)
  app:discover()
  local rows = known.models(app.settings)
  if values.provider then
    rows = select(rows, app, values.provider)
  end
  if values.json then
    output.json(require("perilune.json").array(rows))
  else
    output.table(rows, columns)
  end
  return 0
end


return M
