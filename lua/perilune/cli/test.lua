-- perilune test: busted specs inside the host, so that they can wait, fetch and serve.
local fs = require "perilune.sys.fs"
local options = require "perilune.cli.options"
local task = require "perilune.sys.task"

-- Specs may compute for as long as they like; a test that hangs is ended by perilune.testing.busted.
local SLICE_SECONDS = 1e6

local M = {
  usage = "test [OPTION...] [PATH...] [-- BUSTED-OPTION...]",
  summary = [[
Runs busted specs (files *_spec.lua, ./spec by default) inside the host. After each test nothing may be left over: no
task, no request. Needs the package lua-busted.]],
  options = {
    { names = { "--counts" }, key = "counts", value = "FILE", help = "write `N passed, N failed, N skipped` there" },
  },
  examples = { "", "spec/weather_spec.lua", "tests/unit -- --filter='keeps the order'" },
}


-- The paths among the words, up to the first option of busted's.
local function check_paths(words)
  for _, word in ipairs(words) do
    if word:sub(1, 1) == "-" then
      return
    elseif not fs.stat(word) then
      options.fail("test: there is no '%s'", word)
    end
  end
  if not words[1] and not fs.stat("spec") then
    options.fail("test: there is no folder 'spec' here: name a file or a folder (perilune test PATH)")
  end
end


function M.run(values, words)
  local runner = package.searchpath("busted.runner", package.path)
  if not runner then
    options.fail("test: busted is not installed (Debian package lua-busted)")
  end
  check_paths(words)
  words[0] = "perilune test"
  words[#words + 1] = "--helper=perilune.testing.helper"
  package.preload["perilune.testing.helper"] = function() -- required by busted once it can be subscribed to
    require("perilune.testing.busted").install(require "busted", values.counts)
    return true
  end
  rawset(_G, "arg", words)
  task.slice(SLICE_SECONDS)
  require "busted.runner" { standalone = false }
  return require("perilune.testing.busted").failures() > 0 and 1 or 0
end


return M
