-- The options --record and --replay of the commands that ask models.
local fs = require "perilune.sys.fs"
local options = require "perilune.cli.options"

local M = {}

---To be added to a command's.
M.options = {
  { names = { "--record" }, key = "record", value = "FILE", help = "keep every exchange with a provider in FILE, a cassette" },
  { names = { "--replay" }, key = "replay", value = "FILE", help = "answer from a cassette; nothing is sent, and no key is needed" },
  { names = { "--timing" }, key = "timing", help = "with --replay: as slowly as it was recorded" },
}


---Puts the cassette in that the options name; nil when they name none.
---@param command string
---@param values table
---@param app perilune.App
---@return table? cassette own it with `<close>`
function M.insert(command, values, app)
  if values.record and values.replay then
    options.fail("%s: either --record or --replay, not both", command)
  elseif values.timing and not values.replay then
    options.fail("%s: --timing is for --replay", command)
  elseif values.record == "" or values.replay == "" then
    options.fail("%s: %s needs a file", command, values.record and "--record" or "--replay")
  elseif not values.record and not values.replay then
    return nil
  elseif values.replay and not fs.stat(values.replay) then
    options.fail("%s: there is no cassette '%s'", command, values.replay)
  end
  app:discover()
  local deck = require "perilune.model.deck" -- here: a script without a cassette need not load every provider
  local cassette = deck.insert(app.settings, values)
  app.settings.model = values.model or app.settings.model -- what is asked for now, over what was usual then
  return cassette
end


return M
